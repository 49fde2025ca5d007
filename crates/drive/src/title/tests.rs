use super::*;
use crate::testing::{TestFile, film, info_v1};
use shoal_wire::bitfield::Bitfield;
use std::path::Path;

const PIECE: u32 = 64 << 10;

fn open(state: &StateFolder, folder: &Path, data: &[u8]) -> TitleStore {
    let files = [TestFile { path: "film", data, start: 0 }];
    let info = Arc::new(info_v1("title", &files, PIECE));
    let place = Place::Below(folder.to_path_buf());
    TitleStore::open(info, Vec::new(), place, Arc::new(Descriptors::new(4)), Some(state))
}

fn write(store: &TitleStore, data: &[u8], offset: usize, length: usize) {
    let part = Bytes::copy_from_slice(&data[offset..offset + length]);
    store.write(offset as u64, &[part]).expect("written");
}

fn ones(field: &Bitfield) -> Vec<u32> {
    field.iter().collect()
}

#[test]
fn after_a_kill_verified_pieces_and_blocks_are_found_again_and_nothing_else_is() {
    let (state, folder) = (tempfile::tempdir().expect("a"), tempfile::tempdir().expect("b"));
    let state = StateFolder::open(state.path()).expect("state");
    let data = film(5 * PIECE as usize + 100);
    let store = open(&state, folder.path(), &data);
    assert_eq!(store.prepare(Trust::Verified).expect("made").have.ones(), 0);
    write(&store, &data, 0, PIECE as usize);
    let mut have = Bitfield::new(6);
    have.set(0);
    store.save(&ResumeRecord { have, partial: Vec::new() }).expect("saved");
    // Not saved any more: a whole piece, the short last one, two blocks of another, and a block of which only
    // the bytes arrived, not the note in the journal.
    write(&store, &data, 2 * PIECE as usize, PIECE as usize);
    write(&store, &data, 5 * PIECE as usize, 100);
    write(&store, &data, 3 * PIECE as usize + (16 << 10), 32 << 10);
    store.storage.write(4 * u64::from(PIECE), &[Bytes::from(vec![1; 16 << 10])]).expect("written");
    drop(store);

    let store = open(&state, folder.path(), &data);
    let found = store.prepare(Trust::Verified).expect("looked");
    assert_eq!(ones(&found.have), [0, 2, 5]);
    let [(3, blocks)] = &found.partial[..] else { panic!("{:?}", found.partial) };
    assert_eq!(ones(blocks), [1, 2]);
    drop(store);

    // A third start believes the record of the second: nothing is hashed, and the journal still counts.
    let store = open(&state, folder.path(), &data);
    let found = store.prepare(Trust::Verified).expect("looked");
    assert_eq!((ones(&found.have), found.partial.len()), (vec![0, 2, 5], 1));
    let bytes_of_the_incomplete = u64::from(2 * PIECE);
    assert!(store.progress().total <= bytes_of_the_incomplete, "{:?}", store.progress());
}

#[test]
fn a_file_changed_between_runs_is_hashed_and_only_good_pieces_count() {
    let (state, folder) = (tempfile::tempdir().expect("a"), tempfile::tempdir().expect("b"));
    let state = StateFolder::open(state.path()).expect("state");
    let mut data = film(3 * PIECE as usize);
    let store = open(&state, folder.path(), &data);
    store.prepare(Trust::Verified).expect("made");
    write(&store, &data, 0, data.len());
    store.save(&ResumeRecord { have: Bitfield::full(3), partial: Vec::new() }).expect("saved");
    drop(store);
    let good = data.clone();
    data[PIECE as usize + 7] ^= 2;
    let path = folder.path().join("title/film");
    std::fs::write(&path, &data).expect("changed");
    let file = std::fs::File::options().write(true).open(&path).expect("there");
    file.set_modified(std::time::UNIX_EPOCH).expect("touched");
    let store = open(&state, folder.path(), &good);
    assert_eq!(ones(&store.prepare(Trust::Verified).expect("looked").have), [0, 2]);
    assert_eq!(ones(&store.prepare(Trust::Sizes).expect("looked").have), [0, 1, 2]);
    assert_eq!(ones(&store.prepare(Trust::Nothing).expect("looked").have), [0, 2]);
}

