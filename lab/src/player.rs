//! A player: takes a film over HTTP at its rate, shows the first frame once a second of it is there, and counts every
//! pause. A jump is a new request elsewhere.
//!
//! The film's rate is constant, so its bytes are its clock. A stall begins when the bytes taken are played and ends with
//! the next ones; pauses less than a second apart are one stall. Times of the start count from the start of the viewer's
//! process, those of a jump from the moment of the jump.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fault::{Fault, Tried};
use crate::http::{self, Body};
use crate::program::Program;
use crate::watch::Watch;

/// Film that is there before a frame is shown, seconds.
const PREROLL_S: f64 = 1.0;
/// Film that a player takes ahead of what it shows, seconds.
const AHEAD_S: f64 = 2.0;
/// Pauses closer together than this are one stall, seconds.
const APART_S: f64 = 1.0;
/// Film after a place of which nothing may be there, for the place to count as unfetched, seconds.
const NOTHING_S: f64 = 2.0;
/// A jump leads at least this far before the end, seconds of film.
const END_S: f64 = 5.0;
/// Bytes taken at once.
const CHUNK: usize = 16 * 1024;
/// Pause of a player that is far enough ahead.
const REST: Duration = Duration::from_millis(5);
/// "The first MiB" of the baselines, bytes.
const MIB: u64 = 1 << 20;

/// Where a jump leads.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// To one of the places of which the viewer holds nothing: the share of them that lies before it.
    Unfetched(f64),
    /// To this share of the film.
    Share(f64),
}

/// What a viewer does: plays, jumps after so many seconds of playing, plays on to the end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    /// Jumps in turn: seconds of playing before each, and where it leads.
    pub(crate) jumps: Vec<(f64, Place)>,
    /// Seconds of playing after the last jump, if not to the end of the film.
    pub(crate) last_s: Option<f64>,
}

/// How one stretch between two jumps went. Times in seconds; infinite when it never came to that.
#[derive(Clone, Debug)]
pub(crate) struct Stretch {
    /// First byte of it within the film.
    pub(crate) from: u64,
    /// Whether nothing of the place was there when it was asked for.
    pub(crate) unfetched: bool,
    /// From the wish to the request: for the first stretch, what the program needed to be ready.
    pub(crate) asked_s: f64,
    /// From the wish to the first byte.
    pub(crate) first_byte_s: f64,
    /// From the wish to the first MiB.
    pub(crate) first_mib_s: f64,
    /// From the wish to the first frame.
    pub(crate) frame_s: f64,
    /// Length of each stall.
    pub(crate) stalls_s: Vec<f64>,
    /// Time of playing without the stalls.
    pub(crate) played_s: f64,
}

/// Everything a viewer lived through: the start, then one stretch per jump.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The stretches in turn.
    pub(crate) stretches: Vec<Stretch>,
}

impl Seen {
    /// The stretch from the start of the film.
    pub(crate) fn start(&self) -> Option<&Stretch> {
        self.stretches.first()
    }

    /// Stretches that a jump began.
    pub(crate) fn jumps(&self) -> impl Iterator<Item = &Stretch> {
        self.stretches.iter().skip(1)
    }

    /// Number of stalls.
    pub(crate) fn stalls(&self) -> usize {
        self.stretches.iter().map(|stretch| stretch.stalls_s.len()).sum()
    }

    /// Share of the time after the first frame that was stalled; jumps do not count.
    pub(crate) fn stall_ratio(&self) -> f64 {
        let stalled: f64 = self.stretches.iter().flat_map(|stretch| &stretch.stalls_s).sum();
        let played: f64 = self.stretches.iter().map(|stretch| stretch.played_s).sum();
        if stalled > 0.0 { stalled / (stalled + played) } else { 0.0 }
    }

    /// For who looks closer.
    pub(crate) fn json(&self) -> Value {
        let stretch = |stretch: &Stretch| {
            json!({
                "from": stretch.from, "unfetched": stretch.unfetched, "asked_s": stretch.asked_s,
                "first_byte_s": stretch.first_byte_s, "first_mib_s": stretch.first_mib_s,
                "frame_s": stretch.frame_s, "stalls_s": stretch.stalls_s, "played_s": stretch.played_s,
            })
        };
        self.stretches.iter().map(stretch).collect()
    }
}

