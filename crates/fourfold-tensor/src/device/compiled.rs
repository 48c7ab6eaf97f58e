//! Compiled modules, kept on disk from run to run.
//!
//! A file holds the machine code and then its hash, so that one that was cut short or damaged is seen and made anew. It is
//! written beside its place and moved there, so that no other process finds half of it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use sha2::{Digest, Sha256};

use super::driver::{Driver, Loaded};
use super::modules::Module;
use crate::{Result, TensorError};

/// Bytes of the hash at the end of a file.
const HASH: usize = 32;

/// Has `driver` load `module`, compiled now if no file has it.
pub(super) fn load(driver: &dyn Driver, module: Module) -> Result<Loaded> {
    if cfg!(debug_assertions) && !module.is_listed() {
        return Err(TensorError::device(
            module.name(),
            "a module that is not listed in device/modules.rs, and so compiled by no test",
        ));
    }
    let text = module.text();
    let name = module.name();
    let key = hex(&Sha256::digest(format!("{}\0{text}", driver.compiler()?)));
    let file = folder().join(format!("{name}-{}", &key[..32]));
    if let Some(code) = read(&file)
        && let Ok(loaded) = driver.load(&code, Some(&file))
    {
        return Ok(loaded);
    }
    let code = driver.compile(&name, &text)?;
    // A folder that cannot be written costs the next run its time, not this one its result.
    let written = write(&file, &code).is_ok();
    driver.load(&code, written.then_some(&*file))
}

/// Where compiled modules are: in `FOURFOLD_CACHE`, or the user's folder for what can be made again.
fn folder() -> PathBuf {
    // Tests leave the user's folder alone.
    if cfg!(test)
        && let Some(beside) = std::env::current_exe()
            .ok()
            .as_deref()
            .and_then(Path::parent)
    {
        return beside.join("kernels");
    }
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    folder_by(set)
}

/// The same by what environment variables are `set` to.
fn folder_by(set: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let folder = if let Some(own) = set("FOURFOLD_CACHE") {
        PathBuf::from(own)
    } else if let Some(cache) = set("XDG_CACHE_HOME") {
        Path::new(&cache).join("fourfold")
    } else if let Some(home) = set("HOME") {
        Path::new(&home).join(".cache/fourfold")
    } else {
        std::env::temp_dir().join("fourfold")
    };
    folder.join("kernels")
}

/// The machine code in `file`, if it is whole.
fn read(file: &Path) -> Option<Vec<u8>> {
    let mut bytes = fs::read(file).ok()?;
    let hash = bytes.split_off(bytes.len().checked_sub(HASH)?);
    (Sha256::digest(&bytes)[..] == hash).then_some(bytes)
}

fn write(file: &Path, code: &[u8]) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let beside = scratch(folder);
    let written = fs::write(&beside, [code, &Sha256::digest(code)[..]].concat())
        .and_then(|()| fs::rename(&beside, file));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

/// A file name in `folder` that nobody else uses.
pub(super) fn scratch(folder: &Path) -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    folder.join(format!(".{}-{next}", std::process::id()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::emulated::{Emulated, Products};
    use super::super::{Device, Gpu};
    use super::*;
    use crate::{Parameters, Precision, Tape, Tensor, ops};

    #[test]
    fn the_folder_is_the_one_that_is_asked_for() {
        let folder = |known: &[(&str, &str)]| {
            let set = |name: &str| known.iter().find(|(known, _)| *known == name);
            folder_by(|name| set(name).map(|(_, value)| OsString::from(value)))
        };
        let (own, cache, home) = (
            ("FOURFOLD_CACHE", "/own"),
            ("XDG_CACHE_HOME", "/cache"),
            ("HOME", "/home/me"),
        );
        assert_eq!(folder(&[home, cache, own]), Path::new("/own/kernels"));
        assert_eq!(folder(&[home, cache]), Path::new("/cache/fourfold/kernels"));
        let at_home = Path::new("/home/me/.cache/fourfold/kernels");
        assert_eq!(folder(&[home]), at_home);
        assert!(folder(&[]).starts_with(std::env::temp_dir()));
    }

    #[test]
    fn a_damaged_file_is_compiled_anew() {
        let scaled = || {
            let driver = Emulated::new(Products::Host).expect("a C++ compiler");
            let device = Device::Gpu(Gpu::new("own", Box::new(driver)));
            let parameters = Parameters::new(Precision::F16);
            let tape = Tape::inference(&parameters);
            let x = Tensor::from_f32(&[2], &[1.0, -3.0]).expect("two numbers");
            let x = x.to_precision(Precision::F16).to_device(&device);
            let y = ops::scale(&tape, &x.expect("room"), 2.0);
            y.expect("any shape").to_f32_vec()
        };
        assert_eq!(scaled(), [2.0, -6.0]);
        let files = fs::read_dir(folder()).expect("it was written to");
        let file = files
            .filter_map(|file| Some(file.ok()?.path()))
            .find(|file| file.to_string_lossy().contains("/scale-f16-"))
            .expect("a compiled module");
        let whole = fs::read(&file).expect("readable");
        // Another file at the same place: the first one may be in use.
        fs::remove_file(&file).expect("it is there");
        fs::write(&file, &whole[..whole.len() / 2]).expect("writable");
        assert_eq!(scaled(), [2.0, -6.0]);
        assert!(read(&file).is_some());
    }

    #[test]
    fn a_file_that_is_not_whole_is_not_read() {
        let file = scratch(&std::env::temp_dir());
        write(&file, b"machine code").expect("the temporary folder is writable");
        assert_eq!(read(&file).expect("whole"), b"machine code");
        let whole = fs::read(&file).expect("it is there");
        let mut damaged = whole.clone();
        damaged[3] ^= 1;
        for bytes in [&damaged[..], &whole[..whole.len() - 1], &whole[..5], &[]] {
            fs::write(&file, bytes).expect("writable");
            assert!(read(&file).is_none());
        }
        fs::remove_file(&file).expect("it is there");
        assert!(read(&file).is_none());
    }
}
