//! What viewers do shows in the figures: who has no patience leaves, who knows only the server is fed by it alone.

mod common;

use common::{options, play};
use shoal_sim::metrics::PeerRow;
use shoal_sim::report::Report;

fn value(peer: &PeerRow, name: &str) -> Option<f64> {
    peer.values.iter().find(|entry| entry.0 == name).and_then(|entry| entry.1)
}

#[test]
fn who_has_no_patience_leaves_and_counts_as_never_started() {
    let set = ["server.up_bytes_per_s=16000", "play.give_up_s=5", "finish=play", "peers=2"];
    let report = play(&options("swarm-small", 1..=2, &set));
    for row in &report.seeds {
        let over = row.values.iter().find(|entry| entry.0 == "virtual_ms").and_then(|e| e.1);
        assert!(over.is_some_and(|ms| (6000.0..=6250.0).contains(&ms)), "{over:?}");
        for peer in &row.peers {
            assert_eq!(value(peer, "startup_ms"), Some(f64::INFINITY));
            assert_eq!(value(peer, "stall_ratio"), None);
            assert!(value(peer, "received_bytes").is_some_and(|bytes| bytes > 0.0));
        }
    }
}

#[test]
fn sessions_end_and_what_was_received_until_then_still_counts() {
    let set = ["play.session_s=6", "play.session_shape=3", "finish=play", "peers=2"];
    let report = play(&options("swarm-small", 1..=3, &set));
    for peer in report.seeds.iter().flat_map(|row| &row.peers) {
        assert!(value(peer, "startup_ms").is_some_and(f64::is_finite));
        assert!(value(peer, "data_efficiency").is_some_and(|share| share > 0.5));
        assert!(value(peer, "stalls").is_some_and(|count| count < 2.0));
    }
    assert!(report.seeds.iter().all(|row| row.violations.is_empty()));
}

#[test]
fn under_client_server_no_peer_ever_sends_film() {
    for find in ["directory", "given"] {
        let mut options = options("swarm-small", 1..=2, &[&format!("lookup.find={find}")]);
        options.policy = Some("client-server".into());
        options.strict = true;
        let report = play(&options);
        assert_eq!(report.broken().count(), 0);
        for row in &report.seeds {
            let copies = row.values.iter().find(|entry| entry.0 == "server_copies");
            assert!(
                copies.is_some_and(|c| c.1.is_some_and(|c| (3.99..4.2).contains(&c))),
                "{copies:?}"
            );
            assert!(row.peers.iter().all(|peer| value(peer, "sent_bytes") == Some(0.0)));
        }
    }
}

/// Who has some of what is needed and is slow, and a source that is far away: each block was left to the other by both of them.
#[test]
fn a_slow_holder_does_not_keep_a_viewer_from_the_source() {
    let report = play(&options("slow-holder", 1..=3, &[]));
    for peer in report.seeds.iter().flat_map(|row| &row.peers) {
        assert!(value(peer, "stalls").is_some_and(|count| count <= 2.0), "{:?}", peer.values);
        assert!(value(peer, "stall_ratio").is_some_and(|share| share < 0.01), "{:?}", peer.values);
    }
    let copies = report.seeds.iter().flat_map(|row| &row.values);
    for (_, copies) in copies.filter(|entry| entry.0 == "server_copies") {
        // The holder can bring a third.
        assert!(copies.is_some_and(|copies| (0.6..0.75).contains(&copies)), "{copies:?}");
    }
}

/// So many viewers of `d-1000` within so many seconds, and a server with an uplink of `server` bytes/s.
fn crowd(viewers: usize, within_s: u32, film_s: u32, server: u32) -> Report {
    let set = [
        format!("peers={viewers}"),
        format!("viewers={viewers}"),
        format!("arrival.over_s={within_s}"),
        format!("film.duration_s={film_s}"),
        format!("server.up_bytes_per_s={server}"),
        "limit_s=200".to_owned(),
    ];
    let report = play(&options("d-1000", 1..=1, &set.each_ref().map(String::as_str)));
    assert_eq!((report.seeds.len(), report.seeds[0].peers.len()), (1, viewers));
    report
}

/// All begin at once and a server has 3 % of the demand. Where everybody took what is due next, all held the same: they stood still
/// for a third of the time, and the server sent three copies.
#[test]
fn a_crowd_that_begins_at_once_passes_on_what_few_have() {
    let report = crowd(100, 6, 90, 400_000);
    let row = &report.seeds[0];
    let mean = |name: &str| {
        let values: Vec<f64> = row.peers.iter().filter_map(|peer| value(peer, name)).collect();
        assert_eq!(values.len(), 100, "{name}");
        values.iter().sum::<f64>() / values.len() as f64
    };
    assert!(mean("startup_ms") < 10_000.0, "{}", mean("startup_ms"));
    assert!(mean("stall_ratio") < 0.2, "{}", mean("stall_ratio"));
    let copies = row.values.iter().find(|entry| entry.0 == "server_copies");
    assert!(copies.is_some_and(|it| it.1.is_some_and(|it| it < 2.7)), "{copies:?}");
}

/// A source has room for 80 links: those who came first had them for the whole film.
#[test]
fn a_source_that_turns_viewers_away_makes_room_for_them() {
    let report = crowd(120, 20, 60, 1_250_000);
    let is_fed =
        |peer: &&PeerRow| value(peer, "from_server_bytes").is_some_and(|bytes| bytes > 0.0);
    let fed = report.seeds[0].peers.iter().filter(is_fed).count();
    assert!(fed >= 88, "{fed}");
}

#[test]
fn browsers_jump_and_land() {
    let set = ["play.manner=browse", "play.jumps=3", "play.jump_every_s=2", "film.duration_s=60"];
    let report = play(&options("swarm-small", 1..=3, &set));
    let seeks: Vec<f64> =
        report.seeds.iter().flat_map(|row| &row.peers).flat_map(|p| p.seeks_ms.clone()).collect();
    assert!(seeks.len() >= 6, "{seeks:?}");
    assert!(seeks.iter().all(|ms| ms.is_finite()), "{seeks:?}");
}
