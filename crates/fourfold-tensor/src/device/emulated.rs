//! A device that runs the kernels for GPUs on this processor, slowly, to check them.
//!
//! The very same sources are compiled by the system's C++ compiler: `emulator.h` gives them blocks, threads, barriers and
//! the instructions of a GPU. Memory is the host's. It holds what is no number until something is written, and what lies
//! around a buffer is looked at after every kernel, so that reading what nobody wrote and writing outside are seen.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc};
use std::collections::{BTreeMap, HashMap};
use std::ffi::c_void;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use half::{bf16, f16};
use libloading::Library;

use super::compiled::scratch;
use super::driver::{Address, Driver, Launch, Loaded};
use super::products::{Epilogue, Operand, Product, Sum};
use crate::gemm::{Matrix, Output, product};
use crate::ops::{Gelu, gelu_at, tanh_slope};
use crate::{Element, Precision, Result, TensorError};

/// What the device is called.
pub(super) const LABEL: &str = "emulated";

const EMULATOR: &str = include_str!("emulator.h");

/// Buffers begin on a multiple of this, as those of a GPU do.
const ALIGNMENT: usize = 256;

/// Bytes before and behind a buffer that nothing may write.
const GUARD: usize = 256;

/// What memory holds at first, inside buffers and around them: no number in any format.
const NOT_WRITTEN: u8 = 0xff;

/// How products are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Products {
    /// By this crate's products for CPUs, fast.
    Host,
    /// By the kernel that stands in for a missing library.
    #[cfg(test)]
    Kernel,
}

pub(super) struct Emulated {
    products: Products,
    compiler: Compiler,
    allocations: Mutex<BTreeMap<Address, Allocation>>,
    modules: Mutex<Vec<Arc<Code>>>,
    /// What was found to be written that should not have been.
    damage: OnceLock<String>,
}

struct Compiler {
    command: String,
    version: String,
}

/// A loaded module and the kernels of it that were asked for.
struct Code {
    library: Library,
    kernels: Mutex<HashMap<String, Kernel>>,
}

#[derive(Clone, Copy)]
struct Kernel {
    launch: unsafe extern "C" fn(*const c_void, *const u32, *const u32, u32),
    args_bytes: usize,
}

/// Memory with a guard before and behind it.
struct Allocation {
    start: *mut u8,
    layout: Layout,
    bytes: usize,
}

// SAFETY: an allocation is owned memory; the pointer is no more tied to a thread than that of a `Vec`.
unsafe impl Send for Allocation {}

impl Allocation {
    fn new(bytes: usize) -> Option<Self> {
        let whole = bytes.checked_add(2 * GUARD + ALIGNMENT)?;
        let layout = Layout::from_size_align(whole, ALIGNMENT).ok()?;
        // SAFETY: the layout is of at least two guards.
        let start = unsafe { alloc(layout) };
        if start.is_null() {
            return None;
        }
        // SAFETY: all of it was allocated above.
        unsafe { start.write_bytes(NOT_WRITTEN, whole) };
        Some(Self {
            start,
            layout,
            bytes,
        })
    }

    fn address(&self) -> Address {
        self.start as Address + GUARD as Address
    }

    /// Whether nothing wrote around the buffer.
    fn is_whole(&self) -> bool {
        // SAFETY: the memory was allocated and filled as long as the layout says, and lives as long as `self`. Kernels
        // that run now write within buffers, and so none of the bytes looked at here.
        let all = unsafe { std::slice::from_raw_parts(self.start, self.layout.size()) };
        let (before, rest) = all.split_at(GUARD);
        let behind = &rest[self.bytes..];
        before.iter().chain(behind).all(|byte| *byte == NOT_WRITTEN)
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout and given back once. Who still reads it finds no numbers, if anything.
        unsafe {
            self.start.write_bytes(NOT_WRITTEN, self.layout.size());
            dealloc(self.start, self.layout);
        }
    }
}

impl Emulated {
    pub(super) fn new(products: Products) -> Result<Self> {
        Ok(Self {
            products,
            compiler: Compiler::find()?,
            allocations: Mutex::default(),
            modules: Mutex::default(),
            damage: OnceLock::new(),
        })
    }

