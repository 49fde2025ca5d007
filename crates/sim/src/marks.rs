//! What is noted of each host while a scenario runs: the raw material of the figures.

use shoal_node::stats::Counters;

/// What a host is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// A publisher.
    Server,
    /// Holds everything.
    Seed,
    /// Holds a random half.
    Half,
    /// Fetches the whole film.
    Fetcher,
    /// Plays it.
    Viewer,
}

/// What is noted of a host.
#[derive(Clone, Debug)]
pub struct Marks {
    /// What it is.
    pub role: Role,
    /// When it came first, nanoseconds.
    pub joined_ns: u64,
    /// It came at all.
    pub came: bool,
    /// It is in the hands of a fault that nobody can finish under, or deceived at some time.
    pub deceiver: bool,
    /// Time from asking to the first frame, milliseconds.
    pub startup_ms: Option<u64>,
    /// When the first frame was shown, nanoseconds.
    pub playing_ns: u64,
    /// Hosts it had film from until then.
    pub parents: Vec<u32>,
    /// Pauses nobody asked for.
    pub stalls: u32,
    /// Their length, milliseconds.
    pub stalled_ms: u64,
    /// Jumps asked for: when, nanoseconds.
    pub jumps: Vec<u64>,
    /// Time from jump to frame, milliseconds.
    pub seeks_ms: Vec<u64>,
    /// The film was seen to its end at this time, nanoseconds.
    pub ended_ns: Option<u64>,
    /// Everything was there at this time, nanoseconds.
    pub complete_ns: Option<u64>,
    /// Stretches of playing: from when, from which film time in ms, until when (0: still).
    pub stretches: Vec<(u64, u64, u64)>,
    /// It left for good at this time, nanoseconds.
    pub gone_ns: Option<u64>,
    /// Its counters when it left.
    pub counters: Vec<Counters>,
    /// Peers it shut out.
    pub banned: u32,
    /// What it complained of last.
    pub trouble: Option<String>,
}

impl Marks {
    /// Of a host that is to come at a time, nanoseconds.
    #[must_use]
    pub fn new(role: Role, joined_ns: u64) -> Self {
        Self {
            role,
            joined_ns,
            came: false,
            deceiver: false,
            startup_ms: None,
            playing_ns: 0,
            parents: Vec::new(),
            stalls: 0,
            stalled_ms: 0,
            jumps: Vec::new(),
            seeks_ms: Vec::new(),
            ended_ns: None,
            complete_ns: None,
            stretches: Vec::new(),
            gone_ns: None,
            counters: Vec::new(),
            banned: 0,
            trouble: None,
        }
    }
    /// Film time at which it is, or was when its picture last stood, milliseconds.
    #[must_use]
    pub fn position_ms(&self, now: u64) -> u64 {
        self.stretches.last().map_or(0, |&(from, position, until)| {
            let until = if until == 0 { now } else { until };
            position + until.saturating_sub(from) / 1_000_000
        })
    }
}
