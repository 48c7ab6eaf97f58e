//! What is written of a configuration.

use serde_json::{Value, json};

use super::super::LanguageConfig;
use super::{cases, keys, name, read};

/// What is written is read as the same, in the words of a recipe and as a `config.json`.
fn check_round_trip(config: &LanguageConfig, what: &dyn std::fmt::Display) {
    let text = serde_json::to_string(config).expect("JSON");
    let again: LanguageConfig =
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{what}: {e}: {text}"));
    assert_eq!(again, *config, "{what}: {text}");
    let file = serde_json::from_str(&text).expect("JSON");
    let again = LanguageConfig::of_json(file).unwrap_or_else(|e| panic!("{what}: {e}: {text}"));
    assert_eq!(again, *config, "{what}: {text}");
}

#[test]
fn what_is_read_is_written_so_that_it_is_read_again() {
    for case in cases() {
        if let Ok(config) = read(&case) {
            check_round_trip(&config, &name(&case));
        }
    }
}

/// Every family with every rule, windows or none, and the other keys that change what is written.
#[test]
fn every_mixture_of_keys_survives_a_round_trip() {
    let rules = [
        json!({}),
        json!({ "rope_type": "default", "rope_theta": 12345.678 }),
        json!({ "rope_type": "linear", "factor": 8.1, "rope_theta": 5e5 }),
        json!({ "rope_type": "dynamic", "factor": 1.7 }),
        json!({ "rope_type": "llama3", "factor": 8.3, "low_freq_factor": 1.1, "high_freq_factor": 4.1 }),
        json!({ "rope_type": "yarn", "factor": 4.7, "attention_factor": 0.7, "beta_fast": 8.3 }),
    ];
    let mut checked = 0;
    for family in ["llama", "qwen2", "qwen3", "gemma3_text"] {
        let gemma = family == "gemma3_text";
        for (full, sliding, windows, odd) in mixtures(&rules) {
            let mut file = json!({
                "model_type": family, "vocab_size": 8, "hidden_size": 64, "intermediate_size": 8,
                "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
                "max_position_embeddings": 128, "rms_norm_eps": 1.3e-5,
            });
            let table = file.as_object_mut().expect("a table");
            let mut say = |value: Value| table.extend(keys(value));
            say(match gemma {
                true => {
                    json!({ "rope_parameters": { "full_attention": full, "sliding_attention": sliding } })
                }
                false => json!({ "rope_parameters": full }),
            });
            if windows && family != "llama" {
                say(json!({
                    "use_sliding_window": true, "sliding_window": 8,
                    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
                }));
            }
            if odd {
                say(
                    json!({ "head_dim": 32, "tie_word_embeddings": !gemma, "query_pre_attn_scalar": 20 }),
                );
                let biased = ["llama", "qwen3"].contains(&family);
                say(json!({ "attention_bias": biased }));
            }
            let config = LanguageConfig::of_json(file.clone());
            let config = config.unwrap_or_else(|error| panic!("{error}: {file}"));
            check_round_trip(&config, &file);
            checked += 1;
        }
    }
    assert_eq!(checked, 4 * 6 * 6 * 4);
}

fn mixtures(rules: &[Value]) -> Vec<(Value, Value, bool, bool)> {
    let mut all = Vec::new();
    for full in rules {
        for sliding in rules {
            for windows in [false, true] {
                for odd in [false, true] {
                    all.push((full.clone(), sliding.clone(), windows, odd));
                }
            }
        }
    }
    all
}

/// Older versions of `transformers` read the flat keys, which stand wherever they suffice.
#[test]
fn rules_by_kind_are_written_where_the_older_keys_cannot_say_them() {
    for (name, by_kind) in [
        ("gemma3: by kind", false),
        ("gemma3: old, linear", false),
        ("gemma3: by kind, windows scaled", true),
        ("gemma3: by kind, both scaled", true),
        ("qwen3: windows and yarn", false),
    ] {
        let case = cases()
            .into_iter()
            .find(|case| super::name(case) == name)
            .expect(name);
        let written = serde_json::to_value(read(&case).expect(name)).expect("JSON");
        assert_eq!(written.get("rope_parameters").is_some(), by_kind, "{name}");
        for flat in ["rope_theta", "rope_scaling", "rope_local_base_freq"] {
            assert!(
                !by_kind || written.get(flat).is_none(),
                "{name}: {flat}: {written}"
            );
        }
    }
}