    fn allocations(&self) -> MutexGuard<'_, BTreeMap<Address, Allocation>> {
        lock(&self.allocations)
    }

    /// The memory from `address` on, of which `bytes` bytes have to lie within one buffer.
    fn locate(&self, address: Address, bytes: usize) -> Result<*mut u8> {
        let allocations = self.allocations();
        let within = |(start, found): &(&Address, &Allocation)| {
            address as usize + bytes <= **start as usize + found.bytes
        };
        match allocations.range(..=address).next_back().filter(within) {
            Some(_) => Ok(address as *mut u8),
            None => Err(error(format!(
                "no buffer has {bytes} bytes at {address:#x}"
            ))),
        }
    }

    fn damaged(&self, message: String) -> TensorError {
        error(self.damage.get_or_init(|| message).clone())
    }

    fn check_damage(&self) -> Result<()> {
        match self.damage.get() {
            None => Ok(()),
            Some(message) => Err(error(message.clone())),
        }
    }

    /// The numbers of an operand as they lie, in f32.
    fn numbers(&self, operand: Operand, precision: Precision) -> Result<Vec<f32>> {
        self.f32_of(operand.address, operand.rows * operand.columns, precision)
    }

    fn f32_of(&self, address: Address, len: usize, precision: Precision) -> Result<Vec<f32>> {
        if len == 0 {
            return Ok(Vec::new());
        }
        let start = self.locate(address, len * precision.bytes())?;
        // SAFETY: `locate` found as many bytes, and products read operands that nothing writes at the time: all that
        // was asked of the device before has run.
        Ok(unsafe {
            match precision {
                Precision::F32 => std::slice::from_raw_parts(start.cast::<f32>(), len).to_vec(),
                Precision::Bf16 => wide(std::slice::from_raw_parts(start.cast::<bf16>(), len)),
                Precision::F16 => wide(std::slice::from_raw_parts(start.cast::<f16>(), len)),
            }
        })
    }

    /// Rounds `values` to what lies at `address`.
    fn write_rounded(&self, values: &[f32], address: Address, precision: Precision) -> Result<()> {
        fn rounded<T: Element>(values: &[f32]) -> Vec<T> {
            values.iter().map(|value| T::store(*value)).collect()
        }
        match precision {
            Precision::F32 => self.upload(bytemuck::cast_slice(values), address),
            Precision::Bf16 => self.upload(bytemuck::cast_slice(&rounded::<bf16>(values)), address),
            Precision::F16 => self.upload(bytemuck::cast_slice(&rounded::<f16>(values)), address),
        }
    }

    fn kernel(&self, module: Loaded, name: &str) -> Result<Kernel> {
        let code = lock(&self.modules).get(module.0).cloned();
        let Some(code) = code else {
            return Err(error("a module that was not loaded"));
        };
        let mut kernels = lock(&code.kernels);
        if let Some(kernel) = kernels.get(name) {
            return Ok(*kernel);
        }
        let missing = |_| error(format!("no kernel '{name}' in its module"));
        // SAFETY: `emulator.h` defines both symbols for every kernel with these types. The library is never unloaded
        // while the device lives.
        let kernel = unsafe {
            let bytes: *const u32 = *code
                .library
                .get(format!("{name}_args_bytes\0"))
                .map_err(missing)?;
            Kernel {
                launch: *code
                    .library
                    .get(format!("{name}_launch\0"))
                    .map_err(missing)?,
                args_bytes: *bytes as usize,
            }
        };
        kernels.insert(name.to_owned(), kernel);
        Ok(kernel)
    }
}

impl Driver for Emulated {
    fn name(&self) -> String {
        "GPU kernels on this CPU, for checking".to_owned()
    }

    /// As much as a small GPU has: the memory is the host's, which other programs use as well.
    fn memory(&self) -> Result<(usize, usize)> {
        const ALL: usize = 8 << 30;
        let used: usize = self.allocations().values().map(|found| found.bytes).sum();
        Ok((ALL.saturating_sub(used), ALL))
    }

    fn allocate(&self, bytes: usize) -> Result<Address> {
        self.check_damage()?;
        let Some(allocation) = Allocation::new(bytes) else {
            return Err(error(format!("no memory for {bytes} bytes")));
        };
        let address = allocation.address();
        self.allocations().insert(address, allocation);
        Ok(address)
    }

    fn free(&self, address: Address, bytes: usize) {
        let found = self.allocations().remove(&address);
        if !found.is_some_and(|found| found.is_whole() && found.bytes == bytes) {
            self.damaged(format!(
                "something wrote next to a buffer of {bytes} bytes, which was then given back"
            ));
        }
    }