/// Waits until a change gets another time: those of files go by the ticks of the system, 10 ms at most.
fn tick() {
    std::thread::sleep(std::time::Duration::from_millis(20));
}

/// Does something to the file that sets its times back.
fn unseen(path: &Path, act: impl FnOnce()) {
    let before = std::fs::metadata(path).and_then(|found| found.modified()).expect("there");
    tick();
    act();
    let file = std::fs::File::options().write(true).open(path).expect("there");
    file.set_modified(before).expect("set back");
}

/// A title of three pieces that was fetched and saved.
fn saved(state: &StateFolder, folder: &Path, data: &[u8]) -> TitleStore {
    let store = open(state, folder, data);
    store.prepare(Trust::Verified).expect("made");
    write(&store, data, 0, data.len());
    store.save(&ResumeRecord { have: Bitfield::full(3), partial: Vec::new() }).expect("saved");
    store
}

#[test]
fn a_change_between_runs_whose_time_was_set_back_is_noticed() {
    let (state, folder) = (tempfile::tempdir().expect("a"), tempfile::tempdir().expect("b"));
    let state = StateFolder::open(state.path()).expect("state");
    let data = film(3 * PIECE as usize);
    drop(saved(&state, folder.path(), &data));
    let path = folder.path().join("title/film");
    let mut bad = data.clone();
    bad[PIECE as usize + 7] ^= 2;
    unseen(&path, || std::fs::write(&path, &bad).expect("changed"));
    let store = open(&state, folder.path(), &data);
    assert_eq!(ones(&store.prepare(Trust::Verified).expect("looked").have), [0, 2]);
}

#[test]
fn a_new_link_or_mode_costs_one_check_and_nothing_is_lost() {
    use std::os::unix::fs::PermissionsExt;
    let (state, folder) = (tempfile::tempdir().expect("a"), tempfile::tempdir().expect("b"));
    let state = StateFolder::open(state.path()).expect("state");
    let data = film(3 * PIECE as usize);
    drop(saved(&state, folder.path(), &data));
    let path = folder.path().join("title/film");
    let checked = || {
        let store = open(&state, folder.path(), &data);
        assert!(store.prepare(Trust::Verified).expect("looked").have.is_full());
        store.progress().total
    };
    assert_eq!(checked(), 0, "our own record is believed");
    tick();
    std::fs::hard_link(&path, folder.path().join("kept")).expect("linked");
    assert_eq!((checked(), checked()), (data.len() as u64, 0));
    tick();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("changed");
    assert_eq!((checked(), checked()), (data.len() as u64, 0));
}

#[test]
fn of_a_file_that_was_touched_in_a_run_only_pieces_that_match_are_given_away() {
    let (state, folder) = (tempfile::tempdir().expect("a"), tempfile::tempdir().expect("b"));
    let state = StateFolder::open(state.path()).expect("state");
    let data = film(3 * PIECE as usize);
    let store = saved(&state, folder.path(), &data);
    let path = folder.path().join("title/film");
    let buffers = ReadBuffers::new(1 << 20);
    let piece = |index: usize| (index * PIECE as usize) as u64;
    store.read(piece(1), 100, &buffers).expect("as it was");
    tick();
    std::fs::hard_link(&path, folder.path().join("kept")).expect("linked");
    for index in 0..3 {
        let read = store.read(piece(index) + 5, 100, &buffers).expect("all is well with it");
        assert_eq!(read, data[piece(index) as usize + 5..][..100]);
    }
    let mut bad = data.clone();
    bad[PIECE as usize + 7] ^= 2;
    unseen(&path, || std::fs::write(&path, &bad).expect("changed"));
    store.read(piece(0), 100, &buffers).expect("this piece is as it was");
    let error = store.read(piece(1), 5, &buffers).expect_err("and this is not").to_string();
    assert!(error.contains("film was changed by another program"), "{error}");
    // A record says so: the next start looks at all of it.
    store.save(&ResumeRecord { have: Bitfield::full(3), partial: Vec::new() }).expect("saved");
    drop(store);
    let store = open(&state, folder.path(), &data);
    assert_eq!(ones(&store.prepare(Trust::Verified).expect("looked").have), [0, 2]);
}

