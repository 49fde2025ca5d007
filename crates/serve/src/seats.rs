//! Where players of segments go on.
//!
//! Such a player asks for one segment after the other, each in a request of its own. To the swarm these would be many readers, each of which takes
//! a little and goes: none of them a viewer, so that nothing is fetched for it beyond what it asks for. So what reads a segment stays for a
//! while where the segment ended, and who asks for the next one goes on with it. The swarm then sees one viewer with a playhead.
//!
//! One place of a title is kept: who asks for another quality, or elsewhere, has left the old one. What stands beside the pictures is read as it
//! is asked for: in another file than theirs, or close to them, it needs no playhead of its own.

use core::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shoal_node::link::TitleId;
use tokio::task::AbortHandle;

use crate::limits::{SEAT_HELD, SEATS_MAX};
use crate::pieces::Open;

/// The places that were left.
#[derive(Default)]
pub(crate) struct Seats(Mutex<Left>);

#[derive(Default)]
struct Left {
    /// The oldest is the first.
    seats: Vec<Seat>,
    /// Numbers them.
    count: u64,
}

struct Seat {
    number: u64,
    film: (TitleId, u32),
    open: Vec<Open>,
    expiry: AbortHandle,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.expiry.abort();
    }
}

impl fmt::Debug for Seats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seats").finish_non_exhaustive()
    }
}

impl Seats {
    fn left(&self) -> MutexGuard<'_, Left> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// What the last one of the title left, if it read the same film. Nobody else finds it any more.
    pub(crate) fn take(&self, film: (TitleId, u32)) -> Vec<Open> {
        self.left().remove(film.0).filter(|seat| seat.film == film).map_or_else(
            Vec::new,
            // Taken out, because a seat ends its expiry when it is dropped.
            |mut seat| core::mem::take(&mut seat.open),
        )
    }
    /// Nobody goes on.
    pub(crate) fn clear(&self) {
        self.left().seats.clear();
    }
    /// Keeps what read a film for who goes on there. To be called inside a runtime.
    pub(crate) fn leave(self: &Arc<Self>, film: (TitleId, u32), open: Vec<Open>) {
        if open.is_empty() {
            return;
        }
        let mut left = self.left();
        drop(left.remove(film.0));
        left.count += 1;
        let number = left.count;
        let seats = Arc::downgrade(self);
        let expiry = tokio::spawn(async move {
            tokio::time::sleep(SEAT_HELD).await;
            if let Some(seats) = seats.upgrade() {
                seats.left().seats.retain(|seat| seat.number != number);
            }
        });
        if left.seats.len() >= SEATS_MAX {
            left.seats.remove(0);
        }
        left.seats.push(Seat { number, film, open, expiry: expiry.abort_handle() });
    }
}

impl Left {
    fn remove(&mut self, title: TitleId) -> Option<Seat> {
        let place = self.seats.iter().position(|seat| seat.film.0 == title)?;
        Some(self.seats.remove(place))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;
    use shoal_node::link::TitleId;

    use super::Seats;
    use crate::library::{BoxFuture, Reader};
    use crate::limits::{SEAT_HELD, SEATS_MAX};
    use crate::pieces::Open;

    /// Its reader lives as long as it is held.
    struct Alive(#[expect(dead_code, reason = "it is counted")] Arc<()>);

    impl Reader for Alive {
        fn next(&mut self, _max: u32) -> BoxFuture<'_, Option<Result<Bytes, String>>> {
            Box::pin(async { None })
        }
    }

    fn open(lives: &Arc<()>) -> Vec<Open> {
        vec![Open::at(Box::new(Alive(Arc::clone(lives))), 0..10)]
    }

    #[tokio::test(start_paused = true)]
    async fn a_seat_is_for_one_and_for_a_while() {
        let (seats, lives) = (Arc::<Seats>::default(), Arc::new(()));
        let film = (TitleId(1), 0);
        seats.leave(film, open(&lives));
        assert_eq!(seats.take(film).len(), 1);
        assert!(seats.take(film).is_empty(), "it was taken");
        // Who asks for another film of the title has left this one.
        seats.leave(film, open(&lives));
        assert!(seats.take((TitleId(1), 1)).is_empty());
        assert_eq!(Arc::strong_count(&lives), 1);
        seats.leave(film, open(&lives));
        tokio::time::sleep(SEAT_HELD - Duration::from_millis(1)).await;
        assert_eq!(Arc::strong_count(&lives), 2);
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert_eq!(Arc::strong_count(&lives), 1, "nobody came");
        for title in 0..SEATS_MAX as u32 + 5 {
            seats.leave((TitleId(title), 0), open(&lives));
        }
        assert_eq!(Arc::strong_count(&lives), SEATS_MAX + 1);
        assert!(seats.take((TitleId(4), 0)).is_empty(), "the oldest gave way");
    }
}
