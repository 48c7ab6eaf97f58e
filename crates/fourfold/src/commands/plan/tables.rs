//! What the plan prints.

use anyhow::Result;
use fourfold_model::Part;
use fourfold_train::measure::StageSpeed;
use fourfold_train::peak::StagePeak;
use fourfold_train::plan::{Plan as Costs, StageCost};
use serde_json::{Value, json};

use super::peaks;
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

/// The memory of each stage by its use.
pub fn memory(costs: &Costs) -> String {
    let titles = [
        "memory",
        "weights",
        "gradients and moments",
        "activations",
        "data",
        "process",
        "total",
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
        ];
        let uses = uses.iter().map(|use_| bytes(*use_ as u64));
        std::iter::once(stage.name.clone()).chain(uses).collect()
    }));
    columns(&rows)
}

/// The plan for programs.
pub fn as_json(costs: &Costs, speeds: &[StageSpeed], taken: &[StagePeak]) -> Result<Value> {
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
        if let Some(peak) = taken.get(place) {
            value["taken"] = peaks::as_json(stage, peak);
        }
        Ok(value)
    };
    let stages = costs.stages.iter().zip(0..).map(stage);
    value["stages"] = stages.collect::<Result<Vec<_>>>()?.into();
    Ok(value)
}
