//! One viewer of one file, as far as readers show it.
//!
//! A player opens, drops and reopens HTTP answers as it likes: to look at the head and the tail of a file, to jump, after
//! a pause. What belongs together is a session: the first reader of it that turns out to be a viewer gives `Playing`
//! (counted from the first open of the session), one that goes on where the leader stopped *is* the leader, and one that
//! turns out to be a viewer elsewhere is a jump (counted from its open). Two people who watch the same file through
//! one node at once are one session: the newer one is measured.

use alloc::vec::Vec;
use core::time::Duration;

use crate::config::limits::{READER_CONTINUES_WITHIN, STALL_MIN};
use crate::io::Event;
use crate::link::ReaderId;
use crate::time::Instant;

use super::playback::Moment;
use super::reader::Reader;
use super::timeline::millis;
use super::viewer::Viewer;

/// One viewer of one file.
#[derive(Debug)]
pub(crate) struct Session {
    /// First open.
    pub(crate) opened: Instant,
    /// Last open, promotion or close.
    pub(crate) last: Instant,
    /// The first frame was told.
    pub(crate) begun: bool,
    /// The first frame of the leader's run was told.
    heard: bool,
    /// Who gets the full window.
    pub(crate) leader: Option<ReaderId>,
    /// Where the last reader stopped.
    tail: Option<Tail>,
}

/// What a closed reader leaves to one that goes on.
#[derive(Debug)]
struct Tail {
    position: u64,
    run: u64,
    /// Present when it led.
    model: Option<Viewer>,
}

impl Session {
    /// A session that begins now.
    pub(crate) fn new(now: Instant) -> Self {
        Self { opened: now, last: now, begun: false, heard: false, leader: None, tail: None }
    }
    /// Nothing happened for so long that the viewer is gone.
    pub(crate) fn is_over(&self, now: Instant, idle: Duration) -> bool {
        self.leader.is_none() && now.since(self.last) > idle
    }
    /// A reader was opened and placed; `leader` is the open leader, if there is one. Whether the newcomer goes on where
    /// the leader stopped, and leads from now on.
    pub(crate) fn follow(
        &mut self,
        now: Instant,
        reader: &mut Reader,
        leader: Option<&Reader>,
    ) -> bool {
        self.last = reader.opened;
        let tail = match leader {
            Some(leader) => Some(Tail {
                position: leader.position,
                run: leader.run,
                model: leader.model_left(now),
            }),
            None => self.tail.take(),
        };
        let Some(tail) = tail else { return false };
        let behind = tail.position.checked_sub(reader.position);
        if behind.is_none_or(|behind| behind > READER_CONTINUES_WITHIN.min(tail.run)) {
            self.tail = if leader.is_none() { Some(tail) } else { None };
            return false;
        }
        reader.run = tail.run.saturating_sub(behind.unwrap_or(0));
        let (Some(model), Some(stage)) = (tail.model, reader.stage.as_mut()) else { return false };
        stage.model = model;
        reader.tell_model(now);
        self.leader = Some(reader.id);
        true
    }
    /// A reader turned out to be a viewer. Whether it leads now: not if it leads already, nor if the leader is newer.
    pub(crate) fn promote(
        &mut self,
        reader: &Reader,
        leader_order: Option<u64>,
        now: Instant,
    ) -> bool {
        if self.leader == Some(reader.id) || leader_order.is_some_and(|order| order > reader.order)
        {
            return false;
        }
        self.leader = Some(reader.id);
        self.last = now;
        self.heard = false;
        true
    }
    /// What the model behind the leader has to say. `alone`: no newer reader takes anything. Else the viewer may be waiting
    /// there, for a jump that has not shown itself yet.
    pub(crate) fn hear(&mut self, leader: &mut Reader, alone: bool, events: &mut Vec<Event>) {
        let (title, reader) = (leader.title, leader.id);
        let Some(stage) = &mut leader.stage else { return };
        for moment in stage.moments.drain(..) {
            match moment {
                Moment::Started { .. } if self.heard => {}
                Moment::Started { at, .. } if !self.begun => {
                    (self.begun, self.heard) = (true, true);
                    let startup_ms = millis(at.since(self.opened));
                    events.push(Event::Playing { title, reader, startup_ms });
                }
                Moment::Started { position, waited, .. } | Moment::Landed { position, waited } => {
                    self.heard = true;
                    events.push(Event::Seek {
                        title,
                        reader,
                        position_ms: millis(position),
                        latency_ms: millis(waited),
                    });
                }
                // A player's bytes come in gulps: a pause shorter than a frame is the model's, not the viewer's.
                Moment::Stalled { waited, .. } if waited < STALL_MIN || !alone => {}
                Moment::Stalled { position, waited } => events.push(Event::Stall {
                    title,
                    reader,
                    position_ms: millis(position),
                    stalled_ms: millis(waited),
                }),
                // The end is told when the reader asks for more than there is.
                Moment::Ended => {}
            }
        }
    }
    /// A reader is gone.
    pub(crate) fn close(&mut self, reader: &Reader, now: Instant) {
        self.last = now;
        let led = self.leader == Some(reader.id);
        let keeps = self.leader.is_some() || self.tail.as_ref().is_some_and(|t| t.model.is_some());
        if led {
            self.leader = None;
        } else if keeps {
            return;
        }
        let model = reader.model_left(now).filter(|_| led);
        self.tail = Some(Tail { position: reader.position, run: reader.run, model });
    }
}
