//! `fourfold import`: a LLaVA as a model folder.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use fourfold_train::export::{demand_apart, demand_free};
use fourfold_train::import;

use super::export::Numbers;
use crate::output::{note, say, shown};

/// Turns a LLaVA folder of Hugging Face into a model folder
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  fourfold import llava-1.5-7b-hf models/llava

The folder holds config.json (model_type llava), safetensors, tokenizer.json, tokenizer_config.json and \
preprocessor_config.json or processor_config.json. A recipe starts from the model that is written with `from = \"models/llava\"` in [model].")]
pub struct Import {
    /// The folder to read
    #[arg(value_name = "LLAVA")]
    source: PathBuf,
    /// The folder to write
    #[arg(value_name = "OUT")]
    target: PathBuf,
    /// How numbers are written
    #[arg(long, value_enum, default_value_t = Numbers::F32)]
    dtype: Numbers,
    /// Replace a model that is there already
    #[arg(long)]
    force: bool,
}

impl Import {
    /// Runs the command.
    ///
    /// # Errors
    /// When the folder holds no LLaVA that can be read, or the other one is not free.
    pub fn run(self) -> Result<()> {
        demand_apart(&self.source, &self.target)?;
        demand_free(&self.target, self.force)?;
        let imported = import::read(&self.source)?;
        imported.write(&self.target, self.dtype.into())?;
        if let Some(remark) = &imported.remark {
            note(format_args!("note: {remark}"));
        }
        say(format_args!("wrote {}", shown(&self.target)))
    }
}
