//! What the room knows of a title: its files, how they lie in time, who watches them, what was told to the swarm.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use shoal_wire::metainfo::Info;
use shoal_wire::time_index::TimeIndex;

use crate::link::ReaderId;
use crate::turn::Window;

use super::reader::{Claim, Reader};
use super::session::Session;
use super::slots::InSlot;
use super::timeline::Timeline;

/// A title that somebody may want to see.
#[derive(Debug)]
pub(super) struct Title {
    pub(super) info: Option<Arc<Info>>,
    pub(super) indexes: Vec<(u32, Arc<TimeIndex>)>,
    /// Films whose index is on its way, or of no use.
    pub(super) sought: Vec<u32>,
    pub(super) sessions: BTreeMap<u32, Session>,
    /// Windows told last.
    pub(super) windows: Vec<Window>,
    /// Where players were then.
    pub(super) heads: Vec<(ReaderId, u64)>,
    /// Who had which claim then; a change is a jump.
    pub(super) claims: Vec<(ReaderId, Claim, u32)>,
    /// The virtual time slot that was told.
    pub(super) slot: Option<InSlot>,
}

impl Title {
    pub(super) fn new(indexes: Vec<(u32, Arc<TimeIndex>)>) -> Self {
        Self {
            info: None,
            indexes,
            sought: Vec::new(),
            sessions: BTreeMap::new(),
            windows: Vec::new(),
            heads: Vec::new(),
            claims: Vec::new(),
            slot: None,
        }
    }
    /// Whether file `file` exists; `None` while the metadata is not known.
    pub(super) fn has_file(&self, file: u32) -> Option<bool> {
        let info = self.info.as_ref()?;
        Some(usize::try_from(file).is_ok_and(|file| file < info.files.len()))
    }
    /// How file `file` lies in time; `None` when it does not exist or is not known.
    pub(super) fn timeline(&self, file: u32, default_rate: u64) -> Option<Timeline> {
        let entry = self.info.as_ref()?.files.get(usize::try_from(file).ok()?)?;
        let index = self.indexes.iter().find(|(film, _)| *film == file).map(|(_, index)| index);
        Some(Timeline::new(entry.start, entry.length, index.cloned(), default_rate))
    }
    /// What a player needs before anything else, for a reader of a session that shows nothing yet.
    pub(super) fn boot_windows(&self, reader: &Reader, claim: Claim, windows: &mut Vec<Window>) {
        let begun = self.sessions.get(&reader.file).is_none_or(|session| session.begun);
        if let (false, Some(stage)) = (begun || claim == Claim::None, &reader.stage) {
            let before = windows.len();
            stage.line.boot_windows(reader.opened, windows);
            // Another reader of the same start may have asked for them.
            let (told, own) = windows.split_at(before);
            if own.iter().all(|window| told.iter().any(|other| other.start == window.start)) {
                windows.truncate(before);
            }
        }
    }
}
