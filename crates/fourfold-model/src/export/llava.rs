//! LLaVA (Liu et al., arXiv 2304.08485) as `transformers` has it: an encoder's features, un-normed, through two linear
//! layers to a causal language model.

use std::path::Path;

use serde_json::json;

use super::{SpecialTokens, text_config, vision_config, write_config, write_weights};
use crate::{
    LanguageConfig, Model, ModelConfig, ProjectorKind, Result, RotaryFamily, VisibilityKind,
    VisionFamily, WeightFormat,
};

/// Why a model is no LLaVA.
pub(super) fn obstacles(config: &ModelConfig) -> Vec<String> {
    let mut reasons = Vec::new();
    let vision = &config.vision;
    if !matches!(vision.family, VisionFamily::Siglip | VisionFamily::Clip) {
        let family = vision.family.model_type();
        reasons.push(format!(
            "its encoder is a {family}; LLaVA's is a CLIP or SigLIP"
        ));
    }
    if vision.final_norm {
        reasons.push(
            "its encoder norms the last features, LLaVA reads them before that norm; train with `layer = -1` in \
             [model.vision], or `final_norm = false` for a new encoder"
                .into(),
        );
    }
    if vision.image_size.side().is_none() {
        let size = vision.image_size;
        reasons.push(format!("its images are {size} pixels; LLaVA's are square"));
    }
    let projector = &config.projector;
    if projector.kind != ProjectorKind::Mlp {
        reasons.push("its projector is no `mlp`; set `kind` in [model.projector]".into());
    }
    let width = config.language.width();
    if let Some(hidden) = projector.hidden_size.filter(|hidden| *hidden != width) {
        reasons.push(format!(
            "its projector is {hidden} wide between the layers, LLaVA's as wide as the language model, {width}; leave \
             out `hidden_size` in [model.projector]"
        ));
    }
    if projector.pixel_shuffle != 1 {
        let block = projector.pixel_shuffle;
        reasons.push(format!(
            "its projector joins blocks of {block} x {block} patches, LLaVA's keeps every patch; set `pixel_shuffle = \
             1` in [model.projector]"
        ));
    }
    let fits = match &config.language {
        LanguageConfig::Rotary(language) => language.family != RotaryFamily::Gemma3,
        LanguageConfig::Gpt2(_) => false,
    };
    if !fits {
        let kind = config.language.model_type();
        reasons.push(format!(
            "its language model is a {kind}; expected llama, qwen2 or qwen3"
        ));
    }
    if config.visibility != VisibilityKind::Causal {
        reasons.push(format!(
            "it was trained with the visibility '{}', LLaVA reads with 'causal'; set `visibility = \"causal\"`",
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
    // The class token is the first feature of a CLIP; "default" leaves the first feature out.
    let drops_class_token = config.vision.prefix() > 0 && !config.vision.keep_class_token;
    let strategy = if drops_class_token { "default" } else { "full" };
    let keys = json!({
        "vision_config": vision_config(config)?,
        "text_config": text_config(config, tokens)?,
        "image_token_index": tokens.image,
        "image_seq_length": config.visual_tokens(),
        "projector_hidden_act": "gelu",
        "multimodal_projector_bias": true,
        // The encoder has no blocks behind the features that are read.
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": strategy,
        "tie_word_embeddings": config.language.ties_head(),
    });
    let class = ("llava", "LlavaForConditionalGeneration");
    write_config(folder, class, numbers, &keys)?;
    write_weights(model, folder, numbers)
}
