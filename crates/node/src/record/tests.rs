use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;
use proptest::collection::vec as vec_of;
use proptest::option::of as maybe;
use proptest::prelude::*;

use shoal_wire::bitfield::Bitfield;
use shoal_wire::metainfo::Info;
use shoal_wire::time_index::{KeyPoint, TimeIndex};
use shoal_wire::{Hash20, Hash32, InfoHashes};

use super::*;
use crate::io::{
    AddTitle, CloseReason, Command, Event, Failure, FailureKind, Family, Outcome, ResumeRecord,
    Want,
};
use crate::link::{LinkId, ReaderId, Ticket, TitleId};
use crate::stack::Socket;

fn info() -> Info {
    let raw = b"d6:lengthi20e4:name4:film12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae";
    Info::parse(&Bytes::from_static(raw)).expect("a valid title")
}

fn data() -> impl Strategy<Value = Bytes> {
    vec_of(any::<u8>(), 0..80).prop_map(Bytes::from)
}

fn addr() -> impl Strategy<Value = core::net::SocketAddr> {
    any::<(IpAddr, u16)>().prop_map(core::net::SocketAddr::from)
}

fn bitfield() -> impl Strategy<Value = Bitfield> {
    vec_of(any::<bool>(), 0..40).prop_map(|bits| {
        let mut field = Bitfield::new(bits.len() as u32);
        for (index, _) in bits.iter().enumerate().filter(|bit| *bit.1) {
            field.set(index as u32);
        }
        field
    })
}

fn partial() -> impl Strategy<Value = Vec<(u32, Bitfield)>> {
    vec_of((any::<u32>(), bitfield()), 0..3)
}

fn add_title() -> impl Strategy<Value = Command> {
    let index = any::<(u64, u64, Vec<(u64, u64)>, Vec<(u64, u64)>)>().prop_map(
        |(duration_ms, length, boot, keys)| {
            let keys = keys.into_iter().map(|(time_ms, offset)| KeyPoint { time_ms, offset });
            Arc::new(TimeIndex { duration_ms, length, boot, keys: keys.collect() })
        },
    );
    let lists = (
        vec_of((any::<[u8; 32]>().prop_map(Hash32), data()), 0..3),
        vec_of(vec_of("[ -~]{0,20}", 0..3), 0..3),
        vec_of(addr(), 0..3),
        maybe(bitfield()),
        partial(),
        vec_of((any::<u32>(), index), 0..2),
    );
    let want = prop_oneof![Just(Want::All), Just(Want::Play), Just(Want::OnDemand)];
    let names = any::<(u32, Option<[u8; 20]>, Option<[u8; 32]>)>();
    (names, lists, want, any::<bool>(), any::<bool>()).prop_map(
        |((title, v1, v2), lists, want, source, known)| {
            let (piece_layers, trackers, peers, have, partial, time_indexes) = lists;
            Command::Add(
                AddTitle {
                    title: TitleId(title),
                    hashes: InfoHashes { v1: v1.map(Hash20), v2: v2.map(Hash32) },
                    info: known.then(|| Arc::new(info())),
                    piece_layers,
                    trackers,
                    peers,
                    have,
                    partial,
                    want,
                    source,
                    cached: known,
                    time_indexes,
                }
                .into(),
            )
        },
    )
}

fn command() -> impl Strategy<Value = Command> {
    let ids = || any::<(u32, u32)>().prop_map(|(title, reader)| (TitleId(title), ReaderId(reader)));
    prop_oneof![
        add_title(),
        ids().prop_map(|(title, _)| Command::Remove { title }),
        (ids(), vec_of(addr(), 0..3))
            .prop_map(|((title, _), peers)| Command::Peers { title, peers }),
        (ids(), vec_of(any::<(u32, u32)>(), 0..3))
            .prop_map(|((title, _), files)| Command::Select { title, files }),
        (ids(), any::<u32>()).prop_map(|((title, _), file)| Command::Prefer { title, file }),
        (ids(), any::<(u32, u64, u64)>()).prop_map(|((title, reader), (file, start, end))| {
            Command::Open { reader, title, file, start, end }
        }),
        (ids(), any::<u32>()).prop_map(|((_, reader), max)| Command::Read { reader, max }),
        ids().prop_map(|(_, reader)| Command::Close { reader }),
        (ids(), any::<(u32, u64)>()).prop_map(|((title, reader), (file, at_ms))| {
            Command::Play { reader, title, file, at_ms }
        }),
        (ids(), any::<u64>()).prop_map(|((_, reader), to_ms)| Command::Jump { reader, to_ms }),
        (ids(), any::<bool>()).prop_map(|((_, reader), paused)| Command::Pause { reader, paused }),
        any::<(Option<u64>, Option<u64>)>().prop_map(|(up, down)| Command::Limits { up, down }),
        any::<(Option<u64>, u64)>()
            .prop_map(|(quota, elsewhere)| Command::Cache { quota, elsewhere }),
        Just(Command::NetworkChanged),
        Just(Command::Shutdown),
    ]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let kind = prop_oneof![
        Just(FailureKind::DiskFull),
        Just(FailureKind::DiskLost),
        Just(FailureKind::Network)
    ];
    prop_oneof![
        data().prop_map(Outcome::Data),
        Just(Outcome::Stored),
        any::<bool>().prop_map(Outcome::Checked),
        (bitfield(), partial())
            .prop_map(|(have, partial)| Outcome::Prepared(ResumeRecord { have, partial }.into())),
        vec_of(addr(), 0..4).prop_map(Outcome::Resolved),
        (any::<(u16, bool)>(), data()).prop_map(|((status, v4), body)| {
            let family = if v4 { Family::V4 } else { Family::V6 };
            Outcome::Fetched { status, body, family }
        }),
        any::<u64>().prop_map(Outcome::Freed),
        (kind, "[ -~é]{0,40}")
            .prop_map(|(kind, message)| Outcome::Failed(Failure { kind, message })),
    ]
}

