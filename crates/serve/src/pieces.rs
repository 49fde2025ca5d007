//! Pieces of a film's file, one after the other: what a segment is made of.

use core::ops::Range;
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use shoal_node::link::TitleId;

use crate::library::{Library, Reader};
use crate::limits::{CHUNK_BYTES, PIECES_GAP_BYTES, PLACES_MAX};
use crate::seats::Seats;

/// These bytes of a file, once all of them are here.
pub(crate) async fn bytes(
    library: &dyn Library,
    (title, file): (TitleId, u32),
    range: Range<u64>,
) -> Result<Vec<u8>, String> {
    let length = range.end - range.start;
    let mut reader = library.open(title, file, range).await?;
    // Those of an index are many: while a vector grows it is there twice.
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    while (bytes.len() as u64) < length {
        let chunk = reader.next(CHUNK_BYTES).await;
        let chunk = chunk.ok_or_else(|| "The film ended before its length.".to_owned())??;
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Byte ranges of a file, ascending or not, that are read as they are asked for.
pub(crate) struct Pieces {
    places: Places,
    left: VecDeque<Range<u64>>,
}

impl Pieces {
    /// Of a file that is read by `places`, with the first place found.
    pub(crate) async fn open(mut places: Places, ranges: Vec<Range<u64>>) -> Result<Self, String> {
        // Of one stream, forward: what was skipped is not read any more.
        places.most = 1;
        let left: VecDeque<_> = ranges.into_iter().filter(|range| !range.is_empty()).collect();
        if let Some(first) = left.front() {
            places.reach(first).await?;
        }
        Ok(Self { places, left })
    }
    /// The next bytes, at most `max`; `None` at the end.
    pub(crate) async fn next(&mut self, max: u32) -> Option<Result<Bytes, String>> {
        let range = self.left.front_mut()?;
        let bytes = match self.places.read(range, max).await {
            Ok(bytes) => bytes,
            Err(error) => return Some(Err(error)),
        };
        range.start = range.start.saturating_add(bytes.len() as u64);
        if range.is_empty() {
            self.left.pop_front();
        }
        if self.left.is_empty() {
            self.places.leave();
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
}

/// A reader of a file, and where it stands.
pub(crate) struct Open {
    reader: Box<dyn Reader>,
    /// Where it stands, and where it ends.
    at: u64,
    end: u64,
    /// Bytes that came and were not asked for yet.
    rest: Bytes,
}

impl Open {
    async fn new(
        library: &dyn Library,
        (title, file): (TitleId, u32),
        range: Range<u64>,
    ) -> Result<Self, String> {
        Ok(Self::at(library.open(title, file, range.clone()).await?, range))
    }
    /// A reader of a range that was just opened.
    pub(crate) fn at(reader: Box<dyn Reader>, range: Range<u64>) -> Self {
        Self { reader, at: range.start, end: range.end, rest: Bytes::new() }
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
/// in turns. What lies between near ranges is skipped.
pub(crate) struct Places {
    library: Arc<dyn Library>,
    film: (TitleId, u32),
    length: u64,
    /// How many are open at once.
    most: usize,
    /// The one that was read last is the first.
    open: Vec<Open>,
    /// Where they are left for who goes on, and whether they were found there and not used yet.
    seats: Option<Arc<Seats>>,
    is_taken_over: bool,
}

impl Places {
    /// Of a file of `length` bytes, or of its first ones.
    pub(crate) fn new(library: Arc<dyn Library>, film: (TitleId, u32), length: u64) -> Self {
        let open = Vec::new();
        Self { library, film, length, most: PLACES_MAX, open, seats: None, is_taken_over: false }
    }
    /// From where the last player of the title left, if it was in the same file.
    pub(crate) fn seated(mut self, seats: &Arc<Seats>) -> Self {
        self.open = seats.take(self.film);
        self.is_taken_over = !self.open.is_empty();
        self.seats = Some(Arc::clone(seats));
        self
    }
    /// All was read: another may go on from here.
    pub(crate) fn leave(&mut self) {
        if let Some(seats) = &self.seats {
            seats.leave(self.film, core::mem::take(&mut self.open));
        }
    }
    /// The first bytes of a range that is not empty: at least one, at most `max`.
    pub(crate) async fn read(&mut self, range: &Range<u64>, max: u32) -> Result<Bytes, String> {
        self.reach(range).await?.read(range, max).await
    }
    /// These bytes and no others: nothing that lies between them and the rest is asked for.
    pub(crate) async fn alone(&mut self, range: Range<u64>) -> Result<Bytes, String> {
        bytes(&*self.library, self.film, range).await.map(Bytes::from)
    }
    /// Stands at a range or little before it.
    async fn reach(&mut self, range: &Range<u64>) -> Result<&mut Open, String> {
        let near = |open: &Open| open.serves(range) && range.start - open.at <= PIECES_GAP_BYTES;
        let place = self.open.iter().position(near);
        match place {
            Some(place) => self.open.swap(0, place),
            None => {
                let rest = range.start..self.length.max(range.end);
                if !self.is_taken_over {
                    // Closed before another is opened: what it claims is needed no more.
                    self.open.truncate(self.most.saturating_sub(1));
                }
                let open = Open::new(&*self.library, self.film, rest).await?;
                if self.is_taken_over {
                    // Closed after it: who begins a little before the end of what was taken goes on, for the swarm as well. Who jumped
                    // needs none of it.
                    self.open.clear();
                }
                self.open.insert(0, open);
            }
        }
        self.is_taken_over = false;
        self.open.first_mut().ok_or_else(|| "the film cannot be read".to_owned())
    }
}
