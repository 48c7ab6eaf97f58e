//! What a model is made of, in Hugging Face's field names where there are such.

mod bounds;
mod hugging_face;
mod json;
mod language;
mod of_json;
mod vision;

pub use json::type_in_words;
use serde::{Deserialize, Serialize};

use fourfold_tensor::ops::Gelu;
pub use language::{
    Gpt2Config, LanguageConfig, RopeConfig, RopeScaling, RotaryConfig, RotaryFamily, WindowConfig,
};
pub use vision::{ImageSize, VisionConfig, VisionFamily};

use crate::spec::{self, Spec};
use crate::{LoraConfig, ModelError, Part, Result, VisibilityKind};

/// How image features become visual tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectorConfig {
    /// The layers.
    #[serde(default)]
    pub kind: ProjectorKind,
    /// Side of the block of neighbouring patches that become one visual token, side by side or, in
    /// [`ProjectorKind::Gemma3`], as their mean; 1 keeps every patch.
    #[serde(default = "one")]
    pub pixel_shuffle: usize,
    /// Width of the hidden layer of [`ProjectorKind::Mlp`]; the language model's width if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden_size: Option<usize>,
}

fn one() -> usize {
    1
}

impl Default for ProjectorConfig {
    fn default() -> Self {
        Self {
            kind: ProjectorKind::default(),
            pixel_shuffle: 1,
            hidden_size: None,
        }
    }
}

/// The layers of a projector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProjectorKind {
    /// One linear layer.
    Linear,
    /// Two linear layers with GELU (erf form) between.
    #[default]
    Mlp,
    /// Gemma 3's: the mean of a block of patches, an RMS norm, one linear layer without a bias.
    Gemma3,
}

/// A whole model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// The vision encoder.
    #[serde(rename = "vision_config")]
    pub vision: VisionConfig,
    /// The projector.
    #[serde(rename = "projector_config")]
    pub projector: ProjectorConfig,
    /// The language model.
    #[serde(rename = "text_config")]
    pub language: LanguageConfig,
    /// The visibility that the model was trained with last, used for prefill.
    pub visibility: VisibilityKind,
    /// SHA-256 of the tokenizer that the weights belong to.
    pub tokenizer_sha256: String,
    /// Adapters of linear layers. They are no part of a saved model, whose weights have them added.
    #[serde(default, skip_serializing)]
    pub lora: Option<LoraConfig>,
}

impl ModelConfig {
    /// How many visual tokens an image becomes.
    pub fn visual_tokens(&self) -> usize {
        let block = self.projector.pixel_shuffle.max(1);
        self.vision.features() / block.saturating_pow(2)
    }

    /// How many tokens the language model knows.
    pub fn vocabulary(&self) -> usize {
        self.language.vocabulary()
    }

    /// The longest document that the language model takes, in tokens.
    pub fn max_positions(&self) -> usize {
        self.language.max_positions()
    }

    /// How many numbers each part has, without building it; parts that the model lacks are left out.
    ///
    /// # Errors
    /// When the configuration makes no model.
    pub fn parameter_counts(&self) -> Result<Vec<(Part, usize)>> {
        let specs = self.specs()?;
        let count = |part: Part| -> usize {
            let of_part = specs
                .iter()
                .filter(|spec| Part::of(&spec.name) == Some(part));
            of_part
                .map(|spec| spec.shape.iter().product::<usize>())
                .sum()
        };
        let counts = Part::ALL.map(|part| (part, count(part)));
        Ok(counts.into_iter().filter(|(_, count)| *count > 0).collect())
    }

    /// The numbers of the adapters of each part.
    ///
    /// # Errors
    /// When the configuration makes no model.
    pub fn adapter_counts(&self) -> Result<Vec<(Part, usize)>> {
        let specs = self.specs()?;
        let count = |part: Part| -> usize {
            let prefix = format!("{}.{part}.", Part::Lora);
            let of_part = specs.iter().filter(|spec| spec.name.starts_with(&prefix));
            of_part
                .map(|spec| spec.shape.iter().product::<usize>())
                .sum()
        };
        Ok(Part::ALL.map(|part| (part, count(part))).to_vec())
    }

    /// Every parameter of the model.
    pub(crate) fn specs(&self) -> Result<Vec<Spec>> {
        self.validate()?;
        let mut specs = crate::vision::specs(&self.vision);
        specs.extend(crate::projector::specs(self));
        specs.extend(crate::language::specs(&self.language));
        // Behind all others, whose first values they do not change.
        if let Some(lora) = &self.lora {
            specs.extend(crate::lora::specs(lora, &specs)?);
        }
        debug_assert!(spec::names_are_distinct(&specs));
        Ok(specs)
    }

    /// Demands that the configuration makes a model.
    ///
    /// # Errors
    /// Names the key that does not fit.
    pub fn validate(&self) -> Result<()> {
        self.vision.validate()?;
        self.language.validate()?;
        let projector = &self.projector;
        bounds::check(
            "projector",
            &[(
                "hidden_size",
                projector.hidden_size.unwrap_or(1),
                bounds::WIDTH,
            )],
        )?;
        if projector.hidden_size.is_some() && projector.kind != ProjectorKind::Mlp {
            return Err(ModelError::config(
                "projector.hidden_size",
                "is the width between the two layers of an `mlp`; remove it, this projector has one layer",
            ));
        }
        let (grid, block) = (self.vision.grid(), projector.pixel_shuffle);
        let divides = |side: usize| side.is_multiple_of(block);
        if block == 0 || !divides(grid.height) || !divides(grid.width) {
            return Err(ModelError::config(
                "projector.pixel_shuffle",
                format!("{block} does not divide the encoder's grid of {grid} patches"),
            ));
        }
        if block > 1 && self.vision.keep_class_token {
            return Err(ModelError::config(
                "projector.pixel_shuffle",
                "a class token is no patch of the grid; drop it (`keep_class_token = false`) or keep every patch \
                 (`pixel_shuffle = 1`)",
            ));
        }
        let features = self.vision.hidden_size * block * block;
        if features > bounds::WIDTH {
            return Err(ModelError::config(
                "projector.pixel_shuffle",
                format!(
                    "{block} makes {features} features of a visual token; expected at most {}",
                    bounds::WIDTH
                ),
            ));
        }
        Ok(())
    }
}

/// The form of GELU that Hugging Face calls `name`.
pub(crate) fn gelu_named(key: &str, name: &str) -> Result<Gelu> {
    match name {
        "gelu_pytorch_tanh" | "gelu_new" | "gelu_fast" => Ok(Gelu::Tanh),
        "gelu" | "gelu_python" => Ok(Gelu::Erf),
        "quick_gelu" => Ok(Gelu::Quick),
        _ => Err(ModelError::config(
            key,
            format!(
                "'{name}' is not supported; expected gelu_pytorch_tanh, gelu_new, gelu or quick_gelu"
            ),
        )),
    }
}
