//! NVIDIA GPUs, through the driver's own interface.
//!
//! Everything of a device runs on one stream, memory included: what is given back is used again by what is asked for
//! later. The driver's library is looked for before any function of it is called, since a missing one would be a panic.
#![allow(unsafe_code)]

mod beside;
mod blas;
mod nccl;
mod staging;

use std::collections::HashMap;
use std::ffi::{CString, c_int, c_void};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{self, CUdevice_attribute as Attribute};

use self::beside::Beside;
use self::blas::Blas;
use self::nccl::{Library, Nccl};
use self::staging::Staging;
use super::collective::{HostCollective, NcclSupport};
use super::driver::{Address, Driver, Launch, Loaded, Mark, Peers};
use super::list::Found;
use super::nvrtc::Nvrtc;
use super::products::Product;
use crate::{Result, TensorError};

/// Compute capabilities before this lack bf16 and asynchronous copies to shared memory.
const CAPABILITY: (u32, u32) = (8, 0);

/// Drivers that can do less than this lack functions that are used.
const DRIVER: (u32, u32) = (12, 0);

/// A GPU in use.
pub(super) struct Cuda {
    number: usize,
    device: sys::CUdevice,
    context: sys::CUcontext,
    stream: sys::CUstream,
    pool: sys::CUmemoryPool,
    capability: (u32, u32),
    architecture: OnceLock<String>,
    modules: Mutex<Vec<Code>>,
    staging: Mutex<Staging>,
    blas: OnceLock<Option<Mutex<Blas>>>,
    /// What is copied between ranks, and what is sent ahead: each made when first asked for, and neither waits for the
    /// other.
    beside: Mutex<Option<Arc<Beside>>>,
    ahead: Mutex<Option<Arc<Beside>>>,
}

// SAFETY: the driver's handles may be used from any thread in which the context is current, which `enter` sees to; what
// is not safe to use from several at once is behind locks.
unsafe impl Send for Cuda {}
// SAFETY: as above.
unsafe impl Sync for Cuda {}

struct Code {
    module: sys::CUmodule,
    kernels: HashMap<String, Kernel>,
}

#[derive(Clone, Copy)]
struct Kernel {
    function: sys::CUfunction,
    /// The most dynamic shared memory that was asked for so far: large amounts have to be, beforehand.
    shared: u32,
}

/// All GPUs, or why there can be none.
pub(super) fn find() -> std::result::Result<Vec<Found>, String> {
    let driver = start()?;
    let say = |what: &str, error: DriverError| format!("the NVIDIA driver {what}: {}", text(error));
    let count =
        result::device::get_count().map_err(|error| say("does not count its GPUs", error))?;
    if count == 0 {
        return Err(
            "the NVIDIA driver sees no GPU (is CUDA_VISIBLE_DEVICES empty, or the container without --gpus?)"
                .to_owned(),
        );
    }
    let found = |number: c_int| {
        look_at(number, driver).unwrap_or_else(|error| Found {
            number: usize::try_from(number).ok(),
            name: "NVIDIA GPU".to_owned(),
            memory: 0,
            capability: (0, 0),
            driver,
            library: false,
            problem: Some(say("does not describe it", error)),
        })
    };
    Ok((0..count).map(found).collect())
}

/// The version of NCCL, or why there is none.
pub(super) fn nccl_version() -> std::result::Result<String, String> {
    Library::get()?.version()
}

/// Starts the driver; the newest CUDA version that it can do.
fn start() -> std::result::Result<(u32, u32), String> {
    // SAFETY: loading the driver's library runs nothing but its own start.
    if !unsafe { sys::is_culib_present() } {
        return Err(
            "no NVIDIA driver: libcuda.so.1 was not found. It comes with the driver (nvidia-smi shows whether that is \
             installed); in a container, with --gpus all"
                .to_owned(),
        );
    }
    let mut version = 0;
    // SAFETY: the library is there, and the number is written.
    let answer = unsafe { sys::cuDriverGetVersion(&mut version) }.result();
    answer.map_err(|error| format!("the NVIDIA driver does not answer: {}", text(error)))?;
    let version = (version as u32 / 1000, version as u32 % 1000 / 10);
    if version < DRIVER {
        return Err(format!(
            "the NVIDIA driver can do CUDA {}.{}; expected {}.{} or newer: install a newer driver (525 or later)",
            version.0, version.1, DRIVER.0, DRIVER.1
        ));
    }
    result::init().map_err(|error| format!("the NVIDIA driver does not start: {}", text(error)))?;
    Ok(version)
}

