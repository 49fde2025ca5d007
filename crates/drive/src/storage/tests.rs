use super::*;
use crate::testing::{TestFile, info_v1};

fn storage(folder: &Path, files: &[TestFile<'_>], piece: u32) -> Storage {
    let info = Arc::new(info_v1("title", files, piece));
    Storage::new(info, Place::Below(folder.to_path_buf()), Arc::new(Descriptors::new(2)))
}

fn bytes(data: &[u8]) -> Vec<Bytes> {
    data.chunks(5).map(Bytes::copy_from_slice).collect()
}

#[test]
fn what_is_written_across_files_and_gaps_is_read_back_with_zeros_between() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = [
        TestFile { path: "a/one", data: &[1; 10], start: 0 },
        TestFile { path: "two", data: &[2; 7], start: 16 },
        TestFile { path: "a/b/three", data: &[3; 3], start: 32 },
        TestFile { path: "empty", data: &[], start: 48 },
    ];
    let storage = storage(folder.path(), &files, 16);
    storage.make().expect("room");
    let written: Vec<u8> = (1..=40).collect();
    storage.write(0, &bytes(&written)).expect("written");
    let mut read = [9u8; 40];
    storage.read(0, &mut read).expect("read");
    let expected: Vec<u8> =
        (0..40u8).map(|i| if matches!(i, 0..10 | 16..23 | 32..35) { i + 1 } else { 0 }).collect();
    assert_eq!(read[..], expected[..]);
    let on_disk = std::fs::read(folder.path().join("title/a/b/three")).expect("a file");
    assert_eq!(on_disk, [33, 34, 35]);
    assert_eq!(std::fs::read(folder.path().join("title/empty")).expect("made at once"), []);
    assert!(storage.descriptors.len() <= 2);
}

#[test]
fn a_symbolic_link_in_the_way_is_never_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    let outside = tempfile::tempdir().expect("another folder");
    let files = [
        TestFile { path: "sub/film", data: &[1; 4], start: 0 },
        TestFile { path: "film", data: &[1; 4], start: 4 },
    ];
    std::fs::create_dir(folder.path().join("title")).expect("made");
    std::os::unix::fs::symlink(outside.path(), folder.path().join("title/sub")).expect("linked");
    std::os::unix::fs::symlink(outside.path().join("x"), folder.path().join("title/film"))
        .expect("linked");
    let storage = storage(folder.path(), &files, 16);
    for offset in [0, 4] {
        let error = storage.write(offset, &bytes(&[7; 4])).expect_err("refused");
        assert_eq!(error.failure().kind, shoal_node::io::FailureKind::DiskLost);
    }
    assert_eq!(std::fs::read_dir(outside.path()).expect("readable").count(), 0);
}

#[test]
fn a_changed_or_removed_file_is_noticed_when_it_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = [TestFile { path: "film", data: &[1; 64], start: 0 }];
    let storage = storage(folder.path(), &files, 16);
    storage.make().expect("room");
    storage.write(0, &bytes(&[5; 64])).expect("written");
    storage.read(0, &mut [0; 64]).expect("our own writes are no change");
    storage.sync().expect("synced");
    storage.read(0, &mut [0; 64]).expect("nothing changed since");
    let path = folder.path().join("title/film");
    let file = std::fs::File::options().write(true).open(&path).expect("there");
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).expect("touched");
    let error = storage.read(0, &mut [0; 64]).expect_err("changed").to_string();
    assert!(error.contains("film was changed by another program"), "{error}");
    std::fs::remove_file(&path).expect("removed");
    let error = storage.read(0, &mut [0; 64]).expect_err("removed").to_string();
    assert!(error.contains("film was removed"), "{error}");
    let error = storage.read(0, &mut [0; 64]).expect_err("gone").to_string();
    assert!(error.contains("film is gone"), "{error}");
}

#[test]
fn only_written_stretches_count_as_data() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = vec![1; 1 << 20];
    let files = [TestFile { path: "film", data: &data, start: 0 }];
    let storage = storage(folder.path(), &files, 65536);
    storage.make().expect("room");
    assert_eq!(storage.extents().expect("told"), []);
    storage.write(128 << 10, &[Bytes::from(vec![1; 64 << 10])]).expect("written");
    assert_eq!(storage.extents().expect("told"), [(128 << 10, 192 << 10)]);
    let length = std::fs::metadata(folder.path().join("title/film")).expect("there").len();
    assert_eq!(length, 1 << 20);
}

#[test]
fn a_longer_file_in_the_way_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = [TestFile { path: "film", data: &[1; 64], start: 0 }];
    std::fs::create_dir(folder.path().join("title")).expect("made");
    std::fs::write(folder.path().join("title/film"), [1; 65]).expect("written");
    let error = storage(folder.path(), &files, 16).make().expect_err("refused").to_string();
    assert!(error.contains("film is longer"), "{error}");
    assert!(error.contains("move it away, or choose another folder"), "{error}");
    assert_eq!(std::fs::metadata(folder.path().join("title/film")).expect("there").len(), 65);
}

