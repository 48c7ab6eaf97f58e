//! Where tensors lie and operations run: this processor, a graphics processor, or one that is emulated.
//!
//! A [`Gpu`] is a driver (`cuda`, `emulated`) with everything around it that both have in common: buffers that are given
//! back when they are dropped, counted bytes, modules of kernels compiled when first needed and kept on disk
//! (`compiled.rs`). Nothing of CUDA is needed to build or start the program: its libraries are looked for when a device
//! is asked for.
//!
//! A module is a `kernel.cu` of an operation with some defines, behind `prelude.cuh`. `modules.rs` lists them all.

mod buffer;
mod choice;
mod collective;
mod common;
mod compiled;
pub(crate) mod copies;
mod cuda;
mod driver;
mod emulated;
mod gpu;
mod list;
mod modules;
mod nvrtc;
mod products;
pub(crate) mod reduce;
pub(crate) mod steps;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

pub(crate) use buffer::GpuBuffer;
pub use choice::DeviceChoice;
pub use collective::{DeviceCollective, DeviceNumbers, HostCollective, NcclSupport, Operation};
pub(crate) use common::common;
pub(crate) use driver::Address;
pub use gpu::Gpu;
pub(crate) use gpu::Spread;
pub use list::{Found, list, nccl_version};
pub(crate) use modules::{Module, Source};
pub(crate) use products::{Epilogue, Operand, Product, Sum};

/// Where tensors lie and operations on them run.
#[derive(Clone, Debug, Default)]
pub enum Device {
    /// This processor.
    #[default]
    Cpu,
    /// A graphics processor, or one that is emulated.
    Gpu(Arc<Gpu>),
}

impl Device {
    /// The graphics processor, if it is one.
    pub fn gpu(&self) -> Option<&Arc<Gpu>> {
        match self {
            Self::Cpu => None,
            Self::Gpu(gpu) => Some(gpu),
        }
    }
}

impl PartialEq for Device {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Cpu, Self::Cpu) => true,
            (Self::Gpu(a), Self::Gpu(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Gpu(gpu) => f.write_str(gpu.label()),
        }
    }
}
