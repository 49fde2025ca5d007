//! Where decoding can begin.

use super::codec::{Codec, is_random_access};
use super::packet::{FILLER, Packet, TABLE_PIDS_END};
use super::{Head, pes};

/// Looks for units of the reference stream that decoding can begin with.
#[derive(Debug)]
pub(crate) struct Keys {
    pid: u16,
    codec: Codec,
    is_sound: bool,
    table_pid: u16,
    /// Where the tables begin that stand directly before the next packet.
    tables_at: Option<u64>,
}

/// What a packet is for who wants to begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Found {
    /// Tables, which may stand before a key frame.
    Tables,
    /// A key frame begins in it: where to begin for it, and when it is shown.
    Key(u64, u64),
    /// Anything else.
    Other,
}

impl Keys {
    /// In a stream with this head.
    pub(crate) fn new(head: &Head) -> Self {
        let stream = head.reference();
        Self {
            pid: stream.map_or(FILLER, |stream| stream.pid),
            codec: stream.map_or(Codec::Other, |stream| stream.known.codec),
            is_sound: stream.is_some_and(|it| it.known.track.kind == crate::TrackKind::Audio),
            table_pid: head.table_pid,
            tables_at: None,
        }
    }
    /// Looks at the next packet, which lies at `offset`.
    pub(crate) fn look(&mut self, offset: u64, packet: Packet<'_>) -> Found {
        let pid = packet.pid();
        if pid < TABLE_PIDS_END || pid == self.table_pid {
            self.tables_at = self.tables_at.or(Some(offset));
            return Found::Tables;
        }
        if pid == FILLER {
            return Found::Other;
        }
        let begin = self.tables_at.take().unwrap_or(offset);
        if pid != self.pid || !packet.is_start() || !packet.is_readable() {
            return Found::Other;
        }
        let unit = packet.payload();
        let is_key =
            self.is_sound || packet.is_random_access() || is_random_access(self.codec, unit);
        let times = is_key.then(|| pes::times(unit)).flatten();
        times.map_or(Found::Other, |times| Found::Key(begin, times.shown))
    }
}
