//! Files that are wrong somewhere, and what the error names.

use serde_json::{Value, json};

use super::super::LanguageConfig;
use super::keys;

/// A value of a wrong kind, or a wrong value, is named by its key.
#[test]
fn wrong_values_are_named_by_their_key() {
    for (family, changes, message) in [
        (
            "llama",
            json!({ "hidden_size": 2.0 }),
            "hidden_size: is 2.0; expected a whole number of at least 0",
        ),
        (
            "llama",
            json!({ "hidden_size": "64" }),
            "hidden_size: is \"64\"; expected a whole number of at least 0",
        ),
        (
            "llama",
            json!({ "hidden_size": -1 }),
            "hidden_size: is -1; expected a whole number of at least 0",
        ),
        (
            "llama",
            json!({ "rms_norm_eps": [1] }),
            "rms_norm_eps: is a list; expected a number",
        ),
        (
            "llama",
            json!({ "attention_bias": "yes" }),
            "attention_bias: is \"yes\"; expected true or false",
        ),
        (
            "qwen3",
            json!({ "layer_types": ["full_attention"] }),
            "layer_types: speaks of 1 layers; expected 32, as many as num_hidden_layers",
        ),
        (
            "qwen2",
            json!({ "layer_types": ["full_attention", 3] }),
            "layer_types[1]: is 3; expected a text",
        ),
        (
            "llama",
            json!({ "rope_scaling": [1] }),
            "rope_scaling: is [1]; expected a table",
        ),
        (
            "llama",
            json!({ "rms_norm_eps": -1 }),
            "rms_norm_eps: is -1; expected a number above 0",
        ),
        (
            "llama",
            json!({ "num_hidden_layers": 1_000_000_000 }),
            "num_hidden_layers: is 1000000000; expected at most 10000",
        ),
        (
            "llama",
            json!({ "num_attention_heads": 4, "num_key_value_heads": 3 }),
            "num_key_value_heads: 3 does not divide 4",
        ),
        (
            "llama",
            json!({ "num_attention_heads": 7 }),
            "num_attention_heads: 7 does not divide hidden_size 4096",
        ),
        (
            "llama",
            json!({ "head_dim": 5 }),
            "head_dim: is 5; expected an even number",
        ),
        (
            "llama",
            json!({ "rope_theta": 0.5 }),
            "rope_theta: is 0.5; expected a number above 1",
        ),
        (
            "llama",
            json!({ "rope_scaling": { "rope_type": "linear", "factor": -2 } }),
            "rope_scaling.factor: is -2; expected more than 0",
        ),
        (
            "gpt2",
            json!({ "n_layer": 1_000_000_000 }),
            "n_layer: is 1000000000; expected at most 10000",
        ),
        (
            "gpt2",
            json!({ "num_attention_heads": 7 }),
            "n_head: 7 does not divide n_embd 768",
        ),
    ] {
        let mut file = keys(changes);
        file.insert("model_type".into(), family.into());
        let alone = LanguageConfig::of_json(Value::Object(file.clone())).expect_err(message);
        assert!(alone.starts_with(message), "{alone}: {message}");
        let whole = json!({ "model_type": "llava", "text_config": file });
        let within = LanguageConfig::of_json(whole).expect_err(message);
        assert_eq!(within, format!("text_config.{alone}"));
    }
}
