//! Loops between number formats, shared by the operations that only move rows.

use crate::isa::multiversion;
use crate::tensor::{Storable, View};
use crate::{Precision, Result, Tensor, TensorError};

/// The format that a kernel reads and the one that it writes; implemented by pairs of them.
pub(super) trait Formats {
    type In: Storable;
    type Out: Storable;
}

impl<In: Storable, Out: Storable> Formats for (In, Out) {
    type In = In;
    type Out = Out;
}

multiversion! {
    /// `out = values`, rounded where `out` is the narrower format.
    pub(super) fn convert<F: Formats>(values: &[F::In], out: &mut [F::Out]) {
        use crate::Element;
        for (out, value) in out.iter_mut().zip(values) {
            *out = Element::store(value.load());
        }
    }
}

/// Runs an expression with the tensor's numbers bound in the format that they are stored in.
macro_rules! with_numbers {
    ($tensor:expr, |$numbers:ident| $body:expr) => {
        match $tensor.view() {
            $crate::tensor::View::F32($numbers) => $body,
            $crate::tensor::View::Bf16($numbers) => $body,
        }
    };
}
pub(super) use with_numbers;

/// `Tensor::build` in a precision known at run time.
macro_rules! build_in {
    ($precision:expr, $shape:expr, |$out:ident| $body:expr) => {
        match $precision {
            $crate::Precision::F32 => $crate::Tensor::build::<f32>($shape, |$out| $body),
            $crate::Precision::Bf16 => $crate::Tensor::build::<half::bf16>($shape, |$out| $body),
        }
    };
}
pub(super) use build_in;

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
    let same = match tensor.view() {
        View::F32(values) => bytemuck::try_cast_slice(values),
        View::Bf16(values) => bytemuck::try_cast_slice(values),
    };
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
