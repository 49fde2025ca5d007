//! For `play`: how far proven bytes reach, and the bytes themselves.

use shoal_wire::peer::BLOCK_LEN;

use super::pieces::{BlockKey, BlockState};
use super::title::{Swarm, Task};
use crate::io::{Failure, FailureKind, Job, Outcome};
use crate::link::ReaderId;
use crate::turn::{Note, Owner, Turn};

/// Somebody who wants to know how far proven bytes reach from a byte of piece space.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    reader: ReaderId,
    from: u64,
    until: u64,
    /// What was taken last ends here.
    at: u64,
}

impl Watch {
    /// Where its reader is, as far as it shows by what it takes.
    pub(super) fn at(&self) -> u64 {
        self.at
    }
    /// Whether all from its reader to a byte is here, but for `gap` bytes.
    pub(super) fn leads_to(&self, byte: u64, gap: u64) -> bool {
        self.at <= byte && byte <= self.until.saturating_add(gap)
    }
    /// Its player is there, if it is this one's.
    pub(super) fn on_head(&mut self, reader: ReaderId, at: u64) {
        if self.reader == reader {
            self.at = at;
        }
    }
}

#[cfg(test)]
impl Watch {
    /// A reader's at `at`, from where all up to `until` is here.
    pub(super) fn at_place(at: u64, until: u64) -> Self {
        Self { reader: ReaderId(0), from: at, until, at }
    }
}

impl Swarm {
    pub(super) fn on_watch(&mut self, turn: &mut Turn<'_>, reader: ReaderId, from: u64) {
        let title = self.title;
        let Some(content) = self.content_mut() else { return };
        let until = content.pieces.reach(from);
        let watch = Watch { reader, from, until, at: from };
        match content.watches.iter_mut().find(|watch| watch.reader == reader) {
            Some(old) => *old = watch,
            None => content.watches.push(watch),
        }
        turn.note(Note::Reaches { title, reader, from, until });
    }
    pub(super) fn on_unwatch(&mut self, reader: ReaderId) {
        if let Some(content) = self.content_mut() {
            content.watches.retain(|watch| watch.reader != reader);
        }
    }
    /// A block is proven: watches that waited for it reach further.
    pub(super) fn advance_watches(&mut self, turn: &mut Turn<'_>, key: BlockKey) {
        let title = self.title;
        let Some(content) = self.content_mut() else { return };
        let Some(piece) = content.pieces.info.layout.piece(key.piece()) else { return };
        let start = content.pieces.info.layout.start(piece) + u64::from(key.block() * BLOCK_LEN);
        let end = start + u64::from(BLOCK_LEN);
        for watch in &mut content.watches {
            if (start..end).contains(&watch.until) {
                watch.until = content.pieces.reach(watch.until);
                turn.note(Note::Reaches {
                    title,
                    reader: watch.reader,
                    from: watch.from,
                    until: watch.until,
                });
            }
        }
    }
    /// Something was lost: all watches are measured again.
    pub(super) fn rewatch(&mut self, turn: &mut Turn<'_>) {
        let title = self.title;
        let Some(content) = self.content_mut() else { return };
        for watch in &mut content.watches {
            // What lies behind its player may be gone. It may also be elsewhere, and wait for something that it needs first.
            let from = watch.at.min(watch.until).max(watch.from);
            watch.until = content.pieces.reach(from);
            turn.note(Note::Reaches {
                title,
                reader: watch.reader,
                from: watch.from,
                until: watch.until,
            });
        }
    }
    /// A reader takes bytes that are proven: from memory, or from disk in one run inside a piece.
    pub(super) fn on_fetch(
        &mut self,
        turn: &mut Turn<'_>,
        reader: ReaderId,
        offset: u64,
        length: u32,
    ) {
        let title = self.title;
        let lost = Note::Fetched { reader, offset, data: None };
        let now = turn.now;
        let Some(content) = self.content_mut() else { return turn.note(lost) };
        let layout = &content.pieces.info.layout;
        let Some(piece) = layout.piece_at(offset) else { return turn.note(lost) };
        content.share.note(now, piece.get(), 0);
        let inside = (offset - layout.start(piece)) as u32;
        let rest = layout.data_len(piece).saturating_sub(inside).min(length);
        let block_rest = rest.min(BLOCK_LEN - inside % BLOCK_LEN);
        if let Some(data) = content.pieces.in_memory(piece.get(), inside, block_rest) {
            let end = offset + data.len() as u64;
            turn.note(Note::Fetched { reader, offset, data: Some(data) });
            return self.on_moved(turn, reader, end);
        }
        // As many stored blocks as lie in a row.
        let stored = |block: u32| {
            content.pieces.block_state(BlockKey::new(piece.get(), block)) == BlockState::Stored
        };
        let first = inside / BLOCK_LEN;
        let run =
            (first..layout.block_count(piece)).take_while(|&block| stored(block)).count() as u32;
        let end = ((first + run) * BLOCK_LEN).min(layout.data_len(piece));
        let length = rest.min(end.saturating_sub(inside));
        if length == 0 {
            return turn.note(lost);
        }
        content.share.begin_read(piece.get());
        turn.submit(
            Owner::Swarm(title, Task::ReadReader { reader, offset }),
            Job::Read { title, offset, length },
        );
        self.on_moved(turn, reader, offset + u64::from(length));
    }
    /// A reader takes what lies before `at`. More may be fetched for it now, where a quota held that back.
    fn on_moved(&mut self, turn: &mut Turn<'_>, reader: ReaderId, at: u64) {
        let Some(content) = self.content_mut() else { return };
        let watch = content.watches.iter_mut().find(|watch| watch.reader == reader);
        let Some(watch) = watch.filter(|watch| watch.at != at) else { return };
        let before = core::mem::replace(&mut watch.at, at);
        if let Some(windows) = content.refit(at.abs_diff(before)) {
            self.take_windows(turn, windows);
            self.fill_all(turn);
        }
    }
    pub(super) fn on_reader_read(
        &mut self,
        turn: &mut Turn<'_>,
        reader: ReaderId,
        offset: u64,
        outcome: Outcome,
    ) {
        let piece = self.content().and_then(|content| content.pieces.info.layout.piece_at(offset));
        if let (Some(piece), Some(content)) = (piece, self.content_mut()) {
            content.share.end_read(piece.get());
        }
        let data = match outcome {
            Outcome::Data(data) if !data.is_empty() => Some(data),
            outcome => {
                let failure = match outcome {
                    Outcome::Failed(failure) => failure,
                    _ => Failure {
                        kind: FailureKind::DiskLost,
                        message: "The disk gave no bytes.".into(),
                    },
                };
                if let Some(piece) = piece {
                    self.on_read_failed(turn, piece.get(), &failure);
                }
                None
            }
        };
        turn.note(Note::Fetched { reader, offset, data });
    }
}
