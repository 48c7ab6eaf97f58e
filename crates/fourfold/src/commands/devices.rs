//! `fourfold devices`: what there is to compute on.

use anyhow::Result;
use clap::Args;
use fourfold_tensor::device::{self, Found};
use fourfold_tensor::{DeviceChoice, Isa, Precision};
use fourfold_train::environment;
use serde::Serialize;

use crate::output::{bytes, say};

/// Shows what there is to compute on: this processor, GPUs, and why one cannot be used
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  fourfold devices
  fourfold devices --json

`fourfold selfcheck --device NAME` checks that a device computes what it should.")]
pub struct Devices {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What there is.
#[derive(Debug, Serialize)]
struct Listing {
    /// What `--device auto` takes.
    auto: String,
    devices: Vec<Entry>,
    /// The version of the library that sums between GPUs, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    nccl: Option<String>,
    /// Why it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    nccl_problem: Option<String>,
}

/// A device, or why there is none of its kind.
#[derive(Debug, Serialize)]
struct Entry {
    /// As `--device` takes it; none where there is no such device.
    device: Option<String>,
    name: String,
    /// The precision that it has instructions for and that is fastest.
    #[serde(skip_serializing_if = "Option::is_none")]
    fastest: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    threads: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compute_capability: Option<String>,
    /// The newest CUDA that its driver can do.
    #[serde(skip_serializing_if = "Option::is_none")]
    cuda: Option<String>,
    /// Whether NVIDIA's library computes its products.
    #[serde(skip_serializing_if = "Option::is_none")]
    cublaslt: Option<bool>,
    usable: bool,
    /// Why it cannot be used, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl Devices {
    /// Runs the command.
    ///
    /// # Errors
    /// When the environment asks for unknown instructions, or the output is closed.
    pub fn run(self) -> Result<()> {
        Isa::check_environment()?;
        let listing = Listing::new(&device::list(), device::nccl_version);
        match self.json {
            true => say(serde_json::to_string(&listing)?),
            false => say(listing.text()),
        }
    }
}

impl Listing {
    fn new(found: &[Found], nccl: impl Fn() -> Result<String, String>) -> Self {
        let mut devices = vec![Entry::processor()];
        devices.extend(found.iter().map(Entry::gpu));
        let mut usable = devices[1..].iter().filter(|entry| entry.usable);
        let auto = usable.next().and_then(|entry| entry.device.clone());
        let several = usable.next().is_some();
        devices.push(Entry::emulated());
        let nccl = several.then(nccl);
        Self {
            auto: auto.unwrap_or_else(|| "cpu".to_owned()),
            devices,
            nccl: nccl.clone().and_then(Result::ok),
            nccl_problem: nccl.and_then(Result::err),
        }
    }

    fn text(&self) -> String {
        let titles = ["device", "name", "memory", "computes with", "state"];
        let mut rows = vec![titles.map(str::to_owned)];
        rows.extend(self.devices.iter().map(Entry::row));
        let mut text = left(&rows);
        for entry in &self.devices {
            if let Some(problem) = &entry.problem {
                // Some begin with the device.
                let label = format!("{}: ", entry.label());
                text += &format!(
                    "\n{label}{}",
                    problem.strip_prefix(&label).unwrap_or(problem)
                );
            }
            if entry.usable && entry.cublaslt == Some(false) {
                text += &format!(
                    "\n{}: NVIDIA's library cuBLASLt was not found, so that kernels of Fourfold compute products, more \
                     slowly. It comes with the CUDA toolkit or the Python package nvidia-cublas-cu12; set \
                     FOURFOLD_CUBLASLT to the folder of libcublasLt.so.12 where the loader does not find it",
                    entry.label()
                );
            }
        }
        let gpus = self.devices.iter().filter(|e| e.usable && e.cuda.is_some());
        let of_training = match gpus.count() {
            0 | 1 => String::new(),
            count => format!(" (`fourfold train`: all {count} GPUs)"),
        };
        if let Some(version) = &self.nccl {
            text += &format!("\nNCCL {version} sums gradients from GPU to GPU.");
        }
        if let Some(problem) = &self.nccl_problem {
            text += &format!(
                "\nwithout NCCL sums of gradients pass through the host's memory, more slowly: {problem}"
            );
        }
        text + &format!("\n`--device auto` takes {}{of_training}.", self.auto)
    }
}

impl Entry {
    fn processor() -> Self {
        Self {
            device: Some("cpu".to_owned()),
            name: environment::processor().unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            fastest: Some(Precision::fastest().name()),
            instructions: Some(Isa::current().name()),
            threads: Some(rayon::current_num_threads()),
            memory: memory_of_host(),
            compute_capability: None,
            cuda: None,
            cublaslt: None,
            usable: true,
            problem: None,
        }
    }

