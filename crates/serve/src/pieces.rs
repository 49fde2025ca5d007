//! Pieces of a film's file, one after the other: what a segment is made of.

use core::ops::Range;
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use shoal_node::link::TitleId;

use crate::library::{Library, Reader};
use crate::limits::{PIECES_GAP_BYTES, PLACES_MAX};

/// Byte ranges of a file, ascending or not, that are read as they are asked for. Near ones are read by one reader, which skips what lies
/// between.
pub(crate) struct Pieces {
    library: Arc<dyn Library>,
    title: TitleId,
    file: u32,
    left: VecDeque<Range<u64>>,
    open: Option<Open>,
}

struct Open {
    reader: Box<dyn Reader>,
    /// Where it stands, and where it ends.
    at: u64,
    end: u64,
    /// Bytes that came and were not asked for yet.
    rest: Bytes,
}

impl Pieces {
    /// Of a file of a title, with the first reader opened.
    pub(crate) async fn open(
        library: Arc<dyn Library>,
        title: TitleId,
        file: u32,
        ranges: Vec<Range<u64>>,
    ) -> Result<Self, String> {
        let left = ranges.into_iter().filter(|range| !range.is_empty()).collect();
        let mut pieces = Self { library, title, file, left, open: None };
        pieces.open_near().await?;
        Ok(pieces)
    }
    /// The next bytes, at most `max`; `None` at the end.
    pub(crate) async fn next(&mut self, max: u32) -> Option<Result<Bytes, String>> {
        let range = self.left.front().cloned()?;
        if !self.open.as_ref().is_some_and(|open| open.serves(&range))
            && let Err(error) = self.open_near().await
        {
            return Some(Err(error));
        }
        let open = self.open.as_mut()?;
        let bytes = match open.read(&range, max).await {
            Ok(bytes) => bytes,
            Err(error) => return Some(Err(error)),
        };
        match self.left.front_mut() {
            Some(range) if open.at < range.end => range.start = open.at,
            _ => drop(self.left.pop_front()),
        }
        Some(Ok(bytes))
    }
    /// The first `count` bytes, or all if there are fewer.
    pub(crate) async fn first(&mut self, count: usize) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::with_capacity(count);
        while bytes.len() < count {
            let left = u32::try_from(count - bytes.len()).unwrap_or(u32::MAX);
            let Some(next) = self.next(left).await else { break };
            bytes.extend_from_slice(&next?);
        }
        Ok(bytes)
    }
    /// Opens a reader for the first range and those that lie near behind it.
    async fn open_near(&mut self) -> Result<(), String> {
        let Some(mut whole) = self.left.front().cloned() else { return Ok(()) };
        for range in self.left.iter().skip(1) {
            let near = whole.end..=whole.end.saturating_add(PIECES_GAP_BYTES);
            if !near.contains(&range.start) {
                break;
            }
            whole.end = range.end;
        }
        self.open = Some(Open::new(&*self.library, (self.title, self.file), whole).await?);
        Ok(())
    }
}

impl Open {
    async fn new(
        library: &dyn Library,
        (title, file): (TitleId, u32),
        range: Range<u64>,
    ) -> Result<Self, String> {
        let (at, end) = (range.start, range.end);
        let reader = library.open(title, file, range).await?;
        Ok(Self { reader, at, end, rest: Bytes::new() })
    }
    fn serves(&self, range: &Range<u64>) -> bool {
        self.at <= range.start && range.end <= self.end
    }
    /// The first bytes of a range that is not empty and that it serves: at least one, at most `max`.
    async fn read(&mut self, range: &Range<u64>, max: u32) -> Result<Bytes, String> {
        loop {
            if self.rest.is_empty() {
                match self.reader.next(max).await {
                    Some(Ok(bytes)) => self.rest = bytes,
                    Some(Err(error)) => return Err(error),
                    None => return Err("the film ended before its length".to_owned()),
                }
            }
            let gap = range.start.saturating_sub(self.at);
            drop(self.take(usize::try_from(gap).unwrap_or(usize::MAX)));
            let wanted = usize::try_from(range.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
            if self.at >= range.start && !self.rest.is_empty() {
                return Ok(self.take(wanted.min(max as usize)));
            }
        }
    }
    fn take(&mut self, count: usize) -> Bytes {
        let bytes = self.rest.split_to(count.min(self.rest.len()));
        self.at += bytes.len() as u64;
        bytes
    }
}

/// Reads a file here and there, forward most often, to its end: at two places, since streams that do not lie beside each other are read
/// in turns.
pub(crate) struct Places {
    library: Arc<dyn Library>,
    film: (TitleId, u32),
    length: u64,
    /// The one that was read last is the first.
    open: Vec<Open>,
}

impl Places {
    /// Of a file of `length` bytes.
    pub(crate) fn new(library: Arc<dyn Library>, film: (TitleId, u32), length: u64) -> Self {
        Self { library, film, length, open: Vec::new() }
    }
    /// The first bytes of a range that is not empty: at least one, at most `max`.
    pub(crate) async fn read(&mut self, range: &Range<u64>, max: u32) -> Result<Bytes, String> {
        let near = |open: &Open| open.serves(range) && range.start - open.at <= PIECES_GAP_BYTES;
        let place = self.open.iter().position(near);
        match place {
            Some(place) => self.open.swap(0, place),
            None => {
                // Closed before another is opened: what it claims is needed no more.
                self.open.truncate(PLACES_MAX - 1);
                let rest = range.start..self.length.max(range.end);
                self.open.insert(0, Open::new(&*self.library, self.film, rest).await?);
            }
        }
        match self.open.first_mut() {
            Some(open) => open.read(range, max).await,
            None => Err("the film cannot be read".to_owned()),
        }
    }
}
