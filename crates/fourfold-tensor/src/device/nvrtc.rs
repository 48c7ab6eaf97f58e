//! NVIDIA's compiler as a library, looked for when first needed.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use libloading::Library;

use crate::{Result, TensorError};

/// An environment variable with the library, or the folder that has it.
const VARIABLE: &str = "FOURFOLD_NVRTC";

/// What the loader may know the library as.
const NAMES: [&str; 6] = [
    "libnvrtc.so.12",
    "libnvrtc.so.13",
    "libnvrtc.so",
    "nvrtc64_120_0.dll",
    "nvrtc64_130_0.dll",
    "libnvrtc.so.11.2",
];

/// Where the toolkit puts it, if the loader does not know.
const FOLDER: &str = "/usr/local/cuda/lib64";

type Program = *mut std::ffi::c_void;
type Size = unsafe extern "C" fn(Program, *mut usize) -> c_int;
type Bytes = unsafe extern "C" fn(Program, *mut c_char) -> c_int;

/// The functions of the library that are used.
pub(super) struct Nvrtc {
    version: unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int,
    architectures: unsafe extern "C" fn(*mut c_int) -> c_int,
    count_of_architectures: unsafe extern "C" fn(*mut c_int) -> c_int,
    create: unsafe extern "C" fn(
        *mut Program,
        *const c_char,
        *const c_char,
        c_int,
        *const *const c_char,
        *const *const c_char,
    ) -> c_int,
    destroy: unsafe extern "C" fn(*mut Program) -> c_int,
    compile: unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int,
    log_size: Size,
    log: Bytes,
    binary_size: Size,
    binary: Bytes,
    assembly_size: Size,
    assembly: Bytes,
    describe: unsafe extern "C" fn(c_int) -> *const c_char,
    /// Kept for as long as the functions are.
    _library: Library,
}

