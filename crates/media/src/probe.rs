//! The prober: asks for byte ranges of a file until it knows what the file is.
//!
//! ```
//! # let file: Vec<u8> = include_bytes!("../testdata/front.mp4").to_vec();
//! let mut prober = shoal_media::Prober::new(file.len() as u64);
//! while let Some(range) = prober.need().first().cloned() {
//!     // However the bytes come: from a disk, or from peers.
//!     let bytes = &file[range.start as usize..range.end as usize];
//!     prober.feed(range.start, bytes);
//! }
//! let film = prober.finish().unwrap();
//! assert_eq!(film.duration_ms, Some(12_000));
//! ```

use core::fmt;
use core::ops::Range;

use crate::{Container, Film, MediaError, matroska, mp4, mpegts};

/// Bytes read first: enough to tell containers apart, and the whole head of many.
const HEAD_BYTES: u64 = 4096;

/// What a walk wants next.
#[derive(Debug)]
pub(crate) enum Step {
    /// These bytes.
    Need(Range<u64>),
    /// Nothing: it is done.
    Done(Box<Result<Film, MediaError>>),
}

/// The stretch of the file that is at hand.
#[derive(Debug, Default)]
pub(crate) struct Window {
    offset: u64,
    data: Vec<u8>,
}

impl Window {
    /// The bytes of `range`, or the step that asks for them.
    pub(crate) fn get(&self, range: Range<u64>) -> Result<&[u8], Step> {
        let inside = || {
            let start = usize::try_from(range.start.checked_sub(self.offset)?).ok()?;
            let end = usize::try_from(range.end.checked_sub(self.offset)?).ok()?;
            self.data.get(start..end)
        };
        inside().ok_or_else(|| Step::Need(range.clone()))
    }
    fn end(&self) -> u64 {
        self.offset + self.data.len() as u64
    }
}

/// Which container is walked.
#[derive(Debug)]
enum Walk {
    /// Not known yet.
    Start,
    Mp4(Box<mp4::Walk>),
    Matroska(matroska::Walk),
    Transport(mpegts::Walk),
}

/// What is wanted beside what a film is.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Wishes {
    /// Each frame.
    pub(crate) frames: bool,
    /// An exact index, whatever has to be read for it.
    pub(crate) thorough: bool,
}

/// Finds out what a media file is from a few of its bytes. Without I/O: [`Prober::need`] says which bytes, the caller
/// brings them with [`Prober::feed`], until nothing is needed; then [`Prober::finish`] says what was found.
///
/// Memory: at most the container's index ([`crate::limits::INDEX_BYTES_MAX`]) and the time index made of it.
#[derive(Debug)]
pub struct Prober {
    length: u64,
    wishes: Wishes,
    walk: Walk,
    window: Window,
    /// End of what is wanted; it begins at the end of the window.
    want_end: u64,
    result: Option<Result<Film, MediaError>>,
}

