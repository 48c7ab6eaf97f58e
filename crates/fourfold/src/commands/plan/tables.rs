//! What the plan prints.

use anyhow::Result;
use fourfold_model::Part;
use fourfold_train::measure::StageSpeed;
use fourfold_train::peak::StagePeak;
use fourfold_train::plan::{Plan as Costs, StageCost};
use serde_json::{Value, json};

use super::peaks;
use super::rate::Rate;
use crate::output::{bytes, columns, count, duration};

/// Parameters by part.
pub fn parts(costs: &Costs) -> String {
    let all: usize = costs.parameters.iter().map(|(_, count)| count).sum();
    let named = |(part, parameters): &(Part, usize)| vec![part.to_string(), count(*parameters)];
    let mut rows = vec![vec!["part".into(), "parameters".into()]];
    rows.extend(costs.parameters.iter().map(named));
    rows.push(vec!["all".into(), count(all)]);
    columns(&rows)
}

/// The number format of products, and of those stages that have another.
pub fn precisions(costs: &Costs) -> String {
    let other = |stage: &&StageCost| stage.precision != costs.precision;
    let others = costs.stages.iter().filter(other);
    let named = others.map(|stage| format!(", of {} in {}", stage.name, stage.precision));
    format!("{}{}", costs.precision, named.collect::<String>())
}

/// What each stage goes through, and how long it takes here.
pub fn stages(costs: &Costs, speeds: &[StageSpeed]) -> String {
    let titles = [
        "stage",
        "trainable",
        "updates",
        "samples",
        "images",
        "tokens",
        "targets",
        "memory",
    ];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    if !speeds.is_empty() {
        rows[0].extend(["tokens/s".into(), "time".into()]);
    }
    for (place, stage) in costs.stages.iter().enumerate() {
        let mut row = vec![
            stage.name.clone(),
            count(stage.trainable),
            count(stage.updates),
            count(stage.samples),
            count(stage.images.round() as usize),
            count(stage.tokens.round() as usize),
            count(stage.targets.round() as usize),
            bytes(stage.memory.total() as u64),
        ];
        if let Some(speed) = speeds.get(place) {
            row.push(count(speed.tokens_per_second as usize));
            row.push(duration(speed.seconds()));
        }
        rows.push(row);
    }
    columns(&rows)
}

/// The operations of each stage, and how long they take at `rate` a device.
pub fn work(costs: &Costs, rate: Option<Rate>) -> String {
    let mut rows = vec![["work", "FLOP", "FLOP/sample"].map(str::to_owned).to_vec()];
    if let Some(rate) = rate {
        rows[0].push(match costs.devices {
            1 => format!("at {rate}"),
            devices => format!("at {devices} x {rate}"),
        });
    }
    let mut row = |name: &str, stages: &[StageCost]| {
        let operations: f64 = stages.iter().map(|stage| stage.operations).sum();
        let samples: usize = stages.iter().map(|stage| stage.samples).sum();
        let mut row = vec![
            name.to_owned(),
            format!("{operations:.2e}"),
            format!("{:.2e}", operations / samples.max(1) as f64),
        ];
        row.extend(rate.map(|rate| {
            let seconds = stages.iter().map(|stage| seconds(stage, rate, costs));
            duration(seconds.sum())
        }));
        rows.push(row);
    };
    for stage in &costs.stages {
        row(&stage.name, std::slice::from_ref(stage));
    }
    row("all", &costs.stages);
    columns(&rows)
}

/// Every update takes as long as the device with the most of it.
fn seconds(stage: &StageCost, rate: Rate, costs: &Costs) -> f64 {
    let most = stage.shared.div_ceil(costs.devices);
    stage.operations / rate.0 * most as f64 / stage.shared as f64
}

/// The memory of each stage by its use.
pub fn memory(costs: &Costs) -> String {
    let first = match costs.devices {
        1 => "memory",
        _ => "memory a device",
    };
    let titles = [
        first,
        "weights",
        "gradients and moments",
        "activations",
        "data",
        "process",
        "total",
        "on a GPU",
    ];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    rows.extend(costs.stages.iter().map(|stage| {
        let memory = &stage.memory;
        let uses = [
            memory.weights,
            memory.training,
            memory.activations,
            memory.data,
            memory.process,
            memory.total(),
            stage.gpu_memory,
        ];
        let uses = uses.iter().map(|use_| bytes(*use_ as u64));
        std::iter::once(stage.name.clone()).chain(uses).collect()
    }));
    columns(&rows)
}

/// The plan for programs.
pub fn as_json(
    costs: &Costs,
    speeds: &[StageSpeed],
    taken: &[StagePeak],
    rate: Option<Rate>,
) -> Result<Value> {
    let mut value = serde_json::to_value(costs)?;
    let parameters = costs.parameters.iter();
    value["parameters"] = parameters
        .map(|(part, count)| (part.to_string(), json!(count)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let stage = |(stage, place): (&StageCost, usize)| -> Result<Value> {
        let mut value = serde_json::to_value(stage)?;
        if let Some(speed) = speeds.get(place) {
            value["seconds"] = json!(speed.seconds());
            value["tokens_per_second"] = json!(speed.tokens_per_second);
        }
        if let Some(rate) = rate {
            value["seconds_at_rate"] = json!(seconds(stage, rate, costs));
        }
        if let Some(peak) = taken.get(place) {
            value["taken"] = peaks::as_json(stage, peak);
        }
        Ok(value)
    };
    let stages = costs.stages.iter().zip(0..).map(stage);
    value["stages"] = stages.collect::<Result<Vec<_>>>()?.into();
    Ok(value)
}
