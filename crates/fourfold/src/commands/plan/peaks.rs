//! Foreseen memory beside what updates really take, each stage in a process of its own.

use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};
use fourfold_train::peak::StagePeak;
use fourfold_train::plan::{Plan as Costs, StageCost};
use serde_json::{Value, json};

use crate::output::{bytes, columns, count, note};

/// Updates of a stage that are made: in the second the buffers of the first are used again.
pub const UPDATES: usize = 2;

const MIB: f64 = (1 << 20) as f64;

/// Has `fourfold plan RECIPE --memory --stage NAME` make some updates of each stage of `costs`, one after the other.
///
/// # Errors
/// When a process does not end well; it says why on the standard error.
pub fn measure(
    recipe: &Path,
    set: &[String],
    threads: Option<u16>,
    costs: &Costs,
) -> Result<Vec<StagePeak>> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let measure = |stage: &StageCost| {
        note(format_args!("{} …", stage.name));
        let mut command = Command::new(&program);
        command.arg("plan").arg(recipe);
        command.args(["--memory", "--json", "--stage", &stage.name]);
        command.args(set.iter().flat_map(|value| ["--set", value]));
        if let Some(threads) = threads {
            command.args(["--threads", &threads.to_string()]);
        }
        command.stderr(Stdio::inherit());
        let done = command
            .output()
            .with_context(|| format!("cannot start a process for stage '{}'", stage.name))?;
        demand_success(done.status, stage)?;
        serde_json::from_slice(&done.stdout)
            .with_context(|| format!("stage '{}' gave no figures", stage.name))
    };
    costs.stages.iter().map(measure).collect()
}

fn demand_success(status: ExitStatus, stage: &StageCost) -> Result<()> {
    let name = &stage.name;
    match status.code() {
        Some(0) => Ok(()),
        Some(_) => bail!("stage '{name}' failed"),
        // No code: a signal.
        None => bail!(
            "the process of stage '{name}' was ended from outside, as systems do when memory runs out; it was to need {}: \
             lower pack_tokens and pack_images, or write `recompute = true`",
            bytes(stage.memory.total() as u64)
        ),
    }
}

/// A row a stage: what was foreseen, what it took, and the share.
pub fn table(costs: &Costs, peaks: &[StagePeak]) -> String {
    let titles = [
        "stage",
        "updates",
        "tokens",
        "images",
        "s/update",
        "loss",
        "foreseen",
        "peak",
        "peak/foreseen",
    ];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    for (stage, peak) in costs.stages.iter().zip(peaks) {
        let unknown = || "?".to_owned();
        rows.push(vec![
            stage.name.clone(),
            count(peak.updates),
            count(peak.tokens),
            count(peak.images),
            format!("{:.1}", peak.seconds),
            format!("{:.3}", peak.loss),
            bytes(stage.memory.total() as u64),
            peak.peak_mib
                .map_or_else(unknown, |mib| bytes((mib * MIB) as u64)),
            share(stage, peak).map_or_else(unknown, |share| format!("{share:.2}")),
        ]);
    }
    columns(&rows)
}

fn share(stage: &StageCost, peak: &StagePeak) -> Option<f64> {
    Some(peak.peak_mib? * MIB / stage.memory.total())
}

/// The same for programs.
pub fn as_json(stage: &StageCost, peak: &StagePeak) -> Value {
    json!({
        "updates": peak.updates, "tokens": peak.tokens, "targets": peak.targets, "images": peak.images,
        "loss": peak.loss, "seconds": peak.seconds, "peak_mib": peak.peak_mib,
        "foreseen_mib": stage.memory.total() / MIB, "peak_over_foreseen": share(stage, peak),
    })
}
