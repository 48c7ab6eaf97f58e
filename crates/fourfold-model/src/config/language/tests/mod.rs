//! Files of language models against what `transformers` makes of them (`tests/fixtures/configs/make.py`).

mod written;
mod wrong;

use serde_json::{Map, Value, json};

use super::{LanguageConfig, RotaryConfig};

const CASES: &str = include_str!("../../../../tests/fixtures/configs/cases.json");

/// Files that say two things at once, of which `transformers` takes one without a word, or what it leaves out without
/// a word: refused here by the key.
const REFUSED: [(&str, &str); 7] = [
    ("llama: rope by kind", "rope_parameters.full_attention: "),
    ("llama: layer_types", "layer_types: "),
    ("gemma3: old, old type", "rope_scaling.type: "),
    (
        "gemma3: by kind, yarn not truncated",
        "rope_parameters.full_attention.truncate: ",
    ),
    ("gemma3: rope not by kind", "rope_parameters.rope_type: "),
    (
        "gemma3: rope by kind and not",
        "rope_parameters.rope_type: ",
    ),
    ("gpt2: names that differ", "num_attention_heads: "),
];

/// What the error has to name, of files that `transformers` refuses or cannot run.
const NAMED: [(&str, &str); 16] = [
    (
        "llama: theta of text",
        "rope_parameters.rope_theta: is \"500000.0\"; expected a number",
    ),
    (
        "llama: theta of a list",
        "rope_parameters.rope_theta: is a list; expected a number",
    ),
    (
        "llama: theta of nothing",
        "rope_parameters.rope_theta: is \"\"; expected a number",
    ),
    (
        "llama: type of a number",
        "rope_parameters.rope_type: is 5; expected a text",
    ),
    (
        "llama: type of true",
        "rope_parameters.rope_type: is true; expected a text",
    ),
    ("llama: type of a table", "rope_parameters.rope_type: "),
    (
        "llama: part of text",
        "rope_parameters.partial_rotary_factor: is \"0.5\"",
    ),
    ("llama: yarn, no factor", "rope_scaling.factor: is missing"),
    (
        "llama: llama3, no high_freq_factor",
        "rope_scaling.high_freq_factor: is missing",
    ),
    (
        "qwen2: windows of null by layer",
        "sliding_window: is missing",
    ),
    (
        "qwen2: windows by layer that are not used",
        "use_sliding_window",
    ),
    ("qwen2: rope by kind", "rope_parameters.full_attention: "),
    ("qwen3: rope by kind", "rope_parameters.full_attention: "),
    ("gemma3: pattern of 0", "sliding_window_pattern: is 0"),
    ("gemma3: window of null", "sliding_window: is missing"),
    (
        "gemma3: key-value heads of null",
        "num_key_value_heads: is null",
    ),
];

fn cases() -> Vec<Value> {
    serde_json::from_str(CASES).expect("a list")
}

fn name(case: &Value) -> &str {
    case["name"].as_str().expect("a name")
}

fn read(case: &Value) -> Result<LanguageConfig, String> {
    LanguageConfig::of_json(case["file"].clone())
}

#[test]
fn files_are_read_as_transformers_reads_them() {
    let refused = |name: &str| REFUSED.iter().any(|(refused, _)| *refused == name);
    let mut compared = 0;
    for case in cases() {
        let name = name(&case);
        let expected = &case["transformers"];
        if expected.is_null() || refused(name) {
            continue;
        }
        let config = read(&case).unwrap_or_else(|error| panic!("{name}: {error}"));
        let heads = config.heads();
        let found = json!({
            "layers": config.layers(),
            "heads": heads.query,
            "key_value_heads": heads.key_value,
            "width": config.width(),
            "head_width": heads.width,
            "positions": config.max_positions(),
        });
        for (key, value) in found.as_object().expect("a table") {
            assert_eq!(*value, expected[key], "{name}: {key}");
        }
        if let LanguageConfig::Rotary(rotary) = &config {
            let windows: Vec<_> = (0..config.layers())
                .map(|layer| config.window(layer))
                .collect();
            assert_eq!(json!(windows), expected["windows"], "{name}");
            compare_ropes(name, rotary, &expected["rope"]);
        }
        compared += 1;
    }
    assert!(compared > 45, "{compared}");
}

/// Each kind of layer that the model has turns as in `transformers`, which computes in f32.
fn compare_ropes(name: &str, config: &RotaryConfig, expected: &Value) {
    for (kind, wanted) in expected.as_object().expect("a table") {
        let window = config.window.as_ref().map(|window| &window.rope);
        let rope = match kind.as_str() {
            "sliding_attention" => window.expect("layers with a window"),
            _ => &config.rope,
        };
        let (frequencies, scale) = rope
            .frequencies("language", config.head_dim)
            .expect("a rule");
        let near = |found: f64, wanted: &Value| {
            let wanted = wanted.as_f64().expect("a number");
            (found - wanted).abs() <= 2e-6 * wanted.abs()
        };
        let all = wanted["frequencies"].as_array().expect("a list");
        assert_eq!(frequencies.len(), all.len(), "{name}: {kind}");
        for (found, wanted) in frequencies.iter().zip(all) {
            assert!(
                near(*found, wanted),
                "{name}: {kind}: {found}, transformers {wanted}"
            );
        }
        assert!(
            near(scale, &wanted["scale"]),
            "{name}: {kind}: scale {scale}"
        );
    }
}

#[test]
fn what_transformers_does_not_make_a_model_of_is_refused_by_its_key() {
    for case in cases() {
        let name = name(&case);
        let of = |table: &[(&str, &'static str)]| {
            let row = table.iter().find(|(named, _)| *named == name);
            row.map(|(_, part)| *part)
        };
        let part = match case["transformers"].is_null() {
            true => Some(of(&NAMED).unwrap_or_else(|| panic!("{name}: what is the key?"))),
            false => of(&REFUSED),
        };
        if let Some(part) = part {
            let error = match read(&case) {
                Ok(_) => panic!("{name}: was read"),
                Err(error) => error,
            };
            assert!(error.contains(part), "{name}: {error}");
        }
    }
}

/// The keys of a table.
fn keys(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(keys) => keys,
        _ => Map::new(),
    }
}
