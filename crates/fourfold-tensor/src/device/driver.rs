//! What a device has to be able to do; everything above is the same for all of them.

use std::path::Path;
use std::sync::Arc;

use super::collective::{HostCollective, NcclSupport, Operation};
use super::products::Product;
use crate::{Result, TensorError};

/// Where something lies in a device's memory.
pub(crate) type Address = u64;

/// A device that runs kernels, one after the other in the order in which they were asked for.
///
/// Addresses given to these functions have to be of memory of this device that is not yet given back, with as many bytes
/// behind them as the call reads or writes: [`Gpu`](super::Gpu) and its buffers see to that.
pub(super) trait Driver: Send + Sync {
    /// What the hardware calls itself.
    fn name(&self) -> String;
    /// Free bytes and all bytes of the device's memory.
    fn memory(&self) -> Result<(usize, usize)>;
    fn allocate(&self, bytes: usize) -> Result<Address>;
    /// Gives memory back, once what was asked for before has run.
    fn free(&self, address: Address, bytes: usize);
    fn upload(&self, bytes: &[u8], to: Address) -> Result<()>;
    /// Memory with these bytes in it, copied beside what was asked for before; what is asked for from now on waits for them.
    fn send_ahead(&self, bytes: &[u8]) -> Result<Address> {
        let address = self.allocate(bytes.len())?;
        self.upload(bytes, address)?;
        Ok(address)
    }
    /// Waits for what was asked for before.
    fn download(&self, from: Address, bytes: &mut [u8]) -> Result<()>;
    fn copy(&self, from: Address, to: Address, bytes: usize) -> Result<()>;
    /// Sets every byte to 0.
    fn clear(&self, address: Address, bytes: usize) -> Result<()>;
    /// What compiled modules depend on besides their text: the compiler, its version and what it compiles for.
    fn compiler(&self) -> Result<String>;
    /// A module's machine code. `name` is for messages.
    fn compile(&self, name: &str, text: &str) -> Result<Vec<u8>>;
    /// Makes the kernels of a compiled module known; `file` has its machine code at its beginning.
    fn load(&self, code: &[u8], file: Option<&Path>) -> Result<Loaded>;
    fn launch(&self, launch: &Launch<'_>) -> Result<()>;
    /// Computes a product and its epilogue with the device's own library; false where that has nothing for it.
    fn product(&self, product: &Product, rounded_bias: Option<Address>) -> Result<bool>;
    /// Whether a bias has to be in the format of the result; it is given such a copy besides then.
    fn wants_rounded_bias(&self) -> bool;
    /// Waits for everything that was asked for.
    fn synchronize(&self) -> Result<()>;

    /// Memory that other devices of this process may reach, where that is of another kind.
    fn allocate_reachable(&self, bytes: usize) -> Result<Address> {
        self.allocate(bytes)
    }
    /// Gives such memory back.
    fn free_reachable(&self, address: Address, bytes: usize) {
        self.free(address, bytes);
    }
    /// A place in all that was asked for so far; for one call of `follow_beside`.
    fn mark(&self) -> Result<Mark> {
        Ok(Mark(0))
    }
    /// What is copied beside the rest from now on waits for what was asked for before `mark`.
    fn follow_beside(&self, _mark: Mark) -> Result<()> {
        Ok(())
    }
    /// Copies bytes beside what else the device does, and waits for them alone.
    fn download_beside(&self, from: Address, bytes: &mut [u8]) -> Result<()> {
        self.download(from, bytes)
    }
    /// Copies bytes beside what else the device does, which waits for them from `join_beside` on.
    fn upload_beside(&self, bytes: &[u8], to: Address) -> Result<()> {
        self.upload(bytes, to)
    }
    /// Makes what is asked for from now on wait for what was copied beside.
    fn join_beside(&self) -> Result<()> {
        Ok(())
    }
    /// What NCCL has to know of the device, or why it cannot be used there.
    fn nccl(&self) -> std::result::Result<NcclSupport, String> {
        Err("its device is no NVIDIA GPU".to_owned())
    }
    /// A new id for ranks that meet.
    fn nccl_id(&self) -> Result<Vec<u8>> {
        Err(self.without_nccl())
    }
    /// Meets the other ranks under `id`.
    fn nccl_meet(&self, _host: Arc<dyn HostCollective>, _id: &[u8]) -> Result<Box<dyn Peers>> {
        Err(self.without_nccl())
    }
    fn without_nccl(&self) -> TensorError {
        let why = self.nccl().err().unwrap_or_default();
        TensorError::device(self.name(), why)
    }
}

/// See [`Driver::mark`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark(pub u64);

/// Devices of other ranks that a device works together with, beside what else it does.
pub(super) trait Peers: Send + Sync {
    /// Begins, after what the device was asked for so far, to work on `len` f32 numbers at `address`, which have to stay
    /// allocated until after `join`.
    fn start(&self, operation: Operation, address: Address, len: usize) -> Result<()>;
    /// Makes what the device is asked for from now on wait for all that was begun.
    fn join(&self) -> Result<()>;
}

/// A loaded module, by a number that its driver gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Loaded(pub usize);

/// One run of a kernel.
pub(super) struct Launch<'a> {
    pub module: Loaded,
    pub kernel: &'a str,
    /// How many blocks.
    pub grid: [u32; 3],
    /// How many threads a block.
    pub threads: u32,
    /// Bytes of dynamic shared memory a block.
    pub shared: u32,
    /// The kernel's one argument, a plain struct.
    pub args: &'a [u8],
}
