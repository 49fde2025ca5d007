//! A session: what one player was given, where it is in the film, and the clock by which packets leave.
//!
//! It is a task that takes orders ([`Order`]) and sends in between. Frames leave when they are decoded, by a clock that starts with
//! the first of them, and never ahead of it: players that measure the sender's clock by what arrives (GStreamer) would take that for a
//! fast clock, and show all of it too soon. When the film is late, or the player takes no more, the clock waits: what comes later leaves
//! at the rate of the film again, without a burst.
//!
//! States (RFC 2326, A.2): ready, playing, paused. A session ends when it is torn down, when nobody was heard of for
//! [`SESSION_IDLE`], or when its connection or its port is closed.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use shoal_media::demux::Demuxer;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Duration, Instant, sleep, sleep_until, timeout};

use super::feed::{Apart, Fed, Feed, SharedApart, Source};
use super::lane::{Heard, Lane, Outgoing, Sent, Way};
use super::range::Part;
use crate::limits::{
    BUNCH_PACKETS, BUNCH_PAUSE, FAREWELL, FIRST_FRAME_WAIT, LATE_MAX, REFUSALS_MAX, REPORT_EVERY,
    SESSION_IDLE, SESSION_LOOK, STAMP_GAP,
};

/// What the sessions of a server have sent.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Sessions now.
    pub(crate) sessions: AtomicU64,
    /// RTP packets.
    pub(crate) packets: AtomicU64,
    /// Packets that players said they missed.
    pub(crate) lost: AtomicU64,
    /// Bytes of film, shared with other faces.
    pub(crate) film_bytes: Arc<AtomicU64>,
}

impl Counters {
    /// With those of film bytes.
    pub(crate) fn of(film_bytes: Arc<AtomicU64>) -> Self {
        Self { film_bytes, ..Self::default() }
    }
}

/// What a session is told to do. Whoever asks hears when it is done.
pub(super) enum Order {
    /// One stream more, of this film. Refused while it plays, and of another film.
    Add(Box<(Source, Lane)>, oneshot::Sender<Result<(), Refusal>>),
    /// One stream less; whether any is left.
    Remove(usize, oneshot::Sender<bool>),
    /// Play a part, or go on.
    Play(Option<Part>, oneshot::Sender<Result<Playing, Refusal>>),
    /// Stop for a while, if it plays.
    Pause(oneshot::Sender<()>),
    /// Which streams it has.
    Streams(oneshot::Sender<Vec<usize>>),
    /// Somebody asked for something: the player is there.
    Alive,
    /// What came on channel of the connection that is one of ours.
    Heard(u8, Vec<u8>),
}

/// Why an order was not followed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// Not in this state.
    State,
    /// Not a time of the film.
    Range,
    /// The film cannot be read.
    Broken(String),
}

/// What a player that plays is told.
#[derive(Debug)]
pub(super) struct Playing {
    /// Where in the film, in microseconds.
    pub(super) start_us: u64,
    pub(super) end_us: u64,
    /// Of each stream: its place, the number of the first packet, and the time stamp of the start.
    pub(super) streams: Vec<(usize, u16, u32)>,
    /// Nothing is sent before this was told, or dropped: what the player was told must come first.
    pub(super) go: oneshot::Sender<()>,
}

/// One run through the film.
struct Play {
    feed: Feed,
    /// The next frame.
    next: VecDeque<Fed>,
    outgoing: VecDeque<Outgoing>,
    /// Packets sent without a pause.
    bunch: u32,
    /// When time `origin_us` of the film is sent.
    anchor: Instant,
    origin_us: u64,
    end_us: u64,
    /// Sending may begin.
    go: Option<oneshot::Receiver<()>>,
    reported: Option<Instant>,
    /// When the session began.
    born_at: SystemTime,
    refusals: u32,
}

enum State {
    Ready,
    Playing(Box<Play>),
    Paused(Box<Play>),
}

/// Why a run ended.
enum Over {
    /// The film is over, or the part that was asked for.
    End,
    /// The player is gone, or the film cannot be read.
    Gone,
}

/// One session.
pub(super) struct Session {
    source: Source,
    lanes: Vec<Lane>,
    state: State,
    /// What takes the film apart, and for which streams.
    apart: Option<(Vec<usize>, SharedApart)>,
    /// Where it stands while it does not play, in milliseconds.
    at_ms: u64,
    born: Instant,
    born_at: SystemTime,
    plays: u32,
    heard: Instant,
    lost: u32,
    counters: Arc<Counters>,
}