fn look_at(number: c_int, driver: (u32, u32)) -> std::result::Result<Found, DriverError> {
    let device = result::device::get(number)?;
    let capability = capability(device)?;
    let pools = attribute(
        device,
        Attribute::CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED,
    )?;
    let problem = if capability < CAPABILITY {
        Some(format!(
            "its compute capability is {}.{}; expected 8.0 or higher (Ampere, 2020, or newer), which has bf16",
            capability.0, capability.1
        ))
    } else if pools == 0 {
        Some("its driver has no memory pools: install a newer one".to_owned())
    } else {
        None
    };
    Ok(Found {
        number: usize::try_from(number).ok(),
        name: result::device::get_name(device)?,
        // SAFETY: the driver gave this device.
        memory: unsafe { result::device::total_mem(device)? },
        capability,
        driver,
        library: Blas::is_there(),
        problem,
    })
}

fn attribute(device: sys::CUdevice, which: Attribute) -> std::result::Result<u32, DriverError> {
    // SAFETY: the driver gave this device.
    let value = unsafe { result::device::get_attribute(device, which)? };
    Ok(u32::try_from(value).unwrap_or(0))
}

fn capability(device: sys::CUdevice) -> std::result::Result<(u32, u32), DriverError> {
    Ok((
        attribute(
            device,
            Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
        )?,
        attribute(
            device,
            Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
        )?,
    ))
}

impl Cuda {
    /// Makes GPU `number` ready.
    ///
    /// # Errors
    /// When it is not there or cannot be used, with what to do about it.
    pub(super) fn open(number: usize) -> Result<Self> {
        let refuse = |problem: String| TensorError::device(format!("cuda:{number}"), problem);
        let found = find().map_err(refuse)?;
        let Some(found) = found.get(number) else {
            return Err(refuse(format!(
                "there are {} GPUs, counted from 0",
                found.len()
            )));
        };
        if let Some(problem) = &found.problem {
            return Err(refuse(format!("{} cannot be used: {problem}", found.name)));
        }
        Nvrtc::get()?;
        Self::start(number).map_err(|error| refuse(format!("does not start: {}", text(error))))
    }

    fn start(number: usize) -> std::result::Result<Self, DriverError> {
        let device = result::device::get(number as c_int)?;
        // SAFETY: the driver gave this device; its context is kept until `Cuda` is dropped, and so are the stream and
        // the staging memory, which belong to it.
        unsafe {
            let context = result::primary_ctx::retain(device)?;
            result::ctx::set_current(context)?;
            let stream = result::stream::create(result::stream::StreamKind::NonBlocking)?;
            let pool = result::device::get_default_mem_pool(device)?;
            use sys::CUmemPool_attribute as Which;
            // Memory that was given back is kept for the next step: asking the system again would wait for it.
            let mut threshold = u64::MAX;
            result::mem_pool::set_attribute(
                pool,
                Which::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD,
                (&raw mut threshold).cast(),
            )?;
            // What is sent ahead must not be made to wait for the stream that gives memory back.
            let mut waits: c_int = 0;
            result::mem_pool::set_attribute(
                pool,
                Which::CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES,
                (&raw mut waits).cast(),
            )?;
            Ok(Self {
                number,
                device,
                context,
                stream,
                pool,
                capability: capability(device)?,
                architecture: OnceLock::new(),
                modules: Mutex::default(),
                staging: Mutex::new(Staging::new(stream)?),
                blas: OnceLock::new(),
                beside: Mutex::default(),
                ahead: Mutex::default(),
            })
        }
    }

    /// Makes the context current in this thread.
    fn enter(&self) -> Result<()> {
        // SAFETY: the context lives as long as `self`.
        self.check("enter", unsafe { result::ctx::set_current(self.context) })
    }

