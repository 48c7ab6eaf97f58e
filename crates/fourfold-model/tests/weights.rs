//! Weights and configurations in and out, and what is refused.

use std::fs;
use std::path::{Path, PathBuf};

use fourfold_model::{LanguageConfig, Model, Part, Pretrained, WeightFormat};
use fourfold_tensor::Precision;

mod common;

use common::PAIRS;

fn fixture(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(kind)
}

fn load(folder: &Path) -> Result<Model, String> {
    Model::load(folder, Precision::F32).map_err(|error| error.to_string())
}

fn masters(model: &Model, part: Option<Part>) -> Vec<(String, Vec<f32>)> {
    let of_part = |name: &str| part.is_none() || Part::of(name) == part;
    let all = model.parameters.iter().filter(|(_, p)| of_part(p.name()));
    all.map(|(_, p)| (p.name().to_owned(), p.master().to_f32_vec()))
        .collect()
}

#[test]
fn saved_weights_come_back() {
    for kind in PAIRS {
        let model = load(&fixture(kind)).expect("the fixture's weights");
        for format in [WeightFormat::F32, WeightFormat::Bf16] {
            let folder = tempfile::tempdir().expect("a temporary folder");
            model.save(folder.path(), format).expect("written");
            let again = load(folder.path()).expect("read back");
            // The fixture's numbers are 16-bit numbers, so both formats keep them.
            assert_eq!(masters(&model, None), masters(&again, None), "{kind}");
            assert_eq!(model.config(), again.config());
        }
    }
}