impl Session {
    /// A session of a film that takes orders until nobody can give any.
    pub(super) async fn run(
        source: Source,
        mut orders: mpsc::Receiver<Order>,
        counters: Arc<Counters>,
    ) {
        let now = Instant::now();
        counters.sessions.fetch_add(1, Ordering::Relaxed);
        let mut session = Self {
            source,
            lanes: Vec::new(),
            state: State::Ready,
            apart: None,
            at_ms: 0,
            born: now,
            born_at: SystemTime::now(),
            plays: 0,
            heard: now,
            lost: 0,
            counters,
        };
        let mut look = tokio::time::interval(SESSION_LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(order) => {
                        session.heard = Instant::now();
                        if !session.obey(order).await {
                            break;
                        }
                    }
                    None => break,
                },
                _ = look.tick() => {
                    if session.is_over() {
                        break;
                    }
                }
                over = session.advance() => match over {
                    Ok(()) => {}
                    Err(Over::End) => session.finish().await,
                    Err(Over::Gone) => break,
                },
            }
        }
        session.counters.sessions.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether nobody is there.
    fn is_over(&mut self) -> bool {
        let heard: Vec<Heard> = self.lanes.iter().filter_map(Lane::hear).collect();
        heard.into_iter().for_each(|heard| self.hear(heard));
        // Inside a connection a player need not say that it is there: the connection does.
        let inside = self.lanes.iter().any(|lane| matches!(lane.way, Way::Tcp { .. }));
        self.lanes.iter().any(|lane| lane.way.is_closed())
            || (!inside && self.heard.elapsed() > SESSION_IDLE)
    }

    fn hear(&mut self, heard: Heard) {
        self.heard = Instant::now();
        let more = heard.lost.saturating_sub(self.lost);
        self.lost = self.lost.max(heard.lost);
        self.counters.lost.fetch_add(more.into(), Ordering::Relaxed);
    }

    /// Follows an order; whether the session goes on. Who asked may be gone when it is told.
    async fn obey(&mut self, order: Order) -> bool {
        match order {
            Order::Add(added, done) => {
                let (source, lane) = *added;
                let free = matches!(self.state, State::Ready) && self.source.is(&source);
                if free {
                    self.lanes.retain(|known| known.stream != lane.stream);
                    self.lanes.push(lane);
                }
                let _ = done.send(if free { Ok(()) } else { Err(Refusal::State) });
            }
            Order::Remove(stream, left) => {
                self.lanes.retain(|lane| lane.stream != stream);
                // What is under way is of streams that may be gone, and counted by their places.
                self.state = State::Ready;
                let _ = left.send(!self.lanes.is_empty());
                return !self.lanes.is_empty();
            }
            Order::Play(part, done) => {
                let _ = done.send(self.play(part).await);
            }
            Order::Pause(done) => {
                let state = core::mem::replace(&mut self.state, State::Ready);
                self.state = match state {
                    State::Playing(play) | State::Paused(play) => State::Paused(play),
                    // GStreamer pauses what is over.
                    State::Ready => State::Ready,
                };
                let _ = done.send(());
            }
            Order::Streams(done) => {
                let _ = done.send(self.lanes.iter().map(|lane| lane.stream).collect());
            }
            Order::Alive => {}
            Order::Heard(channel, bytes) => {
                let is_own = |lane: &&Lane| match lane.way {
                    Way::Tcp { channel: own, .. } => own + 1 == channel,
                    Way::Udp { .. } => false,
                };
                let heard = self.lanes.iter().find(is_own).and_then(|lane| lane.read(&bytes));
                self.hear(heard.unwrap_or_default());
            }
        }
        true
    }

    async fn play(&mut self, part: Option<Part>) -> Result<Playing, Refusal> {
        if self.lanes.is_empty() {
            return Err(Refusal::State);
        }
        // Where nobody knows how long the film is, it has no end.
        let duration_us = match self.source.film.duration_ms() {
            0 => u64::MAX,
            ms => ms.saturating_mul(1000),
        };
        let start = part.and_then(|part| part.start);
        if start.is_some_and(|ms| ms.saturating_mul(1000) > duration_us) {
            return Err(Refusal::Range);
        }
        let (go, may_go) = oneshot::channel();
        let state = core::mem::replace(&mut self.state, State::Ready);
        let (mut play, start_us) = match (state, start) {
            (State::Playing(play), None) => {
                let at_us = play.film_us(Instant::now());
                (play, at_us)
            }
            (State::Paused(mut play), None) => {
                // On from the frame that comes next.
                let at_us = play.next_us(&self.lanes);
                (play.anchor, play.origin_us) = (Instant::now(), at_us);
                (play, at_us)
            }
            (before, start) => {
                // Its claim on the film ends before the new one begins.
                drop(before);
                self.jump(start.unwrap_or(self.at_ms)).await?
            }
        };
        play.end_us = part.and_then(|part| part.end).map_or(u64::MAX, |ms| ms.saturating_mul(1000));
        play.go = Some(may_go);
        let streams = self.lanes.iter().enumerate().map(|(number, lane)| {
            let first = lane.sequence.wrapping_sub(play.waiting(number));
            (lane.stream, first, lane.stamp_at(start_us))
        });
        let streams = streams.collect();
        let end_us = play.end_us.min(duration_us).max(start_us);
        self.state = State::Playing(play);
        Ok(Playing { start_us, end_us, streams, go })
    }

    /// A new run from the key frame before `at_ms`. Waits for it, but not for ever: a player would give up, while one that was answered
    /// waits long.
    async fn jump(&mut self, at_ms: u64) -> Result<(Box<Play>, u64), Refusal> {
        let streams: Vec<usize> = self.lanes.iter().map(|lane| lane.stream).collect();
        let apart = match self.apart.take_if(|(of, _)| *of == streams) {
            Some((_, apart)) => {
                apart.lock().unwrap_or_else(PoisonError::into_inner).jump(at_ms);
                apart
            }
            None => Apart::new(Demuxer::new(Arc::clone(&self.source.film), &streams, at_ms)),
        };
        let mut feed = Feed::new(&self.source, &apart);
        self.apart = Some((streams, apart));
        let first = timeout(FIRST_FRAME_WAIT, feed.next()).await;
        let mut next = VecDeque::new();
        let mut start_us = at_ms.saturating_mul(1000);
        let mut origin_us = start_us;
        match first {
            Ok(Some(Ok(fed))) => {
                if let Some(lane) = self.lanes.iter().find(|it| it.stream == fed.frame.stream) {
                    start_us = lane.shown_us(&fed.frame);
                    origin_us = lane.decoded_us(&fed.frame);
                }
                next.push_back(fed);
            }
            Ok(Some(Err(error))) => return Err(Refusal::Broken(error)),
            // The end of the film, or nothing yet.
            Ok(None) | Err(_) => {}
        }
        let now = Instant::now();
        // Time stamps never go back, since nothing was sent ahead of the clock; but pictures are shown later than they are decoded.
        self.plays = self.plays.saturating_add(1);
        let session = now.duration_since(self.born) + STAMP_GAP * self.plays;
        for lane in &mut self.lanes {
            lane.begin(start_us, us(session));
        }
        let play = Play {
            feed,
            next,
            outgoing: VecDeque::new(),
            bunch: 0,
            anchor: now,
            origin_us,
            end_us: u64::MAX,
            go: None,
            reported: None,
            born_at: self.born_at,
            refusals: 0,
        };
        Ok((Box::new(play), start_us))
    }

    /// Does what comes next, and waits for it: for a packet to leave, for a frame to come, for its time. Abandoning the future loses
    /// nothing.
    async fn advance(&mut self) -> Result<(), Over> {
        let State::Playing(play) = &mut self.state else { return core::future::pending().await };
        if let Some(go) = &mut play.go {
            // An error says that nobody waits any more.
            let _ = go.await;
            play.go = None;
        }
        if !play.outgoing.is_empty() {
            return play.send(&self.lanes, &self.counters).await;
        }
        if play.next.is_empty() {
            match play.feed.next().await {
                Some(Ok(fed)) => play.arrived(fed, &self.lanes),
                Some(Err(_)) => return Err(Over::Gone),
                None => return Err(Over::End),
            }
            return Ok(());
        }
        play.leave(&mut self.lanes, &self.counters).await
    }

    /// The part is over: players are told, and may play another one.
    async fn finish(&mut self) {
        let State::Playing(play) = core::mem::replace(&mut self.state, State::Ready) else {
            return;
        };
        self.at_ms = 0;
        // Outside a connection the word that it is over may be read before the last packets are.
        if self.lanes.iter().any(|lane| matches!(lane.way, Way::Udp { .. })) {
            sleep(FAREWELL).await;
        }
        for (number, lane) in self.lanes.iter().enumerate() {
            if let Some(mut last) =
                lane.report(number, self.born_at, play.film_us(Instant::now()), true)
            {
                // A player that takes nothing more does not keep the session from taking orders.
                let _ = timeout(FIRST_FRAME_WAIT, lane.send(&mut last)).await;
            }
        }
    }
}

