//! What to compute on.

use anyhow::{Context, Result};
use clap::Args;
use fourfold_tensor::Isa;

/// Options of every command that computes.
#[derive(Args, Debug)]
pub struct Machine {
    /// The device to compute on; this build has `cpu`
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = device, help_heading = "Machine")]
    pub device: String,
    /// Worker threads; all cores when absent
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024), help_heading = "Machine")]
    pub threads: Option<u16>,
}

impl Machine {
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

fn device(name: &str) -> Result<String, String> {
    match name {
        "cpu" => Ok(name.into()),
        _ => Err("not available in this build, which computes on: cpu".into()),
    }
}
