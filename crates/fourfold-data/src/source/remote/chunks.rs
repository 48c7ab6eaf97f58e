//! Pieces of files that were fetched last.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use tokio::sync::OnceCell;

/// Bytes that are kept, of all files together.
const LIMIT: usize = 128 << 20;

/// A piece: the file's number, the first byte, and the length that pieces of its kind have.
pub(super) type Key = (u64, u64, usize);

/// Keeps the pieces that were asked for last.
pub(super) struct Chunks {
    limit: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// When it was last asked for, and the piece once it is here.
    entries: HashMap<Key, (u64, Slot)>,
    bytes: usize,
    clock: u64,
}

/// Whoever comes first fetches; the others wait. A failure is told to who fetched, and the next tries anew.
type Slot = Arc<OnceCell<Bytes>>;

impl Chunks {
    /// Those of all files.
    pub fn all() -> &'static Self {
        static ALL: OnceLock<Chunks> = OnceLock::new();
        ALL.get_or_init(|| Self::new(LIMIT))
    }

    fn new(limit: usize) -> Self {
        Self {
            limit,
            kept: Mutex::default(),
        }
    }

    /// The piece, if it is here.
    pub fn ready(&self, key: Key) -> Option<Bytes> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clock += 1;
        let now = kept.clock;
        let (last, slot) = kept.entries.get_mut(&key)?;
        *last = now;
        slot.get().cloned()
    }

    /// Whether the piece is here or being fetched.
    pub fn knows(&self, key: Key) -> bool {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.entries.contains_key(&key)
    }

    /// The piece; `fetch` is asked where it is not here.
    pub async fn get<E, F: Future<Output = Result<Bytes, E>>>(
        &self,
        key: Key,
        fetch: impl FnOnce() -> F,
    ) -> Result<Bytes, E> {
        let slot = self.slot(key);
        slot.get_or_try_init(fetch).await.cloned()
    }

    fn slot(&self, key: Key) -> Slot {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clock += 1;
        let now = kept.clock;
        if let Some((last, slot)) = kept.entries.get_mut(&key) {
            *last = now;
            return Arc::clone(slot);
        }
        while kept.bytes + key.2 > self.limit {
            let oldest = kept.entries.iter().min_by_key(|(_, (last, _))| *last);
            let Some(oldest) = oldest.map(|(key, _)| *key) else {
                break;
            };
            kept.entries.remove(&oldest);
            kept.bytes -= oldest.2;
        }
        let slot = Slot::default();
        kept.bytes += key.2;
        kept.entries.insert(key, (now, Arc::clone(&slot)));
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn what_was_used_last_stays_and_failures_do_not() {
        let chunks = Chunks::new(20);
        let fetched = Cell::new(0);
        let get = |start: u64| {
            let fetch = || async {
                fetched.set(fetched.get() + 1);
                Ok::<_, ()>(Bytes::from(vec![start as u8; 10]))
            };
            let bytes = super::super::store::wait(chunks.get((0, start, 10), fetch)).unwrap();
            assert_eq!(bytes[0], start as u8);
            fetched.get()
        };
        let counts = [get(0), get(1), get(0), get(2), get(0), get(1)];
        assert_eq!(counts, [1, 2, 2, 3, 3, 4]);
        let fail = || async { Err::<Bytes, _>("down") };
        let failed = super::super::store::wait(chunks.get((0, 7, 10), fail));
        assert_eq!(failed, Err("down"));
        assert!(chunks.ready((0, 7, 10)).is_none());
        assert_eq!(get(7), 5);
        assert!(chunks.ready((0, 7, 10)).is_some());
    }
}
