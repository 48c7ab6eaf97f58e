//! A device in use: its memory counted, its modules compiled when first asked for.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytemuck::Pod;

use super::GpuBuffer;
use super::compiled;
use super::driver::{Address, Driver, Launch, Loaded, Mark};
use super::modules::Module;
use super::products::Product;
use crate::{Precision, Result, TensorError};

/// A graphics processor, or what stands in for one.
///
/// What is asked of it runs in the order in which it was asked, while the processor that asked goes on.
pub struct Gpu {
    driver: Box<dyn Driver>,
    label: String,
    modules: Mutex<HashMap<Module, Loaded>>,
    live: AtomicUsize,
    peak: AtomicUsize,
    downloads: AtomicUsize,
    failed: OnceLock<String>,
    /// Whether products are computed without the device's library.
    own_products: AtomicBool,
}

/// Has products computed by kernels of our own for as long as it lives.
pub(crate) struct OwnProducts<'a>(&'a Gpu);

impl Drop for OwnProducts<'_> {
    fn drop(&mut self) {
        self.0.own_products.store(false, Ordering::Relaxed);
    }
}

/// How a kernel is spread over blocks and threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub grid: [u32; 3],
    pub threads: u32,
    /// Bytes of dynamic shared memory a block.
    pub shared: u32,
}

impl Spread {
    /// `count` numbers, eight a thread.
    pub(crate) fn packs(count: usize) -> Self {
        Self::row(count.div_ceil(8 * 256), 256)
    }

    /// `blocks` blocks of `threads` threads in a row.
    pub(crate) fn row(blocks: usize, threads: u32) -> Self {
        Self {
            grid: [blocks as u32, 1, 1],
            threads,
            shared: 0,
        }
    }
}

impl Gpu {
    pub(super) fn new(label: impl Into<String>, driver: Box<dyn Driver>) -> Arc<Self> {
        Arc::new(Self {
            driver,
            label: label.into(),
            modules: Mutex::default(),
            live: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            downloads: AtomicUsize::new(0),
            failed: OnceLock::new(),
            own_products: AtomicBool::new(false),
        })
    }

    /// What the program calls it: `cuda:0`.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// What the hardware calls itself.
    pub fn name(&self) -> String {
        self.driver.name()
    }

    /// Bytes that tensors and other buffers have now.
    pub fn live_bytes(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// The most that they ever had at once since [`Gpu::reset_peak`].
    pub fn peak_bytes(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }

    /// Begins to count the most anew.
    pub fn reset_peak(&self) {
        self.peak.store(self.live_bytes(), Ordering::Relaxed);
    }

    /// How often numbers came back to the host so far, each time when all that was asked for before had run. Those that
    /// come back beside other work ([`Gpu::staged`]) are not counted.
    pub fn downloads(&self) -> usize {
        self.downloads.load(Ordering::Relaxed)
    }

    /// Free bytes and all bytes of its memory.
    ///
    /// # Errors
    /// When the device does not answer.
    pub fn memory(&self) -> Result<(usize, usize)> {
        self.driver.memory()
    }

    /// Waits until everything that was asked for has run.
    ///
    /// # Errors
    /// When something of it failed.
    pub fn synchronize(&self) -> Result<()> {
        self.check()?;
        self.driver.synchronize()
    }

    /// Notes a failure in a place that cannot return it; every later use of the device does.
    pub(crate) fn fail(&self, error: &TensorError) {
        let _ = self.failed.set(error.to_string());
    }

    /// Refuses a device that has failed.
    pub(crate) fn check(&self) -> Result<()> {
        match self.failed.get() {
            None => Ok(()),
            Some(message) => Err(self.error(format!("failed before: {message}"))),
        }
    }

    pub(crate) fn error(&self, message: impl Into<String>) -> TensorError {
        TensorError::device(&self.label, message)
    }

    /// Runs `kernel` of `module` with `args`, a struct of plain numbers and addresses that is laid out as the kernel's.
    ///
    /// Every address in it has to be of a live buffer of this device, as large as the kernel asks for.
    pub(crate) fn launch<A: Pod>(
        &self,
        module: Module,
        kernel: &str,
        spread: Spread,
        args: &A,
    ) -> Result<()> {
        self.check()?;
        if spread.grid.contains(&0) {
            return Ok(());
        }
        self.driver.launch(&Launch {
            module: self.loaded(module)?,
            kernel,
            grid: spread.grid,
            threads: spread.threads,
            shared: spread.shared,
            args: bytemuck::bytes_of(args),
        })
    }

    fn loaded(&self, module: Module) -> Result<Loaded> {
        let lock = || self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = lock().get(&module) {
            return Ok(*loaded);
        }
        // Two threads may compile the same module at once: both get the same, and one is kept.
        let loaded = compiled::load(self.driver.as_ref(), module)?;
        Ok(*lock().entry(module).or_insert(loaded))
    }

    /// Computes a product with the device's own library; false where that has nothing for it.
    pub(super) fn library_product(
        &self,
        product: &Product,
        rounded_bias: Option<&GpuBuffer>,
    ) -> Result<bool> {
        self.check()?;
        if self.own_products.load(Ordering::Relaxed) {
            return Ok(false);
        }
        self.driver
            .product(product, rounded_bias.map(GpuBuffer::address))
    }

    /// Leaves the device's library aside, to check the kernels that stand in for it.
    pub(crate) fn own_products(&self) -> OwnProducts<'_> {
        self.own_products.store(true, Ordering::Relaxed);
        OwnProducts(self)
    }

