//! Bodies of answers: bytes at hand, bytes of a film as they arrive, events as they happen.
//!
//! A body is pulled by the connection only when its socket has room, so a slow player slows its reader and nothing else.
//! When the connection ends, the body is dropped and the reader with it.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, broadcast};
use tokio::time::Instant;

use crate::library::{BoxFuture, Reader};
use crate::limits::{CHUNK_BYTES, PACE_MAX, PACED_BYTES, SIGN_OF_LIFE};
use crate::pieces::Pieces;

/// Why a body ended early; the connection is closed, so that the player sees a film that is cut off, not one that is
/// over.
#[derive(Debug)]
pub struct BodyError(pub String);

impl core::fmt::Display for BodyError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for BodyError {}

/// A body.
pub struct Body(Kind);

enum Kind {
    /// Bytes at hand; taken out when sent.
    Full(Bytes),
    /// A source that is asked for one chunk after the other, and bytes left if that is known.
    Source { state: State, left: Option<u64> },
}

/// What a source gives: bytes, trouble, or its end.
type Chunk = Option<Result<Bytes, BodyError>>;

enum State {
    Idle(Box<dyn Source>),
    Busy(BoxFuture<'static, (Box<dyn Source>, Chunk)>),
    Over,
}

/// Where chunks come from.
trait Source: Send {
    /// The next chunk of at most `max` bytes.
    fn next(&mut self, max: u32) -> BoxFuture<'_, Chunk>;
}

impl Body {
    /// All of it is here.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self(Kind::Full(bytes.into()))
    }
    /// Nothing.
    #[must_use]
    pub fn empty() -> Self {
        Self::full(Bytes::new())
    }
    /// The next `length` bytes of `reader`; `sent` counts them.
    #[must_use]
    pub fn film(reader: Box<dyn Reader>, length: u64, sent: Arc<AtomicU64>) -> Self {
        let source = Film { reader, sent };
        Self(Kind::Source { state: State::Idle(Box::new(source)), left: Some(length) })
    }
    /// `head`, and then what `film` brings, `length` bytes in all; `sent` counts those of the film.
    #[must_use]
    pub(crate) fn segment(head: Vec<u8>, film: Pieces, length: u64, sent: Arc<AtomicU64>) -> Self {
        let source = Segment { head: head.into(), film: Some(film), sent };
        Self(Kind::Source { state: State::Idle(Box::new(source)), left: Some(length) })
    }
    /// The same bytes, at most `rate` of them in a second, if there is one.
    #[must_use]
    pub(crate) fn paced(self, rate: Option<u64>, sent: Arc<AtomicU64>) -> Self {
        let Some(rate) = rate else { return self };
        let (source, left): (Box<dyn Source>, _) = match self.0 {
            Kind::Full(bytes) => {
                let length = bytes.len() as u64;
                (Box::new(Segment { head: bytes, film: None, sent }), Some(length))
            }
            Kind::Source { state: State::Idle(source), left } => (source, left),
            other => return Self(other),
        };
        let source = Paced { source, rate: rate.max(1), begun: None, given: 0 };
        Self(Kind::Source { state: State::Idle(Box::new(source)), left })
    }
    /// Lines as server-sent events: first those of the past, then what `live` brings, with a sign of life in between.
    /// `permit` is held as long as somebody listens.
    #[must_use]
    pub fn events(
        past: Vec<Arc<str>>,
        live: broadcast::Receiver<Arc<str>>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let past = past.into_iter().rev().collect();
        let source = Events { past, live, _permit: permit };
        Self(Kind::Source { state: State::Idle(Box::new(source)), left: None })
    }
}

struct Film {
    reader: Box<dyn Reader>,
    sent: Arc<AtomicU64>,
}

impl Source for Film {
    fn next(&mut self, max: u32) -> BoxFuture<'_, Chunk> {
        Box::pin(async move { counted(self.reader.next(max).await, &self.sent) })
    }
}

/// What came of a film, counted.
fn counted(came: Option<Result<Bytes, String>>, sent: &AtomicU64) -> Chunk {
    if let Some(Ok(bytes)) = &came {
        sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    }
    came.map(|chunk| chunk.map_err(BodyError))
}

struct Segment {
    head: Bytes,
    film: Option<Pieces>,
    sent: Arc<AtomicU64>,
}

impl Source for Segment {
    fn next(&mut self, max: u32) -> BoxFuture<'_, Chunk> {
        Box::pin(async move {
            if !self.head.is_empty() {
                let length = self.head.len().min(max as usize);
                return Some(Ok(self.head.split_to(length)));
            }
            let film = self.film.as_mut()?;
            counted(film.next(max).await, &self.sent)
        })
    }
}

/// A source that gives no more than `rate` bytes in a second.
struct Paced {
    source: Box<dyn Source>,
    rate: u64,
    begun: Option<Instant>,
    given: u64,
}

