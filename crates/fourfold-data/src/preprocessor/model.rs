//! Which image processor a model has whose image processor's configuration does not say so.

use std::path::Path;

use serde_json::Value;

use crate::DataError;
use crate::regular::read_text_if_any;

const CONFIG: &str = "config.json";

/// The image processors of models by `model_type`, of those that are known here: `IMAGE_PROCESSOR_MAPPING_NAMES` of
/// transformers 5.24. An encoder alone (`clip_vision_model`, `siglip_vision_model`) and `dinov2_with_registers` are
/// missing there, too.
const OF_MODEL_TYPE: [(&str, &str); 26] = [
    ("aimv2", "CLIPImageProcessor"),
    ("bit", "BitImageProcessor"),
    ("clip", "CLIPImageProcessor"),
    ("clipseg", "ViTImageProcessor"),
    ("colpali", "SiglipImageProcessor"),
    ("deit", "DeiTImageProcessor"),
    ("dinat", "ViTImageProcessor"),
    ("dinov2", "BitImageProcessor"),
    ("gemma3", "Gemma3ImageProcessor"),
    ("gemma3n", "SiglipImageProcessor"),
    ("git", "CLIPImageProcessor"),
    ("groupvit", "CLIPImageProcessor"),
    ("hiera", "BitImageProcessor"),
    ("ijepa", "ViTImageProcessor"),
    ("llava", "LlavaImageProcessor"),
    ("metaclip_2", "CLIPImageProcessor"),
    ("mlcd", "CLIPImageProcessor"),
    ("paligemma", "SiglipImageProcessor"),
    ("shieldgemma2", "Gemma3ImageProcessor"),
    ("siglip", "SiglipImageProcessor"),
    ("swin", "ViTImageProcessor"),
    ("swinv2", "ViTImageProcessor"),
    ("vipllava", "CLIPImageProcessor"),
    ("vit", "ViTImageProcessor"),
    ("vit_mae", "ViTImageProcessor"),
    ("vit_msn", "ViTImageProcessor"),
];

/// What a `config.json` says of it.
#[derive(Default)]
pub(super) struct ModelHint {
    /// Its `model_type`.
    model_type: Option<String>,
    /// Its `image_processor_type`, which goes before.
    named: Option<String>,
}

impl ModelHint {
    /// Of the model in `folder`; empty where there is no `config.json`.
    pub(super) fn of_folder(folder: &Path) -> Result<Self, DataError> {
        let path = folder.join(CONFIG);
        let Some(text) = read_text_if_any(&path)? else {
            return Ok(Self::default());
        };
        let value: Value = serde_json::from_str(&text)
            .map_err(|error| DataError::file(&path, format!("expected JSON: {error}")))?;
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        Ok(Self {
            model_type: text("model_type"),
            named: text("image_processor_type"),
        })
    }

    /// The name of its image processor.
    pub(super) fn processor(&self) -> Option<&str> {
        let listed = || {
            let of = OF_MODEL_TYPE
                .iter()
                .find(|(of, _)| self.model_type.as_deref() == Some(of));
            of.map(|(_, processor)| *processor)
        };
        self.named.as_deref().or_else(listed)
    }

    /// Why there is none.
    pub(super) fn lack(&self) -> String {
        match &self.model_type {
            Some(model_type) => {
                format!("the `model_type` {model_type} of {CONFIG} stands for none that is known")
            }
            None => format!("no {CONFIG} beside it has a `model_type` to tell it by"),
        }
    }
}