impl Play {
    /// Where in the film the clock is.
    fn film_us(&self, now: Instant) -> u64 {
        self.origin_us.saturating_add(us(now.saturating_duration_since(self.anchor)))
    }
    /// When a time of the film is sent.
    fn due(&self, film_us: u64) -> Instant {
        self.anchor + Duration::from_micros(film_us.saturating_sub(self.origin_us))
    }
    /// What comes next of the film, in microseconds.
    fn next_us(&self, lanes: &[Lane]) -> u64 {
        let frame = self.next.front().map(|fed| &fed.frame);
        let lane = frame.and_then(|frame| lanes.iter().find(|lane| lane.stream == frame.stream));
        match (frame, lane) {
            (Some(frame), Some(lane)) => lane.shown_us(frame),
            _ => self.film_us(Instant::now()),
        }
    }
    /// Packets of a lane that have a number and did not leave.
    fn waiting(&self, lane: usize) -> u16 {
        let waiting = self.outgoing.iter().filter(|packet| packet.is_numbered_of(lane)).count();
        u16::try_from(waiting).unwrap_or(0)
    }
    /// A frame came. If it should have left before, the clock waited for it.
    fn arrived(&mut self, fed: Fed, lanes: &[Lane]) {
        if let Some(lane) = lanes.iter().find(|lane| lane.stream == fed.frame.stream) {
            let due = self.due(lane.decoded_us(&fed.frame));
            self.wait_for(Instant::now().saturating_duration_since(due));
        }
        self.next.push_back(fed);
    }
    /// Something is late: from here on the clock is, too. A little is caught up with.
    fn wait_for(&mut self, late: Duration) {
        if late > LATE_MAX {
            self.anchor += late;
        }
    }
    /// Cuts the next frame into packets when it is due.
    async fn leave(&mut self, lanes: &mut [Lane], counters: &Counters) -> Result<(), Over> {
        let Some(frame) = self.next.front().map(|fed| &fed.frame) else { return Ok(()) };
        let number = lanes.iter().position(|lane| lane.stream == frame.stream);
        let Some((number, lane)) = number.and_then(|it| Some((it, lanes.get_mut(it)?))) else {
            self.next.pop_front();
            return Ok(());
        };
        if lane.decoded_us(frame) >= self.end_us {
            return Err(Over::End);
        }
        let due = self.due(lane.decoded_us(frame));
        sleep_until(due).await;
        let now = Instant::now();
        counters.film_bytes.fetch_add(frame.data.len() as u64, Ordering::Relaxed);
        lane.cut(frame, number, &mut |packet| self.outgoing.push_back(packet));
        self.next.pop_front();
        // Where the player took its time.
        self.wait_for(now.duration_since(due));
        if self.reported.is_none_or(|last| now.duration_since(last) >= REPORT_EVERY) {
            self.reported = Some(now);
            let film_us = self.film_us(now);
            for (number, lane) in lanes.iter().enumerate().rev() {
                if let Some(report) = lane.report(number, self.born_at, film_us, false) {
                    self.outgoing.push_front(report);
                }
            }
        }
        Ok(())
    }
    /// Sends one packet. Outside a connection those of a large frame are spread a little: they would not fit the player's buffer.
    async fn send(&mut self, lanes: &[Lane], counters: &Counters) -> Result<(), Over> {
        if self.bunch >= BUNCH_PACKETS {
            sleep(BUNCH_PAUSE).await;
            self.bunch = 0;
        }
        let Some(packet) = self.outgoing.front_mut() else { return Ok(()) };
        let Some(lane) = lanes.get(packet.lane) else {
            self.outgoing.pop_front();
            return Ok(());
        };
        let sent = lane.send(packet).await;
        self.outgoing.pop_front();
        if self.outgoing.is_empty() || matches!(lane.way, Way::Tcp { .. }) {
            self.bunch = 0;
        } else {
            self.bunch += 1;
        }
        match sent {
            Sent::Gone => {
                counters.packets.fetch_add(1, Ordering::Relaxed);
                self.refusals = 0;
            }
            Sent::Refused => self.refusals += 1,
            Sent::Closed => return Err(Over::Gone),
        }
        if self.refusals > REFUSALS_MAX { Err(Over::Gone) } else { Ok(()) }
    }
}

fn us(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