/// A player of one viewer.
#[derive(Debug)]
struct Player<'w> {
    http: SocketAddr,
    path: String,
    title: String,
    length: u64,
    /// Bytes/s of the film.
    rate: f64,
    watch: &'w Watch,
}

/// Plays what `viewer` serves, by the script. To be called on a thread of the viewer's host.
pub(crate) fn play(viewer: &mut Program, rate: f64, script: &Script, watch: &Watch) -> Tried<Seen> {
    let wish = viewer.started;
    let listening = viewer.expect("listening", watch)?;
    let title = viewer.expect("title", watch)?;
    let wrong = || Fault::new("the viewer's events lack what a player needs");
    let http = listening.text("http").ok_or_else(wrong)?;
    let http = http.trim_start_matches("http://").trim_end_matches('/');
    let files = title.fields["files"].as_array().ok_or_else(wrong)?;
    let film = files.iter().max_by_key(|file| file["length"].as_u64()).ok_or_else(wrong)?;
    let url = film["url"].as_str().ok_or_else(wrong)?;
    let path = url.split_once("/stream/").ok_or_else(wrong)?.1;
    let player = Player {
        http: http.parse().map_err(|_| wrong())?,
        path: format!("/stream/{path}"),
        title: path.split('/').next().unwrap_or("").to_owned(),
        length: film["length"].as_u64().ok_or_else(wrong)?,
        rate,
        watch,
    };
    player.run(wish, script)
}

impl Player<'_> {
    fn run(&self, mut wish: Instant, script: &Script) -> Tried<Seen> {
        let (mut stretches, mut place) = (Vec::new(), (0, true));
        let ends = script.jumps.iter().map(|(after, to)| (Some(*after), Some(*to)));
        for (end, next) in ends.chain([(script.last_s, None)]) {
            let (stretch, late) = self.stretch(place, wish, end)?;
            stretches.push(stretch);
            if late {
                break;
            }
            if let Some(next) = next {
                place = self.choose(next)?;
                wish = Instant::now();
            }
        }
        Ok(Seen { stretches })
    }

    /// First byte of the place a jump leads to, and whether nothing of it is there.
    fn choose(&self, place: Place) -> Tried<(u64, bool)> {
        let state = http::json(self.http, &format!("/api/v1/titles/{}", self.title), self.watch)?;
        let piece = state["piece_length"].as_u64().unwrap_or(0).max(1);
        let pieces = state["pieces"].as_str().unwrap_or("");
        let held = |index: u64| has(pieces, index);
        let film = |seconds: f64| (seconds * self.rate) as u64;
        let last = self.length.saturating_sub(film(END_S));
        let clear = |from: &u64| {
            (from / piece..=(from + film(NOTHING_S)).min(self.length - 1) / piece)
                .all(|index| !held(index))
        };
        match place {
            Place::Share(share) => {
                let from = ((self.length as f64 * share) as u64).min(last);
                Ok((from, clear(&from)))
            }
            Place::Unfetched(share) => {
                let free: Vec<u64> =
                    (1..=last / piece).map(|index| index * piece).filter(clear).collect();
                let index = (free.len() as f64 * share) as usize;
                Ok(free.get(index).map_or((last / 2, false), |from| (*from, true)))
            }
        }
    }

    /// Plays from a place until `end` seconds were played, or to the end of the film; says also whether time ran out.
    fn stretch(
        &self,
        place: (u64, bool),
        wish: Instant,
        end: Option<f64>,
    ) -> Tried<(Stretch, bool)> {
        let mut stretch = Stretch::new(place, wish.elapsed().as_secs_f64());
        let (mut taken, mut shown) = (0_u64, None::<Screen>);
        let played = self.take(&mut stretch, &mut taken, &mut shown, wish, end);
        if let Some(mut screen) = shown {
            screen.next(taken as f64 / self.rate);
            stretch.played_s = screen.position().min(taken as f64 / self.rate);
            stretch.stalls_s = screen.stalls_s;
        }
        match played {
            Ok(()) => Ok((stretch, false)),
            Err(Fault::Late(_)) => Ok((stretch, true)),
            Err(fault) => Err(fault),
        }
    }

    /// The reading of a stretch.
    fn take(
        &self,
        stretch: &mut Stretch,
        taken: &mut u64,
        shown: &mut Option<Screen>,
        wish: Instant,
        end: Option<f64>,
    ) -> Tried<()> {
        let mut body = Body::get(self.http, &self.path, stretch.from, self.watch)?;
        let (mut chunk, whole) = (vec![0; CHUNK], self.length - stretch.from);
        while *taken < whole {
            if let Some(screen) = shown {
                if end.is_some_and(|end| screen.position() >= end) {
                    break;
                }
                if *taken as f64 > (screen.position() + AHEAD_S) * self.rate {
                    self.watch.check("the film to be played")?;
                    thread::sleep(REST);
                    continue;
                }
            }
            let count = match body.read(&mut chunk, self.watch)? {
                0 => break,
                count => count as u64,
            };
            let at = wish.elapsed().as_secs_f64();
            if let Some(screen) = shown {
                screen.next(*taken as f64 / self.rate);
            }
            if *taken == 0 {
                stretch.first_byte_s = at;
            }
            if *taken < MIB && *taken + count >= MIB {
                stretch.first_mib_s = at;
            }
            *taken += count;
            let ready = *taken as f64 >= PREROLL_S * self.rate || *taken == whole;
            if shown.is_none() && ready {
                stretch.frame_s = at;
                *shown = Some(Screen::new());
            }
        }
        Ok(())
    }
}