#[test]
fn a_missing_folder_is_not_made_again_behind_the_users_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("films");
    let files = [TestFile { path: "film", data: &[1; 64], start: 0 }];
    let storage = storage(&place, &files, 16);
    storage.make().expect("room");
    std::fs::remove_dir_all(&place).expect("removed");
    let error = storage.write(0, &bytes(&[1; 16])).expect_err("lost");
    assert_eq!(error.failure().kind, shoal_node::io::FailureKind::DiskLost);
    assert!(!place.exists());
}

#[test]
fn a_changed_file_is_not_believed_again_because_we_write_to_it_or_sync_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = [
        TestFile { path: "film", data: &[1; 64], start: 0 },
        TestFile { path: "sound", data: &[1; 64], start: 64 },
    ];
    let storage = storage(folder.path(), &files, 16);
    storage.make().expect("room");
    storage.write(0, &bytes(&[5; 128])).expect("written");
    assert!(storage.sync().expect("synced").iter().all(Option::is_some));
    std::fs::write(folder.path().join("title/film"), [6; 64]).expect("changed by somebody");
    // A piece that was found wrong is fetched again: its neighbours are as wrong as before.
    let error = storage.write(16, &bytes(&[5; 16])).expect_err("changed").to_string();
    assert!(error.contains("film was changed by another program"), "{error}");
    storage.read(32, &mut [0; 16]).expect_err("not what was verified");
    let vouched: Vec<bool> = storage.sync().expect("synced").iter().map(Option::is_some).collect();
    assert_eq!(vouched, [false, true]);
    storage.read(64, &mut [0; 64]).expect("the other file is as it was");
}

#[test]
fn a_file_that_changes_while_it_is_checked_is_not_vouched_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = [TestFile { path: "film", data: &[1; 64], start: 0 }];
    let storage = storage(folder.path(), &files, 16);
    storage.make().expect("room");
    let path = folder.path().join("title/film");
    storage.write(0, &bytes(&[5; 64])).expect("written");
    let before = storage.stamp_now(0).expect("looked at").expect("there");
    // Hashing takes its time; then what was seen before is vouched for.
    std::fs::File::options()
        .write(true)
        .open(&path)
        .and_then(|file| file.set_modified(std::time::SystemTime::UNIX_EPOCH))
        .expect("touched");
    storage.mark_dirty(0);
    storage.vouch(0, before);
    assert_eq!(storage.sync().expect("synced"), [None]);
    storage.read(0, &mut [0; 16]).expect_err("not what was hashed");
}

#[test]
fn a_write_that_a_sync_did_not_see_is_brought_to_the_disk_by_the_next() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = [TestFile { path: "film", data: &[1; 64], start: 0 }];
    let storage = storage(folder.path(), &files, 16);
    storage.make().expect("room");
    storage.write(0, &bytes(&[5; 64])).expect("written");
    let opened = storage.begin_write(0).expect("a second write");
    // Somewhere in the middle of that write comes a save.
    storage.sync().expect("synced");
    assert_eq!(storage.state(0).stamp, None, "nobody knows how the file will stay");
    let half = Segment { file: 0, at: 0, from: 0, len: 16 };
    storage.write_parts(&*opened, half, &bytes(&[6; 16])).expect("written");
    storage.end_write(0);
    storage.read(0, &mut [0; 64]).expect("our own write is no change");
    let stamps = storage.sync().expect("synced");
    assert_eq!(stamps, [storage.stamp_now(0).expect("looked at")]);
    assert_eq!(storage.state(0).stamp, stamps[0], "the second sync took that write along");
}

#[test]
fn a_file_that_was_removed_is_not_made_again_to_pass_for_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = [
        TestFile { path: "film", data: &[1; 64], start: 0 },
        TestFile { path: "sound", data: &[1; 64], start: 64 },
        TestFile { path: "words", data: &[1; 64], start: 128 },
    ];
    let storage = storage(folder.path(), &files, 16);
    storage.make().expect("room");
    // Two descriptors for three files: that of the film is closed, that of the words is still open.
    storage.write(0, &bytes(&[5; 192])).expect("written");
    for (name, offset) in [("film", 0), ("words", 128)] {
        let path = folder.path().join("title").join(name);
        std::fs::remove_file(&path).expect("removed");
        for _ in 0..2 {
            storage.write(offset, &bytes(&[5; 16])).expect_err("the rest of it is lost");
        }
        assert!(!path.exists(), "{name}");
    }
    storage.read(64, &mut [0; 64]).expect("the other file is as it was");
}

#[test]
fn an_empty_file_that_is_there_is_not_opened_for_writing() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = [TestFile { path: "empty", data: &[], start: 0 }];
    std::fs::create_dir(folder.path().join("title")).expect("made");
    std::fs::write(folder.path().join("title/empty"), []).expect("written");
    let storage = storage(folder.path(), &files, 16);
    storage.make().expect("nothing to make");
    let writable = storage.descriptors.open(storage.id, 0, true, || Err(DriveError::Stopped));
    assert!(matches!(writable, Err(DriveError::Stopped)), "a read-only folder would refuse");
}
