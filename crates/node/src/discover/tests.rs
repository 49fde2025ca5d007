//! Turns of the room: what it asks of trackers and neighbours, and when.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use core::net::SocketAddr;
use core::time::Duration;

use shoal_wire::Hash20;
use shoal_wire::peer::{Extended, Message, PexMessage, PexPeer};
use shoal_wire::tracker::http::{self, PeerForm};
use shoal_wire::tracker::{AnnounceAnswer, AnnounceEvent, UdpTracker};

use super::Discover;
use crate::config::Config;
use crate::io::{Effect, Failure, FailureKind, Family, Job, LocalAnnounce, Outcome, Packet};
use crate::link::{LinkId, Ticket, TitleId};
use crate::testing::{Desk, hashes, info};
use crate::turn::{Found, Note, Owner};

const TITLE: TitleId = TitleId(0);

/// The room and its desk.
struct Stage {
    discover: Discover,
    desk: Desk,
}

/// What a turn caused, in short.
#[derive(Debug, Default)]
struct Said {
    fetches: Vec<(Ticket, String)>,
    /// Fetches over one family only.
    asides: Vec<(Ticket, Family, String)>,
    resolves: Vec<(Ticket, String, u16)>,
    datagrams: Vec<(SocketAddr, UdpTracker)>,
    locals: Vec<LocalAnnounce>,
    exchanges: Vec<(LinkId, PexMessage)>,
    found: Vec<(Found, Vec<SocketAddr>)>,
}

impl Stage {
    fn new() -> Self {
        let config = Config { listen_port: 4000, ..Config::default() };
        Self { discover: Discover::default(), desk: Desk::new(config) }
    }
    fn join(&mut self, private: Option<bool>, tiers: &[&[&str]]) -> Said {
        self.note(joined(private, tiers))
    }
    fn note(&mut self, note: Note) -> Said {
        self.notes(&[note])
    }
    /// What one turn brings: as in a node, what is due is done when all is known.
    fn notes(&mut self, notes: &[Note]) -> Said {
        let Self { discover, desk } = self;
        desk.turn(|turn| {
            notes.iter().for_each(|note| discover.on_note(turn, note));
            discover.on_wake(turn);
        });
        self.said()
    }
    fn done(&mut self, ticket: Ticket, outcome: Outcome) -> Said {
        let Self { discover, desk } = self;
        desk.turn(|turn| match turn.tickets.redeem(ticket) {
            Some(Owner::Discover(task)) => discover.on_done(turn, task, outcome),
            other => panic!("{other:?}"),
        });
        self.said()
    }
    fn answer(&mut self, ticket: Ticket, interval_s: u32, peers: &[&str]) -> Said {
        let peers = peers.iter().map(|peer| peer.parse().expect("an address")).collect();
        let answer = AnnounceAnswer { interval_s, peers, ..AnnounceAnswer::default() };
        let body = Bytes::from(http::encode_announce(&answer, PeerForm::Compact));
        self.done(ticket, Outcome::Fetched { status: 200, body, family: Family::V4 })
    }
    fn fail(&mut self, ticket: Ticket) -> Said {
        let message = String::from("no route");
        self.done(ticket, Outcome::Failed(Failure { kind: FailureKind::Network, message }))
    }
    fn packet(&mut self, remote: SocketAddr, packet: UdpTracker) -> Said {
        let Self { discover, desk } = self;
        desk.turn(|turn| discover.on_packet(turn, remote, Packet::Tracker(Box::new(packet))));
        self.said()
    }
    /// Lets time pass, waking the room exactly when it wants.
    fn pass(&mut self, seconds: u64) -> Said {
        let until = self.desk.now + Duration::from_secs(seconds);
        let mut said = Said::default();
        while let Some(due) = self.discover.deadline().filter(|due| *due <= until) {
            self.desk.now = due.max(self.desk.now);
            let Self { discover, desk } = self;
            desk.turn(|turn| discover.on_wake(turn));
            assert!(discover.deadline().is_none_or(|next| next > desk.now), "wakes for ever");
            said.add(self.said());
        }
        self.desk.now = until;
        said
    }
    fn said(&mut self) -> Said {
        let mut said = Said::default();
        for effect in self.desk.take_effects() {
            match effect {
                Effect::Submit { ticket, job } => match *job {
                    Job::Fetch { url, family: None } => said.fetches.push((ticket, url)),
                    Job::Fetch { url, family: Some(family) } => {
                        said.asides.push((ticket, family, url));
                    }
                    Job::Resolve { host, port } => said.resolves.push((ticket, host, port)),
                    other => panic!("{other:?}"),
                },
                Effect::Packet { remote, packet: Packet::Tracker(packet) } => {
                    said.datagrams.push((remote, *packet));
                }
                Effect::Packet { packet: Packet::LocalDiscovery(local), .. } => {
                    said.locals.push(local);
                }
                Effect::Send { link, message: Message::Extended(extended) } => match *extended {
                    Extended::Pex(pex) => said.exchanges.push((link, pex)),
                    other => panic!("{other:?}"),
                },
                other => panic!("{other:?}"),
            }
        }
        for note in self.desk.take_notes() {
            let Note::PeersFound { title: TITLE, source, peers } = note else { panic!("{note:?}") };
            said.found.push((source, peers));
        }
        said
    }
}

