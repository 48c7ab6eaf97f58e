//! What ranks do together.

use std::ops::Range;

use crate::Result;

/// One rank's end of the work that all ranks do together.
///
/// Every rank has to make the same calls in the same order, with as many numbers each; a call returns when this rank's
/// share of it is done. Sums are made in an order that depends on the number of ranks alone, and every rank gets the
/// same bits.
///
/// # Errors
/// Every call fails once any rank has failed or is gone, and says which and why.
pub trait Collective: Send + Sync {
    /// This rank, from 0.
    fn rank(&self) -> usize;

    /// How many there are.
    fn ranks(&self) -> usize;

    /// Replaces `values` by their sum over all ranks.
    ///
    /// # Errors
    /// When a rank is gone.
    fn sum(&self, values: &mut [f32]) -> Result<()> {
        self.reduce_scatter(values)?;
        self.all_gather(values)
    }

    /// Replaces this rank's [`part`] of `values` by its sum over all ranks; what the other parts hold afterwards is not
    /// said.
    ///
    /// # Errors
    /// When a rank is gone.
    fn reduce_scatter(&self, values: &mut [f32]) -> Result<()>;

    /// Replaces the other ranks' parts of `values` by what they have there.
    ///
    /// # Errors
    /// When a rank is gone.
    fn all_gather(&self, values: &mut [f32]) -> Result<()>;

    /// Replaces `values` by those of rank 0.
    ///
    /// # Errors
    /// When a rank is gone.
    fn broadcast(&self, values: &mut [f32]) -> Result<()>;

    /// A message of every rank, of any length each, in the order of ranks.
    ///
    /// # Errors
    /// When a rank is gone.
    fn exchange(&self, message: Vec<u8>) -> Result<Vec<Vec<u8>>>;

    /// Whether all others are still there, as far as is known; costs nothing.
    ///
    /// # Errors
    /// When one is not.
    fn check(&self) -> Result<()>;

    /// Ends the work of all ranks for `reason`, which they are told. The first reason counts.
    fn fail(&self, reason: &str);
}

/// The part of `len` numbers that is `rank`'s: parts are laid end to end and differ by one number at most.
pub fn part(len: usize, rank: usize, ranks: usize) -> Range<usize> {
    let (each, more) = (len / ranks, len % ranks);
    let start = rank * each + rank.min(more);
    start..start + each + usize::from(rank < more)
}

/// A rank without others: nothing is sent, nothing fails.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Collective for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn ranks(&self) -> usize {
        1
    }

    fn reduce_scatter(&self, _values: &mut [f32]) -> Result<()> {
        Ok(())
    }

    fn all_gather(&self, _values: &mut [f32]) -> Result<()> {
        Ok(())
    }

    fn broadcast(&self, _values: &mut [f32]) -> Result<()> {
        Ok(())
    }

    fn exchange(&self, message: Vec<u8>) -> Result<Vec<Vec<u8>>> {
        Ok(vec![message])
    }

    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn fail(&self, _reason: &str) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_everything_once_and_evenly() {
        for len in 0..40 {
            for ranks in 1..9 {
                let parts: Vec<_> = (0..ranks).map(|rank| part(len, rank, ranks)).collect();
                let ends: Vec<usize> = parts.iter().map(|part| part.end).collect();
                let starts: Vec<usize> = parts.iter().map(|part| part.start).collect();
                assert_eq!(starts[1..], ends[..ranks - 1]);
                assert_eq!((starts[0], ends[ranks - 1]), (0, len));
                assert!(
                    parts
                        .iter()
                        .all(|part| part.len().abs_diff(len / ranks) <= 1)
                );
            }
        }
    }
}
