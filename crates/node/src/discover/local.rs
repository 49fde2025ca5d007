//! Local discovery (BEP 14): titles are named to the local network when they are added and every five minutes.

use alloc::vec::Vec;

use shoal_wire::Hash20;

use crate::config::limits::{LOCAL_GAP, LOCAL_HEARD_PER_S_MAX};
use crate::io::LocalAnnounce;
use crate::rng::Rng;
use crate::time::Instant;

/// The node's part: pace and cookie.
#[derive(Debug, Default)]
pub(super) struct Local {
    cookie: Option<u32>,
    /// When the next datagram may be sent.
    next: Option<Instant>,
    /// Second in which datagrams were counted, and how many.
    heard: (u64, u32),
}

impl Local {
    /// When a datagram may be sent that is wanted at `wanted`.
    pub(super) fn when(&self, wanted: Instant) -> Instant {
        self.next.map_or(wanted, |next| next.max(wanted))
    }
    /// A datagram about `hashes`, at most [`shoal_wire::lsd::LOCAL_TITLES_SENT_MAX`].
    pub(super) fn announce(
        &mut self,
        now: Instant,
        port: u16,
        info_hashes: Vec<Hash20>,
        rng: &mut Rng,
    ) -> LocalAnnounce {
        self.next = Some(now + LOCAL_GAP);
        let cookie = Some(*self.cookie.get_or_insert_with(|| rng.next_u32()));
        LocalAnnounce { info_hashes, port, cookie }
    }
    /// Whether a datagram shall be read: not our own, not one of a flood.
    pub(super) fn accepts(&mut self, now: Instant, announce: &LocalAnnounce) -> bool {
        let second = now.as_millis() / 1000;
        if self.heard.0 != second {
            self.heard = (second, 0);
        }
        self.heard.1 = self.heard.1.saturating_add(1);
        let own = announce.cookie.is_some() && announce.cookie == self.cookie;
        !own && self.heard.1 <= LOCAL_HEARD_PER_S_MAX
    }
}