impl Said {
    fn add(&mut self, more: Self) {
        self.fetches.extend(more.fetches);
        self.asides.extend(more.asides);
        self.resolves.extend(more.resolves);
        self.datagrams.extend(more.datagrams);
        self.locals.extend(more.locals);
        self.exchanges.extend(more.exchanges);
        self.found.extend(more.found);
    }
    fn hosts(&self) -> Vec<&str> {
        self.fetches.iter().filter_map(|(_, url)| url.split('/').nth(2)).collect()
    }
}

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn joined(private: Option<bool>, tiers: &[&[&str]]) -> Note {
    let trackers =
        tiers.iter().map(|tier| tier.iter().map(ToString::to_string).collect()).collect();
    Note::Joined { title: TITLE, hashes: hashes(), private, trackers, time_indexes: vec![] }
}

#[test]
fn who_has_everything_at_once_is_announced_as_a_seed_at_once() {
    let mut stage = Stage::new();
    let joined = joined(Some(false), &[&["http://a/announce"]]);
    let said = stage.notes(&[joined, Note::Ready { title: TITLE, info: info(&[1000], false) }]);
    assert!(said.fetches[0].1.contains("&left=0&"), "{said:?}");
}

#[test]
fn what_turns_out_to_be_all_here_is_announced_as_a_seed_when_that_is_known() {
    let mut stage = Stage::new();
    let said = stage.join(Some(false), &[&["http://a/announce"]]);
    assert!(said.fetches[0].1.contains("&left=16384&"), "{said:?}");
    let ready = Note::Ready { title: TITLE, info: info(&[1000], false) };
    let finished = Note::Finished { title: TITLE, fetched: false };
    assert!(stage.notes(&[ready, finished.clone()]).fetches.is_empty(), "a round is under way");
    stage.answer(said.fetches[0].0, 300, &[]);
    let said = stage.answer(said.fetches[1].0, 300, &[]);
    let [(one, v1), (two, _)] = &said.fetches[..] else { panic!("{said:?}") };
    assert!(v1.contains("&left=0&") && !v1.contains("event="), "{v1}");
    stage.answer(*one, 300, &[]);
    stage.answer(*two, 300, &[]);
    assert!(stage.note(finished).fetches.is_empty(), "it was said");
}

#[test]
fn a_hybrid_title_is_announced_at_once_under_both_names_and_the_answers_are_merged() {
    let mut stage = Stage::new();
    let said = stage.join(Some(false), &[&["http://a/announce"]]);
    let [(first, v1), (second, v2)] = &said.fetches[..] else { panic!("{said:?}") };
    assert!(v1.contains("info_hash=%01%01") && v2.contains("info_hash=%02%02"), "{v1} {v2}");
    for url in [v1, v2] {
        for part in ["event=started", "port=4000", "numwant=80", "left=16384"] {
            assert!(url.contains(part), "{part} in {url}");
        }
    }
    let said = stage.answer(*first, 120, &["10.0.0.1:5", "10.0.0.2:5", "10.0.0.3:0"]);
    assert!(said.found.is_empty(), "one more is under way");
    let said = stage.answer(*second, 300, &["10.0.0.2:5", "10.0.0.4:5"]);
    let peers = ["10.0.0.1:5", "10.0.0.2:5", "10.0.0.4:5"].map(addr).to_vec();
    assert_eq!(said.found, [(Found::Tracker, peers)]);
    assert!(stage.pass(299).fetches.is_empty());
    let said = stage.pass(1);
    assert_eq!(said.fetches.len(), 2);
    assert!(!said.fetches[0].1.contains("event="));
}

