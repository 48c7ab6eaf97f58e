//! Holds every operation on a device to this processor in f32, as a user who has such a device can.
//!
//! A [`Case`] computes some arrays on any device in any precision, an [`Operation`] is a name with its cases, and
//! [`check`] compares what they give on a device with what they give here in f32. Inputs are numbers that every format
//! has, so that only the computation is compared. It also sees to it that two runs give the same bits, and that no memory
//! is left over.
//!
//! One file a group of operations; a new operation gets its cases there and a line in [`operations`].

mod attention;
mod bounds;
mod case;
mod compare;
mod decoding;
mod digits;
mod head;
mod images;
mod norms;
mod numbers;
mod pointwise;
mod positions;
mod products;
mod recorded;
mod rows;
mod runner;
mod sight;
#[cfg(test)]
mod tests;
mod updates;

pub use bounds::Bounds;
pub use case::{Array, Case, Failure, Kind};
pub use compare::{Difference, largest_difference};
pub use runner::{Errors, Operation, Report, check, precisions};

/// How many cases are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// One or two of each operation, to see whether a device works at all.
    Quick,
    /// All of them.
    Whole,
}

impl Extent {
    /// `quick`, and where all are looked at `more` as well.
    fn pick<T: Clone>(self, quick: &[T], more: &[T]) -> Vec<T> {
        match self {
            Self::Quick => quick.to_vec(),
            Self::Whole => [quick, more].concat(),
        }
    }
}

/// All operations of this crate.
pub fn operations() -> Vec<Operation> {
    let groups = [
        products::operations(),
        digits::operations(),
        attention::operations(),
        decoding::operations(),
        head::operations(),
        norms::operations(),
        pointwise::operations(),
        positions::operations(),
        rows::operations(),
        images::operations(),
        updates::operations(),
    ];
    groups.into_iter().flatten().collect()
}

/// Widths of rows: one number, the borders of what a thread and a warp take at once, and the usual widths of heads.
const WIDTHS: [usize; 9] = [1, 7, 63, 64, 65, 72, 80, 128, 256];
