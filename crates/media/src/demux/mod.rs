//! Frames out of the bytes of a film as they come, from any time of it on.
//!
//! Without I/O: [`Demuxer::need`] says which bytes come next, the caller brings them in order with [`Demuxer::feed`], and
//! [`Demuxer::next`] gives the frames that are whole, those of all streams in the order in which they are decoded; of a film in clusters,
//! in the order of the file, which is nearly the same.
//!
//! ```
//! # use std::sync::Arc;
//! # let file: Vec<u8> = include_bytes!("../../testdata/front.mp4").to_vec();
//! # let film = shoal_media::Prober::of_frames(file.len() as u64)
//! #     .run(|range| Ok::<_, std::convert::Infallible>(file[range.start as usize..range.end as usize].to_vec()));
//! # let film = Arc::new(film.unwrap().presentation.unwrap());
//! let mut frames = 0;
//! let mut demuxer = shoal_media::demux::Demuxer::new(film, &[0, 1], 5000);
//! loop {
//!     while let Some(frame) = demuxer.next() {
//!         frames += 1;
//!     }
//!     let Some(range) = demuxer.need() else { break };
//!     demuxer.feed(&file[range.start as usize..range.end as usize]).unwrap();
//! }
//! assert!(frames > 100);
//! ```

mod clusters;
mod fragments;
mod order;
mod reach;
mod rebase;
mod search;
mod tables;
mod transport;
mod units;

use core::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::{MediaError, Presentation};

/// A coded frame with its bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// The number of its stream: its place in [`Presentation::streams`], or behind those in [`Presentation::texts`].
    pub stream: usize,
    /// When it is decoded, in units of its stream from the start of the film.
    pub decoded: u64,
    /// When it is shown, in the same units.
    pub shown: u64,
    /// How long until the next of its stream is decoded, in the same units; 0 where that is not told.
    pub duration: u32,
    /// Whether decoding can begin with it.
    pub is_key: bool,
    /// The frame.
    pub data: Bytes,
}

/// Takes a film apart.
#[derive(Debug)]
pub struct Demuxer(Kind);

#[derive(Debug)]
enum Kind {
    Tables(tables::Walk),
    Transport(Box<transport::Walk>),
    Clusters(Box<clusters::Walk>),
    Fragments(Box<fragments::Walk>),
    Units(Box<units::Walk>),
}

impl Demuxer {
    /// Of these streams of a film. It begins with the last key frame that is shown no later than `at_ms`, or the first one; streams
    /// without pictures beside it with their first frame that is shown no sooner. A film in clusters or fragments that is wanted from its start
    /// comes with all of its sound, also that before the first picture.
    ///
    /// The one stream of a film that is a transport stream comes as groups of up to seven whole packets, its tables first: 188 bytes each,
    /// with the times of the film in them. A group is decoded and shown when the clock of the stream shows its time; is a key frame where
    /// one begins in it. Where nobody knows the key frames they are searched for first.
    ///
    /// Of one that is taken apart ([`Presentation::apart`]) frames come segment by segment, once all of one are here, from the segment on in
    /// which that time lies.
    #[must_use]
    pub fn new(film: Arc<Presentation>, streams: &[usize], at_ms: u64) -> Self {
        if streams.contains(&0)
            && let Some(walk) = transport::Walk::new(Arc::clone(&film), at_ms)
        {
            return Self(Kind::Transport(Box::new(walk)));
        }
        Self(if film.clusters().is_some() {
            Kind::Clusters(Box::new(clusters::Walk::new(film, streams, at_ms)))
        } else if film.fragments().is_some() {
            Kind::Fragments(Box::new(fragments::Walk::new(film, streams, at_ms)))
        } else if film.units().is_some() {
            Kind::Units(Box::new(units::Walk::new(film, streams, at_ms)))
        } else {
            Kind::Tables(tables::Walk::new(film, streams, at_ms))
        })
    }
    /// Of these streams of segment `number`: what of them lies in it, and nothing else; of text ([`Presentation::texts`]) also what is
    /// shown since before, where the film tells where that lies. `None` where there is no such segment or stream,
    /// and for a film that is a transport stream, whose segments are parts of its file, unless it is taken apart.
    #[must_use]
    pub fn of_segment(film: Arc<Presentation>, streams: &[usize], number: usize) -> Option<Self> {
        if film.transport().is_some() || streams.iter().any(|it| *it >= film.all().len()) {
            return None;
        }
        Some(Self(if film.clusters().is_some() {
            Kind::Clusters(Box::new(clusters::Walk::of_segment(film, streams, number)?))
        } else if film.fragments().is_some() {
            Kind::Fragments(Box::new(fragments::Walk::of_segment(film, streams, number)?))
        } else if film.units().is_some() {
            Kind::Units(Box::new(units::Walk::of_segment(film, streams, number)?))
        } else {
            Kind::Tables(tables::Walk::of_segment(film, streams, number)?)
        }))
    }
    /// Goes on from another time of the film, as a new one would begin; what was read and did not leave is forgotten. The packets of a
    /// transport stream are counted on, and the first of each of its streams says that something was left out.
    pub fn jump(&mut self, at_ms: u64) {
        match &mut self.0 {
            Kind::Tables(walk) => walk.jump(at_ms),
            Kind::Transport(walk) => walk.jump(at_ms),
            Kind::Clusters(walk) => walk.jump(at_ms),
            Kind::Fragments(walk) => walk.jump(at_ms),
            Kind::Units(walk) => walk.jump(at_ms),
        }
    }
    /// The bytes of the file that come next; `None` when there is nothing more to come. Never empty. What does not follow what was fed
    /// last is a jump, forward most often, past bytes that nobody asked for.
    #[must_use]
    pub fn need(&self) -> Option<Range<u64>> {
        match &self.0 {
            Kind::Tables(walk) => walk.need(),
            Kind::Transport(walk) => walk.need(),
            Kind::Clusters(walk) => walk.need(),
            Kind::Fragments(walk) => walk.need(),
            Kind::Units(walk) => walk.need(),
        }
    }
    /// Brings the next bytes of what is needed: all of them, or as many as came.
    ///
    /// # Errors
    /// When they make no sense; then there is nothing more to come.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), MediaError> {
        match &mut self.0 {
            Kind::Tables(walk) => walk.feed(bytes),
            Kind::Transport(walk) => walk.feed(bytes),
            Kind::Clusters(walk) => return walk.feed(bytes),
            Kind::Fragments(walk) => return walk.feed(bytes),
            Kind::Units(walk) => return walk.feed(bytes),
        }
        Ok(())
    }
    /// The next frame, if it is whole.
    #[allow(clippy::should_implement_trait)] // That there is none now does not mean that it ended.
    pub fn next(&mut self) -> Option<Frame> {
        match &mut self.0 {
            Kind::Tables(walk) => walk.next(),
            Kind::Transport(walk) => walk.next(),
            Kind::Clusters(walk) => walk.next(),
            Kind::Fragments(walk) => walk.next(),
            Kind::Units(walk) => walk.next(),
        }
    }
}
