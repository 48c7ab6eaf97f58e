//! Buffers that return to a pool when their last owner drops them.
//!
//! A training step makes and drops the same few hundred buffers again and again; asking the operating
//! system for them anew would cost page faults on every one. Sizes are rounded up to a few classes so that
//! ragged packs reuse each other's memory.

use std::collections::BTreeMap;
use std::sync::Mutex;

/// At most this many bytes lie idle in the pool; beyond it buffers go back to the allocator.
const IDLE_LIMIT: usize = 1 << 30;

static POOL: Mutex<Idle> = Mutex::new(Idle {
    bytes: 0,
    by_words: BTreeMap::new(),
});

struct Idle {
    bytes: usize,
    by_words: BTreeMap<usize, Vec<Vec<u64>>>,
}

/// Owned memory of 64-bit words, so that it can be read as any element format.
#[derive(Debug)]
pub(crate) struct Words {
    memory: Vec<u64>,
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
        let words = size_class(bytes.div_ceil(8));
        let mut pool = POOL.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(found) = pool.by_words.get_mut(&words).and_then(Vec::pop) {
            pool.bytes -= words * 8;
            return Self {
                memory: found,
                pooled: true,
            };
        }
        drop(pool);
        Self {
            memory: vec![0; words],
            pooled: true,
        }
    }

    /// Memory of no more than `bytes` bytes for what is kept long: it goes back to the allocator, where a pool full of
    /// it would have no room for what a step needs.
    pub(crate) fn kept(bytes: usize) -> Self {
        Self {
            memory: vec![0; bytes.div_ceil(8)],
            pooled: false,
        }
    }

    pub(crate) fn as_slice<T: bytemuck::Pod>(&self, len: usize) -> &[T] {
        &bytemuck::cast_slice(&self.memory)[..len]
    }

    pub(crate) fn as_mut_slice<T: bytemuck::Pod>(&mut self, len: usize) -> &mut [T] {
        &mut bytemuck::cast_slice_mut(&mut self.memory)[..len]
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        if !self.pooled {
            return;
        }
        let words = std::mem::take(&mut self.memory);
        let bytes = words.len() * 8;
        let mut pool = POOL.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if bytes > 0 && pool.bytes + bytes <= IDLE_LIMIT {
            pool.bytes += bytes;
            pool.by_words.entry(words.len()).or_default().push(words);
        }
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
}
