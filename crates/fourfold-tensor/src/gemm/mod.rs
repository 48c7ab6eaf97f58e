//! Matrix products.
//!
//! Four ways lead to a result: the blocked bf16 product with a micro-kernel of this machine's instructions; `few_rows`
//! for up to 64 rows against a weight that has no packed form; `skinny` for a row or, without AMX, up to eight; and
//! `portable` for everything else. Each gives the same bits for any number of threads.
//!
//! Products in f16 are simulated: operands are rounded to f16 and multiplied in f32, where the product of two such numbers
//! is exact, and the f32 sum is rounded once. It is what tensor cores do, at the speed of f32.

#[cfg(target_arch = "x86_64")]
mod blocked;
#[cfg(target_arch = "x86_64")]
mod cut;
#[cfg(target_arch = "x86_64")]
mod extent;
mod f32_kernels;
#[cfg(target_arch = "x86_64")]
mod few_rows;
#[cfg(target_arch = "x86_64")]
mod grid;
#[cfg(target_arch = "x86_64")]
mod kernel;
#[cfg(target_arch = "x86_64")]
mod kernel_amx;
#[cfg(target_arch = "x86_64")]
mod kernel_avx512bf16;
#[cfg(target_arch = "x86_64")]
mod lanes;
#[cfg(target_arch = "x86_64")]
mod pack;
mod portable;
#[cfg(target_arch = "x86_64")]
mod register_loops;
mod skinny;
#[cfg_attr(not(target_arch = "x86_64"), path = "no_small.rs")]
mod small;
#[cfg(test)]
mod tests;

#[cfg(target_arch = "x86_64")]
use crate::Isa;
use crate::ops::Gelu;
use crate::ops::formats::convert_all;
use crate::pool::Words;
use crate::tensor::View;
use crate::{Precision, Result, Tensor, TensorError};
use half::{bf16, f16};
#[cfg(target_arch = "x86_64")]
pub(crate) use register_loops::register_loop;
pub(crate) use small::{Packed, Session, SmallProducts};

/// Products of fewer multiplications than this run on the calling thread: waking others would cost more.
const SMALL: usize = 1 << 20;

/// Up to this many rows even slow dot products win: the other way converts the whole weight to f32 first.
#[cfg(target_arch = "x86_64")]
const WORTH_DOTS: usize = 64;

/// A dense matrix as a product reads it, possibly transposed.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    pub(crate) view: View<'a>,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) transposed: bool,
    /// Where the packed form of a right operand is kept, if it is worth keeping.
    packed: Option<&'a PackedWeight>,
}

/// The packed form of a weight `[out, in]` that does not change, as the forward product reads it; made when first
/// needed.
#[derive(Debug, Default)]
pub(crate) struct PackedWeight {
    #[cfg(target_arch = "x86_64")]
    right: std::sync::OnceLock<pack::Right>,
}

impl<'a> Matrix<'a> {
    /// The tensor as `[rows, width]`, all but its last dimension flattened.
    ///
    /// # Panics
    /// When it lies on a device: products there are the operations' business.
    pub fn new(tensor: &'a Tensor) -> Self {
        Self {
            view: tensor.view(),
            rows: tensor.rows(),
            columns: tensor.width(),
            transposed: false,
            packed: tensor.packed(),
        }
    }

    /// `rows` rows of `columns` numbers that lie end to end.
    pub(crate) fn dense(values: &'a [f32], rows: usize, columns: usize) -> Self {
        Self {
            view: View::F32(&values[..rows * columns]),
            rows,
            columns,
            transposed: false,
            packed: None,
        }
    }

    /// The transposed matrix; nothing is moved.
    pub fn t(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            transposed: !self.transposed,
            ..self
        }
    }
}

/// Where a product goes and what is added to it on the way.
pub enum Output<'a> {
    /// f32 numbers, overwritten, or added to where `accumulate` is set.
    F32 {
        /// `[m, n]`.
        out: &'a mut [f32],
        /// Whether the product is added to what is there.
        accumulate: bool,
    },
    /// f32 numbers, overwritten by the sum of the product and what is given.
    Added {
        /// `[m, n]`.
        out: &'a mut [f32],
        /// `[m, n]`.
        to: &'a [f32],
    },
    /// 16-bit numbers, overwritten.
    Bf16(&'a mut [bf16]),
    /// 16-bit numbers, overwritten by GELU of what would stand there otherwise.
    Gelu(&'a mut [bf16], Gelu),
}

impl Output<'_> {
    /// How many numbers it holds, or none if its parts differ.
    fn len(&self) -> Option<usize> {
        match self {
            Self::F32 { out, .. } => Some(out.len()),
            Self::Added { out, to } => (out.len() == to.len()).then_some(out.len()),
            Self::Bf16(out) | Self::Gelu(out, _) => Some(out.len()),
        }
    }
}

/// `out (+)= a · b + bias` with `a: [m, k]`, `b: [k, n]`, `bias: [n]`, `out: [m, n]`, all row-major.
///
/// In the 16-bit precisions both operands are rounded to 16 bits, the sums are f32.
///
/// # Errors
/// When the shapes do not fit.
pub fn product(
    a: Matrix<'_>,
    b: Matrix<'_>,
    bias: Option<&[f32]>,
    precision: Precision,
    output: Output<'_>,
) -> Result<()> {
    let (m, k, n) = (a.rows, a.columns, b.columns);
    let out_len = output.len();
    if b.rows != k || out_len != Some(m * n) || bias.is_some_and(|bias| bias.len() != n) {
        return Err(TensorError::shape(
            "product",
            format!(
                "[{m}, {k}] by [{}, {n}] into {out_len:?} numbers with a bias of {:?}",
                b.rows,
                bias.map(<[f32]>::len)
            ),
        ));
    }
    #[cfg(target_arch = "x86_64")]
    if let Some(weight) = few_rows::weight(a, b, precision)
        && let (Some(amx), Some(avx512)) = (
            kernel_amx::Amx::find(),
            kernel_avx512bf16::Avx512Bf16::find(),
        )
    {
        match b.packed {
            // Read faster: it lies in the order in which it is used.
            Some(_) => blocked::product(amx, avx512, a, b, bias, output),
            None => few_rows::product(amx, avx512, a, weight, bias, output),
        }
        return Ok(());
    }
    if skinny::suits(a, b, precision) {
        skinny::product(a, b, bias, precision, output);
        return Ok(());
    }
    #[cfg(target_arch = "x86_64")]
    if precision == Precision::Bf16
        && let Some(avx512) = kernel_avx512bf16::Avx512Bf16::find()
    {
        if let Some(amx) = kernel_amx::Amx::find() {
            blocked::product(amx, avx512, a, b, bias, output);
            return Ok(());
        }
        if m <= WORTH_DOTS || Isa::has_fast_dots() {
            blocked::product(avx512, avx512, a, b, bias, output);
            return Ok(());
        }
    }
    portable::product(a, b, bias, precision, output);
    Ok(())
}

/// `out = a · b + bias` as [`product`] has it, rounded to f16 numbers.
///
/// # Errors
/// When the shapes do not fit.
pub fn product_to_f16(
    a: Matrix<'_>,
    b: Matrix<'_>,
    bias: Option<&[f32]>,
    precision: Precision,
    out: &mut [f16],
) -> Result<()> {
    let mut sums = Words::take(out.len() * size_of::<f32>());
    let sums: &mut [f32] = sums.as_mut_slice(out.len());
    let output = Output::F32 {
        out: &mut *sums,
        accumulate: false,
    };
    product(a, b, bias, precision, output)?;
    convert_all(sums, out);
    Ok(())
}