#[test]
fn blocks_of_a_piece_that_is_not_whole_survive_a_touch() {
    let (state, folder) = (tempfile::tempdir().expect("a"), tempfile::tempdir().expect("b"));
    let state = StateFolder::open(state.path()).expect("state");
    let data = film(3 * PIECE as usize);
    let store = open(&state, folder.path(), &data);
    store.prepare(Trust::Verified).expect("made");
    let (start, buffers) = (PIECE as usize, ReadBuffers::new(1 << 20));
    write(&store, &data, start, 16 << 10);
    write(&store, &data, start + (16 << 10), 16 << 10);
    store.save(&ResumeRecord { have: Bitfield::new(3), partial: Vec::new() }).expect("saved");
    let path = folder.path().join("title/film");
    tick();
    std::fs::hard_link(&path, folder.path().join("kept")).expect("linked");
    let read = store.read(start as u64 + 10_000, 20_000, &buffers).expect("it was noted");
    assert_eq!(read, data[start + 10_000..][..20_000]);
    store.read(start as u64, 40 << 10, &buffers).expect_err("beyond what came");
    // Our own writes go on, and take nothing back.
    write(&store, &data, start + (32 << 10), 32 << 10);
    store.read(start as u64, PIECE as usize, &buffers).expect("whole now");
}

#[test]
fn a_sparse_source_of_zeros_counts_as_data() {
    let (state, folder) = (tempfile::tempdir().expect("a"), tempfile::tempdir().expect("b"));
    let state = StateFolder::open(state.path()).expect("state");
    let mut data = film(3 * PIECE as usize);
    data[PIECE as usize..2 * PIECE as usize].fill(0);
    let path = folder.path().join("title/film");
    std::fs::create_dir(folder.path().join("title")).expect("made");
    let file = std::fs::File::create(&path).expect("made");
    file.set_len(data.len() as u64).expect("sparse");
    for piece in [0, 2] {
        let at = piece * PIECE as usize;
        std::os::unix::fs::FileExt::write_all_at(&file, &data[at..at + PIECE as usize], at as u64)
            .expect("written");
    }
    let store = open(&state, folder.path(), &data);
    assert!(store.prepare(Trust::Verified).expect("looked").have.is_full());
}

#[test]
fn leaves_of_a_stored_piece_are_those_of_its_blocks() {
    let (state, folder) = (tempfile::tempdir().expect("a"), tempfile::tempdir().expect("b"));
    let state = StateFolder::open(state.path()).expect("state");
    let data = film(PIECE as usize + 20_000);
    let store = open(&state, folder.path(), &data);
    store.prepare(Trust::Verified).expect("made");
    write(&store, &data, 0, data.len());
    let buffers = ReadBuffers::new(1 << 20);
    let leaves = store.leaves(1, &buffers).expect("read");
    let expected: Vec<u8> = [&data[PIECE as usize..][..16384], &data[PIECE as usize + 16384..]]
        .iter()
        .flat_map(|block| hash::sha256(block).0)
        .collect();
    assert_eq!(leaves, expected);
    assert!(store.leaves(2, &buffers).is_err());
}

/// A title of eight pieces, all here and recorded.
fn whole(state: &StateFolder, folder: &Path, data: &[u8]) -> TitleStore {
    let store = open(state, folder, data);
    store.prepare(Trust::Verified).expect("made");
    write(&store, data, 0, data.len());
    store.save(&without(&[])).expect("saved");
    store
}

/// The record of eight pieces but for these.
fn without(gone: &[u32]) -> ResumeRecord {
    let mut have = Bitfield::full(8);
    gone.iter().for_each(|&piece| {
        have.clear(piece);
    });
    ResumeRecord { have, partial: Vec::new() }
}