impl Source for Paced {
    fn next(&mut self, max: u32) -> BoxFuture<'_, Chunk> {
        Box::pin(async move {
            let begun = *self.begun.get_or_insert_with(Instant::now);
            let chunk = self.source.next(max.min(PACED_BYTES)).await;
            if let Some(Ok(bytes)) = &chunk {
                self.given = self.given.saturating_add(bytes.len() as u64);
                let us = self.given.saturating_mul(1_000_000) / self.rate;
                tokio::time::sleep_until(begun + Duration::from_micros(us).min(PACE_MAX)).await;
            }
            chunk
        })
    }
}

struct Events {
    past: Vec<Arc<str>>,
    live: broadcast::Receiver<Arc<str>>,
    _permit: OwnedSemaphorePermit,
}

impl Source for Events {
    fn next(&mut self, _max: u32) -> BoxFuture<'_, Chunk> {
        Box::pin(async move {
            if let Some(line) = self.past.pop() {
                return Some(Ok(sse(&line)));
            }
            loop {
                match tokio::time::timeout(SIGN_OF_LIFE, self.live.recv()).await {
                    Ok(Ok(line)) => return Some(Ok(sse(&line))),
                    // Too slow: what was missed is replaced by newer news.
                    Ok(Err(broadcast::error::RecvError::Lagged(_))) => {}
                    Ok(Err(broadcast::error::RecvError::Closed)) => return None,
                    Err(_) => return Some(Ok(Bytes::from_static(b":\n\n"))),
                }
            }
        })
    }
}

/// One line as an event.
fn sse(line: &str) -> Bytes {
    Bytes::from(format!("data: {line}\n\n"))
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let (state, left) = match &mut self.0 {
            Kind::Full(bytes) if bytes.is_empty() => return Poll::Ready(None),
            Kind::Full(bytes) => {
                return Poll::Ready(Some(Ok(Frame::data(core::mem::take(bytes)))));
            }
            Kind::Source { state, left } => (state, left),
        };
        if *left == Some(0) {
            *state = State::Over;
            return Poll::Ready(None);
        }
        let max = left.map_or(CHUNK_BYTES, |left| {
            u32::try_from(left).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES))
        });
        let mut future = match core::mem::replace(state, State::Over) {
            State::Idle(mut source) => Box::pin(async move {
                let chunk = source.next(max).await;
                (source, chunk)
            }),
            State::Busy(future) => future,
            State::Over => return Poll::Ready(None),
        };
        match future.as_mut().poll(context) {
            Poll::Pending => {
                *state = State::Busy(future);
                Poll::Pending
            }
            Poll::Ready((source, Some(Ok(mut bytes)))) => {
                bytes.truncate(max as usize);
                if let Some(left) = left {
                    *left = left.saturating_sub(bytes.len() as u64);
                }
                *state = State::Idle(source);
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Poll::Ready((_, Some(Err(error)))) => Poll::Ready(Some(Err(error))),
            Poll::Ready((_, None)) => match left {
                Some(_) => {
                    let error = BodyError("the film ended before its length".to_owned());
                    Poll::Ready(Some(Err(error)))
                }
                None => Poll::Ready(None),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Full(bytes) => bytes.is_empty(),
            Kind::Source { left, .. } => *left == Some(0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Source { left: Some(left), .. } => SizeHint::with_exact(*left),
            Kind::Source { left: None, .. } => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use core::future::poll_fn;
    use core::pin::Pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use hyper::body::Body as _;
    use tokio::time::Instant;

    use super::Body;

    /// Bytes of a body, and how long they took.
    async fn read(mut body: Body) -> (usize, Duration) {
        let (begun, mut bytes) = (Instant::now(), 0);
        while let Some(frame) = poll_fn(|it| Pin::new(&mut body).poll_frame(it)).await {
            bytes += frame.ok().and_then(|it| it.into_data().ok()).map_or(0, |data| data.len());
        }
        (bytes, begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_paced_body_takes_its_time_and_loses_nothing() {
        let sent = Arc::new(AtomicU64::new(0));
        for (rate, ms) in
            [(None, 0), (Some(100_000), 3000), (Some(3_000_000), 100), (Some(0), 30_000)]
        {
            let body = Body::full(vec![7; 300_000]).paced(rate, Arc::clone(&sent));
            assert_eq!(body.size_hint().exact(), Some(300_000));
            let (bytes, took) = read(body).await;
            assert_eq!(bytes, 300_000);
            assert!(took.as_millis() <= ms + 2 && took.as_millis() + 2 >= ms, "{took:?}");
        }
        assert_eq!(
            sent.load(Ordering::Relaxed),
            0,
            "bytes at hand were counted when they were made"
        );
    }
}
