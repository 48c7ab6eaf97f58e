//! Where a long sum is cut: at fixed places, so that a result does not depend on the number of threads.

use super::lanes::SIDE;

/// Pairs of the left operand that a task packs at once: its rows of that depth stay in the second-level cache.
const STRETCH: usize = 576;

/// The pairs of a sum in parts that a tile sums in one go, and stretches of parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub pairs: usize,
    /// Pairs of a part but the last.
    part: usize,
}

/// A part of the sum.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub first: usize,
    pub pairs: usize,
}

impl Cut {
    /// Cuts `pairs`, a positive multiple of [`SIDE`], into as few parts of at most `depth` as will do, all of about
    /// one length.
    pub fn new(pairs: usize, depth: usize) -> Self {
        let part = pairs.div_ceil(pairs.div_ceil(depth)).next_multiple_of(SIDE);
        Self { pairs, part }
    }

    /// How many parts there are.
    pub fn parts(self) -> usize {
        self.pairs.div_ceil(self.part)
    }

    /// Part `index`.
    pub fn part(self, index: usize) -> Part {
        let first = index * self.part;
        Part {
            first,
            pairs: self.part.min(self.pairs - first),
        }
    }

    /// How many parts a stretch has, the last one excepted.
    pub fn parts_per_stretch(self) -> usize {
        (STRETCH / self.part).max(1)
    }

    /// Most pairs of a stretch.
    pub fn stretch_pairs(self) -> usize {
        (self.parts_per_stretch() * self.part).min(self.pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_the_sum_once() {
        for depth in [128, 512] {
            for pairs in (16..5000).step_by(16) {
                let cut = Cut::new(pairs, depth);
                let mut next = 0;
                for index in 0..cut.parts() {
                    let part = cut.part(index);
                    assert_eq!(part.first, next);
                    assert!(part.pairs > 0 && part.pairs <= depth);
                    assert!(part.pairs.is_multiple_of(SIDE));
                    next += part.pairs;
                }
                assert_eq!(next, pairs);
                assert!(cut.stretch_pairs() <= STRETCH.max(depth));
            }
        }
    }
}
