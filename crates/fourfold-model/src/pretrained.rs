//! Backbones that begin with weights from elsewhere.

use std::path::Path;

use crate::weights::{StoredFor, WeightSource};
use crate::{LanguageConfig, ModelConfig, ModelError, Part, Result, VisionConfig};

/// The folders that parts begin from: `config.json` and safetensors, in Hugging Face's layout.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pretrained<'a> {
    /// That of the vision encoder.
    pub vision: Option<&'a Path>,
    /// That of the language model.
    pub language: Option<&'a Path>,
}

impl VisionConfig {
    /// The same encoder up to the features that `transformers` calls `hidden_states[layer]`, counted from the end as -1,
    /// -2, …, or from the embedded patches as 0, 1, …; they are not normed.
    ///
    /// # Errors
    /// When there is no such layer.
    pub fn cut_at(mut self, layer: i64) -> Result<Self> {
        let blocks = self.num_hidden_layers as i64;
        let kept = if layer < 0 { blocks + 1 + layer } else { layer };
        if !(1..=blocks).contains(&kept) {
            return Err(ModelError::config(
                "vision.layer",
                format!(
                    "is {layer}; this encoder has {blocks} blocks: expected 1 to {blocks}, or -1 to -{blocks} counted \
                     from the end"
                ),
            ));
        }
        self.num_hidden_layers = kept as usize;
        self.final_norm = false;
        Ok(self)
    }
}

/// The encoder's weights in `folder`.
pub(crate) fn vision(config: &ModelConfig, folder: &Path) -> Result<WeightSource> {
    let wanted = &config.vision;
    let stored = VisionConfig::of_folder(folder)?;
    let alike = VisionConfig {
        num_hidden_layers: wanted.num_hidden_layers,
        final_norm: wanted.final_norm,
        image_size: wanted.image_size,
        keep_class_token: wanted.keep_class_token,
        ..stored.clone()
    };
    let enough = wanted.num_hidden_layers <= stored.num_hidden_layers
        && (stored.final_norm || !wanted.final_norm);
    demand_same(alike == *wanted && enough, Part::Vision, folder)?;
    let before = StoredFor {
        grid: stored.grid(),
        vocabulary: 0,
    };
    let specs = crate::vision::specs(wanted);
    let source = WeightSource::part(folder, Part::Vision, &specs, before)?;
    source.demand_no_other_in_blocks(&crate::vision::specs(&stored))?;
    Ok(source)
}

/// The language model's weights in `folder`.
pub(crate) fn language(config: &ModelConfig, folder: &Path) -> Result<WeightSource> {
    let wanted = &config.language;
    let mut stored = LanguageConfig::of_folder(folder)?;
    let before = StoredFor {
        grid: config.vision.grid(),
        vocabulary: stored.vocabulary(),
    };
    let enough = before.vocabulary <= wanted.vocabulary();
    stored.set_vocabulary(wanted.vocabulary());
    demand_same(stored == *wanted && enough, Part::Language, folder)?;
    let specs = crate::language::specs(wanted);
    let source = WeightSource::part(folder, Part::Language, &specs, before)?;
    source.demand_no_other_in_blocks(&specs)?;
    Ok(source)
}

fn demand_same(same: bool, part: Part, folder: &Path) -> Result<()> {
    if same {
        return Ok(());
    }
    Err(ModelError::config(
        folder.join("config.json").display(),
        format!(
            "describes another {part} model than the one being built; use the folder's own configuration"
        ),
    ))
}
