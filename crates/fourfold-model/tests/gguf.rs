//! GGUF files against the models they were made from (`fixtures/gguf/make.py`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use fourfold_model::gguf::{GgufFile, GgufTokenizer, Kind};
use half::bf16;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

const MODELS: [&str; 6] = ["llama2", "llama3", "qwen2", "qwen3", "gemma3", "gpt2"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/gguf")
        .join(name)
}

fn open(name: &str) -> GgufFile {
    GgufFile::open(&fixture(name)).unwrap()
}

/// Shapes and numbers of a safetensors file by name.
fn safetensors(name: &str) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let bytes = fs::read(fixture(name)).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let numbers = |tensor: &safetensors::tensor::TensorView| match tensor.dtype() {
        Dtype::F32 => tensor
            .data()
            .as_chunks()
            .0
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect(),
        Dtype::BF16 => tensor
            .data()
            .as_chunks()
            .0
            .iter()
            .map(|bytes| bf16::from_le_bytes(*bytes).to_f32())
            .collect(),
        other => panic!("the fixture has {other:?}"),
    };
    file.iter()
        .map(|(name, tensor)| (name.to_owned(), (tensor.shape().to_vec(), numbers(&tensor))))
        .collect()
}

fn json(name: &str) -> Value {
    serde_json::from_slice(&fs::read(fixture(name)).unwrap()).unwrap()
}

#[test]
fn every_format_is_dequantised_to_the_bit() {
    let file = open("quants.gguf");
    let expected = safetensors("quants.safetensors");
    let mut kinds = BTreeSet::new();
    for (name, (shape, numbers)) in &expected {
        let tensor = file.tensor(name).unwrap();
        assert_eq!(&tensor.shape, shape, "{name}");
        assert_eq!(tensor.kind.name().to_lowercase(), *name);
        let found = file.read(name).unwrap();
        let bits = |numbers: &[f32]| numbers.iter().map(|n| n.to_bits()).collect::<Vec<_>>();
        assert!(
            numbers.iter().any(|number| *number != 0.0),
            "{name} holds numbers"
        );
        assert_eq!(bits(&found), bits(numbers), "{name}");
        kinds.insert(tensor.kind.name());
    }
    assert_eq!(kinds.len(), 13, "all formats were compared");
    assert_eq!(file.names().len(), 13);
    assert_eq!(file.tensor("q4_k").unwrap().kind, Kind::Q4K);
}

#[test]
fn metadata_is_typed() {
    use fourfold_model::gguf::Reader;
    let file = open("quants.gguf");
    let metadata = file.metadata();
    assert_eq!(metadata.boolean("test.bool").unwrap(), Some(true));
    assert_eq!(
        metadata.text("general.architecture").unwrap(),
        Some("llama")
    );
    assert_eq!(metadata.text("test.none").unwrap(), None);
    assert!(metadata.has("test.nested") && !metadata.has("test.none"));
    for (error, parts) in [
        (
            metadata.integer("test.negative").unwrap_err(),
            ["test.negative", "-3", "not negative"],
        ),
        (
            metadata.integer("test.bool").unwrap_err(),
            ["test.bool", "a boolean", "an integer"],
        ),
        (
            metadata.text("test.nested").unwrap_err(),
            ["test.nested", "an array of arrays", "a string"],
        ),
        (
            metadata.integers("test.nested").unwrap_err(),
            ["test.nested", "arrays", "an array of integers"],
        ),
        (
            metadata.demand("test.none", Reader::text).unwrap_err(),
            ["quants.gguf", "test.none", "missing"],
        ),
        (
            file.read("none").unwrap_err(),
            ["quants.gguf", "'none'", "no tensor"],
        ),
    ] {
        let message = error.to_string();
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }
}

#[test]
fn tensors_are_those_of_hugging_face() {
    for model in MODELS {
        let file = open(&format!("{model}/model.gguf"));
        let model_of = file.hugging_face().unwrap();
        let expected = safetensors(&format!("{model}/model.safetensors"));
        let names: Vec<&String> = expected.keys().collect();
        assert_eq!(
            model_of.names().iter().collect::<Vec<_>>(),
            names,
            "{model}"
        );
        for (name, (shape, numbers)) in &expected {
            assert_eq!(model_of.shape(name).as_ref(), Some(shape), "{model} {name}");
            let found = model_of.tensor(name).unwrap().unwrap();
            assert!(found == (shape.clone(), numbers.clone()), "{model} {name}");
        }
        assert!(
            model_of
                .tensor("model.layers.0.none.weight")
                .unwrap()
                .is_none()
        );
        assert!(model_of.tensor("rope_freqs.weight").unwrap().is_none());
    }
}