impl Prober {
    /// A prober of a file of `length` bytes.
    #[must_use]
    pub fn new(length: u64) -> Self {
        let mut prober = Self {
            length,
            wishes: Wishes::default(),
            walk: Walk::Start,
            window: Window::default(),
            want_end: length.min(HEAD_BYTES),
            result: None,
        };
        if length == 0 {
            prober.result = Some(Ok(Film::unknown(Container::Unknown)));
        }
        prober
    }
    /// The same, and it finds out where each frame of the film lies.
    #[must_use]
    pub fn of_frames(length: u64) -> Self {
        let mut prober = Self::new(length);
        prober.wishes.frames = true;
        prober
    }
    /// The same, where reading is cheap: a film whose container has no index is read through for one, a mebibyte at a time.
    #[must_use]
    pub fn thorough(mut self) -> Self {
        self.wishes.thorough = true;
        self
    }
    /// Byte ranges that are needed next, at present one; empty when there is nothing more to read.
    #[must_use]
    pub fn need(&self) -> Vec<Range<u64>> {
        let missing = self.window.end()..self.want_end;
        if self.result.is_some() || missing.is_empty() { Vec::new() } else { vec![missing] }
    }
    /// Brings the bytes at `offset` of the file. Bytes that are not needed, or that leave a gap before them, are
    /// ignored: [`Prober::need`] names what is still missing.
    pub fn feed(&mut self, offset: u64, bytes: &[u8]) {
        let at = self.window.end();
        let wanted = self.want_end.saturating_sub(at);
        let new = at
            .checked_sub(offset)
            .and_then(|skip| bytes.get(usize::try_from(skip).ok()?..))
            .unwrap_or(&[]);
        let taken = new.len().min(usize::try_from(wanted).unwrap_or(usize::MAX));
        self.window.data.extend_from_slice(new.get(..taken).unwrap_or(&[]));
        while self.result.is_none() && self.window.end() >= self.want_end {
            match self.step() {
                Step::Need(range) => self.want(range),
                Step::Done(result) => {
                    self.window = Window::default();
                    self.result = Some(*result);
                }
            }
        }
    }
    /// What was found.
    ///
    /// # Errors
    /// When bytes are still missing, the index is absent, beyond its limit, or senseless. A container that is not known
    /// is no error.
    pub fn finish(self) -> Result<Film, MediaError> {
        match self.result {
            Some(result) => result,
            None => Err(MediaError::Incomplete(self.window.end()..self.want_end)),
        }
    }
    /// Feeds itself with what `read` brings, to the end. `read` may bring less than asked for, but not nothing.
    ///
    /// # Errors
    /// Those of `read`, and of [`Prober::finish`].
    pub fn run<E>(
        mut self,
        mut read: impl FnMut(Range<u64>) -> Result<Vec<u8>, E>,
    ) -> Result<Film, ProbeError<E>> {
        while let Some(range) = self.need().first().cloned() {
            let start = range.start;
            let bytes = read(range).map_err(ProbeError::Read)?;
            if bytes.is_empty() {
                break;
            }
            self.feed(start, &bytes);
        }
        self.finish().map_err(ProbeError::Media)
    }

    fn step(&mut self) -> Step {
        match &mut self.walk {
            Walk::Start => {
                let head = self.window.data.as_slice();
                if mp4::recognises(head) {
                    let walk = mp4::Walk::new(self.length, self.wishes);
                    self.walk = Walk::Mp4(Box::new(walk));
                } else if matroska::recognises(head) {
                    let (frames, thorough) = (self.wishes.frames, self.wishes.thorough);
                    let walk = matroska::Walk::new(self.length, frames, thorough);
                    self.walk = Walk::Matroska(walk);
                } else if mpegts::recognises(head) {
                    self.walk = Walk::Transport(mpegts::Walk::new(self.length, self.wishes));
                } else {
                    return Step::Done(Box::new(Ok(Film::unknown(Container::Unknown))));
                }
                self.step()
            }
            Walk::Mp4(walk) => walk.step(&self.window),
            Walk::Matroska(walk) => walk.step(&self.window),
            Walk::Transport(walk) => walk.step(&self.window),
        }
    }

    /// Moves the window to `range`, keeping what is already there of its beginning.
    fn want(&mut self, range: Range<u64>) {
        let kept = range.start.checked_sub(self.window.offset);
        let kept = kept.and_then(|skip| usize::try_from(skip).ok());
        match kept.filter(|skip| *skip <= self.window.data.len()) {
            Some(skip) => drop(self.window.data.drain(..skip)),
            None => self.window.data.clear(),
        }
        self.window.offset = range.start;
        self.want_end = range.end;
    }
}

/// Why [`Prober::run`] ended without a film.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProbeError<E> {
    /// The bytes could not be read.
    Read(E),
    /// They make no film.
    Media(MediaError),
}

impl<E: fmt::Display> fmt::Display for ProbeError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => error.fmt(f),
            Self::Media(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for ProbeError<E> {}
