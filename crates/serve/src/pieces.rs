//! Pieces of a film's file, one after the other: what a segment is made of.

use core::ops::Range;
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use shoal_node::link::TitleId;

use crate::library::{Library, Reader};
use crate::limits::PIECES_GAP_BYTES;

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
        loop {
            let range = self.left.front().cloned()?;
            if !self.open.as_ref().is_some_and(|open| open.serves(&range))
                && let Err(error) = self.open_near().await
            {
                return Some(Err(error));
            }
            let open = self.open.as_mut()?;
            if open.rest.is_empty() {
                match open.reader.next(max).await {
                    Some(Ok(bytes)) => open.rest = bytes,
                    Some(Err(error)) => return Some(Err(error)),
                    None => return Some(Err("the film ended before its length".to_owned())),
                }
            }
            let skipped = range.start.saturating_sub(open.at);
            let gap = usize::try_from(skipped).unwrap_or(usize::MAX).min(open.rest.len());
            drop(open.take(gap));
            let wanted = usize::try_from(range.end.saturating_sub(open.at)).unwrap_or(usize::MAX);
            let bytes = open.take(if open.at < range.start { 0 } else { wanted.min(max as usize) });
            if bytes.is_empty() {
                continue;
            }
            match self.left.front_mut() {
                Some(range) if open.at < range.end => range.start = open.at,
                _ => drop(self.left.pop_front()),
            }
            return Some(Ok(bytes));
        }
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
        let (at, end) = (whole.start, whole.end);
        let reader = self.library.open(self.title, self.file, whole).await?;
        self.open = Some(Open { reader, at, end, rest: Bytes::new() });
        Ok(())
    }
}

impl Open {
    fn serves(&self, range: &Range<u64>) -> bool {
        self.at <= range.start && range.end <= self.end
    }
    fn take(&mut self, count: usize) -> Bytes {
        let bytes = self.rest.split_to(count.min(self.rest.len()));
        self.at += bytes.len() as u64;
        bytes
    }
}