#[test]
fn a_tracker_that_answered_hears_of_us_over_the_other_family_too() {
    let mut stage = Stage::new();
    let said = stage.join(Some(false), &[&["http://a/x"], &["http://b/x"]]);
    assert!(said.asides.is_empty());
    stage.answer(said.fetches[0].0, 120, &["10.0.0.1:5"]);
    let said = stage.answer(said.fetches[1].0, 120, &["10.0.0.1:5"]);
    let [(one, Family::V6, v1), (two, Family::V6, v2)] = &said.asides[..] else {
        panic!("{said:?}")
    };
    assert!(v1.contains("info_hash=%01%01") && v2.contains("info_hash=%02%02"), "{v1} {v2}");
    assert!(v1.contains("event=started") && v1.contains("port=4000"));
    // What comes of it adds peers and changes nothing else: the other tier stays on standby.
    stage.fail(*one);
    let late = stage.answer(*two, 3000, &["[2001:db8::7]:5"]);
    assert_eq!(late.found, [(Found::Tracker, vec![addr("[2001:db8::7]:5")])]);
    assert!(late.asides.is_empty());
    assert!(stage.discover.trackers(TITLE)[0].trouble.is_empty());
    assert_eq!(stage.pass(120).hosts(), ["a", "a"]);
}

#[test]
fn nobody_is_announced_over_a_family_that_cannot_be_meant() {
    // Nobody can come to us; the tracker has one address.
    for (port, url) in [(0, "http://a/x"), (4000, "http://10.0.0.5:80/x"), (4000, "http://[::1]/x")]
    {
        let config = Config { listen_port: port, ..Config::default() };
        let mut stage = Stage { discover: Discover::default(), desk: Desk::new(config) };
        for (ticket, _) in stage.join(Some(false), &[&[url]]).fetches {
            assert!(stage.answer(ticket, 120, &[]).asides.is_empty(), "{url}");
        }
    }
}

#[test]
fn a_udp_tracker_is_told_over_both_families() {
    let mut stage = Stage::new();
    let said = stage.join(Some(false), &[&["udp://t.example:80"]]);
    let four = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80"].map(addr);
    let six = addr("[2001:db8::1]:80");
    let all = four.into_iter().chain([six]).collect();
    let mut said = stage.done(said.resolves[0].0, Outcome::Resolved(all));
    let mut told = Vec::new();
    // The tracker answers everything.
    while let Some((remote, packet)) = said.datagrams.pop() {
        let answer = match packet {
            UdpTracker::Connect { transaction } => {
                UdpTracker::Connected { transaction, connection: 5 }
            }
            UdpTracker::Announce { transaction, announce, .. } => {
                told.push((remote, announce.info_hash.0[0], announce.event));
                UdpTracker::Announced { transaction, answer: AnnounceAnswer::default() }
            }
            other => panic!("{other:?}"),
        };
        said.add(stage.packet(remote, answer));
    }
    told.sort_by_key(|(remote, hash, _)| (*remote, *hash));
    let started = AnnounceEvent::Started;
    let expect =
        [(four[0], 1, started), (four[0], 2, started), (six, 1, started), (six, 2, started)];
    assert_eq!(told, expect);
    assert_eq!(stage.discover.trackers(TITLE)[0].trouble, "");
}

#[test]
fn the_next_of_a_tier_is_asked_when_one_fails_and_the_working_one_moves_to_the_front() {
    let mut stage = Stage::new();
    let mut said = stage.join(Some(false), &[&["http://a/x", "http://b/x", "http://c/x"]]);
    let mut order = Vec::new();
    for _ in 0..2 {
        order.push(said.hosts()[0].to_string());
        let tickets: Vec<Ticket> = said.fetches.iter().map(|fetch| fetch.0).collect();
        stage.fail(tickets[0]);
        said = stage.fail(tickets[1]);
    }
    order.push(said.hosts()[0].to_string());
    let mut sorted = order.clone();
    sorted.sort();
    assert_eq!(sorted, ["a", "b", "c"]);
    let tickets: Vec<Ticket> = said.fetches.iter().map(|fetch| fetch.0).collect();
    stage.fail(tickets[0]);
    stage.answer(tickets[1], 60, &[]);
    let views = stage.discover.trackers(TITLE);
    assert!(views[0].url.contains(&order[2]) && views[0].trouble.is_empty());
    assert_eq!(views[1].trouble, "no route");
    assert_eq!(stage.pass(60).hosts(), [order[2].as_str(); 2]);
}

