//! Work on many rows in parallel, its results taken in their order, in bounded memory.

use std::ops::Range;

use rayon::prelude::*;

/// Calls `read` for each row, several at a time, and `take` with what it gave, in the order of the rows; the results of
/// `at_once` rows, at least one, are in memory at once.
///
/// # Errors
/// The first that `take` gives; later rows are not read.
pub fn in_order<T: Send, E>(
    rows: Range<usize>,
    at_once: usize,
    read: impl Fn(usize) -> T + Sync,
    mut take: impl FnMut(usize, T) -> Result<(), E>,
) -> Result<(), E> {
    let mut start = rows.start;
    while start < rows.end {
        let end = rows.end.min(start.saturating_add(at_once.max(1)));
        let results: Vec<T> = (start..end).into_par_iter().map(&read).collect();
        for (row, result) in (start..end).zip(results) {
            take(row, result)?;
        }
        start = end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_until_one_is_refused() {
        let mut seen = Vec::new();
        let all = in_order(
            3..1003,
            100,
            |row| 2 * row,
            |row, double| {
                assert_eq!(double, 2 * row);
                seen.push(row);
                Ok::<_, ()>(())
            },
        );
        assert_eq!((all, seen), (Ok(()), (3..1003).collect::<Vec<_>>()));
        let refused = in_order(
            0..1000,
            256,
            |row| row,
            |row, _| if row == 300 { Err(row) } else { Ok(()) },
        );
        assert_eq!(refused, Err(300));
    }
}
