//! `fourfold bench`: how fast this machine does work of a fixed size, and how near that is to what it could do.

use std::io::{self, BufRead};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;
use clap::builder::PossibleValuesParser;
use fourfold_tensor::{Device, Isa, Precision, peak};
use fourfold_train::bench::{BATCH, Bench as Rounds, Geometry, Work};
use fourfold_train::metrics::peak_memory_mib;
use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::output::{columns, note, say};

/// Times training steps, encoding and captioning of models of a fixed size
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  fourfold bench
  fourfold bench vlm-all gpt --precision f32
  fourfold bench vlm-all --model 0.9b --batch 4

Weights are random and data are made up: nothing is read. `of peak` is the share of the operations that loops over \
registers alone reach on this machine; of a GPU it is not known, so that there is none. The work's own operations are those \
of its matrix products.")]
pub struct Bench {
    /// What to time; everything when absent
    #[arg(value_name = "WORK", value_parser = PossibleValuesParser::new(Work::ALL.map(Work::name)))]
    works: Vec<String>,
    /// The vision-language model, by its parameters: with SigLIP-B/16 and SmolLM2-135M, or SigLIP so400m and Qwen2.5-0.5B
    #[arg(
        long,
        value_parser = PossibleValuesParser::new(Geometry::ALL.map(Geometry::name)),
        default_value = Geometry::M222.name()
    )]
    model: String,
    /// Images with texts of a training step
    #[arg(long, value_name = "N", default_value_t = BATCH, value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,
    /// The number format of products; the fastest of this machine when absent
    #[arg(long, value_parser = ["bf16", "f32", "fp16"])]
    precision: Option<String>,
    /// Compute blocks a second time on the way back rather than keep what they computed
    #[arg(long)]
    recompute: bool,
    /// Rounds of each work, after one to warm up
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Do one round of the one work for each line of the standard input, to take turns with other programs
    #[arg(long)]
    turns: bool,
    /// Print one JSON object a work
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    machine: Machine,
}

/// The times of a work.
#[derive(Debug, Serialize, Deserialize)]
struct Times {
    work: String,
    precision: String,
    seconds_min: f64,
    seconds_median: f64,
    /// Operations of one round.
    operations: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_mib: Option<f64>,
    rounds: usize,
}

impl Bench {
    /// Runs the command.
    ///
    /// # Errors
    /// When a work does not fit this machine.
    pub fn run(self) -> Result<()> {
        self.machine.start()?;
        let device = self.machine.device()?;
        let precision = match self.precision.as_deref() {
            Some("f32") => Precision::F32,
            Some("bf16") => Precision::Bf16,
            Some("fp16") => Precision::F16,
            _ => Precision::fastest_on(&device),
        };
        let works: Result<Vec<Work>> = if self.works.is_empty() {
            Ok(Work::ALL.to_vec())
        } else {
            let named = self.works.iter().map(|name| name.parse::<Work>());
            named.map(|work| work.map_err(anyhow::Error::msg)).collect()
        };
        let works = works?;
        self.refuse_what_is_fixed(&works)?;
        match (works.as_slice(), self.turns) {
            ([work], true) => self.take_turns(*work, precision, &device),
            (_, true) => anyhow::bail!("--turns takes one work"),
            ([work], false) => {
                note(format_args!("{work} …"));
                let times = rayon::scope(|_| self.time(*work, precision, &device))?;
                self.show(precision, &device, [Ok(times)].into_iter())
            }
            // Each in a process of its own, whose memory is its own too.
            (works, false) => {
                let times = works.iter().map(|work| self.in_child(*work, precision));
                self.show(precision, &device, times)
            }
        }
    }

    fn geometry(&self) -> Result<Geometry> {
        self.model.parse().map_err(anyhow::Error::msg)
    }

    /// Refuses another model or batch for works that have their own.
    fn refuse_what_is_fixed(&self, works: &[Work]) -> Result<()> {
        if self.geometry()? != Geometry::M222
            && let Some(work) = works.iter().find(|work| !work.sees())
        {
            anyhow::bail!(
                "{work} has a model of its own; --model is for vlm-… and caption-… alone"
            );
        }
        if self.batch != BATCH
            && let Some(work) = works.iter().find(|work| !work.has_batch())
        {
            anyhow::bail!("{work} has a batch of its own; --batch is for vlm-… alone");
        }
        Ok(())
    }