    /// Whether the library wants the bias of such a product in the format of the result.
    pub(super) fn wants_rounded_bias(&self, product: &Product) -> bool {
        product.bias.is_some()
            && product.out_precision != Precision::F32
            && self.driver.wants_rounded_bias()
    }

    pub(super) fn driver(&self) -> &dyn Driver {
        self.driver.as_ref()
    }

    /// With `reachable`, memory that other devices of this process may reach.
    pub(super) fn allocate(&self, bytes: usize, reachable: bool) -> Result<Address> {
        self.check()?;
        let address = match reachable {
            true => self.driver.allocate_reachable(bytes)?,
            false => self.driver.allocate(bytes)?,
        };
        self.count(bytes);
        Ok(address)
    }

    fn count(&self, bytes: usize) {
        let live = self.live.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak.fetch_max(live, Ordering::Relaxed);
    }

    /// Memory with `bytes` in it, which arrive while the device does what it was asked for before; given back as that of
    /// [`Gpu::allocate`], not reachable.
    pub(super) fn send_ahead(&self, bytes: &[u8]) -> Result<Address> {
        self.check()?;
        let address = self.driver.send_ahead(bytes)?;
        self.count(bytes.len());
        Ok(address)
    }

    pub(super) fn free(&self, address: Address, bytes: usize, reachable: bool) {
        self.live.fetch_sub(bytes, Ordering::Relaxed);
        match reachable {
            true => self.driver.free_reachable(address, bytes),
            false => self.driver.free(address, bytes),
        }
    }

    pub(super) fn upload(&self, bytes: &[u8], to: Address) -> Result<()> {
        match bytes.is_empty() {
            true => Ok(()),
            false => self.driver.upload(bytes, to),
        }
    }

    pub(super) fn download(&self, from: Address, bytes: &mut [u8]) -> Result<()> {
        match bytes.is_empty() {
            true => Ok(()),
            false => {
                self.downloads.fetch_add(1, Ordering::Relaxed);
                self.driver.download(from, bytes)
            }
        }
    }

    pub(super) fn mark(&self) -> Result<Mark> {
        self.check()?;
        self.driver.mark()
    }

    pub(super) fn copy(&self, from: Address, to: Address, bytes: usize) -> Result<()> {
        match bytes {
            0 => Ok(()),
            _ => self.driver.copy(from, to, bytes),
        }
    }

    pub(super) fn clear(&self, address: Address, bytes: usize) -> Result<()> {
        self.check()?;
        match bytes {
            0 => Ok(()),
            _ => self.driver.clear(address, bytes),
        }
    }
}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}
