//! Buffers that return to a pool when their last owner drops them.
//!
//! A training step makes and drops the same few hundred buffers again and again; asking the operating
//! system for them anew would cost page faults on every one. Sizes are rounded up to a few classes so that
//! ragged packs reuse each other's memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use bytemuck::{Pod, Zeroable};
use memmap2::MmapMut;

/// Memory from the system comes in such pages where it is asked for: a step walks over gigabytes, and small pages
/// would cost it a look-up each 4 KiB.
const HUGE_PAGE: usize = 2 << 20;

/// Idle buffers are given back to the system when all buffers together would exceed the most that was ever in use
/// at once by more than one part in so many.
const SLACK: usize = 8;

/// What memory holds at first in tests: not a number in either format, so that who reads what nobody wrote is seen.
const NOT_WRITTEN: u64 = !0;

static POOL: Mutex<Pool> = Mutex::new(Pool {
    live: 0,
    most_live: 0,
    idle: 0,
    by_words: BTreeMap::new(),
});

struct Pool {
    /// Bytes in use, and the most that ever were.
    live: usize,
    most_live: usize,
    /// Bytes that wait in `by_words`.
    idle: usize,
    by_words: BTreeMap<usize, Vec<Memory>>,
}

impl Pool {
    fn lock() -> MutexGuard<'static, Self> {
        POOL.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The smallest idle buffer that holds `words` without wasting more than a quarter of itself.
    fn reuse(&mut self, words: usize) -> Option<Memory> {
        let (found, list) = self
            .by_words
            .range_mut(words..=words + words / 3)
            .find(|(_, list)| !list.is_empty())?;
        self.idle -= found * size_of::<u64>();
        list.pop()
    }

    /// Takes idle buffers out, the largest first, until `more` bytes fit what may be held; dropping them gives them
    /// back.
    fn make_room(&mut self, more: usize) -> Vec<Memory> {
        let most = self.most_live.max(self.live + more);
        let allowed = most + most / SLACK;
        let mut dropped = Vec::new();
        while self.live + self.idle + more > allowed {
            let Some((words, list)) = self.by_words.iter_mut().rev().find(|(_, l)| !l.is_empty())
            else {
                break;
            };
            self.idle -= words * size_of::<u64>();
            dropped.extend(list.pop());
        }
        dropped
    }

    fn add_live(&mut self, bytes: usize) {
        self.live += bytes;
        self.most_live = self.most_live.max(self.live);
    }
}

/// Zeroed 64-bit words. They begin on a cache line, so that no vector straddles two, which would be read twice.
#[derive(Debug)]
enum Memory {
    Heap(Vec<Line>),
    Mapped(MmapMut),
    /// Exactly as many words as were asked for.
    Exact(Vec<u64>),
}

/// A cache line.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u64; WORDS_PER_LINE]);

const WORDS_PER_LINE: usize = 8;

impl Memory {
    /// From the system; large ones in huge pages where it has them.
    fn new(words: usize) -> Self {
        let bytes = words * size_of::<u64>();
        if bytes >= HUGE_PAGE
            && let Ok(map) = MmapMut::map_anon(bytes)
        {
            #[cfg(target_os = "linux")]
            // Without huge pages everything works as well, only slower.
            let _ = map.advise(memmap2::Advice::HugePage);
            return Self::Mapped(map);
        }
        Self::Heap(vec![Line::zeroed(); words.div_ceil(WORDS_PER_LINE)])
    }

    fn words(&self) -> usize {
        self.bytes().len() / size_of::<u64>()
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Heap(lines) => bytemuck::cast_slice(lines),
            Self::Mapped(map) => map,
            Self::Exact(words) => bytemuck::cast_slice(words),
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Heap(lines) => bytemuck::cast_slice_mut(lines),
            Self::Mapped(map) => map,
            Self::Exact(words) => bytemuck::cast_slice_mut(words),
        }
    }
}

/// Owned memory of 64-bit words, so that it can be read as any element format.
#[derive(Debug)]
pub(crate) struct Words {
    /// Empty only while it is dropped.
    memory: Option<Memory>,
    pooled: bool,
}

