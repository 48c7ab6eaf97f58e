//! Matrix products on a device, described.

use super::driver::Address;
use crate::Precision;

/// A matrix in device memory, row after row without gaps, possibly read transposed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operand {
    pub address: Address,
    /// Rows and columns as the product reads them: after transposing.
    pub rows: usize,
    pub columns: usize,
    pub transposed: bool,
}

impl Operand {
    pub(crate) fn t(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            transposed: !self.transposed,
            ..self
        }
    }
}

/// What is in the result besides the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sum {
    /// Nothing: it is overwritten.
    Nothing,
    /// What was there before.
    Result,
    /// f32 numbers from elsewhere, as many.
    Other(Address),
}

/// `out = a · b + bias + sum` with `a: [m, k]`, `b: [k, n]`, `bias: [n]`, `out: [m, n]`, all in memory of one device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Product {
    pub a: Operand,
    pub b: Operand,
    /// The format of both operands; sums are f32.
    pub precision: Precision,
    /// f32.
    pub bias: Option<Address>,
    pub out: Address,
    /// f32, or the format of the operands.
    pub out_precision: Precision,
    /// Something only where `out` is f32.
    pub sum: Sum,
}

impl Product {
    /// `[m, k, n]`.
    pub(crate) fn extents(&self) -> [usize; 3] {
        [self.a.rows, self.a.columns, self.b.columns]
    }
}