/// A value of a `config.json`, where newer files have another place for it.
fn expected_value(config: &Value, key: &str) -> Value {
    let rope = &config["rope_parameters"];
    let full = if rope["full_attention"].is_object() {
        &rope["full_attention"]
    } else {
        rope
    };
    match key {
        "rope_theta" => full["rope_theta"].clone(),
        "rope_local_base_freq" => rope["sliding_attention"]["rope_theta"].clone(),
        "rope_scaling" => {
            let mut scaling = full.clone();
            scaling.as_object_mut().unwrap().shift_remove("rope_theta");
            scaling
        }
        // What the model was made without, and means.
        "head_dim" if config["head_dim"].is_null() => {
            let size = |key: &str| config[key].as_u64().unwrap();
            (size("hidden_size") / size("num_attention_heads")).into()
        }
        "n_inner" if config["n_inner"].is_null() => (4 * config["n_embd"].as_u64().unwrap()).into(),
        "mlp_bias" if config["mlp_bias"].is_null() => false.into(),
        // The tokenizer's, which the configuration of these models knows nothing of.
        _ => config[key].clone(),
    }
}

#[test]
fn configurations_are_those_of_hugging_face() {
    for model in MODELS {
        let file = open(&format!("{model}/model.gguf"));
        let found = file.hugging_face().unwrap().config().clone();
        let expected = json(&format!("{model}/config.json"));
        let mut compared = 0;
        for (key, value) in found.as_object().unwrap() {
            if key.ends_with("_token_id") || key == "sliding_window_pattern" {
                continue;
            }
            let wanted = expected_value(&expected, key);
            let same = match (value.as_f64(), wanted.as_f64()) {
                (Some(one), Some(other)) => one == other,
                _ => *value == wanted,
            };
            assert!(same, "{model} {key}: {value}, expected {wanted}");
            compared += 1;
        }
        assert!(compared >= 11, "{model}");
        assert_eq!(
            found.get("rope_scaling").is_some(),
            matches!(model, "llama3" | "gemma3")
        );
    }
}

/// Encodes as training does: special tokens in a text are text.
fn encoder(tokenizer: &GgufTokenizer) -> impl Fn(&str) -> Vec<u32> + use<> {
    let mut inner: tokenizers::Tokenizer = tokenizer.json.parse().unwrap();
    inner.set_encode_special_tokens(true);
    move |text| inner.encode_fast(text, false).unwrap().get_ids().to_vec()
}

fn check_tokens(tokenizer: &GgufTokenizer, expected: &str) {
    let encode = encoder(tokenizer);
    let inner: tokenizers::Tokenizer = tokenizer.json.parse().unwrap();
    let texts = json(expected);
    let texts = texts.as_array().unwrap();
    assert!(texts.len() > 25);
    for pair in texts {
        let text = pair[0].as_str().unwrap();
        let tokens: Vec<u32> = serde_json::from_value(pair[1].clone()).unwrap();
        assert_eq!(encode(text), tokens, "{expected}: {text:?}");
        // What NFC composed stays composed, and SentencePiece's unknown letters come back as their bytes.
        let back = inner.decode(&tokens, false).unwrap();
        if !text.contains(['\u{301}', '\u{2581}']) {
            assert_eq!(back, text, "{expected}");
        }
    }
}

#[test]
fn tokenizers_give_the_same_tokens() {
    for model in MODELS {
        let tokenizer = open(&format!("{model}/model.gguf")).tokenizer().unwrap();
        check_tokens(&tokenizer, &format!("{model}/tokens.json"));
        assert_eq!(
            tokenizer.add_begin,
            matches!(model, "llama2" | "llama3" | "gemma3"),
            "{model}"
        );
        assert_eq!(tokenizer.chat_template, None);
    }
    let llama = open("llama3/model.gguf").tokenizer().unwrap();
    assert_eq!((llama.begin, llama.end), (Some(0), Some(1)));
    for name in ["smollm", "default"] {
        let tokenizer = open(&format!("{name}.gguf")).tokenizer().unwrap();
        check_tokens(&tokenizer, &format!("{name}.json"));
        assert_eq!(
            (tokenizer.begin, tokenizer.end, tokenizer.add_begin),
            (None, None, false)
        );
    }
}

#[test]
fn special_tokens_are_special_and_others_are_not() {
    let tokenizer = open("gpt2/model.gguf").tokenizer().unwrap();
    let value: Value = serde_json::from_str(&tokenizer.json).unwrap();
    let added: Vec<(&str, bool)> = value["added_tokens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|token| {
            (
                token["content"].as_str().unwrap(),
                token["special"].as_bool().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        added,
        [("<|begin|>", true), ("<|end|>", true), ("<image>", false)]
    );
}
