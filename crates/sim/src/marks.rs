//! What is noted of each host while a scenario runs: the raw material of the figures.

use shoal_node::link::TitleId;
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

/// A stretch of playing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stretch {
    /// What was played.
    pub title: TitleId,
    /// From when, nanoseconds.
    pub from_ns: u64,
    /// From which film time, milliseconds.
    pub position_ms: u64,
    /// Until when, nanoseconds; `None` while it goes on.
    pub until_ns: Option<u64>,
    /// Pauses in it that nobody asked for, milliseconds.
    pub stalled_ms: u64,
}

impl Stretch {
    /// Film time seen in it by `now`, milliseconds.
    #[must_use]
    pub fn played_ms(&self, now: u64) -> f64 {
        let until = self.until_ns.unwrap_or(now);
        (until.saturating_sub(self.from_ns) as f64 / 1e6 - self.stalled_ms as f64).max(0.0)
    }
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
    /// What it has watched or fetched so far, the present title last.
    pub titles: Vec<TitleId>,
    /// How often it will yet turn to another title.
    pub changes_left: u32,
    /// Time from asking for its first title to the first frame, milliseconds.
    pub startup_ms: Option<u64>,
    /// The same of each title after that.
    pub later_startups_ms: Vec<Option<u64>>,
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
    /// The present film was seen to its end at this time, nanoseconds.
    pub ended_ns: Option<u64>,
    /// Everything was there at this time, nanoseconds.
    pub complete_ns: Option<u64>,
    /// Stretches of playing.
    pub stretches: Vec<Stretch>,
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
            titles: Vec::new(),
            changes_left: 0,
            startup_ms: None,
            later_startups_ms: Vec::new(),
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
    /// The present title, and its number among those of this host.
    #[must_use]
    pub fn viewing(&self) -> (TitleId, u32) {
        let last = self.titles.last().copied().unwrap_or(TitleId(0));
        (last, self.titles.len().saturating_sub(1) as u32)
    }
    /// Whether the first frame of the present title was shown.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        self.later_startups_ms.last().unwrap_or(&self.startup_ms).is_some()
    }
    /// The stretch under way.
    pub fn playing_mut(&mut self) -> Option<&mut Stretch> {
        self.stretches.last_mut().filter(|stretch| stretch.until_ns.is_none())
    }
    /// Film time seen of a title, or of all, by `now`, milliseconds.
    #[must_use]
    pub fn played_ms(&self, title: Option<TitleId>, now: u64) -> f64 {
        let of = |stretch: &&Stretch| title.is_none_or(|title| stretch.title == title);
        self.stretches.iter().filter(of).map(|stretch| stretch.played_ms(now)).sum()
    }
    /// Film time at which it is, or was when its picture last stood, milliseconds.
    #[must_use]
    pub fn position_ms(&self, now: u64) -> u64 {
        self.stretches.last().map_or(0, |stretch| {
            let until = stretch.until_ns.unwrap_or(now);
            stretch.position_ms + until.saturating_sub(stretch.from_ns) / 1_000_000
        })
    }
}
