use shoal_node::io::CloseReason;
use shoal_node::link::LinkId;
use shoal_node::rng::Seed;
use shoal_wire::peer::{Message, encoded_len};

use super::*;
use crate::content::good;
use crate::queue::Queue;
use crate::world::Event;

/// A network under a script: what arrived, when, in order.
struct Bench {
    network: Network,
    queue: Queue<Event>,
    log: Vec<(u64, u32, Arrival)>,
    now: u64,
}

impl Bench {
    fn new(rates: &[Rates], one_way_ms: u64, loss_per_10000: u32) -> Self {
        let config = NetworkConfig {
            latency: Latency::Constant { one_way_ns: one_way_ms * 1_000_000 },
            jitter_ns: 0,
            loss_per_10000,
            send_queue: 1 << 30,
        };
        let mut network = Network::new(config, Seed::from_u64(1));
        for &rates in rates {
            network.add_host(rates);
        }
        Self { network, queue: Queue::default(), log: Vec::new(), now: 0 }
    }
    fn run(&mut self, until_ms: u64) {
        let mut out = Vec::new();
        while let Some(at) = self.queue.next_at().filter(|at| *at <= until_ms * 1_000_000) {
            let Some((_, Event::Net(event))) = self.queue.pop() else { panic!("only net events") };
            self.now = at;
            self.network.on_event(at, event, &mut self.queue, &mut out);
            self.log.extend(out.drain(..).map(|(host, arrival)| (at, host, arrival)));
        }
        self.now = until_ms * 1_000_000;
    }
    fn dial(&mut self, from: u32, to: u32) -> LinkId {
        let link = LinkId(2 + 2 * to);
        self.network.dial(self.now, from, link, address_of(to), &mut self.queue);
        link
    }
    /// Offers `count` blocks and starts them.
    fn pour(&mut self, host: u32, link: LinkId, count: u32) {
        for piece in 0..count {
            let data = good(16_384);
            assert!(self.network.offer(host, link, Message::Piece { piece, offset: 0, data }));
        }
        self.network.flush(self.now, &mut self.queue, &mut Vec::new());
    }
    fn say(&mut self, host: u32, link: LinkId, message: Message) {
        assert!(self.network.offer(host, link, message));
        self.network.flush(self.now, &mut self.queue, &mut Vec::new());
    }
    /// When each message reached `host`, milliseconds.
    fn heard(&self, host: u32) -> Vec<u64> {
        let of = self.log.iter().filter(|entry| entry.1 == host);
        of.filter(|entry| matches!(entry.2, Arrival::Message { .. }))
            .map(|entry| entry.0 / 1_000_000)
            .collect()
    }
}

const FAST: Rates = Rates { up: 1_000_000_000, down: 1_000_000_000 };
const fn rates(up: u64, down: u64) -> Rates {
    Rates { up, down }
}

#[test]
fn a_connection_opens_after_a_round_trip_and_half_a_one_later_at_the_other_end() {
    let mut bench = Bench::new(&[FAST, FAST], 40, 0);
    let link = bench.dial(0, 1);
    bench.run(1000);
    let ups: Vec<(u64, u32)> = bench
        .log
        .iter()
        .filter(|entry| matches!(entry.2, Arrival::Up { .. }))
        .map(|entry| (entry.0 / 1_000_000, entry.1))
        .collect();
    assert_eq!(ups, [(80, 0), (120, 1)]);
    bench.say(0, link, Message::Interested);
    bench.run(2000);
    assert_eq!(bench.heard(1), [1040]);
    assert!(matches!(bench.log[1].2, Arrival::Up { link: LinkId(1), .. }));
}

#[test]
fn what_the_dialer_says_at_once_does_not_overtake_the_handshake() {
    let mut bench = Bench::new(&[FAST, FAST], 40, 0);
    let link = bench.dial(0, 1);
    bench.run(80);
    bench.say(0, link, Message::Interested);
    bench.run(1000);
    assert_eq!(bench.heard(1), [120]);
    assert!(matches!(bench.log[1].2, Arrival::Up { .. }) && bench.log[1].1 == 1);
}

