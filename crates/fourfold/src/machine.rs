//! What to compute on.

use anyhow::{Context, Result};
use clap::Args;
use fourfold_tensor::{Device, DeviceChoice, Isa, TensorError, device as devices};

/// Options of every command that computes.
#[derive(Args, Debug)]
pub struct Machine {
    /// What to compute on: auto, cpu, cuda, cuda:N or emulated; auto is the GPUs that there are, or this processor
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = device, help_heading = "Machine")]
    pub device: DeviceChoice,
    /// Worker threads; all cores when absent
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024), help_heading = "Machine")]
    pub threads: Option<u16>,
}

impl Machine {
    /// The device, made ready.
    ///
    /// # Errors
    /// When it cannot be used; says why.
    pub fn device(&self) -> Result<Device> {
        Ok(self.device.open()?)
    }

    /// The devices of a process that was launched as number `local` of its machine: with `auto` the GPU of that number,
    /// counted around where there are fewer, or this processor where there is none.
    ///
    /// # Errors
    /// When one cannot be used; says why.
    pub fn device_of_process(&self, local: usize) -> Result<Device> {
        let usable = self.usable();
        match usable.get(local % usable.len().max(1)) {
            Some(number) => Ok(DeviceChoice::Cuda(*number).open()?),
            None => self.device(),
        }
    }

    /// All devices that one process is to use: with `auto` every GPU that can be used.
    ///
    /// # Errors
    /// When one cannot be used; says why.
    pub fn all_devices(&self) -> Result<Vec<Device>> {
        let usable = self.usable();
        if usable.is_empty() {
            return Ok(vec![self.device()?]);
        }
        let open = |number: &usize| Ok(DeviceChoice::Cuda(*number).open()?);
        usable.iter().map(open).collect()
    }

    /// With `auto`, the numbers of the GPUs that can be used.
    fn usable(&self) -> Vec<usize> {
        if self.device != DeviceChoice::Auto {
            return Vec::new();
        }
        let found = devices::list().into_iter();
        found
            .filter(|found| found.problem.is_none())
            .filter_map(|found| found.number)
            .collect()
    }

    /// Starts the worker threads; before anything is computed.
    ///
    /// # Errors
    /// When the environment asks for unknown instructions, or the system gives no threads.
    pub fn start(&self) -> Result<()> {
        Isa::check_environment()?;
        keep_freed_buffers();
        let Some(threads) = self.threads else {
            return Ok(());
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.into());
        pool.build_global()
            .with_context(|| format!("cannot start {threads} threads"))
    }
}

/// Has glibc's allocator keep freed buffers for the next that is asked for: images and their pixels are made and dropped
/// hundreds of times a second, and giving each back to the system and taking it again, a page at a time, costs a fifth of
/// the loader's time. It does so for sizes up to the largest that was freed, at most 32 MiB (mallopt(3),
/// `M_MMAP_THRESHOLD`), so one of nearly that is asked for and freed, unused. Elsewhere this does nothing.
fn keep_freed_buffers() {
    const MOST: usize = 31 << 20;
    drop(std::hint::black_box(Vec::<u8>::with_capacity(MOST)));
}

fn device(name: &str) -> Result<DeviceChoice, String> {
    name.parse().map_err(|error: TensorError| error.to_string())
}
