//! Memory of a device that goes back when its owner drops it.

use std::fmt;
use std::sync::Arc;

use super::Gpu;
use super::driver::Address;
use crate::Result;

/// Bytes in the memory of a device. Contents are unspecified at first.
pub(crate) struct GpuBuffer {
    gpu: Arc<Gpu>,
    /// 0 where there are no bytes.
    address: Address,
    bytes: usize,
    /// Whether other devices of this process may reach it.
    reachable: bool,
}

impl GpuBuffer {
    pub(crate) fn new(gpu: &Arc<Gpu>, bytes: usize) -> Result<Self> {
        Self::of_kind(gpu, bytes, false)
    }

    /// One that other devices of this process may reach.
    pub(super) fn reachable(gpu: &Arc<Gpu>, bytes: usize) -> Result<Self> {
        Self::of_kind(gpu, bytes, true)
    }

    fn of_kind(gpu: &Arc<Gpu>, bytes: usize, reachable: bool) -> Result<Self> {
        let address = match bytes {
            0 => 0,
            _ => gpu.allocate(bytes, reachable)?,
        };
        Ok(Self {
            gpu: Arc::clone(gpu),
            address,
            bytes,
            reachable,
        })
    }

    /// A copy of `values`.
    pub(crate) fn of<T: bytemuck::Pod>(gpu: &Arc<Gpu>, values: &[T]) -> Result<Self> {
        let buffer = Self::new(gpu, size_of_val(values))?;
        buffer.write(0, bytemuck::cast_slice(values))?;
        Ok(buffer)
    }

    /// A copy of `bytes` that arrives while the device does what it was asked for before.
    pub(crate) fn sent_ahead(gpu: &Arc<Gpu>, bytes: &[u8]) -> Result<Self> {
        let address = match bytes {
            [] => 0,
            _ => gpu.send_ahead(bytes)?,
        };
        Ok(Self {
            gpu: Arc::clone(gpu),
            address,
            bytes: bytes.len(),
            reachable: false,
        })
    }

    /// Bytes that were never had, on a device that has failed: every use of them is refused.
    pub(crate) fn lost(gpu: &Arc<Gpu>) -> Self {
        Self {
            gpu: Arc::clone(gpu),
            address: 0,
            bytes: 0,
            reachable: false,
        }
    }

    pub(crate) fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    pub(crate) fn address(&self) -> Address {
        self.address
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Puts `bytes` from byte `at` on.
    pub(crate) fn write(&self, at: usize, bytes: &[u8]) -> Result<()> {
        self.check(at, bytes.len())?;
        self.gpu.upload(bytes, self.address + at as u64)
    }

    /// The bytes from byte `at` on, as many as `bytes` has room for.
    pub(crate) fn read(&self, at: usize, bytes: &mut [u8]) -> Result<()> {
        self.check(at, bytes.len())?;
        self.gpu.download(self.address + at as u64, bytes)
    }

    /// Copies `bytes` bytes of `from`, from byte `from_at` on, to byte `at` and further.
    pub(crate) fn copy(&self, at: usize, from: &Self, from_at: usize, bytes: usize) -> Result<()> {
        self.check(at, bytes)?;
        from.check(from_at, bytes)?;
        self.gpu.copy(
            from.address + from_at as u64,
            self.address + at as u64,
            bytes,
        )
    }

    /// Sets all bytes to 0.
    pub(crate) fn clear(&self) -> Result<()> {
        self.gpu.clear(self.address, self.bytes)
    }

    /// Sets `bytes` bytes from byte `at` on to 0.
    pub(super) fn clear_part(&self, at: usize, bytes: usize) -> Result<()> {
        self.check(at, bytes)?;
        self.gpu.clear(self.address + at as u64, bytes)
    }

    fn check(&self, at: usize, bytes: usize) -> Result<()> {
        self.gpu.check()?;
        if at + bytes <= self.bytes {
            return Ok(());
        }
        Err(self.gpu.error(format!(
            "{bytes} bytes from byte {at} on of a buffer of {} bytes",
            self.bytes
        )))
    }
}

impl fmt::Debug for GpuBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes on {}", self.bytes, self.gpu.label())
    }
}

impl Drop for GpuBuffer {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.gpu.free(self.address, self.bytes, self.reachable);
        }
    }
}
