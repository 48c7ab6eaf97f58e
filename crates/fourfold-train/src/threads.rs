//! Computing as one of the threads that share the work.

use anyhow::{Context, Result};

/// Runs `work` with as many threads as the recipe says, and as one of them: a thread that is none would sleep while
/// they compute and be woken after every operation.
pub(crate) fn in_pool<T: Send>(
    threads: Option<usize>,
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    let Some(threads) = threads else {
        return rayon::scope(|_| work());
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.with_context(|| format!("cannot start {threads} threads"))?
        .install(work)
}
