//! A small model for this crate's tests.

use fourfold_model::{
    LanguageConfig, ModelConfig, ProjectorConfig, ProjectorKind, RotaryConfig, VisibilityKind,
    VisionConfig,
};

/// Images of 16 × 16 in 16 patches; sizes that all differ, so that none is taken for another.
pub(crate) fn config() -> ModelConfig {
    let vision = serde_json::json!({
        "hidden_size": 8, "intermediate_size": 20, "num_hidden_layers": 2, "num_attention_heads": 2,
        "image_size": 16, "patch_size": 4,
    });
    let vision: VisionConfig = serde_json::from_value(vision).unwrap();
    let language = serde_json::json!({
        "vocab_size": 50, "hidden_size": 12, "intermediate_size": 30, "num_hidden_layers": 3,
        "num_attention_heads": 3, "num_key_value_heads": 1, "max_position_embeddings": 64,
        "tie_word_embeddings": true,
    });
    let language: RotaryConfig = serde_json::from_value(language).unwrap();
    ModelConfig {
        vision,
        projector: ProjectorConfig {
            kind: ProjectorKind::Linear,
            pixel_shuffle: 2,
            hidden_size: None,
        },
        language: LanguageConfig::Rotary(language),
        visibility: VisibilityKind::default(),
        tokenizer_sha256: String::new(),
        lora: None,
    }
}
