//! Splitting loops over threads with the same result for any number of them.
//!
//! Work is cut by fixed sizes, never by the number of threads, and partial sums are added in order: this is
//! what makes a run repeat bit for bit.

use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

/// Looks for work, in vain, after which a waiting thread lets others have the processor between two looks.
const LOOKS_BEFORE_YIELDING: usize = 2000;

/// Runs `work` as one of the threads that share work, the others kept awake until it ends.
///
/// A thread that finds nothing to do falls asleep within microseconds, and waking it takes longer than many an
/// operation does: a step or an answer consists of hundreds of operations and should be run in here.
pub fn awake<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    struct Ended<'a>(&'a AtomicBool);
    impl Drop for Ended<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Release);
        }
    }
    let ended = AtomicBool::new(false);
    rayon::scope(|scope| {
        let _ended = Ended(&ended);
        let worker = rayon::current_thread_index();
        let ended = &ended;
        scope.spawn_broadcast(move |_, _| {
            if rayon::current_thread_index() != worker {
                wait_awake(ended);
            }
        });
        work()
    })
}

/// Does what work there is until `ended` is set.
fn wait_awake(ended: &AtomicBool) {
    let mut in_vain = 0;
    while !ended.load(Ordering::Acquire) {
        if rayon::yield_now() == Some(rayon::Yield::Executed) {
            in_vain = 0;
        } else if in_vain < LOOKS_BEFORE_YIELDING {
            in_vain += 1;
            std::hint::spin_loop();
        } else {
            std::thread::yield_now();
        }
    }
}

/// Rows that one task takes so that it handles about `16 Ki` elements.
pub(crate) fn rows_per_task(width: usize) -> usize {
    (16 * 1024 / width.max(1)).max(1)
}

/// Calls `work(first_row, rows)` for pieces of whole rows of `out`, in parallel.
pub(crate) fn for_rows<T: Send>(
    out: &mut [T],
    width: usize,
    work: impl Fn(usize, &mut [T]) + Sync,
) {
    if width == 0 || out.is_empty() {
        return;
    }
    let rows = rows_per_task(width);
    out.par_chunks_mut(rows * width)
        .enumerate()
        .for_each(|(piece, out)| work(piece * rows, out));
}

/// Sums, in a fixed order, one partial result of `width` numbers per piece of rows into `total`.
pub(crate) fn sum_over_rows(
    rows: usize,
    width: usize,
    total: &mut [f32],
    work: impl Fn(std::ops::Range<usize>, &mut [f32]) + Sync,
) {
    let step = 256.max(rows.div_ceil(64));
    let partials: Vec<Vec<f32>> = (0..rows.div_ceil(step))
        .into_par_iter()
        .map(|piece| {
            let mut partial = vec![0.0; width];
            work(piece * step..((piece + 1) * step).min(rows), &mut partial);
            partial
        })
        .collect();
    for partial in partials {
        for (total, value) in total.iter_mut().zip(partial) {
            *total += value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total() -> usize {
        (0..1000usize).into_par_iter().sum()
    }

    #[test]
    fn work_is_shared_within_and_after() {
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.expect("threads start").install(|| {
                assert_eq!(awake(|| total() + awake(total)), 2 * total());
                assert_eq!(total(), 499_500);
            });
        }
    }

    /// A panic ends the waiting of the others as well: this test would hang otherwise.
    #[test]
    fn a_panic_lets_the_threads_go() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build();
        let pool = pool.expect("threads start");
        let work = || pool.install(|| awake(|| panic!("on purpose")));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        assert!(panicked.is_err());
        assert_eq!(pool.install(total), 499_500);
    }
}