#[test]
fn a_part_goes_out_and_into_another_model() {
    let model = load(&fixture("llama")).expect("the fixture's weights");
    for part in [Part::Vision, Part::Language] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        model
            .save_part(part, folder.path(), WeightFormat::F32)
            .expect("written");
        let config = || model.config().clone();
        let pretrained = Pretrained {
            vision: (part == Part::Vision).then_some(folder.path()),
            language: (part == Part::Language).then_some(folder.path()),
        };
        let random = Model::new(config(), Precision::F32, 7).expect("a valid configuration");
        let other = Model::begin(config(), Precision::F32, 7, pretrained).expect("the same shapes");
        let before = masters(&random, None);
        assert_eq!(masters(&other, Some(part)), masters(&model, Some(part)));
        let others = |all: Vec<(String, Vec<f32>)>| -> Vec<(String, Vec<f32>)> {
            all.into_iter()
                .filter(|(name, _)| Part::of(name) != Some(part))
                .collect()
        };
        assert_eq!(
            others(masters(&other, None)),
            others(before),
            "{part} changed another part"
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_weights() {
    let config = load(&fixture("gpt2"))
        .expect("the fixture's weights")
        .config()
        .clone();
    let make = |seed| {
        masters(
            &Model::new(config.clone(), Precision::F32, seed).expect("valid"),
            None,
        )
    };
    assert_eq!(make(1), make(1));
    assert_ne!(make(1), make(2));
}

#[test]
fn counts_are_those_of_the_built_model() {
    let model = load(&fixture("llama")).expect("the fixture's weights");
    for (part, count) in model
        .config()
        .parameter_counts()
        .expect("a valid configuration")
    {
        let built: usize = masters(&model, Some(part))
            .iter()
            .map(|(_, values)| values.len())
            .sum();
        assert_eq!(count, built, "{part}");
    }
}

/// A copy of the llama fixture with one file changed.
fn damaged(file: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> tempfile::TempDir {
    changed("llama", file, change)
}

/// A copy of a fixture with one file changed.
fn changed(kind: &str, file: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in ["config.json", "model.safetensors"] {
        fs::copy(fixture(kind).join(name), folder.path().join(name)).expect("copied");
    }
    let path = folder.path().join(file);
    fs::write(&path, change(fs::read(&path).expect("copied"))).expect("written");
    folder
}

#[test]
fn damaged_folders_are_refused_by_name() {
    let replace = |from: &'static str, to: &'static str| {
        move |bytes: Vec<u8>| {
            String::from_utf8(bytes)
                .expect("JSON")
                .replace(from, to)
                .into_bytes()
        }
    };
    let cases = [
        (
            damaged("model.safetensors", |mut bytes| bytes.split_off(100)),
            "no whole safetensors file",
        ),
        (
            damaged("model.safetensors", |bytes| {
                bytes[..bytes.len() / 2].to_vec()
            }),
            "no whole safetensors file",
        ),
        (
            damaged(
                "config.json",
                replace("\"intermediate_size\": 24", "\"intermediate_size\": 25"),
            ),
            "its configuration makes it",
        ),
        (
            damaged(
                "config.json",
                replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3"),
            ),
            "has no tensor",
        ),
        (
            damaged(
                "config.json",
                replace("\"pixel_shuffle\": 2", "\"pixel_shuffle\": 3"),
            ),
            "does not divide",
        ),
        (
            damaged(
                "config.json",
                replace("\"patch_size\": 4", "\"patch_size\": 0"),
            ),
            "expected at least 1",
        ),
        (
            damaged(
                "config.json",
                replace("\"model_type\": \"llama\"", "\"model_type\": \"lama\""),
            ),
            "llama",
        ),
        (
            damaged(
                "config.json",
                replace(
                    "\"hidden_act\": \"gelu_pytorch_tanh\"",
                    "\"hidden_act\": \"swish\"",
                ),
            ),
            "swish",
        ),
    ];
    for (folder, expected) in cases {
        let message = load(folder.path()).map(|_| ()).expect_err(expected);
        assert!(
            message.contains(expected),
            "{message} should say '{expected}'"
        );
        assert!(
            message.contains(".json")
                || message.contains(".safetensors")
                || message.contains("vision.")
                || message.contains("projector."),
            "{message} names no place"
        );
    }
}

/// A copy of a fixture whose config.json has `to` in place of `from`.
fn configured(kind: &str, from: &str, to: &str) -> tempfile::TempDir {
    changed(kind, "config.json", |bytes| {
        let text = String::from_utf8(bytes).expect("JSON");
        assert!(text.contains(from), "the fixture has no {from}");
        text.replace(from, to).into_bytes()
    })
}

/// What loading a folder is refused with.
fn refusal(folder: &Path) -> String {
    load(folder).map(|_| ()).expect_err("refused")
}

#[test]
fn keys_that_change_what_a_model_computes_are_not_passed_over() {
    let cases = [
        ("llama", "rope_scaling", "{\"factor\": 8.0}"),
        ("llama", "rope_parameters", "{\"rope_type\": \"llama3\"}"),
        ("llama", "rope_parameters", "{\"rope_type\": \"longrope\"}"),
        ("llama", "partial_rotary_factor", "0.5"),
        ("llama", "final_logit_softcapping", "30.0"),
        (
            "llama",
            "layer_types",
            "[\"sliding_attention\", \"chunked_attention\"]",
        ),
        ("llama", "hidden_act", "\"gelu\""),
        ("gpt2", "scale_attn_weights", "false"),
        ("gpt2", "scale_attn_by_inverse_layer_idx", "true"),
        ("gpt2", "add_cross_attention", "true"),
    ];
    for (kind, key, value) in cases {
        let before = "\"vocab_size\": 40";
        let folder = configured(kind, before, &format!("{before}, \"{key}\": {value}"));
        let message = refusal(folder.path());
        assert!(
            message.contains("config.json") && message.contains(key),
            "{message} should name {key}"
        );
    }
    let folder = configured("gpt2", "\"gelu_new\"", "\"relu\"");
    let message = refusal(folder.path());
    assert!(
        message.contains("activation_function") && message.contains("relu"),
        "{message}"
    );
}

#[test]
fn what_config_files_say_beside_is_taken_as_it_is_meant() {
    let newer = "\"rope_parameters\": {\"rope_theta\": 5000.0, \"rope_type\": \"default\"}, \
                 \"rope_scaling\": null, \"attention_bias\": false, \"hidden_act\": \"silu\", \
                 \"head_dim\": 4";
    let folder = configured("llama", "\"rope_theta\": 10000.0", newer);
    let model = load(folder.path()).expect("nothing there changes the mathematics");
    let LanguageConfig::Rotary(config) = &model.config().language else {
        panic!("the fixture is a llama");
    };
    assert_eq!(config.rope.theta, 5000.0);
}

#[test]
fn sizes_that_make_no_model_are_refused_by_key() {
    let cases = [
        (
            "llama",
            "\"vocab_size\": 40",
            "99999999",
            "text_config.vocab_size",
        ),
        (
            "llama",
            "\"hidden_size\": 16",
            "2000000",
            "text_config.hidden_size",
        ),
        (
            "llama",
            "\"intermediate_size\": 24",
            "0",
            "text_config.intermediate_size",
        ),
        (
            "llama",
            "\"max_position_embeddings\": 64",
            "0",
            "text_config.max_position_embeddings",
        ),
        (
            "llama",
            "\"num_channels\": 3",
            "4",
            "vision_config.num_channels",
        ),
        (
            "llama",
            "\"image_size\": 16",
            "1000000000000",
            "vision_config.image_size",
        ),
        (
            "llama",
            "\"num_hidden_layers\": 2",
            "20000",
            "vision_config.num_hidden_layers",
        ),
        (
            "llama",
            "\"hidden_size\": 20",
            "0",
            "projector_config.hidden_size",
        ),
        ("gpt2", "\"n_inner\": 24", "0", "text_config.n_inner"),
        ("gpt2", "\"n_layer\": 2", "20000", "text_config.n_layer"),
        ("gpt2", "\"n_embd\": 16", "0", "text_config.n_embd"),
    ];
    for (kind, from, size, key) in cases {
        let (name, _) = from.split_once(':').expect("a key and its value");
        let folder = configured(kind, from, &format!("{name}: {size}"));
        let message = refusal(folder.path());
        assert!(
            message.contains(&format!("config.json: {key}: is {size}; expected ")),
            "{message} should name {key}"
        );
    }
}
