//! Gemma 3 (Kamath et al., arXiv 2503.19786) as `transformers` has it: SigLIP's normed features, the mean of each block
//! of patches, and a language model in which the rows of an image see all of their image.

use std::path::Path;

use serde_json::json;

use super::{SpecialTokens, text_config, vision_config, write_config, write_weights};
use crate::{
    LanguageConfig, Model, ModelConfig, ProjectorKind, Result, RotaryConfig, RotaryFamily,
    VisibilityKind, VisionFamily, WeightFormat,
};

fn language(config: &ModelConfig) -> Option<&RotaryConfig> {
    match &config.language {
        LanguageConfig::Rotary(language) if language.family == RotaryFamily::Gemma3 => {
            Some(language)
        }
        _ => None,
    }
}

/// Why a model is no Gemma 3.
pub(super) fn obstacles(config: &ModelConfig) -> Vec<String> {
    let mut reasons = Vec::new();
    let vision = &config.vision;
    if vision.family != VisionFamily::Siglip {
        let family = vision.family.model_type();
        reasons.push(format!(
            "its encoder is a {family}; Gemma's is a siglip_vision_model"
        ));
    } else if !vision.final_norm {
        reasons.push(
            "its encoder was cut before the last norm; leave out `layer` in [model.vision]".into(),
        );
    }
    if vision.image_size.side().is_none() {
        let size = vision.image_size;
        reasons.push(format!("its images are {size} pixels; Gemma's are square"));
    }
    if config.projector.kind != ProjectorKind::Gemma3 {
        reasons.push("its projector is no `gemma3`; set `kind` in [model.projector]".into());
    }
    if language(config).is_none() {
        let kind = config.language.model_type();
        reasons.push(format!(
            "its language model is a {kind}; expected gemma3_text"
        ));
    }
    let windows = language(config).and_then(|language| language.window.as_ref());
    let tokens = config.visual_tokens();
    if let Some(window) = windows.filter(|window| window.rows < tokens) {
        // In transformers a row of an image sees no farther back than the window, not even within its image.
        reasons.push(format!(
            "an image becomes {tokens} visual tokens, more than the window of {} tokens, behind which Gemma 3 hides the \
             beginning of the image; set a larger `pixel_shuffle` in [model.projector]",
            window.rows
        ));
    }
    if config.visibility != VisibilityKind::ImageBidirectional {
        reasons.push(format!(
            "it was trained with the visibility '{}', Gemma 3 reads with 'image-bidirectional'; set `visibility = \
             \"image-bidirectional\"`",
            config.visibility
        ));
    }
    reasons
}

/// Writes configuration and weights.
pub(super) fn write(
    model: &Model,
    folder: &Path,
    tokens: SpecialTokens,
    numbers: WeightFormat,
) -> Result<()> {
    let config = model.config();
    let keys = json!({
        "vision_config": vision_config(config)?,
        "text_config": text_config(config, tokens)?,
        "mm_tokens_per_image": config.visual_tokens(),
        "image_token_index": tokens.image,
        // Nothing stands around an image here; these two are read by Gemma's own processor alone.
        "boi_token_index": tokens.image,
        "eoi_token_index": tokens.image,
        "eos_token_id": tokens.end,
        "tie_word_embeddings": config.language.ties_head(),
    });
    let class = ("gemma3", "Gemma3ForConditionalGeneration");
    write_config(folder, class, numbers, &keys)?;
    write_weights(model, folder, numbers)
}