fn reason() -> impl Strategy<Value = CloseReason> {
    prop_oneof![
        Just(CloseReason::Remote),
        Just(CloseReason::Unreachable),
        Just(CloseReason::Protocol("some rule")),
        Just(CloseReason::Corrupt),
        Just(CloseReason::Duplicate),
        Just(CloseReason::Myself),
        Just(CloseReason::NotNeeded),
        Just(CloseReason::Upgrade),
        Just(CloseReason::Timeout),
        Just(CloseReason::Full),
        Just(CloseReason::Stopped),
    ]
}

fn any_input() -> impl Strategy<Value = StackInput> {
    let link = || any::<u32>().prop_map(LinkId);
    let socket = prop_oneof![Just(Socket::Peer), Just(Socket::Local)];
    prop_oneof![
        Just(StackInput::Wake),
        any::<u64>().prop_map(|unix_ms| StackInput::Clock { unix_ms }),
        command().prop_map(StackInput::Command),
        (link(), addr()).prop_map(|(link, remote)| StackInput::LinkUp { link, remote }),
        (link(), reason()).prop_map(|(link, reason)| StackInput::LinkDown { link, reason }),
        (link(), data()).prop_map(|(link, bytes)| StackInput::Bytes { link, bytes }),
        (link(), any::<u32>(), any::<u32>()).prop_map(|(link, bytes, passed)| StackInput::Credit {
            link,
            bytes,
            passed
        }),
        (socket, addr(), data()).prop_map(|(socket, remote, bytes)| StackInput::Datagram {
            socket,
            remote,
            bytes
        }),
        (any::<u32>().prop_map(Ticket), outcome())
            .prop_map(|(ticket, outcome)| StackInput::Done { ticket, outcome }),
    ]
}

fn header() -> Header {
    let mut config = Config { listen_port: 6881, ..Config::default() };
    config.discover.local = false;
    Header::new(&config, Seed::from_u64(5), Instant::from_millis(7))
}

/// The text of a reason is not kept; everything else must come back as it was.
fn shown(input: &StackInput) -> String {
    match input {
        StackInput::LinkDown { link, reason: CloseReason::Protocol(_) } => {
            alloc::format!("{link:?} broke a rule")
        }
        input => alloc::format!("{input:?}"),
    }
}

/// A run of a stack without titles, met by strangers.
fn a_run(inputs: usize) -> Vec<u8> {
    let header = header();
    let mut stack = Stack::new(Arc::new(header.config().expect("ours")), header.seed, header.start);
    let mut file = Vec::new();
    let mut recorder = Recorder::new(&header, &mut file);
    let mut effects = Vec::new();
    for turn in 0..inputs {
        let link = LinkId(turn as u32 / 2 * 2 + 1);
        let remote = "192.0.2.1:6881".parse().expect("an address");
        let input = if turn % 2 == 0 {
            StackInput::LinkUp { link, remote }
        } else {
            StackInput::Bytes { link, bytes: Bytes::from_static(b"nonsense") }
        };
        let now = Instant::from_millis(7 + turn as u64);
        recorder.input(now, &input, &mut file);
        effects.clear();
        stack.step(now, input, &mut effects);
        recorder.effects(&effects);
    }
    recorder.checkpoint(&mut file);
    file
}

fn replay(file: Vec<u8>) -> Result<Replay, String> {
    let (header, records) = Records::open(file.into()).map_err(|error| error.to_string())?;
    let mut replay = Replay::new(&header).map_err(|error| error.to_string())?;
    for record in records {
        let record = record.map_err(|error| error.to_string())?;
        replay.step(record).map_err(|error| error.to_string())?;
    }
    Ok(replay)
}