#[test]
fn a_later_tier_waits_a_moment_and_stays_on_standby_when_an_earlier_one_works() {
    let mut stage = Stage::new();
    let tiers: &[&[&str]] = &[&["http://a/x"], &["http://b/x"], &["http://c/x"]];
    let said = stage.join(Some(false), tiers);
    assert_eq!(said.hosts(), ["a", "a"]);
    assert_eq!(stage.pass(2).hosts(), ["b", "b"], "no answer from the first one");
    stage.answer(said.fetches[0].0, 900, &[]);
    stage.answer(said.fetches[1].0, 900, &[]);
    assert!(stage.pass(100).fetches.is_empty());

    let mut stage = Stage::new();
    let said = stage.join(Some(false), tiers);
    stage.fail(said.fetches[0].0);
    assert_eq!(stage.fail(said.fetches[1].0).hosts(), ["b", "b"], "at once when the first fails");
    assert_eq!(stage.desk.now.as_millis(), 0);
}

#[test]
fn a_tier_that_fails_is_tried_again_after_growing_pauses() {
    let mut stage = Stage::new();
    let mut said = stage.join(Some(false), &[&["http://a/x"]]);
    let mut pauses = Vec::new();
    for _ in 0..4 {
        for (ticket, _) in said.fetches {
            stage.fail(ticket);
        }
        let before = stage.desk.now;
        let local = stage.discover.titles[&TITLE].tiers.deadline().expect("tried again");
        pauses.push(local.since(before).as_secs());
        said = stage.pass(pauses[pauses.len() - 1]);
    }
    assert_eq!(pauses, [5, 10, 20, 40]);
}

#[test]
fn a_refusal_is_shown_and_its_wish_to_be_left_alone_respected() {
    let mut stage = Stage::new();
    let said = stage.join(Some(false), &[&["http://a/x"]]);
    let body = Bytes::from(http::encode_failure("not here", Some(http::Retry::Never)));
    for (ticket, _) in said.fetches {
        let family = Family::V6;
        stage.done(ticket, Outcome::Fetched { status: 200, body: body.clone(), family });
    }
    assert_eq!(stage.discover.trackers(TITLE)[0].trouble, "not here");
    assert!(stage.pass(10_000).fetches.is_empty());
}

#[test]
fn a_udp_tracker_is_resolved_connected_and_asked_under_both_names() {
    let mut stage = Stage::new();
    let said = stage.join(Some(false), &[&["udp://t:80/announce?k=1"]]);
    assert_eq!((said.resolves[0].1.as_str(), said.resolves[0].2), ("t", 80));
    let remote = addr("10.9.9.9:80");
    let said = stage.done(said.resolves[0].0, Outcome::Resolved(vec![remote]));
    let [(to, UdpTracker::Connect { transaction })] = said.datagrams[..] else {
        panic!("{said:?}")
    };
    assert_eq!(to, remote);
    let connected = UdpTracker::Connected { transaction, connection: 77 };
    assert!(
        stage.packet(addr("10.9.9.9:81"), connected.clone()).datagrams.is_empty(),
        "a stranger"
    );
    let said = stage.packet(remote, connected);
    let mut found = Vec::new();
    let mut names = Vec::new();
    for (_, packet) in said.datagrams {
        let UdpTracker::Announce { connection: 77, transaction, announce, url_data } = packet
        else {
            panic!("{packet:?}")
        };
        assert_eq!((url_data.as_str(), announce.event), ("/announce?k=1", AnnounceEvent::Started));
        names.push(announce.info_hash);
        let peers = vec![addr("10.0.0.1:5")];
        let answer = AnnounceAnswer { interval_s: 50, peers, ..AnnounceAnswer::default() };
        found = stage.packet(remote, UdpTracker::Announced { transaction, answer }).found;
    }
    assert_eq!(names, [Hash20([1; 20]), Hash20([2; 20])]);
    assert_eq!(found, [(Found::Tracker, vec![addr("10.0.0.1:5")])]);
    // The connection id is still good after 50 s, and not after 120.
    let said = stage.pass(50);
    assert!(said.datagrams.iter().all(|d| matches!(d.1, UdpTracker::Announce { .. })));
    stage.desk.pass_ms(20_000);
    let said = stage.pass(3);
    assert!(said.datagrams.len() == 2, "repeated, since nothing came: {said:?}");
}