    fn check<T>(&self, what: &str, done: std::result::Result<T, DriverError>) -> Result<T> {
        done.map_err(|error| self.error(format!("{what}: {}", text(error))))
    }

    fn error(&self, message: impl Into<String>) -> TensorError {
        TensorError::device(format!("cuda:{}", self.number), message)
    }

    fn architecture(&self) -> Result<String> {
        if let Some(known) = self.architecture.get() {
            return Ok(known.clone());
        }
        let (major, minor) = self.capability;
        let found = Nvrtc::get()?.architecture(10 * major + minor)?;
        Ok(self.architecture.get_or_init(|| found).clone())
    }

    fn kernel(&self, launch: &Launch<'_>) -> Result<sys::CUfunction> {
        let mut modules = lock(&self.modules);
        let Some(code) = modules.get_mut(launch.module.0) else {
            return Err(self.error("a module that was not loaded"));
        };
        let kernel = match code.kernels.get_mut(launch.kernel) {
            Some(kernel) => kernel,
            None => {
                let name = CString::new(launch.kernel).unwrap_or_default();
                // SAFETY: modules are never unloaded.
                let found = unsafe { result::module::get_function(code.module, name) };
                let function = self.check(launch.kernel, found)?;
                let kernel = Kernel {
                    function,
                    shared: 0,
                };
                code.kernels
                    .entry(launch.kernel.to_owned())
                    .or_insert(kernel)
            }
        };
        if launch.shared > kernel.shared {
            // SAFETY: the function is of a module that is never unloaded.
            let allowed = unsafe {
                result::function::set_function_attribute(
                    kernel.function,
                    sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                    launch.shared as c_int,
                )
            };
            self.check(
                &format!(
                    "{} bytes of shared memory for {}",
                    launch.shared, launch.kernel
                ),
                allowed,
            )?;
            kernel.shared = launch.shared;
        }
        Ok(kernel.function)
    }

    /// What `place` holds, copies on a stream beside that of all else.
    fn beside(&self, place: &Mutex<Option<Arc<Beside>>>) -> Result<Arc<Beside>> {
        self.enter()?;
        let mut beside = lock(place);
        if let Some(beside) = &*beside {
            return Ok(Arc::clone(beside));
        }
        // SAFETY: the context is current, and lives as long as `self`.
        let made = self.check("second stream", unsafe { Beside::new() })?;
        Ok(Arc::clone(beside.insert(Arc::new(made))))
    }

    fn out_of_memory(&self, bytes: usize, error: DriverError) -> TensorError {
        let DriverError(sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY) = error else {
            return self.error(format!("{bytes} bytes: {}", text(error)));
        };
        let (free, all) = self.memory().unwrap_or((0, 0));
        let mib = |bytes: usize| bytes >> 20;
        self.error(format!(
            "out of memory: {} MiB asked for, {} of {} MiB free; make packs smaller (tokens or images at once), \
             compute blocks a second time on the way back, or use a GPU with more memory",
            mib(bytes),
            mib(free),
            mib(all)
        ))
    }

    /// Asks the pool for memory that is there for what comes later on `stream`; once more after what the pool keeps was
    /// given back, where there is not enough.
    ///
    /// # Safety
    /// The stream is of this device.
    unsafe fn take(&self, bytes: usize, stream: sys::CUstream) -> Result<Address> {
        // SAFETY: the pool lives as long as `self`, and so do its stream and the one that this function demands.
        let taken = unsafe {
            result::mem_pool::alloc_async(self.pool, bytes, stream).or_else(|error| {
                let DriverError(sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY) = error else {
                    return Err(error);
                };
                result::stream::synchronize(self.stream)?;
                result::mem_pool::trim_to(self.pool, 0)?;
                result::mem_pool::alloc_async(self.pool, bytes, stream)
            })
        };
        taken.map_err(|error| self.out_of_memory(bytes, error))
    }
}

impl Driver for Cuda {
    fn name(&self) -> String {
        result::device::get_name(self.device).unwrap_or_else(|_| "NVIDIA GPU".to_owned())
    }