impl Stretch {
    /// Nothing of it has come yet.
    fn new((from, unfetched): (u64, bool), asked_s: f64) -> Self {
        Self {
            from,
            unfetched,
            asked_s,
            first_byte_s: f64::INFINITY,
            first_mib_s: f64::INFINITY,
            frame_s: f64::INFINITY,
            stalls_s: Vec::new(),
            played_s: 0.0,
        }
    }
}

/// Whether the bit of piece `index` is set in a bitfield in hex, highest bit first.
fn has(pieces: &str, index: u64) -> bool {
    let digit = usize::try_from(index / 4).ok().and_then(|at| pieces.as_bytes().get(at));
    let value = digit.and_then(|digit| char::from(*digit).to_digit(16)).unwrap_or(0);
    value >> (3 - index % 4) & 1 == 1
}

/// What is being shown since the first frame of a stretch.
#[derive(Debug)]
struct Screen {
    /// When the film would have begun had it never stalled.
    zero: Instant,
    stalls_s: Vec<f64>,
    stalled: Option<Instant>,
}

impl Screen {
    fn new() -> Self {
        Self { zero: Instant::now(), stalls_s: Vec::new(), stalled: None }
    }

    /// Seconds of film that are due.
    fn position(&self) -> f64 {
        self.zero.elapsed().as_secs_f64()
    }

    /// Bytes come when `there_s` seconds of film were: if more was due, the film stood still since then.
    fn next(&mut self, there_s: f64) {
        let lack = self.position() - there_s;
        if lack <= 0.0 {
            return;
        }
        self.zero += Duration::from_secs_f64(lack);
        let near = self.stalled.is_some_and(|last| last.elapsed().as_secs_f64() < APART_S + lack);
        match self.stalls_s.last_mut() {
            Some(stall) if near => *stall += lack,
            _ => self.stalls_s.push(lack),
        }
        self.stalled = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Screen, Seen, Stretch, has};

    #[test]
    fn bits_are_counted_from_the_highest() {
        let held: Vec<u64> = (0..12).filter(|index| has("a1", *index)).collect();
        assert_eq!(held, [0, 2, 7]);
    }

    #[test]
    fn a_film_that_is_there_does_not_stall_and_one_that_lacks_does() {
        let mut screen = Screen::new();
        let past = screen.zero.checked_sub(Duration::from_secs(3));
        screen.zero = past.expect("the machine runs for longer than that");
        screen.next(4.0);
        assert!(screen.stalls_s.is_empty());
        screen.next(2.0);
        screen.next(1.5);
        assert_eq!(screen.stalls_s.len(), 1, "pauses close together are one stall");
        assert!((screen.stalls_s[0] - 1.5).abs() < 0.2, "{:?}", screen.stalls_s);
    }

    #[test]
    fn the_stall_ratio_is_over_the_time_after_the_first_frame() {
        let mut stretch = Stretch::new((0, true), 0.0);
        (stretch.stalls_s, stretch.played_s) = (vec![1.0, 2.0], 27.0);
        let seen = Seen { stretches: vec![stretch] };
        assert_eq!((seen.stalls(), seen.stall_ratio()), (2, 0.1));
    }
}
