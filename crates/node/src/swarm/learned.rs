//! What becomes of links and addresses when a magnet's metadata is known: it may say that the title is private (BEP 27), and
//! under which other name it goes (BEP 52).

use alloc::vec::Vec;
use core::net::SocketAddr;

use shoal_wire::metainfo::Info;

use super::Hub;
use super::title::Swarm;
use crate::io::CloseReason;
use crate::turn::Turn;

impl Swarm {
    /// Takes all names of the title, before anything of it is asked for.
    pub(super) fn take_name(&mut self, turn: &mut Turn<'_>, hub: &mut Hub, info: &Info) {
        let is_upgrade = self.hashes.v2.is_none() && info.hashes.v2.is_some();
        self.hashes = info.hashes;
        if info.private {
            self.give_up_unvouched(turn, hub);
        }
        if is_upgrade {
            self.meet_again(turn, hub);
        }
    }
    /// Peers of a private title come from its trackers and its user. Whom only neighbours named is left; who came to us is
    /// not: it may have us from a tracker.
    fn give_up_unvouched(&mut self, turn: &mut Turn<'_>, hub: &mut Hub) {
        let gone = self.known.keep_vouched();
        let is_gone = |addr: &SocketAddr| gone.binary_search(addr).is_ok();
        self.dialing -= hub.close_dialed(turn, self.title, is_gone);
        for slot in self.slots() {
            if self.peer(slot).is_some_and(|peer| peer.link.is_dialed() && is_gone(&peer.remote()))
            {
                self.disconnect(turn, hub, slot, CloseReason::NotNeeded);
            }
        }
    }
    /// A magnet named only the v1 side of a hybrid. On a link that began under that name hashes are not spoken of (BEP 52),
    /// so those who offered v2 are dialed anew. Nothing is lost with their links: no block was asked for yet.
    fn meet_again(&mut self, turn: &mut Turn<'_>, hub: &mut Hub) {
        let slots = self.slots().into_iter().filter_map(|slot| {
            let peer = self.peer(slot)?;
            (peer.link.is_dialed() && peer.offers_v2 && !peer.v2).then_some((slot, peer.remote()))
        });
        for (slot, remote) in slots.collect::<Vec<_>>() {
            self.disconnect(turn, hub, slot, CloseReason::Upgrade);
            self.known.again(turn.now, remote);
        }
    }
}
