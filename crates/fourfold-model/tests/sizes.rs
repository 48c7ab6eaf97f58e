//! Parameters of published models, as `transformers` builds them; `bench/memory/count.py` prints these figures.

use fourfold_model::{
    LanguageConfig, ModelConfig, Part, ProjectorConfig, ProjectorKind, VisibilityKind, VisionConfig,
};

const SO400M: &str = r#"{"model_type": "siglip_vision_model", "hidden_size": 1152, "intermediate_size": 4304,
    "num_hidden_layers": 27, "num_attention_heads": 16, "image_size": 384, "patch_size": 14}"#;
const SIGLIP_BASE: &str = r#"{"model_type": "siglip_vision_model", "hidden_size": 768, "intermediate_size": 3072,
    "num_hidden_layers": 12, "num_attention_heads": 12, "image_size": 224, "patch_size": 16}"#;
const QWEN: &str = r#"{"model_type": "qwen2", "vocab_size": 151936, "hidden_size": 896, "intermediate_size": 4864,
    "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2, "max_position_embeddings": 32768,
    "rope_theta": 1000000.0, "tie_word_embeddings": true}"#;
const SMOL: &str = r#"{"model_type": "llama", "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536,
    "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "max_position_embeddings": 8192,
    "rope_theta": 100000.0, "tie_word_embeddings": true}"#;

#[test]
fn published_models_have_as_many_parameters_as_in_transformers() {
    for (vision, language, pixel_shuffle, counts) in [
        (SO400M, QWEN, 3, [412_987_248, 494_032_768]),
        (SIGLIP_BASE, SMOL, 2, [85_797_120, 134_515_008]),
    ] {
        let config = ModelConfig {
            vision: serde_json::from_str::<VisionConfig>(vision).expect("an encoder"),
            projector: ProjectorConfig {
                kind: ProjectorKind::Mlp,
                pixel_shuffle,
                hidden_size: None,
            },
            language: serde_json::from_str::<LanguageConfig>(language).expect("a language model"),
            visibility: VisibilityKind::Causal,
            tokenizer_sha256: String::new(),
            lora: None,
        };
        let found = config.parameter_counts().expect("a model");
        let count = |part: Part| found.iter().find(|(p, _)| *p == part).expect("a part").1;
        assert_eq!([Part::Vision, Part::Language].map(count), counts);
        // Two layers with biases, from a block of features to the language model's width.
        let wide = config.vision.hidden_size * pixel_shuffle * pixel_shuffle;
        let width = if pixel_shuffle == 3 { 896 } else { 576 };
        assert_eq!(
            count(Part::Projector),
            (wide + 1) * width + (width + 1) * width
        );
    }
}
