//! The blocks that are in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::DataError;

/// Keeps what was loaded last, up to a limit of bytes, but always what was loaded last of all.
pub(super) struct Cache<T> {
    limit: usize,
    kept: Mutex<Kept<T>>,
}

struct Kept<T> {
    /// When it was last asked for, its bytes, and it itself, once it is loaded.
    entries: HashMap<usize, (u64, usize, Slot<T>)>,
    clock: u64,
}

/// Whoever comes first loads; the others wait.
type Slot<T> = Arc<OnceLock<Result<Arc<T>, Arc<DataError>>>>;

impl<T> Cache<T> {
    pub fn new(limit: usize) -> Self {
        let kept = Kept {
            entries: HashMap::new(),
            clock: 0,
        };
        Self {
            limit,
            kept: Mutex::new(kept),
        }
    }

    /// What `number` stands for, of `bytes` bytes; `load` is asked where it is not in memory.
    pub fn get(
        &self,
        number: usize,
        bytes: usize,
        load: impl FnOnce() -> Result<T, DataError>,
    ) -> Result<Arc<T>, DataError> {
        let slot = self.slot(number, bytes);
        let loaded = slot.get_or_init(|| load().map(Arc::new).map_err(Arc::new));
        loaded.clone().map_err(DataError::Shared)
    }

    fn slot(&self, number: usize, bytes: usize) -> Slot<T> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clock += 1;
        let now = kept.clock;
        if let Some((last, _, slot)) = kept.entries.get_mut(&number) {
            *last = now;
            return Arc::clone(slot);
        }
        let mut held: usize = kept.entries.values().map(|(_, bytes, _)| bytes).sum();
        while held + bytes > self.limit {
            let oldest = kept.entries.iter().min_by_key(|(_, (last, _, _))| *last);
            let Some(oldest) = oldest.map(|(number, _)| *number) else {
                break;
            };
            held -= kept
                .entries
                .remove(&oldest)
                .map_or(0, |(_, bytes, _)| bytes);
        }
        let slot = Slot::default();
        kept.entries.insert(number, (now, bytes, Arc::clone(&slot)));
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn what_was_used_last_stays() {
        let cache = Cache::new(20);
        let loads = Cell::new(0);
        let get = |number: usize| {
            let load = || {
                loads.set(loads.get() + 1);
                Ok(number)
            };
            assert_eq!(*cache.get(number, 10, load).unwrap(), number);
            loads.get()
        };
        assert_eq!(
            [get(0), get(1), get(0), get(2), get(0), get(1)],
            [1, 2, 2, 3, 3, 4]
        );
    }

    #[test]
    fn what_is_larger_than_the_limit_is_kept_alone() {
        let cache = Cache::new(5);
        assert_eq!(*cache.get(0, 10, || Ok(7)).unwrap(), 7);
        assert_eq!(*cache.get(0, 10, || panic!("it is there")).unwrap(), 7);
    }

    #[test]
    fn an_error_is_told_to_all_who_ask() {
        let cache: Cache<()> = Cache::new(5);
        let fail = || Err(DataError::file("a.tar", "is gone"));
        for _ in 0..2 {
            let error = cache.get(0, 1, fail).unwrap_err().to_string();
            assert_eq!(error, "a.tar: is gone");
        }
    }
}
