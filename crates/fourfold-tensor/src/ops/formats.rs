//! Loops between number formats, shared by the operations that only move rows.

use rayon::prelude::*;

use crate::isa::multiversion;
use crate::tensor::Storable;
use crate::{Precision, Result, Tensor, TensorError};

/// The format that a kernel reads and the one that it writes; implemented by pairs of them.
pub(crate) trait Formats {
    type In: Storable;
    type Out: Storable;
}

impl<In: Storable, Out: Storable> Formats for (In, Out) {
    type In = In;
    type Out = Out;
}

multiversion! {
    /// `out = values`, rounded where `out` is the narrower format.
    pub(crate) fn convert<F: Formats>(values: &[F::In], out: &mut [F::Out]) {
        use crate::Element;
        for (out, value) in out.iter_mut().zip(values) {
            *out = Element::store(value.load());
        }
    }
}

/// Numbers that one task converts.
const NUMBERS_PER_TASK: usize = 32 * 1024;

/// [`convert`], in parallel.
pub(crate) fn convert_all<In: Storable, Out: Storable>(values: &[In], out: &mut [Out]) {
    out.par_chunks_mut(NUMBERS_PER_TASK)
        .zip(values.par_chunks(NUMBERS_PER_TASK))
        .for_each(|(out, values)| convert::<(In, Out)>(values, out));
}

/// Runs an expression with the tensor's numbers bound in the format that they are stored in.
macro_rules! with_numbers {
    ($tensor:expr, |$numbers:ident| $body:expr) => {
        $crate::ops::formats::with_view!($tensor.view(), |$numbers| $body)
    };
}
pub(crate) use with_numbers;

/// The same for a view.
macro_rules! with_view {
    ($view:expr, |$numbers:ident| $body:expr) => {
        match $view {
            $crate::tensor::View::F32($numbers) => $body,
            $crate::tensor::View::Bf16($numbers) => $body,
            $crate::tensor::View::F16($numbers) => $body,
        }
    };
}
pub(crate) use with_view;

/// `Tensor::build` in a precision known at run time.
macro_rules! build_in {
    ($precision:expr, $shape:expr, |$out:ident| $body:expr) => {
        match $precision {
            $crate::Precision::F32 => $crate::Tensor::build::<f32>($shape, |$out| $body),
            $crate::Precision::Bf16 => $crate::Tensor::build::<half::bf16>($shape, |$out| $body),
            $crate::Precision::F16 => $crate::Tensor::build::<half::f16>($shape, |$out| $body),
        }
    };
}
pub(crate) use build_in;

/// Demands that `tensors` are f32, wherever they lie.
pub(super) fn check_f32<'a>(
    operation: &'static str,
    tensors: impl IntoIterator<Item = &'a Tensor>,
) -> Result<()> {
    let other = |tensor: &&Tensor| tensor.precision() != Precision::F32;
    match tensors.into_iter().find(other) {
        None => Ok(()),
        Some(tensor) => Err(TensorError::shape(
            operation,
            format!(
                "expected f32 numbers, found {} of {:?}",
                tensor.precision().name(),
                tensor.shape()
            ),
        )),
    }
}

/// The tensor's numbers, which must be of format `T`.
pub(super) fn numbers<T: Storable>(tensor: &Tensor) -> Result<&[T]> {
    let same = with_numbers!(tensor, |values| bytemuck::try_cast_slice(values));
    match same {
        Ok(values) if tensor.precision() == T::PRECISION => Ok(values),
        _ => Err(TensorError::shape(
            "tensor",
            format!(
                "expected {} numbers, found {}",
                T::PRECISION.name(),
                tensor.precision().name()
            ),
        )),
    }
}