    fn prepare(&self, work: Work, precision: Precision, device: &Device) -> Result<Rounds> {
        let geometry = self.geometry()?;
        let batch = usize::from(self.batch);
        Rounds::new(work, geometry, batch, precision, self.recompute, device)
    }

    fn time(&self, work: Work, precision: Precision, device: &Device) -> Result<Times> {
        let mut rounds = self.prepare(work, precision, device)?;
        rounds.round()?;
        let seconds: Result<Vec<f64>> = (0..self.rounds).map(|_| rounds.round()).collect();
        let mut seconds = seconds?;
        seconds.sort_by(f64::total_cmp);
        Ok(Times {
            work: work.to_string(),
            precision: precision.name().into(),
            seconds_min: seconds[0],
            seconds_median: seconds[seconds.len() / 2],
            operations: rounds.operations(),
            peak_mib: most_memory_mib(device),
            rounds: seconds.len(),
        })
    }

    fn in_child(&self, work: Work, precision: Precision) -> Result<Times> {
        note(format_args!("{work} …"));
        let program = std::env::current_exe().context("cannot find this program")?;
        let mut command = Command::new(program);
        command.args(["bench", work.name(), "--json"]);
        command.args(["--precision", precision.name()]);
        command.args(["--rounds", &self.rounds.to_string()]);
        command.args(["--device", &self.machine.device.to_string()]);
        command.args(["--model", &self.model, "--batch", &self.batch.to_string()]);
        if self.recompute {
            command.arg("--recompute");
        }
        if let Some(threads) = self.machine.threads {
            command.args(["--threads", &threads.to_string()]);
        }
        let done = command
            .output()
            .with_context(|| format!("cannot start {work}"))?;
        ensure!(
            done.status.success(),
            "{work} failed: {}",
            String::from_utf8_lossy(&done.stderr).trim()
        );
        serde_json::from_slice(&done.stdout).with_context(|| format!("{work} gave no times"))
    }

    fn show(
        &self,
        precision: Precision,
        device: &Device,
        times: impl Iterator<Item = Result<Times>>,
    ) -> Result<()> {
        if self.json {
            for times in times {
                say(serde_json::to_string(&times?)?)?;
            }
            return Ok(());
        }
        let peak = match device {
            Device::Cpu => Some(peak::operations_per_second(precision)),
            Device::Gpu(_) => None,
        };
        match (peak, device.gpu()) {
            (_, Some(gpu)) => say(format_args!("{device}: {}\n", gpu.name()))?,
            (peak, None) => say(format_args!(
                "{} threads, instruction set {}: {:.0} GFLOP/s of {} products at most, {:.1} GB/s from memory\n",
                rayon::current_num_threads(),
                Isa::current().name(),
                peak.unwrap_or_default() / 1e9,
                precision.name(),
                peak::bytes_per_second() / 1e9,
            ))?,
        }
        let titles = [
            "work", "min", "median", "GFLOP", "GFLOP/s", "of peak", "memory",
        ];
        let mut rows = vec![titles.map(str::to_owned).to_vec()];
        for times in times {
            let times = times?;
            let rate = times.operations / times.seconds_median;
            rows.push(vec![
                times.work,
                format!("{:.4} s", times.seconds_min),
                format!("{:.4} s", times.seconds_median),
                format!("{:.1}", times.operations / 1e9),
                format!("{:.0}", rate / 1e9),
                peak.map_or_else(
                    || "?".into(),
                    |peak| format!("{:.0} %", 100.0 * rate / peak),
                ),
                times
                    .peak_mib
                    .map_or_else(|| "?".into(), |mib| format!("{mib:.0} MiB")),
            ]);
        }
        say(columns(&rows))
    }

    /// A line in, a round, its seconds and the most memory so far out; until the input ends.
    fn take_turns(&self, work: Work, precision: Precision, device: &Device) -> Result<()> {
        let mut rounds = self.prepare(work, precision, device)?;
        for line in io::stdin().lock().lines() {
            line.context("cannot read the standard input")?;
            let seconds = rayon::scope(|_| rounds.round())?;
            let peak_mib = most_memory_mib(device);
            say(serde_json::json!({ "seconds": seconds, "peak_mib": peak_mib }))?;
        }
        Ok(())
    }
}

/// The most memory so far: of the device that computes, or else of this process.
fn most_memory_mib(device: &Device) -> Option<f64> {
    match device.gpu() {
        Some(gpu) => Some((gpu.peak_bytes() as f64 / (1 << 20) as f64).round()),
        None => peak_memory_mib(),
    }
}