fn stored(store: &TitleStore, piece: u32) -> Vec<u8> {
    let mut buffer = vec![0; PIECE as usize];
    store.read_into(u64::from(piece) * u64::from(PIECE), &mut buffer).expect("read");
    buffer
}

#[test]
fn what_is_evicted_gives_its_room_back_and_the_next_start_believes_the_rest_unseen() {
    let (state, folder) = (tempfile::tempdir().expect("a"), tempfile::tempdir().expect("b"));
    let state = StateFolder::open(state.path()).expect("state");
    let data = film(8 * PIECE as usize);
    let store = whole(&state, folder.path(), &data);
    let before = store.storage.allocated();
    assert!(before >= data.len() as u64, "{before}");
    // Two blocks of a piece that is not whole: the journal has them.
    store.evict(&without(&[6]), &[6]).expect("freed");
    write(&store, &data, 6 * PIECE as usize, 32 << 10);
    assert_eq!(store.journal().expect("one").stretches().len(), 1);
    let left = store.evict(&without(&[1, 2, 6]), &[1, 2, 6]).expect("freed");
    assert!(left <= before - 3 * u64::from(PIECE), "{left} of {before}");
    assert_eq!(store.journal().expect("one").stretches().len(), 0);
    assert!(store.is_given_up(u64::from(PIECE) + 5, 10) && !store.is_given_up(0, PIECE.into()));
    let file = std::fs::metadata(folder.path().join("title/film")).expect("there");
    assert_eq!(file.len(), data.len() as u64);
    // It may come again.
    write(&store, &data, PIECE as usize, PIECE as usize);
    assert!(!store.is_given_up(u64::from(PIECE), PIECE.into()));
    assert_eq!(stored(&store, 1), data[PIECE as usize..2 * PIECE as usize]);
    store.save(&without(&[2, 6])).expect("saved");
    drop(store);
    let store = open(&state, folder.path(), &data);
    assert_eq!(ones(&store.prepare(Trust::Verified).expect("looked").have), [0, 1, 3, 4, 5, 7]);
    assert_eq!(store.progress().total, 0, "nothing had to be hashed");
}

#[test]
fn killed_at_any_moment_of_an_eviction_nothing_saved_is_lost_and_no_hole_is_taken_for_film() {
    let data = film(8 * PIECE as usize);
    for killed_after in ["the record", "the first hole", "all holes"] {
        let (state, folder) = (tempfile::tempdir().expect("a"), tempfile::tempdir().expect("b"));
        let state = StateFolder::open(state.path()).expect("state");
        let store = whole(&state, folder.path(), &data);
        let gone: &[u32] = match killed_after {
            "the record" => &[],
            "the first hole" => &[2],
            _ => &[2, 5],
        };
        store.save(&without(&[2, 5])).expect("recorded");
        for &piece in gone {
            store.storage.punch(u64::from(piece * PIECE), PIECE.into()).expect("freed");
        }
        drop(store);
        let store = open(&state, folder.path(), &data);
        let found = store.prepare(Trust::Verified).expect("looked");
        assert_eq!(ones(&found.have), ones(&without(gone).have), "killed after {killed_after}");
        for piece in found.have.iter() {
            let start = (piece * PIECE) as usize;
            assert!(stored(&store, piece) == data[start..start + PIECE as usize]);
        }
    }
}

#[test]
fn nothing_is_freed_before_the_record_is_there() {
    let (state, folder) = (tempfile::tempdir().expect("a"), tempfile::tempdir().expect("b"));
    let state = StateFolder::open(state.path()).expect("state");
    let data = film(8 * PIECE as usize);
    let store = whole(&state, folder.path(), &data);
    let record = store.record.clone().expect("one");
    std::fs::remove_file(&record).expect("removed");
    std::fs::create_dir_all(record.join("in the way")).expect("made");
    store.evict(&without(&[3]), &[3]).expect_err("no record");
    let start = 3 * PIECE as usize;
    assert!(stored(&store, 3) == data[start..start + PIECE as usize], "it is still there");
}
