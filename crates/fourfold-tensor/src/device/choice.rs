//! Which device is asked for, by name.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use super::emulated::{self, Emulated, Products};
use super::{Device, Gpu, cuda, list};
use crate::{Result, TensorError};

/// A device as recipes and the command line name it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// `auto`: the first NVIDIA GPU that can be used, or this processor where there is none.
    #[default]
    Auto,
    /// `cpu`: this processor.
    Cpu,
    /// `cuda` or `cuda:N`: an NVIDIA GPU, counted from 0.
    Cuda(usize),
    /// `emulated`: runs the GPU kernels on this CPU, slowly, to check them. For development.
    Emulated,
}

impl FromStr for DeviceChoice {
    type Err = TensorError;

    fn from_str(name: &str) -> Result<Self> {
        let number = |number: &str| match number.bytes().all(|byte| byte.is_ascii_digit()) {
            true => number.parse().ok(),
            false => None,
        };
        let choice = match name {
            "auto" => Some(Self::Auto),
            "cpu" => Some(Self::Cpu),
            "cuda" => Some(Self::Cuda(0)),
            emulated::LABEL => Some(Self::Emulated),
            other => other.strip_prefix("cuda:").and_then(number).map(Self::Cuda),
        };
        choice.ok_or_else(|| {
            TensorError::device(
                name,
                "no such device; expected auto, cpu, cuda, cuda:N with N counted from 0, or emulated (runs the GPU \
                 kernels on this CPU, slowly, to check them)",
            )
        })
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::Emulated => f.write_str(emulated::LABEL),
        }
    }
}

impl DeviceChoice {
    /// The device, made ready. Asked for again, it is the same, unless that has failed.
    ///
    /// # Errors
    /// When it cannot be used, with the reason. `auto` does not fail.
    pub fn open(self) -> Result<Device> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda(_) | Self::Emulated => self.open_gpu().map(Device::Gpu),
            Self::Auto => {
                let usable = list().into_iter().find(|found| found.problem.is_none());
                match usable.and_then(|found| found.number) {
                    Some(number) => Self::Cuda(number).open(),
                    None => Ok(Device::Cpu),
                }
            }
        }
    }

    /// The emulated device, where products run in the kernels that stand in for a missing library.
    #[cfg(test)]
    pub(crate) fn emulated_with_own_products() -> Device {
        static OPEN: std::sync::OnceLock<Device> = std::sync::OnceLock::new();
        let open = || {
            let driver = Emulated::new(Products::Kernel).expect("a C++ compiler");
            Device::Gpu(Gpu::new(emulated::LABEL, Box::new(driver)))
        };
        OPEN.get_or_init(open).clone()
    }

    fn open_gpu(self) -> Result<Arc<Gpu>> {
        static OPEN: Mutex<Vec<Arc<Gpu>>> = Mutex::new(Vec::new());
        let label = self.to_string();
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gpu) = known(&mut open, &label) {
            return Ok(gpu);
        }
        let gpu = match self {
            Self::Cuda(number) => Gpu::new(&label, Box::new(cuda::Cuda::open(number)?)),
            _ => Gpu::new(&label, Box::new(Emulated::new(Products::Host)?)),
        };
        open.push(Arc::clone(&gpu));
        Ok(gpu)
    }
}

/// The device that was opened before, unless it has failed since: then it is forgotten.
fn known(open: &mut Vec<Arc<Gpu>>, label: &str) -> Option<Arc<Gpu>> {
    open.retain(|gpu| gpu.label() != label || gpu.check().is_ok());
    open.iter().find(|gpu| gpu.label() == label).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_failed_is_opened_anew() {
        let gpu = |label| {
            let driver = Emulated::new(Products::Host).expect("a C++ compiler");
            Gpu::new(label, Box::new(driver))
        };
        let mut open = vec![gpu("one"), gpu("two")];
        assert!(known(&mut open, "one").is_some() && known(&mut open, "three").is_none());
        open[0].fail(&open[0].error("it fell off the bus"));
        assert!(known(&mut open, "two").is_some() && known(&mut open, "one").is_none());
        assert_eq!(open.len(), 1);
    }

    #[test]
    fn names_are_read_and_written() {
        for (name, choice) in [
            ("auto", DeviceChoice::Auto),
            ("cpu", DeviceChoice::Cpu),
            ("cuda:0", DeviceChoice::Cuda(0)),
            ("cuda:13", DeviceChoice::Cuda(13)),
            ("emulated", DeviceChoice::Emulated),
        ] {
            assert_eq!(name.parse::<DeviceChoice>().expect(name), choice);
            assert_eq!(choice.to_string(), name);
        }
        assert_eq!(
            "cuda".parse::<DeviceChoice>().expect("the first"),
            DeviceChoice::Cuda(0)
        );
        for name in [
            "",
            "gpu",
            "cuda:",
            "cuda:-1",
            "cuda:+1",
            "cuda:x",
            "CUDA",
            "cuda:99999999999999999999",
        ] {
            let message = name.parse::<DeviceChoice>().expect_err(name).to_string();
            assert!(message.contains("cuda:N"), "{message}");
        }
    }

    #[test]
    fn a_gpu_that_is_not_there_is_refused() {
        let message = DeviceChoice::Cuda(4096).open().expect_err("so many");
        let message = message.to_string();
        let known = ["libcuda.so.1", "there are", "sees no GPU"];
        assert!(message.starts_with("cuda:4096: "), "{message}");
        assert!(known.iter().any(|part| message.contains(part)), "{message}");
    }

    #[test]
    fn a_device_is_opened_once() {
        let open = || DeviceChoice::Emulated.open().expect("a C++ compiler");
        assert_eq!(open(), open());
        assert_ne!(open(), Device::Cpu);
        assert_eq!(DeviceChoice::Cpu.open().expect("always there"), Device::Cpu);
        DeviceChoice::Auto.open().expect("the CPU is always there");
    }
}