#[test]
fn slow_start_takes_the_round_trips_of_ten_doubling_segments() {
    let mut bench = Bench::new(&[FAST, FAST], 50, 0);
    let link = bench.dial(0, 1);
    bench.run(1000);
    // 64 blocks are 725 segments: 10 + 20 + 40 + 80 + 160 + 320 after six trips, so the seventh carries the rest.
    bench.pour(0, link, 64);
    bench.run(5000);
    let last = bench.heard(1).last().copied().expect("all arrived") - 1000;
    assert_eq!(bench.heard(1).len(), 64);
    assert!((650..=670).contains(&last), "{last} ms");
    // After a long pause it starts again from ten.
    bench.pour(0, link, 2);
    bench.run(20_000);
    bench.pour(0, link, 2);
    bench.run(30_000);
    let heard = bench.heard(1);
    assert!(heard[heard.len() - 1] - 20_000 >= 150, "{heard:?}");
}

#[test]
fn an_uplink_is_shared_fairly_and_headers_are_charged() {
    let mut bench = Bench::new(&[rates(1_000_000, 1_000_000), FAST, FAST, FAST], 1, 0);
    let links: Vec<LinkId> = (1..4).map(|to| bench.dial(0, to)).collect();
    bench.run(100);
    for &link in &links {
        bench.pour(0, link, 100);
    }
    bench.run(3100);
    // 3 MB of link carry 3 MB * 1448/1500 of stream, a third each.
    let counts: Vec<usize> = (1..4).map(|host| bench.heard(host).len()).collect();
    let all: usize = counts.iter().sum();
    assert!((172..=178).contains(&all), "{counts:?}");
    assert!(counts.iter().all(|count| (56..=61).contains(count)), "{counts:?}");
    let sent = bench.network.interface(0);
    assert!(sent.wire_out * 1448 / 1500 / 1000 >= sent.payload_out / 1000 - 100);
}

#[test]
fn a_downlink_is_shared_fairly_among_its_senders() {
    let mut bench = Bench::new(&[FAST, FAST, FAST, rates(1_000_000, 1_000_000)], 20, 0);
    let links: Vec<LinkId> = (0..3).map(|from| bench.dial(from, 3)).collect();
    bench.run(100);
    for (from, &link) in links.iter().enumerate() {
        bench.pour(from as u32, link, 200);
    }
    bench.run(5100);
    let mut by_link = [0; 3];
    for (_, _, arrival) in &bench.log {
        if let Arrival::Message { peer, .. } = arrival {
            by_link[*peer as usize] += 1;
        }
    }
    let all: i32 = by_link.iter().sum();
    assert!((270..=296).contains(&all), "{by_link:?}");
    assert!(by_link.iter().all(|count| (85..=103).contains(count)), "{by_link:?}");
}

#[test]
fn a_slow_receiver_does_not_hold_up_the_others() {
    let mut bench = Bench::new(&[rates(1_000_000, 1_000_000), rates(50_000, 50_000), FAST], 10, 0);
    let (slow, fast) = (bench.dial(0, 1), bench.dial(0, 2));
    bench.run(100);
    bench.pour(0, slow, 500);
    bench.pour(0, fast, 500);
    bench.run(8100);
    let (slow, fast) = (bench.heard(1).len(), bench.heard(2).len());
    assert!((18..=25).contains(&slow), "{slow}");
    assert!(fast >= 420, "{fast}");
}

#[test]
fn a_small_message_passes_between_the_segments_of_a_block() {
    let mut bench = Bench::new(&[rates(100_000, 100_000), FAST, FAST], 10, 0);
    let (bulk, small) = (bench.dial(0, 1), bench.dial(0, 2));
    bench.run(100);
    bench.pour(0, bulk, 50);
    bench.run(500);
    bench.say(0, small, Message::Interested);
    bench.run(1000);
    let at = bench.heard(2)[0];
    assert!((510..=515).contains(&at), "{at}");
}

