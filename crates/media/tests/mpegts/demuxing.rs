//! Films taken apart into groups of packets, from any time on.

use std::sync::Arc;

use shoal_media::Film;
use shoal_media::demux::Demuxer;

use super::reading::{bare, groups, joined, moved, payload_at, pcr, pid, time, units};
use super::{FILMS, film, quick, thorough};

#[test]
fn a_film_leaves_whole_and_in_order_with_times_from_zero() {
    for (name, file) in FILMS {
        let film = Arc::new(thorough(file).presentation.unwrap());
        let expected = units(&bare(name));
        let first = expected.values().map(|units| units[0].0).min().unwrap();
        for chunk in [1000, usize::MAX / 2] {
            let mut demuxer = Demuxer::new(Arc::clone(&film), &[0], 0);
            let frames = groups(&mut demuxer, file, chunk);
            let found = units(&joined(&frames));
            let lead = found.values().map(|units| units[0].0).min().unwrap();
            assert!(lead <= 90_000 / 4, "{name}: {lead}");
            for (pid, units) in &expected {
                let moved: Vec<_> = units
                    .iter()
                    .map(|(shown, decoded, data)| {
                        (shown - first + lead, decoded + lead - first, data.clone())
                    })
                    .collect();
                assert_eq!(found[pid], moved, "{name}");
            }
            let last = frames.last().unwrap().decoded;
            assert!(frames.is_sorted_by_key(|frame| frame.decoded) && frames[0].decoded == 0);
            assert!(last.abs_diff(film.duration_ms() * 90) < 90_000, "{name}: {last}");
            let keys = thorough(file).index.unwrap().keys.len();
            assert_eq!(frames.iter().filter(|frame| frame.is_key).count(), keys, "{name}");
            assert!(frames[0].is_key);
        }
    }
}

#[test]
fn a_jump_begins_with_the_tables_and_the_key_frame_before_and_counts_on() {
    for (name, file) in FILMS {
        for (film, is_exact) in [(thorough(file), true), (quick(file), false)] {
            let keys = thorough(file).index.unwrap().keys;
            let film = Arc::new(film.presentation.unwrap());
            let from_start = &mut Demuxer::new(Arc::clone(&film), &[0], 0);
            let whole = units(&joined(&groups(from_start, file, 1 << 20)));
            let mut demuxer = Demuxer::new(Arc::clone(&film), &[0], 3000);
            let mut all = joined(&groups(&mut demuxer, file, 1 << 20));
            for at_ms in [4999, 0, 2500, 99_000] {
                demuxer.jump(at_ms);
                let frames = groups(&mut demuxer, file, 1 << 20);
                let key = keys.iter().skip(1).rfind(|key| key.time_ms <= at_ms);
                let key_ms = key.map_or(0, |key| key.time_ms);
                let start = frames[0].decoded;
                assert!(frames[0].is_key, "{name} {at_ms} {is_exact}");
                // By the clock, which runs ahead of what is shown.
                let ahead = (key_ms + 1).saturating_sub(start / 90);
                assert!(ahead <= 1500 && start / 90 <= key_ms + 1, "{name} {at_ms}: {start}");
                let part = joined(&frames);
                assert_eq!(pid(&part), 0, "the table of programs is first");
                let picture = part.chunks(188).find(|packet| pcr(packet).is_some()).unwrap();
                assert_eq!(picture[5] & 0x80, 0x80, "{name}");
                let expected = units(&joined(&groups(
                    &mut Demuxer::new(Arc::clone(&film), &[0], at_ms),
                    file,
                    999,
                )));
                assert_eq!(units(&part), expected);
                // The same units with the same times as without a jump.
                for (pid, units) in &expected {
                    assert!(whole[pid].ends_with(units), "{name} {at_ms} {is_exact}");
                }
                all.extend(part);
            }
            // Counters are looked at by this.
            units(&all);
        }
    }
}

#[test]
fn a_clock_that_wraps_changes_nothing() {
    for name in ["stream", "old", "hevc"] {
        let file = film(name);
        let plain = groups(
            &mut Demuxer::new(Arc::new(quick(file).presentation.unwrap()), &[0], 0),
            file,
            5000,
        );
        for wraps_at_s in [0.5, 1.5, 1.6, 2.0, 4.0] {
            let file = moved(file, (1 << 33) - (wraps_at_s * 90_000.0) as u64);
            assert_eq!(thorough(&file).index, thorough(film(name)).index, "{name} {wraps_at_s}");
            assert_eq!(quick(&file).index, quick(film(name)).index, "{name} {wraps_at_s}");
            for film in [quick(&file), thorough(&file)] {
                let mut demuxer = Demuxer::new(Arc::new(film.presentation.unwrap()), &[0], 0);
                assert_eq!(groups(&mut demuxer, &file, 5000), plain, "{name} {wraps_at_s}");
            }
        }
    }
}

#[test]
fn a_film_goes_on_where_its_clock_was_set_anew() {
    let file = film("stream");
    let once = thorough(file);
    let mut twice = file.to_vec();
    twice.extend(moved(file, 77_000_000_000));
    twice.extend(file);
    let found = thorough(&twice);
    let length = once.duration_ms.unwrap();
    assert!(found.duration_ms.unwrap().abs_diff(3 * length) < 1000, "{:?}", found.duration_ms);
    let keys = found.index.as_ref().unwrap().keys.clone();
    assert_eq!(keys.len(), 3 * once.index.unwrap().keys.len());
    let film = Arc::new(found.presentation.unwrap());
    for at_ms in [0, 13_000, length * 2 + 3000] {
        let mut demuxer = Demuxer::new(Arc::clone(&film), &[0], at_ms);
        let frames = groups(&mut demuxer, &twice, 100_000);
        assert!(frames.is_sorted_by_key(|frame| frame.decoded));
        let last = frames.last().unwrap().decoded / 90;
        assert!(last.abs_diff(3 * length) < 2000, "{at_ms}: {last}");
        for group in frames.iter().filter(|frame| frame.is_key) {
            let packet = group.data.chunks(188).find(|packet| pid(packet) == 0x100).unwrap();
            let shown = time(&packet[payload_at(packet) + 9..]) / 90;
            assert!(
                keys.iter().any(|key| (key.time_ms + 200).abs_diff(shown) < 60),
                "{shown} {keys:?}"
            );
        }
    }
}

#[test]
fn what_lies_between_packets_is_passed_over() {
    for name in ["stream", "stamped"] {
        let file = film(name);
        let stride = if name == "stamped" { 192 } else { 188 };
        let mut dirty = vec![7; 100];
        for (number, packet) in file.chunks(stride).enumerate() {
            dirty.extend_from_slice(packet);
            if number % 50 == 33 {
                dirty.extend(std::iter::repeat_n(0x11, number));
            }
        }
        let (clean, found) = (thorough(file), thorough(&dirty));
        assert_eq!(found.duration_ms, clean.duration_ms);
        assert_eq!(quick(&dirty).duration_ms, clean.duration_ms);
        let all = |film: Film, file: &[u8]| {
            let mut demuxer = Demuxer::new(Arc::new(film.presentation.unwrap()), &[0], 0);
            units(&joined(&groups(&mut demuxer, file, 5000)))
        };
        assert_eq!(all(found, &dirty), all(clean, file));
    }
}