/// The number of words that a request of `words` gets: the next of eight sizes per power of two.
fn size_class(words: usize) -> usize {
    if words <= 64 {
        return 64;
    }
    let step = words.next_power_of_two() / 16;
    words.div_ceil(step) * step
}

impl Words {
    /// Memory for `bytes` bytes. Contents are initialised but unspecified.
    pub(crate) fn take(bytes: usize) -> Self {
        // So that a memory checker sees every step out of it: without room to spare and never used twice.
        if cfg!(exact_memory) {
            let memory = vec![NOT_WRITTEN; bytes.div_ceil(size_of::<u64>())];
            return Self {
                memory: Some(Memory::Exact(memory)),
                pooled: false,
            };
        }
        let words = size_class(bytes.div_ceil(size_of::<u64>()));
        let mut pool = Pool::lock();
        let (memory, dropped) = match pool.reuse(words) {
            Some(found) => (Some(found), Vec::new()),
            None => (None, pool.make_room(words * size_of::<u64>())),
        };
        let held = memory.as_ref().map_or(words, Memory::words);
        pool.add_live(held * size_of::<u64>());
        drop(pool);
        drop(dropped);
        let mut memory = memory.unwrap_or_else(|| Memory::new(words));
        if cfg!(test) {
            bytemuck::cast_slice_mut(memory.bytes_mut()).fill(NOT_WRITTEN);
        }
        Self {
            memory: Some(memory),
            pooled: true,
        }
    }

    /// Memory of no more than `bytes` bytes for what is kept long: it goes back to the allocator, where a pool full of
    /// it would have no room for what a step needs.
    pub(crate) fn kept(bytes: usize) -> Self {
        Self {
            memory: Some(Memory::new(bytes.div_ceil(size_of::<u64>()))),
            pooled: false,
        }
    }

    pub(crate) fn as_slice<T: Pod>(&self, len: usize) -> &[T] {
        let bytes = self.memory.as_ref().map_or(&[][..], Memory::bytes);
        bytemuck::cast_slice(&bytes[..len * size_of::<T>()])
    }

    pub(crate) fn as_mut_slice<T: Pod>(&mut self, len: usize) -> &mut [T] {
        let bytes = self.memory.as_mut().map_or(&mut [][..], Memory::bytes_mut);
        bytemuck::cast_slice_mut(&mut bytes[..len * size_of::<T>()])
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        let Some(memory) = self.memory.take().filter(|_| self.pooled) else {
            return;
        };
        let words = memory.words();
        let bytes = words * size_of::<u64>();
        let mut pool = Pool::lock();
        pool.live -= bytes;
        pool.idle += bytes;
        pool.by_words.entry(words).or_default().push(memory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_classes_hold_the_request_and_waste_little() {
        for words in 1..10_000 {
            let class = size_class(words);
            assert!(class >= words);
            assert!(
                words <= 64 || class <= words + words / 7 + 1,
                "{words} -> {class}"
            );
            assert_eq!(size_class(class), class);
        }
    }

    #[test]
    fn idle_buffers_are_reused_and_make_room() {
        let mut pool = Pool {
            live: 0,
            most_live: 1000 * 8,
            idle: 0,
            by_words: BTreeMap::new(),
        };
        for words in [104, 104, 800] {
            let list = pool.by_words.entry(words).or_default();
            list.push(Memory::new(words));
            pool.idle += words * 8;
        }
        assert_eq!(pool.reuse(90).expect("one of 104").words(), 104);
        assert!(pool.reuse(70).is_none(), "too large for 70");
        // 1125 words are allowed: with 400 more the largest has to go, with 100 more nothing.
        assert!(pool.make_room(100 * 8).is_empty());
        let dropped = pool.make_room(400 * 8);
        assert_eq!(dropped.iter().map(Memory::words).collect::<Vec<_>>(), [800]);
        assert_eq!(pool.idle, 104 * 8);
    }
}