#[test]
fn a_close_lets_out_what_was_said_before_and_is_heard_after_it() {
    let mut bench = Bench::new(&[rates(100_000, 100_000), FAST], 10, 0);
    let link = bench.dial(0, 1);
    bench.run(100);
    bench.pour(0, link, 5);
    let now = bench.now;
    assert!(bench.network.close(now, 0, link, CloseReason::NotNeeded, &mut bench.queue));
    assert!(!bench.network.offer(0, link, Message::KeepAlive));
    assert!(!bench.network.close(now, 0, link, CloseReason::NotNeeded, &mut bench.queue));
    bench.run(5000);
    assert_eq!(bench.heard(1).len(), 5);
    let downs: Vec<&(u64, u32, Arrival)> =
        bench.log.iter().filter(|entry| matches!(entry.2, Arrival::Down { .. })).collect();
    assert!(matches!(downs[0], (_, 0, Arrival::Down { reason: CloseReason::NotNeeded, .. })));
    assert!(matches!(downs[1], (_, 1, Arrival::Down { reason: CloseReason::Remote, .. })));
    assert_eq!(downs.len(), 2);
    assert!(bench.network.conns.chunks.iter().flatten().all(|conn| !conn.used));
}

#[test]
fn dials_to_nobody_fail_once_and_a_process_that_ends_resets_its_links() {
    let mut bench = Bench::new(&[FAST, FAST, FAST], 10, 0);
    bench.dial(0, 9);
    bench.dial(0, 1);
    bench.dial(2, 0);
    bench.run(100);
    let now = bench.now;
    bench.network.leave(now, 0, false, &mut bench.queue);
    bench.dial(1, 0);
    bench.run(20_000);
    let downs: Vec<u32> = bench
        .log
        .iter()
        .filter(|entry| matches!(entry.2, Arrival::Down { .. }))
        .map(|entry| entry.1)
        .collect();
    assert_eq!(downs, [1, 2, 1]);
    assert!(bench.network.conns.chunks.iter().flatten().all(|conn| !conn.used));
}

#[test]
fn loss_slows_a_stream_down_and_loses_nothing() {
    let run = |loss| {
        let mut bench = Bench::new(&[rates(1_000_000, 1_000_000), FAST], 20, loss);
        let link = bench.dial(0, 1);
        bench.run(100);
        bench.pour(0, link, 200);
        bench.run(60_000);
        assert_eq!(bench.heard(1).len(), 200);
        (bench.heard(1)[199], bench.network.interface(0).retransmitted)
    };
    let (clean, none) = run(0);
    let (lossy, some) = run(200);
    assert!(none == 0 && some > 10, "{some}");
    assert!(lossy > clean, "{clean} {lossy}");
}

#[test]
fn a_partition_delays_streams_and_eats_datagrams() {
    let mut bench = Bench::new(&[FAST, FAST], 10, 0);
    let side = vec![false, true];
    let link = bench.dial(0, 1);
    bench.network.add_partition(Partition {
        from_ns: 1_000_000_000,
        until_ns: 5_000_000_000,
        side,
    });
    bench.run(2000);
    bench.say(0, link, Message::Interested);
    bench.run(4000);
    assert!(bench.heard(1).is_empty());
    bench.run(9000);
    assert!(bench.heard(1)[0] >= 5000);
}

#[test]
fn no_byte_is_made_or_lost_between_the_ends() {
    let mut bench = Bench::new(&[rates(300_000, 2_000_000), rates(700_000, 400_000)], 15, 100);
    let link = bench.dial(0, 1);
    bench.run(100);
    for piece in 0..300u32 {
        let message = if piece % 3 == 0 {
            Message::Have { piece }
        } else {
            Message::Piece { piece, offset: 0, data: good(16_384) }
        };
        assert!(encoded_len(&message) > 0);
        bench.say(0, link, message);
    }
    bench.run(100_000);
    assert_eq!(bench.heard(1).len(), 300);
    let (from, to) = (bench.network.interface(0), bench.network.interface(1));
    assert_eq!(from.payload_out, to.payload_in);
    assert_eq!(from.film_out, 200 * 16_384);
    assert_eq!(from.messages_out, 300);
}