#[test]
fn a_recorded_run_is_lived_through_again_with_the_same_effects() {
    let replay = replay(a_run(3000)).expect("the same");
    assert_eq!((replay.inputs(), replay.checked()), (3000, 3000));
    assert_eq!(replay.now(), Instant::from_millis(7 + 2999));
}

#[test]
fn a_run_that_went_otherwise_is_told_apart_within_a_stretch() {
    let mut file = a_run(3000);
    let nonsense = b"nonsense";
    let half = file.len() / 2;
    let at = half
        + file[half..]
            .windows(nonsense.len())
            .position(|window| window == nonsense)
            .expect("is there");
    // What a stranger in the second stretch said now comes from a link that does not exist: nobody is refused.
    file[at - 8..at - 4].copy_from_slice(&4u32.to_le_bytes());
    let error = replay(file).map(|replay| replay.inputs()).expect_err("not the same");
    assert_eq!(error, "the effects differ between input 1024 and input 2048");
}

#[test]
fn a_file_that_was_cut_off_yields_what_is_whole_and_then_an_error() {
    let mut file = a_run(10);
    file.truncate(file.len() - 1);
    let (_, records) = Records::open(file.into()).expect("a header");
    let records: Vec<_> = records.collect();
    assert_eq!(records.len(), 11);
    assert!(records[..10].iter().all(Result::is_ok) && records[10].is_err());
}

#[test]
fn other_files_other_versions_and_other_settings_are_refused() {
    assert!(Records::open(Bytes::from_static(b"\x04\0\0\0film")).is_err());
    assert!(Records::open(Bytes::new()).is_err());
    let mut file = a_run(1);
    file[12] = 99;
    assert!(Records::open(file.into()).is_err());
    let mut config = Config::default();
    config.swarm.upload_slots = 9;
    let header = Header::new(&config, Seed::from_u64(1), Instant::ZERO);
    assert!(Replay::new(&header).is_err());
}

#[test]
fn a_title_under_a_wrong_name_is_refused() {
    let mut out = Vec::new();
    let info = Info { hashes: InfoHashes::default(), ..info() };
    info.put(&mut out);
    assert!(Info::get(&mut Reader::new(out.into())).is_err());
}

#[test]
fn the_hash_tells_order_length_and_content_apart() {
    let write = |bytes: &[u8]| StackEffect::Write {
        link: LinkId(1),
        bytes: Bytes::copy_from_slice(bytes),
        film: false,
    };
    let of = |effects: &[StackEffect]| {
        let mut hash = EffectsHash::default();
        hash.absorb(effects);
        hash.value()
    };
    let told = StackEffect::Tell(Event::Stopped);
    let hashes = [
        of(&[]),
        of(&[write(b"")]),
        of(&[write(b"\0")]),
        of(&[write(b"ab")]),
        of(&[write(b"a"), write(b"b")]),
        of(&[write(b"b"), write(b"a")]),
        of(&[write(&[0; 16])]),
        of(&[write(&[0; 32])]),
        of(&[write(&[0; 48])]),
        of(core::slice::from_ref(&told)),
        of(&[told.clone(), told]),
    ];
    for (index, hash) in hashes.iter().enumerate() {
        assert!(!hashes[..index].contains(hash), "{index}");
    }
    assert_eq!(of(&[write(b"ab")]), hashes[3]);
}

proptest! {
    #[test]
    fn inputs_survive_the_file(inputs in vec_of((0u64..1 << 40, any_input()), 0..8)) {
        let mut file = Vec::new();
        let mut recorder = Recorder::new(&header(), &mut file);
        let mut now = header().start;
        for (after, input) in &inputs {
            now = now + Duration::from_nanos(*after);
            recorder.input(now, input, &mut file);
        }
        let (read, records) = Records::open(file.into()).expect("a header");
        prop_assert_eq!(read, header());
        let mut count = 0;
        for (record, (expected_after, expected)) in records.zip(&inputs) {
            let Ok(Record::Input { after, input }) = record else { panic!("{record:?}") };
            prop_assert_eq!(after, Duration::from_nanos(*expected_after));
            prop_assert_eq!(shown(&input), shown(expected));
            count += 1;
        }
        prop_assert_eq!(count, inputs.len());
    }

    #[test]
    fn damaged_records_never_panic(
        input in any_input(),
        flips in vec_of((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut out = vec![0u8];
        0u64.put(&mut out);
        input.put(&mut out);
        for (index, value) in flips {
            let index = index.index(out.len());
            out[index] = value;
        }
        let _ = Record::get(out.into());
    }

    #[test]
    fn noise_never_panics(noise in vec_of(any::<u8>(), 0..200)) {
        let _ = Record::get(noise.clone().into());
        let _ = Header::get(noise.clone().into());
        if let Ok((_, records)) = Records::open(noise.into()) {
            prop_assert!(records.count() < 200);
        }
    }
}