    fn gpu(found: &Found) -> Self {
        let version = |(major, minor): (u32, u32)| format!("{major}.{minor}");
        let there = found.number.is_some();
        let usable = there && found.problem.is_none();
        Self {
            device: found.number.map(|number| format!("cuda:{number}")),
            name: found.name.clone(),
            // Every GPU that is used has it.
            fastest: usable.then_some(Precision::Bf16.name()),
            instructions: None,
            threads: None,
            memory: there.then_some(found.memory),
            compute_capability: there.then(|| version(found.capability)),
            cuda: there.then(|| version(found.driver)),
            cublaslt: usable.then_some(found.library),
            usable,
            problem: found.problem.clone(),
        }
    }

    fn emulated() -> Self {
        let opened = DeviceChoice::Emulated.open();
        Self {
            device: Some(DeviceChoice::Emulated.to_string()),
            name: "runs the GPU kernels on this processor, slowly: for development".to_owned(),
            fastest: None,
            instructions: None,
            threads: None,
            memory: None,
            compute_capability: None,
            cuda: None,
            cublaslt: None,
            usable: opened.is_ok(),
            problem: opened.err().map(|error| error.to_string()),
        }
    }

    fn label(&self) -> &str {
        self.device.as_deref().unwrap_or("cuda")
    }

    fn row(&self) -> [String; 5] {
        let mut parts = Vec::new();
        parts.extend(self.instructions.map(str::to_owned));
        parts.extend(self.threads.map(|threads| format!("{threads} threads")));
        let capability = self.compute_capability.as_ref();
        parts.extend(capability.map(|version| format!("compute capability {version}")));
        parts.extend(self.cuda.as_ref().map(|cuda| format!("CUDA {cuda}")));
        parts.extend(self.fastest.map(|name| format!("{name} is fastest")));
        let state = match (self.usable, &self.device) {
            (true, _) => "usable",
            (false, Some(_)) => "cannot be used, see below",
            (false, None) => "not found, see below",
        };
        [
            self.label().to_owned(),
            self.name.clone(),
            self.memory
                .map_or_else(|| "-".into(), |memory| bytes(memory as u64)),
            match parts.is_empty() {
                true => "-".to_owned(),
                false => parts.join(", "),
            },
            state.to_owned(),
        ]
    }
}

/// Bytes of the host's memory, where the system tells.
fn memory_of_host() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kib: usize = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// Columns to the left, two spaces between.
fn left(rows: &[[String; 5]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let line = |row: &[String; 5]| {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let gap = width(column).unwrap_or(0) - cell.chars().count();
            format!("{cell}{}", " ".repeat(gap))
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        line.trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu(number: usize, problem: Option<&str>, library: bool) -> Found {
        Found {
            number: Some(number),
            name: "NVIDIA H100".to_owned(),
            memory: 80 << 30,
            capability: (9, 0),
            driver: (12, 8),
            library,
            problem: problem.map(str::to_owned),
        }
    }

    #[test]
    fn auto_is_the_first_gpu_that_can_be_used() {
        let found = [
            gpu(0, Some("too old: get a newer one"), true),
            gpu(1, None, true),
            gpu(2, None, false),
        ];
        let listing = Listing::new(&found, || Ok("2.27.3".to_owned()));
        assert_eq!(listing.auto, "cuda:1");
        let text = listing.text();
        for part in [
            "cuda:0: too old: get a newer one",
            "compute capability 9.0, CUDA 12.8, bf16 is fastest",
            "80.00 GiB",
            "cuda:2: NVIDIA's library cuBLASLt was not found",
            "\nNCCL 2.27.3 sums gradients from GPU to GPU.",
            "`--device auto` takes cuda:1 (`fourfold train`: all 2 GPUs).",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn without_a_gpu_auto_is_this_processor_and_the_reason_is_told() {
        let none = Found {
            number: None,
            ..gpu(0, Some("no NVIDIA driver: install one"), false)
        };
        let listing = Listing::new(&[none], || unreachable!("no GPUs to sum between"));
        assert_eq!(listing.auto, "cpu");
        assert_eq!(listing.devices[1].device, None);
        let text = listing.text();
        assert!(
            text.contains("cuda: no NVIDIA driver: install one"),
            "{text}"
        );
        assert!(text.contains("`--device auto` takes cpu."), "{text}");
    }
}
