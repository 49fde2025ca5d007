//! Recycled memory for film bytes, so that a gigabyte costs no page fault per block.
//!
//! Two kinds. [`ReadBuffers`] are filled by one disk read and then shared as [`Bytes`]; the memory comes back when the
//! last share is dropped, on whatever thread. [`Chunks`] are filled by many reads of one socket while earlier parts of
//! them are already shared; the pool keeps a handle to each and reuses it once nobody else does.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::config::{BUFFER_CLASSES, BUFFERS_FULL_PAUSE, BUFFERS_IDLE_MAX, CHUNK_LEN, CHUNKS_MAX};
use bytes::{Bytes, BytesMut};

/// Buffers for disk reads. Clones share one pool.
#[derive(Clone, Debug)]
pub struct ReadBuffers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limit: usize,
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Debug, Default)]
struct State {
    idle: [Vec<Box<[u8]>>; BUFFER_CLASSES.len()],
    idle_bytes: usize,
    flight_bytes: usize,
}

/// A buffer on its way: give it back by dropping it, or by dropping the last [`Bytes`] made of it.
#[derive(Debug)]
pub struct ReadBuffer {
    memory: Option<Box<[u8]>>,
    len: usize,
    pool: Arc<Shared>,
}

impl ReadBuffers {
    /// A pool that aims at no more than `limit` bytes in flight.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Shared { limit, state: Mutex::default(), returned: Condvar::new() }))
    }
    /// A buffer of `len` bytes with whatever was in it before. Waits a moment when the limit is reached.
    #[must_use]
    pub fn take(&self, len: usize) -> ReadBuffer {
        let shared = &self.0;
        let mut state = lock(&shared.state);
        if state.flight_bytes + len > shared.limit && state.flight_bytes > 0 {
            (state, _) = shared
                .returned
                .wait_timeout(state, BUFFERS_FULL_PAUSE)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let class = BUFFER_CLASSES.iter().position(|&size| size >= len);
        let capacity = class.map_or(len, |class| BUFFER_CLASSES[class]);
        state.flight_bytes += capacity;
        let kept = class.and_then(|class| state.idle[class].pop());
        if kept.is_some() {
            state.idle_bytes -= capacity;
        }
        drop(state);
        let memory = kept.unwrap_or_else(|| vec![0; capacity].into_boxed_slice());
        ReadBuffer { memory: Some(memory), len, pool: Arc::clone(shared) }
    }
    /// Bytes that are in use now.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        lock(&self.0.state).flight_bytes
    }
}

impl ReadBuffer {
    /// To fill it.
    pub fn memory(&mut self) -> &mut [u8] {
        let len = self.len;
        self.memory.as_deref_mut().map_or(&mut [], |memory| &mut memory[..len])
    }
    /// To share it.
    #[must_use]
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for ReadBuffer {
    fn as_ref(&self) -> &[u8] {
        self.memory.as_deref().map_or(&[], |memory| &memory[..self.len])
    }
}

impl Drop for ReadBuffer {
    fn drop(&mut self) {
        let Some(memory) = self.memory.take() else { return };
        let mut state = lock(&self.pool.state);
        state.flight_bytes -= memory.len();
        if let Some(class) = BUFFER_CLASSES.iter().position(|&size| size == memory.len())
            && state.idle_bytes + memory.len() <= BUFFERS_IDLE_MAX
        {
            state.idle_bytes += memory.len();
            state.idle[class].push(memory);
        }
        drop(state);
        self.pool.returned.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nothing is left half done under this lock: a panic elsewhere does not spoil it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Receive chunks of one node's network thread.
#[derive(Debug, Default)]
pub struct Chunks {
    /// Empty handles, one per chunk: they keep the memory, and can have it back once it is not shared any more.
    anchors: VecDeque<BytesMut>,
}

impl Chunks {
    /// An empty chunk with room for [`CHUNK_LEN`] bytes; `None` when all are in use and there may be no more.
    pub fn take(&mut self) -> Option<BytesMut> {
        // The oldest was most likely given back first; a few tries keep this O(1).
        for _ in 0..self.anchors.len().min(8) {
            let Some(mut anchor) = self.anchors.pop_front() else { break };
            if anchor.try_reclaim(CHUNK_LEN) {
                return Some(self.lend(anchor));
            }
            self.anchors.push_back(anchor);
        }
        (self.anchors.len() < CHUNKS_MAX).then(|| self.lend(BytesMut::with_capacity(CHUNK_LEN)))
    }
    fn lend(&mut self, mut chunk: BytesMut) -> BytesMut {
        self.anchors.push_back(chunk.split_to(0));
        chunk
    }
    /// Chunks that exist.
    #[must_use]
    pub fn len(&self) -> usize {
        self.anchors.len()
    }
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.anchors.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_buffer_comes_back_when_its_last_share_is_dropped() {
        let pool = ReadBuffers::new(1 << 20);
        let mut buffer = pool.take(20_000);
        buffer.memory()[19_999] = 7;
        let bytes = buffer.freeze();
        let part = bytes.slice(19_999..);
        drop(bytes);
        assert_eq!((part[0], pool.in_flight()), (7, 64 << 10));
        drop(part);
        assert_eq!(pool.in_flight(), 0);
        assert_eq!(pool.take(30_000).as_ref()[19_999], 7, "the same memory is used again");
    }

    #[test]
    fn a_chunk_is_reused_only_when_nobody_holds_a_part_of_it() {
        let mut chunks = Chunks::default();
        let mut chunk = chunks.take().expect("the first chunk");
        chunk.extend_from_slice(&[1; 100]);
        let part = chunk.split_to(40).freeze();
        let address = part.as_ptr();
        drop(chunk);
        let other = chunks.take().expect("a second chunk");
        assert_ne!(other.as_ptr(), address);
        drop((part, other));
        let again = chunks.take().expect("the first chunk again");
        assert_eq!((again.as_ptr(), chunks.len()), (address, 2));
        assert!(again.capacity() >= CHUNK_LEN);
    }

    #[test]
    fn chunks_are_limited() {
        let mut chunks = Chunks::default();
        let held: Vec<_> = std::iter::from_fn(|| chunks.take()).collect();
        assert_eq!(held.len(), CHUNKS_MAX);
        drop(held);
        assert!(chunks.take().is_some());
    }
}