impl Nvrtc {
    /// The library, looked for once.
    ///
    /// # Errors
    /// When there is none: what brings it.
    pub(super) fn get() -> Result<&'static Self> {
        static FOUND: OnceLock<std::result::Result<Nvrtc, String>> = OnceLock::new();
        let found = FOUND.get_or_init(Self::find);
        found.as_ref().map_err(|problem| error(problem.clone()))
    }

    fn find() -> std::result::Result<Self, String> {
        if let Some(asked) = std::env::var_os(VARIABLE).filter(|asked| !asked.is_empty()) {
            let asked = PathBuf::from(asked);
            let files = match asked.is_dir() {
                true => NAMES.iter().map(|name| asked.join(name)).collect(),
                false => vec![asked.clone()],
            };
            let file = files.iter().find(|file| file.is_file()).ok_or_else(|| {
                format!(
                    "{VARIABLE} is {}, which is not and does not hold libnvrtc",
                    asked.display()
                )
            })?;
            return Self::load(file)
                .map_err(|problem| format!("{VARIABLE} is {}: {problem}", asked.display()));
        }
        let names = NAMES.iter().map(PathBuf::from);
        let files = names.chain(NAMES.iter().map(|name| Path::new(FOLDER).join(name)));
        files.into_iter().find_map(|file| Self::load(&file).ok()).ok_or_else(|| {
            format!(
                "the compiler of GPU kernels, libnvrtc, was not found. It comes with the CUDA toolkit (12.0 or newer); \
                 alone it is the Python package nvidia-cuda-nvrtc-cu12 (pip install --target DIR \
                 nvidia-cuda-nvrtc-cu12): then set {VARIABLE} to DIR/nvidia/cuda_nvrtc/lib"
            )
        })
    }

    fn load(file: &Path) -> std::result::Result<Self, libloading::Error> {
        // SAFETY: the file is NVIDIA's library by its name; its functions have had these types since CUDA 11.
        unsafe {
            let library = Library::new(file)?;
            Ok(Self {
                version: *library.get(b"nvrtcVersion\0")?,
                architectures: *library.get(b"nvrtcGetSupportedArchs\0")?,
                count_of_architectures: *library.get(b"nvrtcGetNumSupportedArchs\0")?,
                create: *library.get(b"nvrtcCreateProgram\0")?,
                destroy: *library.get(b"nvrtcDestroyProgram\0")?,
                compile: *library.get(b"nvrtcCompileProgram\0")?,
                log_size: *library.get(b"nvrtcGetProgramLogSize\0")?,
                log: *library.get(b"nvrtcGetProgramLog\0")?,
                binary_size: *library.get(b"nvrtcGetCUBINSize\0")?,
                binary: *library.get(b"nvrtcGetCUBIN\0")?,
                assembly_size: *library.get(b"nvrtcGetPTXSize\0")?,
                assembly: *library.get(b"nvrtcGetPTX\0")?,
                describe: *library.get(b"nvrtcGetErrorString\0")?,
                _library: library,
            })
        }
    }

    pub(super) fn version(&self) -> Result<(i32, i32)> {
        let (mut major, mut minor) = (0, 0);
        // SAFETY: both numbers are written.
        self.check(unsafe { (self.version)(&mut major, &mut minor) })?;
        Ok((major, minor))
    }

    /// What to compile for, on a GPU of capability `wanted` (80 for 8.0): machine code for it where this compiler knows
    /// it, and otherwise assembly for the newest before it, which the driver translates.
    pub(super) fn architecture(&self, wanted: u32) -> Result<String> {
        let mut count = 0;
        // SAFETY: the number is written, and then as many as it says.
        let known = unsafe {
            self.check((self.count_of_architectures)(&mut count))?;
            let mut known = vec![0; usize::try_from(count).unwrap_or(0)];
            self.check((self.architectures)(known.as_mut_ptr()))?;
            known
        };
        let known = known
            .into_iter()
            .filter_map(|known| u32::try_from(known).ok());
        match known.filter(|known| *known <= wanted).max() {
            Some(best) if best == wanted => Ok(format!("sm_{wanted}")),
            Some(best) => Ok(format!("compute_{best}")),
            None => Err(error(format!(
                "libnvrtc cannot compile for compute capability {}.{}: install that of CUDA 12",
                wanted / 10,
                wanted % 10
            ))),
        }
    }

    /// What `text` compiles to for `architecture` (`sm_80`: machine code; `compute_80`: assembly), and what the compiler
    /// remarked.
    pub(super) fn compile(
        &self,
        name: &str,
        text: &str,
        architecture: &str,
    ) -> Result<(Vec<u8>, String)> {
        let c_text = |text: &str| {
            CString::new(text).map_err(|_| error(format!("module '{name}' holds a zero byte")))
        };
        let (source, file) = (c_text(text)?, c_text(&format!("{name}.cu"))?);
        let options = [
            c_text(&format!("--gpu-architecture={architecture}"))?,
            c_text("--std=c++17")?,
        ];
        let options = options.each_ref().map(|option| option.as_ptr());
        let mut program = std::ptr::null_mut();
        let none = std::ptr::null();
        // SAFETY: both texts live until the end of this function; there are no headers.
        self.check(unsafe {
            (self.create)(&mut program, source.as_ptr(), file.as_ptr(), 0, none, none)
        })?;
        // SAFETY: the program was created above and is destroyed once, after its last use; there are as many options as
        // said, which live as long.
        unsafe {
            let compiled = self.check((self.compile)(
                program,
                options.len() as c_int,
                options.as_ptr(),
            ));
            let log = self.bytes(program, self.log_size, self.log);
            let code = match architecture.starts_with("sm_") {
                true => self.bytes(program, self.binary_size, self.binary),
                false => self.bytes(program, self.assembly_size, self.assembly),
            };
            (self.destroy)(&mut program);
            let log = String::from_utf8_lossy(&log?)
                .trim_matches(['\0', '\n'])
                .to_owned();
            match compiled {
                Ok(()) => Ok((code?, log)),
                Err(problem) => Err(error(format!(
                    "module '{name}' does not compile for {architecture}: {problem}\n{log}"
                ))),
            }
        }
    }

    /// # Safety
    /// `program` lives, and `size` says how many bytes `write` writes for it.
    unsafe fn bytes(&self, program: Program, size: Size, write: Bytes) -> Result<Vec<u8>> {
        let mut len = 0;
        // SAFETY: as this function demands.
        unsafe {
            self.check(size(program, &mut len))?;
            let mut bytes = vec![0u8; len];
            self.check(write(program, bytes.as_mut_ptr().cast()))?;
            Ok(bytes)
        }
    }

    fn check(&self, status: c_int) -> Result<()> {
        if status == 0 {
            return Ok(());
        }
        // SAFETY: the library gives a text that ends in zero and is never freed, for any number.
        let text = unsafe { CStr::from_ptr((self.describe)(status)) };
        Err(error(text.to_string_lossy().into_owned()))
    }
}

fn error(message: impl Into<String>) -> TensorError {
    TensorError::device("cuda", message)
}
