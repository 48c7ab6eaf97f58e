//! `fourfold export`: a model as other programs read it.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Result;
use clap::{Args, ValueEnum};
use fourfold_model::{ExportFormat, Part, WeightFormat};
use fourfold_tensor::{Device, Precision};
use fourfold_train::export::{self, demand_apart, demand_free};

use crate::model_folder::{find, load};
use crate::output::{note, say, shown};

/// Writes a model as other programs read it
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  fourfold export --format llava runs/mine exported
  fourfold export --part language --dtype bf16 runs/mine language

`llava` and `gemma3` are classes of transformers: LlavaForConditionalGeneration and Gemma3ForConditionalGeneration. \
`native` brings its own class, for AutoModelForImageTextToText with trust_remote_code=True, and takes any model. A part \
is a plain folder of its family, such as a Llama or a CLIP. docs/export.md says what each holds.")]
pub struct Export {
    /// llava, gemma3 or native
    #[arg(long, value_name = "FORMAT", value_parser = ExportFormat::from_str, required_unless_present = "part")]
    format: Option<ExportFormat>,
    /// Write one part alone instead: vision or language
    #[arg(long, value_name = "PART", value_parser = part, conflicts_with = "format")]
    part: Option<Part>,
    /// How numbers are written
    #[arg(long, value_enum, default_value_t = Numbers::F32)]
    dtype: Numbers,
    /// Replace a model that is there already
    #[arg(long)]
    force: bool,
    /// A run folder, or a model folder
    #[arg(value_name = "RUN")]
    source: PathBuf,
    /// The folder to write
    #[arg(value_name = "OUT")]
    target: PathBuf,
}

/// A format of numbers.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub enum Numbers {
    /// 32 bits
    F32,
    /// 16 bits, half the size
    Bf16,
}

impl From<Numbers> for WeightFormat {
    fn from(numbers: Numbers) -> Self {
        match numbers {
            Numbers::F32 => Self::F32,
            Numbers::Bf16 => Self::Bf16,
        }
    }
}

fn part(word: &str) -> Result<Part, String> {
    match Part::from_str(word) {
        Ok(part @ (Part::Vision | Part::Language)) => Ok(part),
        _ => Err("expected vision or language".into()),
    }
}

impl Export {
    /// Runs the command.
    ///
    /// # Errors
    /// When the model cannot be read, the format cannot express it, or the folder is not free.
    pub fn run(self) -> Result<()> {
        let source = find(&self.source)?;
        demand_apart(&source, &self.target)?;
        demand_free(&self.target, self.force)?;
        let (model, reading) = load(&source, Precision::F32, &Device::Cpu)?;
        let numbers = self.dtype.into();
        match (self.format, self.part) {
            (Some(format), _) => {
                export::whole(&model, &reading, &self.target, format, numbers)?;
            }
            (None, Some(part)) => export::part(&model, &reading, &self.target, part, numbers)?,
            (None, None) => unreachable!("clap demands one of the two"),
        }
        if let Some(difference) =
            export::difference(&reading, self.format).filter(|_| self.part != Some(Part::Language))
        {
            note(format_args!("note: {difference}"));
        }
        say(format_args!("wrote {}", shown(&self.target)))
    }
}