    fn upload(&self, bytes: &[u8], to: Address) -> Result<()> {
        let to = self.locate(to, bytes.len())?;
        // SAFETY: `locate` found as many bytes, which are not those of a Rust value.
        unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Ok(())
    }

    fn download(&self, from: Address, bytes: &mut [u8]) -> Result<()> {
        self.check_damage()?;
        let from = self.locate(from, bytes.len())?;
        // SAFETY: as above.
        unsafe { from.copy_to_nonoverlapping(bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    fn copy(&self, from: Address, to: Address, bytes: usize) -> Result<()> {
        let (from, to) = (self.locate(from, bytes)?, self.locate(to, bytes)?);
        // SAFETY: `locate` found as many bytes of both.
        unsafe { from.copy_to(to, bytes) };
        Ok(())
    }

    fn clear(&self, address: Address, bytes: usize) -> Result<()> {
        let start = self.locate(address, bytes)?;
        // SAFETY: `locate` found as many bytes.
        unsafe { start.write_bytes(0, bytes) };
        Ok(())
    }

    fn compiler(&self) -> Result<String> {
        Ok(format!("{}\0{EMULATOR}", self.compiler.version))
    }

    fn compile(&self, name: &str, text: &str) -> Result<Vec<u8>> {
        self.compiler.run(name, text)
    }

    fn load(&self, code: &[u8], file: Option<&Path>) -> Result<Loaded> {
        let loaded = match file {
            // SAFETY: the file holds what `compile` made of a module, whose hash was checked; it runs nothing on its
            // own when it is loaded.
            Some(file) => unsafe { Library::new(file) },
            None => {
                let file = scratch(&std::env::temp_dir());
                std::fs::write(&file, code).map_err(|problem| {
                    error(format!(
                        "no folder to put compiled kernels in: {}: {problem}; set FOURFOLD_CACHE to one that can be \
                         written",
                        file.display()
                    ))
                })?;
                // SAFETY: as above.
                let library = unsafe { Library::new(&file) };
                let _ = std::fs::remove_file(&file);
                library
            }
        };
        let library = loaded.map_err(|problem| error(problem.to_string()))?;
        let mut modules = lock(&self.modules);
        modules.push(Arc::new(Code {
            library,
            kernels: Mutex::default(),
        }));
        Ok(Loaded(modules.len() - 1))
    }

    fn launch(&self, launch: &Launch<'_>) -> Result<()> {
        self.check_damage()?;
        let kernel = self.kernel(launch.module, launch.kernel)?;
        if kernel.args_bytes != launch.args.len() {
            return Err(error(format!(
                "kernel '{}' takes {} bytes of arguments and is given {}",
                launch.kernel,
                kernel.args_bytes,
                launch.args.len()
            )));
        }
        // Arguments hold addresses: they have to lie on multiples of eight.
        let mut args = vec![0u64; launch.args.len().div_ceil(8)];
        bytemuck::cast_slice_mut::<u64, u8>(&mut args)[..launch.args.len()]
            .copy_from_slice(launch.args);
        let block = [launch.threads, 1, 1];
        // SAFETY: the kernel was made for arguments of this size and reads three numbers each of grid and block. That
        // addresses in the arguments are of buffers, and as large as the kernel takes them to be, is what
        // `Gpu::launch` demands of operations.
        unsafe {
            (kernel.launch)(
                args.as_ptr().cast(),
                launch.grid.as_ptr(),
                block.as_ptr(),
                launch.shared,
            );
        }
        if self.allocations().values().all(Allocation::is_whole) {
            return Ok(());
        }
        Err(self.damaged(format!(
            "kernel '{}' (or one that ran at the same time) wrote outside of its buffers",
            launch.kernel
        )))
    }

    fn product(&self, description: &Product, _rounded_bias: Option<Address>) -> Result<bool> {
        if self.products != Products::Host {
            return Ok(false);
        }
        let [m, _, n] = description.extents();
        let mut a = self.numbers(description.a, description.precision)?;
        let mut b = self.numbers(description.b, description.precision)?;
        if description.tf32 {
            a.iter_mut().chain(&mut b).for_each(|x| *x = to_tf32(*x));
        }
        let bias = match description.bias {
            Some(bias) => Some(self.f32_of(bias, n, Precision::F32)?),
            None => None,
        };
        let mut out = vec![0.0; m * n];
        let other = match description.sum {
            Sum::Nothing => None,
            Sum::Result => Some(description.out),
            Sum::Other(address) => Some(address),
        };
        let other = match other {
            Some(address) => Some(self.f32_of(address, m * n, Precision::F32)?),
            None => None,
        };
        let output = match &other {
            Some(to) => Output::Added { out: &mut out, to },
            None => Output::F32 {
                out: &mut out,
                accumulate: false,
            },
        };
        let (a, b) = (matrix(description.a, &a), matrix(description.b, &b));
        product(a, b, bias.as_deref(), Precision::F32, output)?;
        let format = description.out_precision;
        match description.epilogue {
            Epilogue::Nothing => {}
            Epilogue::Gelu { before } => {
                if let Some(before) = before {
                    self.write_rounded(&out, before, format)?;
                }
                out.iter_mut()
                    .for_each(|x| *x = gelu_at::<false>(Gelu::Tanh, *x));
            }
            Epilogue::GeluGradient { before } => {
                let before = self.f32_of(before, m * n, format)?;
                for (dx, x) in out.iter_mut().zip(before) {
                    *dx *= tanh_slope::<false>(x);
                }
            }
        }
        if !out.is_empty() {
            self.write_rounded(&out, description.out, description.out_precision)?;
        }
        Ok(true)
    }

    fn wants_rounded_bias(&self) -> bool {
        false
    }

    fn synchronize(&self) -> Result<()> {
        self.check_damage()
    }
}

/// The nearest number with 10 bits of significand; halves away from zero, as GPUs convert.
fn to_tf32(x: f32) -> f32 {
    const LOST: u32 = (1 << 13) - 1;
    match x.is_finite() {
        true => f32::from_bits((x.to_bits() + LOST.div_ceil(2)) & !LOST),
        false => x,
    }
}

impl Compiler {
    fn find() -> Result<Self> {
        let asked = std::env::var("CXX").ok().filter(|name| !name.is_empty());
        let mut tried = Vec::new();
        for command in asked
            .into_iter()
            .chain(["c++", "g++", "clang++"].map(str::to_owned))
        {
            if let Ok(output) = Command::new(&command).arg("--version").output()
                && output.status.success()
            {
                let version = String::from_utf8_lossy(&output.stdout).into_owned();
                return Ok(Self { command, version });
            }
            tried.push(command);
        }
        Err(error(format!(
            "needs a C++ compiler to build the kernels, and found none of {}: install one (Debian and Ubuntu: \
             `apt install g++`) or name it in CXX",
            tried.join(", ")
        )))
    }

    /// The shared library that `text` compiles to.
    fn run(&self, name: &str, text: &str) -> Result<Vec<u8>> {
        let out = scratch(&std::env::temp_dir());
        let problem = |message: String| error(format!("module '{name}': {message}"));
        let mut child = Command::new(&self.command)
            .args([
                "-std=c++17",
                "-O1",
                "-fno-strict-aliasing",
                "-fPIC",
                "-shared",
                "-pthread",
                "-x",
                "c++",
                "-",
                "-o",
            ])
            .arg(&out)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| problem(format!("{}: {error}", self.command)))?;
        let written = child.stdin.take().map(|mut stdin| {
            stdin.write_all(format!("#define FOURFOLD_EMULATED 1\n{EMULATOR}\n{text}").as_bytes())
        });
        let finished = child.wait_with_output();
        let code = std::fs::read(&out);
        let _ = std::fs::remove_file(&out);
        match (written, finished, code) {
            (Some(Ok(())), Ok(finished), Ok(code)) if finished.status.success() => Ok(code),
            (_, Ok(finished), _) => {
                let said = String::from_utf8_lossy(&finished.stderr).into_owned();
                Err(problem(format!("{} refuses it:\n{said}", self.command)))
            }
            (_, Err(error), _) => Err(problem(error.to_string())),
        }
    }
}

fn matrix(operand: Operand, numbers: &[f32]) -> Matrix<'_> {
    match operand.transposed {
        true => Matrix::dense(numbers, operand.columns, operand.rows).t(),
        false => Matrix::dense(numbers, operand.rows, operand.columns),
    }
}

fn wide<T: Element>(numbers: &[T]) -> Vec<f32> {
    numbers.iter().map(|number| number.load()).collect()
}

fn error(message: impl Into<String>) -> TensorError {
    TensorError::device(LABEL, message)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
