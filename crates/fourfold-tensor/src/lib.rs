//! Tensors, the tape and the fused operations with their gradients. Knows no model.
//!
//! A forward pass is written once, as plain calls of the functions in [`ops`]; the [`Tape`] notes what a
//! gradient will need and nothing else. Matrices are computed in the tape's [`Precision`]; what is summed over
//! many layers (the residual stream, gradients of parameters, norms, softmax) stays in f32.

mod adamw;
pub mod device;
mod draws;
mod element;
mod error;
mod exp;
pub mod gemm;
mod gradients;
mod isa;
mod mapped;
pub mod ops;
mod parallel;
mod parameters;
pub mod peak;
mod pool;
mod precision;
pub mod selfcheck;
mod tape;
mod tensor;
#[cfg(test)]
mod testing;

pub use adamw::AdamW;
pub use device::{
    Device, DeviceChoice, DeviceCollective, DeviceNumbers, HostCollective, NcclSupport, Operation,
};
pub use draws::mixed;
pub use element::Element;
pub use error::TensorError;
pub use gradients::Gradients;
pub use isa::Isa;
pub use mapped::MappedFile;
pub use parallel::awake;
pub use parameters::{Parameter, ParameterId, Parameters, Rounded, Update};
pub use precision::Precision;
pub use tape::Tape;
pub use tensor::Tensor;

/// What every fallible function of this crate returns.
pub type Result<T, E = TensorError> = std::result::Result<T, E>;
