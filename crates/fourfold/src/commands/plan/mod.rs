//! `fourfold plan`: what a recipe will cost.

mod peaks;
mod rate;
mod tables;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use fourfold_train::hub::Need;
use fourfold_train::measure::{StageSpeed, measure};
use fourfold_train::peak::peak;
use fourfold_train::plan::{Average, Given, plan_with};
use fourfold_train::recipe::Recipe;

use self::rate::Rate;
use crate::hub::local;
use crate::machine::Machine;
use crate::output::{bytes, duration, note, say};

/// Says what a recipe will cost: parameters, tokens, memory and time
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  fourfold plan recipes/quickstart.toml
  fourfold plan recipes/quickstart.toml --set stage.ground.samples=100000 --measure 0
  fourfold plan recipes/quickstart.toml --memory

Without its data and weights, a published model's config.json and tokenizer being enough:
  fourfold plan recipes/fourfold-0.9b.toml --assume 172,60,1 --devices 8 --rate 100TFLOPS

Tokens and images are estimated from each stage's first documents; memory from the model's shapes. Time is measured by \
making a few updates of each stage on a model that is thrown away; checkpoints, samples and evaluations come on top.

Tokens are rows of the language model, visual ones included; targets are those that are learnt. Weights are f32 numbers \
with their 16-bit working copies, those of frozen parts a second time in the order in which products read them; data are \
batches that wait and features that are kept. On a GPU lie weights without that second form, gradients, moments, \
activations, the images of two packs and with several devices the buckets that gradients travel in; not yet run on a GPU.")]
pub struct Plan {
    /// The recipe, a TOML file
    recipe: PathBuf,
    /// Set a value of the recipe, such as stage.align.lr=1e-3; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Seconds to measure each stage for; 0 leaves the time out. 2 when absent, or 0 with --memory, --assume, --rate or
    /// several --devices
    #[arg(long, value_name = "SECONDS")]
    measure: Option<u16>,
    /// Take documents to be so on average, visual tokens counted, and read no data
    #[arg(long, value_name = "TOKENS,TARGETS,IMAGES", conflicts_with_all = ["memory", "measure"])]
    assume: Option<Average>,
    /// Operations a second that a device keeps up, to foresee the time from: 100TFLOPS, 900GFLOPS
    #[arg(long, value_name = "RATE")]
    rate: Option<Rate>,
    /// Devices that share every batch, each with all weights: memory is that of one, time at --rate that of all together
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..), conflicts_with = "memory")]
    devices: u16,
    /// Make two updates of each stage, each in a process of its own, and print its peak memory beside the estimate
    #[arg(long)]
    memory: bool,
    /// With --memory: make the updates of this stage alone, in this process
    #[arg(long, value_name = "NAME", requires = "memory")]
    stage: Option<String>,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    machine: Machine,
}

impl Plan {
    /// The recipe; where its data alone are missing, the refusal says how to plan without them.
    fn recipe_with_data(&self) -> Result<Recipe> {
        Recipe::load(&self.recipe, &self.set).or_else(|error| {
            match Recipe::load_without_data(&self.recipe, &self.set) {
                Ok(_) => bail!(
                    "{error:#}; --assume TOKENS,TARGETS,IMAGES, averages of a document, plans without any data"
                ),
                Err(_) => Err(error),
            }
        })
    }

    /// Runs the command.
    ///
    /// # Errors
    /// What keeps the recipe from running.
    pub fn run(self) -> Result<()> {
        self.machine.start()?;
        let seconds = match self.measure {
            Some(seconds) => seconds,
            None if self.memory || self.assume.is_some() || self.rate.is_some() => 0,
            None if self.devices > 1 => 0,
            None => 2,
        };
        if seconds > 0 && self.devices > 1 {
            bail!(
                "--measure measures one device, and --devices {} asks for several; foresee their time with --rate, what one \
                 of them keeps up",
                self.devices
            );
        }
        let recipe = match self.assume {
            Some(_) => Recipe::load_without_data(&self.recipe, &self.set)?,
            None => self.recipe_with_data()?,
        };
        let most = match seconds {
            0 if !self.memory => Need::Description,
            _ => Need::Weights,
        };
        let recipe = local(&recipe, most)?;
        if let Some(stage) = &self.stage {
            let found = peak(&recipe, stage, peaks::UPDATES)?;
            return say(serde_json::to_string_pretty(&found)?);
        }
        let given = Given {
            average: self.assume,
            devices: self.devices.into(),
        };
        let costs = plan_with(&recipe, given)?;
        let speeds = match seconds {
            0 => Vec::new(),
            seconds => {
                note(format_args!("measuring this machine …"));
                measure(&recipe, seconds.into(), &self.machine.device()?)?
            }
        };
        let taken = match self.memory {
            true => peaks::measure(&self.recipe, &self.set, self.machine.threads, &costs)?,
            false => Vec::new(),
        };
        if self.json {
            let value = tables::as_json(&costs, &speeds, &taken, self.rate)?;
            return say(serde_json::to_string_pretty(&value)?);
        }
        say(tables::parts(&costs))?;
        say(format_args!(
            "an image becomes {} visual tokens; the vocabulary has {} tokens; products in {}\n",
            costs.visual_tokens,
            costs.vocabulary,
            tables::precisions(&costs)
        ))?;
        say(tables::stages(&costs, &speeds))?;
        say(format_args!("\n{}", tables::memory(&costs)))?;
        say(format_args!("\n{}", tables::work(&costs, self.rate)))?;
        if !taken.is_empty() {
            say(format_args!("\n{}", peaks::table(&costs, &taken)))?;
        }
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