#[test]
fn an_unanswered_datagram_is_repeated_twice_and_then_the_next_address_tried() {
    let mut stage = Stage::new();
    let said = stage.join(Some(false), &[&["udp://t:80"]]);
    let addrs = vec![addr("10.0.0.1:80"), addr("10.0.0.2:80")];
    let mut tries = stage.done(said.resolves[0].0, Outcome::Resolved(addrs)).datagrams.len();
    tries += stage.pass(20).datagrams.len();
    assert_eq!(tries, 3, "at 0, 3 and 9 s");
    let said = stage.pass(1);
    assert_eq!(said.datagrams.len(), 1);
    assert_eq!(said.datagrams[0].0, addr("10.0.0.2:80"));
    let said = stage.pass(30);
    assert_eq!(stage.discover.trackers(TITLE)[0].trouble, "it does not answer");
    assert_eq!(said.resolves.len(), 1, "the name is looked up anew");
}

#[test]
fn completion_is_told_once_to_who_knows_us_and_the_end_to_all_of_them() {
    let mut stage = Stage::new();
    let said = stage.join(Some(false), &[&["http://a/x"], &["http://b/x"]]);
    for (ticket, _) in said.fetches {
        stage.answer(ticket, 900, &[]);
    }
    stage.note(Note::Ready { title: TITLE, info: info(&[1000], false) });
    let said = stage.note(Note::Finished { title: TITLE, fetched: true });
    assert!(said.fetches.iter().all(|(_, url)| url.contains("event=completed")), "{said:?}");
    assert!(said.fetches.iter().all(|(_, url)| url.contains("left=0")));
    assert_eq!(said.hosts(), ["a", "a"]);
    for (ticket, _) in said.fetches {
        stage.answer(ticket, 900, &[]);
    }
    let said = stage.pass(900);
    assert_eq!(said.hosts(), ["a", "a"]);
    assert!(!said.fetches[0].1.contains("event="));
    let late: Vec<Ticket> = said.fetches.iter().map(|fetch| fetch.0).collect();

    assert!(stage.discover.is_idle());
    let said = stage.note(Note::Left { title: TITLE });
    assert_eq!(said.hosts(), ["a", "a"]);
    assert!(said.fetches.iter().all(|(_, url)| url.contains("event=stopped")));
    assert!(said.fetches.iter().all(|(_, url)| url.contains("numwant=0")));
    assert!(!stage.discover.is_idle());
    for ticket in late {
        assert!(stage.answer(ticket, 900, &["10.0.0.1:5"]).found.is_empty(), "too late");
    }
    stage.answer(said.fetches[0].0, 900, &[]);
    assert!(!stage.discover.is_idle());
    // Over the other family it is told too.
    let said = stage.answer(said.fetches[1].0, 900, &[]);
    assert!(said.asides.len() == 2 && !stage.discover.is_idle());
    for (ticket, _, url) in said.asides {
        assert!(url.contains("event=stopped"));
        stage.fail(ticket);
    }
    assert!(stage.discover.is_idle() && stage.discover.deadline().is_none());
}

#[test]
fn a_farewell_that_is_not_answered_is_given_up() {
    let mut stage = Stage::new();
    stage.join(Some(false), &[&["http://a/x"]]);
    stage.note(Note::Left { title: TITLE });
    assert!(!stage.discover.is_idle());
    stage.pass(2);
    assert!(stage.discover.is_idle() && stage.discover.deadline().is_none());
}

#[test]
fn the_local_network_hears_of_a_title_at_once_and_every_five_minutes() {
    let mut stage = Stage::new();
    let said = stage.join(None, &[]);
    let [local] = &said.locals[..] else { panic!("{said:?}") };
    assert_eq!(local.info_hashes, [Hash20([1; 20]), Hash20([2; 20])]);
    assert_eq!(local.port, 4000);
    let mut listen = |announce: LocalAnnounce| {
        let Stage { discover, desk } = &mut stage;
        let packet = Packet::LocalDiscovery(announce);
        desk.turn(|turn| discover.on_packet(turn, addr("10.0.0.7:6771"), packet));
        stage.said().found
    };
    assert_eq!(listen(local.clone()), [], "our own");
    let theirs = LocalAnnounce { info_hashes: vec![Hash20([2; 20])], port: 99, cookie: Some(1) };
    assert_eq!(listen(theirs.clone()), [(Found::Local, vec![addr("10.0.0.7:99")])]);
    assert_eq!(listen(LocalAnnounce { port: 0, ..theirs.clone() }), []);
    let other = vec![Hash20([3; 20])];
    assert_eq!(listen(LocalAnnounce { info_hashes: other, ..theirs.clone() }), []);
    let heard: usize = (0..1000).map(|_| listen(theirs.clone()).len()).sum();
    assert!(heard <= 100, "a flood");
    assert!(stage.pass(299).locals.is_empty());
    assert_eq!(stage.pass(1).locals.len(), 1);
}

