//! The one place where all operands of an operation lie.

use std::sync::Arc;

use super::{Device, Gpu};
use crate::{Result, Tensor, TensorError};

/// The graphics processor that all `tensors` lie on, or none where they lie in the host's memory.
///
/// # Errors
/// Naming `operation` and both places where they lie in different ones.
pub(crate) fn common<'a>(
    operation: &'static str,
    tensors: impl IntoIterator<Item = &'a Tensor>,
) -> Result<Option<&'a Arc<Gpu>>> {
    let mut tensors = tensors.into_iter();
    let first = tensors.next().and_then(Tensor::gpu);
    for other in tensors {
        let other = other.gpu();
        let same = match (first, other) {
            (Some(first), Some(other)) => Arc::ptr_eq(first, other),
            (None, None) => true,
            _ => false,
        };
        if !same {
            let place = |gpu: Option<&Arc<Gpu>>| {
                gpu.map_or(Device::Cpu, |gpu| Device::Gpu(Arc::clone(gpu)))
            };
            return Err(TensorError::shape(
                operation,
                format!(
                    "one operand lies on {} and another on {}; bring them together with `to_device`",
                    place(first),
                    place(other)
                ),
            ));
        }
    }
    Ok(first)
}
