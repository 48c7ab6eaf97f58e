//! `fourfold plan`: what a recipe will cost.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use fourfold_model::Part;
use fourfold_train::hub::Need;
use fourfold_train::measure::{StageSpeed, measure};
use fourfold_train::plan::{Plan as Costs, StageCost, plan};
use fourfold_train::recipe::Recipe;
use serde_json::{Value, json};

use crate::hub::local;
use crate::machine::Machine;
use crate::output::{bytes, columns, count, duration, note, say};

/// Says what a recipe will cost: parameters, tokens, memory and time
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  fourfold plan recipes/quickstart.toml
  fourfold plan recipes/quickstart.toml --set stage.ground.samples=100000 --measure 0

Tokens and images are estimated from each stage's first documents; memory from the model's shapes. Time is measured by \
making a few updates of each stage on a model that is thrown away; checkpoints, samples and evaluations come on top.")]
pub struct Plan {
    /// The recipe, a TOML file
    recipe: PathBuf,
    /// Set a value of the recipe, such as stage.align.lr=1e-3; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Seconds to measure each stage for; 0 leaves the time out
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    measure: u16,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    machine: Machine,
}

impl Plan {
    /// Runs the command.
    ///
    /// # Errors
    /// What keeps the recipe from running.
    pub fn run(self) -> Result<()> {
        self.machine.start()?;
        let recipe = Recipe::load(&self.recipe, &self.set)?;
        let most = match self.measure {
            0 => Need::Description,
            _ => Need::Weights,
        };
        let recipe = local(&recipe, most)?;
        let costs = plan(&recipe)?;
        let speeds = match self.measure {
            0 => Vec::new(),
            seconds => {
                note(format_args!("measuring this machine …"));
                measure(&recipe, seconds.into())?
            }
        };
        if self.json {
            return say(serde_json::to_string_pretty(&as_json(&costs, &speeds)?)?);
        }
        say(parts(&costs))?;
        say(format_args!(
            "an image becomes {} visual tokens; the vocabulary has {} tokens; products in {}\n",
            costs.visual_tokens, costs.vocabulary, costs.precision
        ))?;
        say(stages(&costs, &speeds))?;
        let disk: f64 = costs.stages.iter().map(|stage| stage.disk).sum();
        if let Some(folder) = recipe
            .training
            .feature_cache
            .as_ref()
            .filter(|_| disk > 0.0)
        {
            say(format_args!(
                "\nfeatures take up to {} in {}",
                bytes(disk as u64),
                folder.display()
            ))?;
        }
        if !speeds.is_empty() {
            let seconds = speeds.iter().map(StageSpeed::seconds).sum();
            say(format_args!("\ntraining takes about {}", duration(seconds)))?;
        }
        Ok(())
    }
}

fn parts(costs: &Costs) -> String {
    let all: usize = costs.parameters.iter().map(|(_, count)| count).sum();
    let named = |(part, parameters): &(Part, usize)| vec![part.to_string(), count(*parameters)];
    let mut rows = vec![vec!["part".into(), "parameters".into()]];
    rows.extend(costs.parameters.iter().map(named));
    rows.push(vec!["all".into(), count(all)]);
    columns(&rows)
}

fn stages(costs: &Costs, speeds: &[StageSpeed]) -> String {
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

fn as_json(costs: &Costs, speeds: &[StageSpeed]) -> Result<Value> {
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
        Ok(value)
    };
    let stages = costs.stages.iter().zip(0..).map(stage);
    value["stages"] = stages.collect::<Result<Vec<_>>>()?.into();
    Ok(value)
}