#[test]
fn a_private_title_is_known_to_its_trackers_alone() {
    for private in [Some(true), None] {
        let mut stage = Stage::new();
        let said = stage.join(private, &[&["http://a/x"]]);
        assert_eq!((said.fetches.len(), said.locals.len()), (2, usize::from(private.is_none())));
        stage.note(Note::Ready { title: TITLE, info: info(&[1000], true) });
        for link in [2, 4] {
            let listen = Some(SocketAddr::from(([10, 0, 0, link as u8], 9)));
            let (link, seed, exchange) = (LinkId(link), false, true);
            stage.note(Note::PeerUp { title: TITLE, link, listen, seed, exchange });
        }
        let said = stage.pass(1000);
        assert!(said.locals.is_empty() && said.exchanges.is_empty());
        let Stage { discover, desk } = &mut stage;
        let added = vec![PexPeer { addr: addr("10.0.0.1:9"), flags: 0 }];
        let pex = PexMessage { added, dropped: vec![] };
        desk.turn(|turn| discover.on_exchange(turn, TITLE, LinkId(2), &pex));
        let local = LocalAnnounce { info_hashes: vec![Hash20([1; 20])], port: 99, cookie: None };
        let packet = Packet::LocalDiscovery(local);
        desk.turn(|turn| discover.on_packet(turn, addr("10.0.0.7:6771"), packet));
        assert!(stage.said().found.is_empty());
    }
}

#[test]
fn neighbours_are_introduced_to_each_other() {
    let mut stage = Stage::new();
    stage.join(Some(false), &[]);
    for (link, seed) in [(2, true), (3, false)] {
        let listen = Some(SocketAddr::from(([10, 0, 0, link as u8], 9)));
        let (link, exchange) = (LinkId(link), true);
        stage.note(Note::PeerUp { title: TITLE, link, listen, seed, exchange });
    }
    let said = stage.pass(2);
    assert_eq!(said.exchanges.len(), 2);
    let to_leecher = &said.exchanges[1];
    assert_eq!(to_leecher.0, LinkId(3));
    assert_eq!(to_leecher.1.added, [PexPeer { addr: addr("10.0.0.2:9"), flags: 0x12 }]);
    let Stage { discover, desk } = &mut stage;
    let added = vec![PexPeer { addr: addr("10.0.0.1:9"), flags: 0 }];
    let pex = PexMessage { added, dropped: vec![] };
    desk.turn(|turn| discover.on_exchange(turn, TITLE, LinkId(2), &pex));
    assert_eq!(stage.said().found, [(Found::Exchange, vec![addr("10.0.0.1:9")])]);
}

#[test]
fn a_changed_network_is_announced_from_at_once() {
    let mut stage = Stage::new();
    let said = stage.join(Some(false), &[&["http://a/x"]]);
    for (ticket, _) in said.fetches {
        stage.answer(ticket, 900, &[]);
    }
    stage.pass(10);
    let Stage { discover, desk } = &mut stage;
    desk.turn(|turn| discover.on_network_changed(turn));
    let said = stage.said();
    assert_eq!((said.fetches.len(), said.locals.len()), (2, 1));
}

#[test]
fn what_a_tracker_answers_after_the_network_changed_is_still_its_own() {
    let mut stage = Stage::new();
    let mut said = stage.join(Some(false), &[&["http://a/x", "http://b/x"]]);
    for _ in 0..2 {
        said.add(stage.fail(said.fetches[0].0));
        said.fetches.remove(0);
    }
    let second = said.hosts()[0].to_string();
    let Stage { discover, desk } = &mut stage;
    desk.turn(|turn| discover.on_network_changed(turn));
    assert!(stage.said().fetches.is_empty(), "one at a time");
    stage.answer(said.fetches[0].0, 900, &["10.0.0.1:5"]);
    let said = stage.answer(said.fetches[1].0, 900, &["10.0.0.1:5"]);
    let views = stage.discover.trackers(TITLE);
    assert!(views[0].url.contains(&second) && views[0].peers == 1, "{views:?}");
    assert_eq!(views[1].trouble, "no route");
    // It answered to where we were before.
    assert_eq!(said.hosts(), [second.as_str(); 2]);
}

