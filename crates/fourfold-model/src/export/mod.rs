//! Models as other programs read them: folders that `transformers` opens.
//!
//! [`Model::save`] writes a model as it is here. Here it is put into the words of others, as far as they have words for
//! it; what a format cannot express is refused.

mod gemma3;
mod llava;
mod native;

use std::fmt;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use serde_json::{Map, Value, json};

use crate::weights::{self, table, vision_table};
use crate::{Model, ModelConfig, ModelError, Part, Result, VisionFamily, WeightFormat, vision};

pub use native::IMAGE_PROCESSOR_FILE;

/// What an exported model is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// `LlavaForConditionalGeneration`.
    Llava,
    /// `Gemma3ForConditionalGeneration`.
    Gemma3,
    /// A class of its own that comes with the folder (`trust_remote_code`).
    Native,
}

impl ExportFormat {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Llava, Self::Gemma3, Self::Native];

    /// The word used on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Llava => "llava",
            Self::Gemma3 => "gemma3",
            Self::Native => "native",
        }
    }

    /// Why the format cannot express a model of `config`; nothing if it can.
    fn obstacles(self, config: &ModelConfig) -> Vec<String> {
        match self {
            Self::Llava => llava::obstacles(config),
            Self::Gemma3 => gemma3::obstacles(config),
            Self::Native => native::obstacles(config),
        }
    }

    /// Demands that the format can express a model of `config`.
    ///
    /// # Errors
    /// Every reason why it cannot, and what can be done.
    pub fn check(self, config: &ModelConfig) -> Result<()> {
        let reasons = self.obstacles(config);
        if reasons.is_empty() {
            return Ok(());
        }
        let others = Self::ALL.into_iter().filter(|format| *format != self);
        let fits = others.filter(|format| format.obstacles(config).is_empty());
        let way_out = match fits.map(Self::name).collect::<Vec<_>>().as_slice() {
            [] => "no other format can".to_owned(),
            fits => format!("use the format {}, which can", fits.join(" or ")),
        };
        Err(ModelError::Input(format!(
            "the format {self} cannot express this model:\n  - {}\n{way_out}",
            reasons.join("\n  - "),
        )))
    }
}

/// Demands that `transformers` has a class for `part` of a model alone.
///
/// # Errors
/// The reason why it has none.
pub fn check_part(part: Part, config: &ModelConfig) -> Result<()> {
    match (part, not_square(config)) {
        (Part::Vision, Some(reason)) => Err(ModelError::Input(format!(
            "the encoder alone cannot be exported: {reason}"
        ))),
        _ => Ok(()),
    }
}

/// Why `transformers` has no encoder for images of the size of `config`.
fn not_square(config: &ModelConfig) -> Option<String> {
    let vision = &config.vision;
    let any = matches!(vision.family, VisionFamily::Vit | VisionFamily::Deit);
    (!any && vision.image_size.side().is_none()).then(|| {
        format!(
            "its images are {} pixels; a {} takes square images in transformers: give one number as `image_size` in \
             [model.vision], or take a ViT or DeiT",
            vision.image_size,
            vision.family.model_type()
        )
    })
}

impl fmt::Display for ExportFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ExportFormat {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|format| format.name() == word)
            .ok_or_else(|| {
                let formats = Self::ALL.map(Self::name).join(", ");
                format!("'{word}' is no format; expected one of {formats}")
            })
    }
}

/// The ids of the tokens that a model's configuration speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Begins a document.
    pub begin: u32,
    /// Keeps the place of a visual token.
    pub image: u32,
    /// Ends an answer.
    pub end: u32,
}

impl SpecialTokens {
    /// The ids as `generation_config.json` has them. Padding is ignored wherever it stands, so any token will do for it.
    pub fn generation_config(self) -> Value {
        json!({
            "bos_token_id": self.begin,
            "eos_token_id": self.end,
            "pad_token_id": self.end,
        })
    }
}

impl Model {
    /// Writes what `transformers` reads of a model: `config.json`, `generation_config.json`, `model.safetensors`, and
    /// for [`ExportFormat::Native`] the code of its class. Adapters are added to the weights that they stand beside.
    ///
    /// # Errors
    /// When the format cannot express the model, or a file cannot be written.
    pub fn export(
        &self,
        folder: &Path,
        format: ExportFormat,
        tokens: SpecialTokens,
        numbers: WeightFormat,
    ) -> Result<()> {
        format.check(self.config())?;
        for (name, id) in [
            ("begin", tokens.begin),
            ("image", tokens.image),
            ("end", tokens.end),
        ] {
            let known = self.config().vocabulary();
            if id as usize >= known {
                return Err(ModelError::Input(format!(
                    "the {name} token is {id}, but the model knows {known} tokens; use the tokenizer it was trained with"
                )));
            }
        }
        write_file(
            folder,
            "generation_config.json",
            &pretty(&tokens.generation_config())?,
        )?;
        match format {
            ExportFormat::Llava => llava::write(self, folder, tokens, numbers),
            ExportFormat::Gemma3 => gemma3::write(self, folder, tokens, numbers),
            ExportFormat::Native => native::write(self, folder, tokens, numbers),
        }
    }
}

/// The encoder's configuration without the keys that only Fourfold knows.
fn vision_config(config: &ModelConfig) -> Result<Map<String, Value>> {
    let mut map = vision_table(&config.vision)?;
    for own in ["final_norm", "keep_class_token"] {
        map.shift_remove(own);
    }
    Ok(map)
}

/// The language model's configuration with the ids of its special tokens.
fn text_config(config: &ModelConfig, tokens: SpecialTokens) -> Result<Map<String, Value>> {
    let mut map = table(&config.language)?;
    map.extend(table(&tokens.generation_config())?);
    Ok(map)
}

/// Writes `config.json`: a model of this type and class, with `keys`.
fn write_config(
    folder: &Path,
    (model_type, architecture): (&str, &str),
    numbers: WeightFormat,
    keys: &Value,
) -> Result<()> {
    let mut map = table(keys)?;
    let kind = match numbers {
        WeightFormat::F32 => "float32",
        WeightFormat::Bf16 => "bfloat16",
    };
    map.insert("torch_dtype".into(), kind.into());
    weights::write_json(folder, &map, model_type, architecture)
}

/// What the tensors of each part begin with, here and in the files of LLaVA and of those that follow it.
const PARTS: [(&str, &str); 3] = [
    ("vision.", "vision_tower."),
    ("projector.", "multi_modal_projector."),
    ("language.", "language_model."),
];

/// Writes the weights under LLaVA's names.
fn write_weights(model: &Model, folder: &Path, numbers: WeightFormat) -> Result<()> {
    let unread = vision::unread(&model.config().vision, "vision_tower.");
    let renamed = |name: &str| {
        let found = PARTS
            .iter()
            .find_map(|(ours, theirs)| Some(format!("{theirs}{}", name.strip_prefix(ours)?)));
        found.unwrap_or_else(|| name.to_owned())
    };
    model.write(folder, model.saved_specs(), &unread, renamed, numbers)
}

fn pretty(value: &Value) -> Result<String> {
    let text = serde_json::to_string_pretty(value);
    Ok(text.map_err(|error| ModelError::config("config.json", error.to_string()))? + "\n")
}

fn write_file(folder: &Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join(name);
    fs::create_dir_all(folder).map_err(ModelError::io(folder))?;
    fs::write(&path, text).map_err(ModelError::io(&path))
}