    fn memory(&self) -> Result<(usize, usize)> {
        self.enter()?;
        let (free, all) = self.check("memory", result::mem_get_info())?;
        // What the pool keeps for us counts as taken there.
        let (mut kept, mut used) = (0u64, 0u64);
        use sys::CUmemPool_attribute as Which;
        for (which, value) in [
            (Which::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT, &mut kept),
            (Which::CU_MEMPOOL_ATTR_USED_MEM_CURRENT, &mut used),
        ] {
            // SAFETY: both attributes are 64-bit numbers.
            let answer = unsafe {
                result::mem_pool::get_attribute(self.pool, which, (&raw mut *value).cast())
            };
            self.check("memory", answer)?;
        }
        Ok((free + kept.saturating_sub(used) as usize, all))
    }

    fn allocate(&self, bytes: usize) -> Result<Address> {
        self.enter()?;
        // SAFETY: the stream is this device's.
        unsafe { self.take(bytes, self.stream) }
    }

    fn free(&self, address: Address, _bytes: usize) {
        if self.enter().is_ok() {
            // SAFETY: `allocate` gave the address, and its owner gives it back once. A failure says that the device
            // failed before, which the next call that can return an error does.
            let _ = unsafe { result::free_async(address, self.stream) };
        }
    }

    fn upload(&self, bytes: &[u8], to: Address) -> Result<()> {
        self.enter()?;
        let sent = lock(&self.staging).upload(bytes, to);
        self.check("upload", sent)
    }

    /// The memory is the other stream's from the beginning: were it asked for on this one, the copy would have to wait for
    /// all that comes before it here. The pool gives nothing that this stream may still use.
    fn send_ahead(&self, bytes: &[u8]) -> Result<Address> {
        let ahead = self.beside(&self.ahead)?;
        // SAFETY: the stream is this device's.
        let address = unsafe { self.take(bytes.len(), ahead.stream()) }?;
        let sent = ahead.upload(bytes, address);
        // Also where a copy failed, before anything gives the memory back on the other stream.
        let joined = ahead.join(self.stream);
        match sent.and(joined) {
            Ok(()) => Ok(address),
            Err(error) => {
                self.free(address, bytes.len());
                self.check("upload", Err(error))
            }
        }
    }

    fn download(&self, from: Address, bytes: &mut [u8]) -> Result<()> {
        self.enter()?;
        let received = lock(&self.staging).download(from, bytes);
        self.check("download", received)
    }

    fn copy(&self, from: Address, to: Address, bytes: usize) -> Result<()> {
        self.enter()?;
        // SAFETY: both addresses have as many bytes, which the trait demands.
        self.check("copy", unsafe {
            result::memcpy_dtod_async(to, from, bytes, self.stream)
        })
    }

    fn clear(&self, address: Address, bytes: usize) -> Result<()> {
        self.enter()?;
        // SAFETY: the address has as many bytes, which the trait demands.
        self.check("clear", unsafe {
            result::memset_d8_async(address, 0, bytes, self.stream)
        })
    }

    fn compiler(&self) -> Result<String> {
        let (major, minor) = Nvrtc::get()?.version()?;
        Ok(format!("nvrtc {major}.{minor} {}", self.architecture()?))
    }

    fn compile(&self, name: &str, text: &str) -> Result<Vec<u8>> {
        Ok(Nvrtc::get()?.compile(name, text, &self.architecture()?)?.0)
    }

    fn load(&self, code: &[u8], _file: Option<&Path>) -> Result<Loaded> {
        self.enter()?;
        // Assembly has to end in a zero byte, and machine code does not mind one.
        let code = [code, &[0]].concat();
        // SAFETY: the code is what the compiler made, whose hash was checked.
        let module = self.check("load", unsafe {
            result::module::load_data(code.as_ptr().cast())
        })?;
        let mut modules = lock(&self.modules);
        modules.push(Code {
            module,
            kernels: HashMap::new(),
        });
        Ok(Loaded(modules.len() - 1))
    }