#[test]
fn a_long_path_of_a_udp_tracker_reaches_it_whole() {
    let mut stage = Stage::new();
    let path = alloc::format!("/announce?key={}", "k".repeat(600));
    let said = stage.join(Some(false), &[&[alloc::format!("udp://t:80{path}").as_str()]]);
    let remote = addr("10.9.9.9:80");
    let said = stage.done(said.resolves[0].0, Outcome::Resolved(vec![remote]));
    let UdpTracker::Connect { transaction } = said.datagrams[0].1 else { panic!("{said:?}") };
    let said = stage.packet(remote, UdpTracker::Connected { transaction, connection: 77 });
    for (_, packet) in said.datagrams {
        let UdpTracker::Announce { url_data, .. } =
            UdpTracker::decode_request(&packet.encode(false)).expect("a request")
        else {
            panic!("{packet:?}")
        };
        assert_eq!(url_data, path);
    }
}

#[test]
fn of_many_titles_each_is_named_to_the_local_network() {
    let mut stage = Stage::new();
    let mut named = Vec::new();
    for title in 0..30u8 {
        let hashes = shoal_wire::InfoHashes { v1: Some(Hash20([title; 20])), v2: None };
        let joined = Note::Joined {
            title: TitleId(title.into()),
            hashes,
            private: Some(false),
            trackers: vec![],
            time_indexes: vec![],
        };
        named.extend(stage.note(joined).locals);
    }
    named.extend(stage.pass(10).locals);
    let most = named.iter().map(|local| local.info_hashes.len()).max();
    assert!(most <= Some(shoal_wire::lsd::LOCAL_TITLES_SENT_MAX), "what is written");
    let hashes = named.iter().flat_map(|local| &local.info_hashes);
    assert_eq!(hashes.collect::<alloc::collections::BTreeSet<_>>().len(), 30);
}

/// Answers everything that is asked of a tracker which knows `size` peers; what it was told, by the first byte of the name.
fn serve(stage: &mut Stage, said: Said, size: u32, peer: &str) -> (Vec<(u8, String)>, Said) {
    let mut told = Vec::new();
    let mut rest = Said::default();
    let mut fetches = said.fetches;
    while let Some((ticket, url)) = fetches.pop() {
        let value = |key: &str| url.split(key).nth(1).and_then(|rest| rest.split('&').next());
        let hash = value("info_hash=").unwrap_or_default();
        let first = hash.strip_prefix('%').map_or_else(
            || hash.as_bytes()[0],
            |hex| u8::from_str_radix(&hex[..2], 16).expect("hex"),
        );
        let event = value("event=").unwrap_or("none");
        told.push((first, alloc::format!("{event} {}", value("numwant=").unwrap_or_default())));
        let answer = AnnounceAnswer {
            interval_s: 300,
            peers: vec![addr(peer)],
            incomplete: Some(size),
            ..AnnounceAnswer::default()
        };
        let body = Bytes::from(http::encode_announce(&answer, PeerForm::Compact));
        let more = stage.done(ticket, Outcome::Fetched { status: 200, body, family: Family::V4 });
        fetches.extend(more.fetches.iter().cloned());
        rest.add(Said { fetches: vec![], ..more });
    }
    told.sort();
    (told, rest)
}

fn key(slot: i64) -> u8 {
    shoal_wire::slot::rendezvous_key(&hashes(), slot).expect("a hash").0[0]
}

fn keys(slots: &[(i64, &str)]) -> Vec<(u8, String)> {
    let mut keys: Vec<_> =
        slots.iter().map(|(slot, said)| (key(*slot), String::from(*said))).collect();
    keys.sort();
    keys
}

const IN_SLOT: Note = Note::Slot { title: TITLE, slot: Some(7) };

