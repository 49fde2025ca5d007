//! A switch that holds every frame for a set time: what stands in place of the bridge when there is to be delay.
//!
//! ```text
//!   host a [eth0: tap | tbf] ---- this thread: now + delay ---- [tbf | eth0: tap] host b
//! ```
//!
//! The kernel here has no `netem`, so frames pass through this process. Each host's shaper stands before it, so a frame is held
//! after it left the uplink, as on a long line: any number may be under way at once, and none overtakes another. Hosts are
//! told apart by the addresses that they send from. What it does not do: loss, jitter, limits of its own but for
//! [`HELD_MAX`]; a frame that finds no room, or that its host does not take, is counted as lost, and an experiment fails on it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::tap::Tap;

/// Frames under way at most: half a second of a gigabit.
const HELD_MAX: usize = 50_000;
/// Frames read from one host before the next has its turn.
const IN_A_ROW: usize = 32;
/// Longest frame, bytes: the MTU and an Ethernet header, with room to spare.
const FRAME_MAX: usize = 2048;
/// New hosts are noticed after this time at the latest.
const LOOK: Duration = Duration::from_millis(20);

/// An address of a network interface.
type Address = [u8; 6];

/// A running switch; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Wire {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    taps: Mutex<Vec<Arc<Tap>>>,
    over: AtomicBool,
    lost: AtomicU64,
}

/// Where a frame goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum To {
    One(usize),
    AllBut(usize),
}

/// A frame that is under way.
struct Held {
    at: Instant,
    to: To,
    frame: Vec<u8>,
}

impl Wire {
    /// A switch without hosts that holds each frame for `delay`.
    pub(crate) fn new(delay: Duration) -> Self {
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        let thread = thread::spawn(move || carry(&own, delay));
        Self { shared, thread: Some(thread) }
    }

    /// One more host.
    pub(crate) fn add(&self, tap: Tap) {
        self.shared.taps.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::new(tap));
    }

    /// Frames that were lost so far.
    pub(crate) fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Who is behind which interface, as far as they have said something.
#[derive(Debug, Default)]
struct Addresses(BTreeMap<Address, usize>);

impl Addresses {
    /// Learns from a frame of `from` and says where it goes; `None` for what is no frame, or goes back where it came from.
    fn route(&mut self, frame: &[u8], from: usize) -> Option<To> {
        let (to, rest) = frame.split_first_chunk::<6>()?;
        let sender = rest.first_chunk::<6>()?;
        self.0.insert(*sender, from);
        match self.0.get(to) {
            Some(&known) if known == from => None,
            Some(&known) => Some(To::One(known)),
            // Meant for all, or for somebody who has not said anything yet.
            None => Some(To::AllBut(from)),
        }
    }
}

fn carry(shared: &Shared, delay: Duration) {
    let mut held: VecDeque<Held> = VecDeque::new();
    let mut addresses = Addresses::default();
    let mut room = [0; FRAME_MAX];
    while !shared.over.load(Ordering::Relaxed) {
        let taps = shared.taps.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let next = held.front().map_or(LOOK, |first| first.at - Instant::now());
        Tap::wait(&taps, u64::try_from(next.min(LOOK).as_nanos()).unwrap_or(0));
        for (index, tap) in taps.iter().enumerate() {
            for _ in 0..IN_A_ROW {
                let Some(length) = tap.read(&mut room) else { break };
                let Some(to) = addresses.route(&room[..length], index) else { continue };
                if held.len() >= HELD_MAX {
                    shared.lost.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                held.push_back(Held {
                    at: Instant::now() + delay,
                    to,
                    frame: room[..length].to_vec(),
                });
            }
        }
        let now = Instant::now();
        while held.front().is_some_and(|first| first.at <= now) {
            let Some(Held { to, frame, .. }) = held.pop_front() else { break };
            let lost = match to {
                To::One(index) => usize::from(!taps[index].write(&frame)),
                To::AllBut(from) => {
                    let others = taps.iter().enumerate().filter(|(index, _)| *index != from);
                    // A host that is not up yet misses nothing that was meant for it.
                    others.for_each(|(_, tap)| {
                        tap.write(&frame);
                    });
                    0
                }
            };
            shared.lost.fetch_add(lost as u64, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Addresses, To};

    fn frame(to: u8, from: u8) -> Vec<u8> {
        [[to; 6], [from; 6]].concat()
    }

    #[test]
    fn a_frame_goes_to_whoever_sent_from_its_address_and_else_to_all_others() {
        let mut addresses = Addresses::default();
        assert_eq!(addresses.route(&frame(0xff, 1), 0), Some(To::AllBut(0)), "for all");
        assert_eq!(addresses.route(&frame(2, 1), 0), Some(To::AllBut(0)), "not known yet");
        assert_eq!(addresses.route(&frame(1, 2), 1), Some(To::One(0)));
        assert_eq!(addresses.route(&frame(2, 1), 0), Some(To::One(1)));
        assert_eq!(addresses.route(&frame(2, 2), 1), None, "it is there already");
        assert_eq!(addresses.route(&[1, 2, 3], 1), None, "no frame");
    }
}