    fn launch(&self, launch: &Launch<'_>) -> Result<()> {
        self.enter()?;
        let function = self.kernel(launch)?;
        let [x, y, z] = launch.grid;
        let mut args = [launch.args.as_ptr().cast_mut().cast::<c_void>()];
        // SAFETY: the driver copies the arguments before it returns. That they are laid out as the kernel's, and hold
        // addresses of large enough buffers, is what `Gpu::launch` demands of operations.
        let launched = unsafe {
            result::launch_kernel(
                function,
                (x, y, z),
                (launch.threads, 1, 1),
                launch.shared,
                self.stream,
                &mut args,
            )
        };
        self.check(launch.kernel, launched)
    }

    fn product(&self, product: &Product, rounded_bias: Option<Address>) -> Result<bool> {
        self.enter()?;
        let blas = self
            .blas
            .get_or_init(|| Blas::find(self.stream).map(Mutex::new));
        match blas {
            None => Ok(false),
            Some(blas) => lock(blas)
                .run(product, rounded_bias)
                .map_err(|problem| self.error(format!("cuBLASLt: {problem}"))),
        }
    }

    fn wants_rounded_bias(&self) -> bool {
        true
    }

    fn synchronize(&self) -> Result<()> {
        self.enter()?;
        // SAFETY: the stream lives as long as `self`.
        self.check("wait", unsafe { result::stream::synchronize(self.stream) })
    }

    /// Not of the pool: where two ranks are in one process, NCCL reads and writes what the other has, and memory of a pool
    /// is not made known to other devices by what makes the rest known.
    fn allocate_reachable(&self, bytes: usize) -> Result<Address> {
        self.enter()?;
        // SAFETY: the context is current.
        let first = unsafe { result::malloc_sync(bytes) };
        let taken = first.or_else(|_| {
            // SAFETY: the stream lives as long as `self`, the pool as long as the device, and the context is current.
            unsafe {
                result::stream::synchronize(self.stream)?;
                result::mem_pool::trim_to(self.pool, 0)?;
                result::malloc_sync(bytes)
            }
        });
        taken.map_err(|error| self.out_of_memory(bytes, error))
    }

    fn free_reachable(&self, address: Address, _bytes: usize) {
        if self.enter().is_ok() {
            // SAFETY: `allocate_reachable` gave the address, its owner gives it back once, and the driver waits for
            // whatever uses it. A failure says that the device failed before.
            let _ = unsafe { result::free_sync(address) };
        }
    }

    fn mark(&self) -> Result<Mark> {
        self.check("mark", self.beside(&self.beside)?.mark(self.stream))
    }

    fn follow_beside(&self, mark: Mark) -> Result<()> {
        self.check("mark", self.beside(&self.beside)?.follow(mark))
    }

    fn download_beside(&self, from: Address, bytes: &mut [u8]) -> Result<()> {
        self.check("download", self.beside(&self.beside)?.download(from, bytes))
    }

    fn upload_beside(&self, bytes: &[u8], to: Address) -> Result<()> {
        self.check("upload", self.beside(&self.beside)?.upload(bytes, to))
    }

    fn join_beside(&self) -> Result<()> {
        self.check("wait", self.beside(&self.beside)?.join(self.stream))
    }

    fn nccl(&self) -> std::result::Result<NcclSupport, String> {
        let version = Library::get()?.version()?;
        let id = result::device::get_uuid(self.device).map_err(text)?;
        Ok(NcclSupport {
            device: id.bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
            version,
        })
    }

    fn nccl_id(&self) -> Result<Vec<u8>> {
        self.enter()?;
        nccl::id().map_err(|problem| self.error(problem))
    }

    fn nccl_meet(&self, host: Arc<dyn HostCollective>, id: &[u8]) -> Result<Box<dyn Peers>> {
        self.enter()?;
        // SAFETY: context and stream live as long as the device, which those who hold what is made hold as well.
        let nccl = unsafe { Nccl::meet(self.number, self.context, self.stream, host, id) }?;
        Ok(Box::new(nccl))
    }
}

fn text(error: DriverError) -> String {
    let text = error
        .error_string()
        .map(|text| text.to_string_lossy().into_owned());
    text.unwrap_or_else(|_| format!("{:?}", error.0))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