#[test]
fn a_viewer_of_a_large_title_is_recorded_for_its_slot_and_later_ones_and_asks_in_its_own() {
    let mut stage = Stage::new();
    let said = stage.join(Some(false), &[&["http://a/announce"]]);
    let (told, _) = serve(&mut stage, said, 81, "10.0.0.1:5");
    assert_eq!(told.len(), 2, "nobody watches yet");
    let said = stage.note(IN_SLOT);
    let (told, said) = serve(&mut stage, said, 0, "10.0.0.2:5");
    assert_eq!(told, keys(&[(7, "started 80"), (8, "started 0"), (9, "started 0")]));
    assert_eq!(said.found, [(Found::Slot, vec![addr("10.0.0.2:5")])], "not who is recorded later");
    // It jumps, twice, and is told of once.
    stage.desk.now = stage.desk.now + Duration::from_secs(1);
    for slot in [3, 6] {
        assert!(stage.note(Note::Slot { title: TITLE, slot: Some(slot) }).fetches.is_empty());
    }
    let said = stage.pass(4);
    let (told, _) = serve(&mut stage, said, 0, "10.0.0.2:5");
    let expect = [(6, "started 80"), (7, "started 0"), (8, "started 0"), (9, "stopped 0")];
    assert_eq!(told, keys(&expect));
    // Asked again when hardly anybody has what is needed, but not all the time.
    assert!(stage.note(Note::Short { title: TITLE }).fetches.is_empty());
    stage.desk.now = stage.desk.now + Duration::from_secs(15);
    let said = stage.note(Note::Short { title: TITLE });
    let (told, _) = serve(&mut stage, said, 0, "10.0.0.2:5");
    assert_eq!(told, keys(&[(6, "none 80"), (7, "none 0"), (8, "none 0")]));
    // A player that closes and opens an answer is still there; one that is gone for long is not.
    stage.note(Note::Slot { title: TITLE, slot: None });
    assert!(stage.pass(59).fetches.is_empty());
    let said = stage.pass(1);
    let (told, _) = serve(&mut stage, said, 0, "10.0.0.2:5");
    assert_eq!(told, keys(&[(6, "stopped 0"), (7, "stopped 0"), (8, "stopped 0")]));
}

#[test]
fn records_are_renewed_and_withdrawn_with_the_title() {
    let mut stage = Stage::new();
    let said = stage.join(Some(false), &[&["http://a/announce"]]);
    stage.note(IN_SLOT);
    let (told, _) = serve(&mut stage, said, 100, "10.0.0.1:5");
    assert_eq!(told.len(), 5, "it is large, as shows only now: {told:?}");
    let said = stage.pass(301);
    let (told, _) = serve(&mut stage, said, 100, "10.0.0.1:5");
    assert!(told.len() == 5 && told.iter().all(|(_, said)| said.starts_with("none")), "{told:?}");
    let said = stage.note(Note::Left { title: TITLE });
    let (told, _) = serve(&mut stage, said, 100, "10.0.0.1:5");
    assert!(
        told.len() == 5 && told.iter().all(|(_, said)| said.starts_with("stopped")),
        "{told:?}"
    );
}

#[test]
fn small_and_private_titles_need_no_slots() {
    for (private, size) in [(false, 80), (true, 1000)] {
        let mut stage = Stage::new();
        let said = stage.join(Some(private), &[&["http://a/announce"]]);
        let (told, _) = serve(&mut stage, said, size, "10.0.0.1:5");
        assert_eq!(told.len(), 2);
        assert!(stage.note(IN_SLOT).fetches.is_empty());
        assert!(stage.note(Note::Short { title: TITLE }).fetches.is_empty());
    }
}

#[test]
fn a_magnet_that_proves_private_uses_no_slots_though_its_tracker_told_of_a_crowd() {
    let mut stage = Stage::new();
    let said = stage.join(None, &[&["http://a/announce"]]);
    serve(&mut stage, said, 1000, "10.0.0.1:5");
    stage.note(Note::Ready { title: TITLE, info: info(&[1000], true) });
    assert!(stage.note(IN_SLOT).fetches.is_empty());
    assert!(stage.note(Note::Short { title: TITLE }).fetches.is_empty());
}

#[test]
fn a_tracker_that_refuses_slots_is_asked_ever_less_often() {
    let mut stage = Stage::new();
    let said = stage.join(Some(false), &[&["http://a/announce"]]);
    serve(&mut stage, said, 100, "10.0.0.1:5");
    let mut said = stage.note(IN_SLOT);
    let mut moments = Vec::new();
    for _ in 0..6 {
        moments.push(stage.desk.now);
        for (ticket, _) in core::mem::take(&mut said.fetches) {
            stage.fail(ticket);
        }
        while said.fetches.is_empty() {
            said = stage.pass(1);
            said.fetches.retain(|(_, url)| !url.contains("%01%01") && !url.contains("%02%02"));
        }
    }
    let pauses: Vec<u64> =
        moments.windows(2).map(|pair| pair[1].since(pair[0]).as_secs()).collect();
    assert_eq!(pauses, [10, 20, 40, 80, 160]);
}
