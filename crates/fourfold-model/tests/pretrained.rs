//! Folders of pretrained backbones: shards, larger models, more tokens, and what is wrong or damaged.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use fourfold_model::{
    LanguageConfig, Model, ModelConfig, Pretrained, ProjectorConfig, ProjectorKind, VisibilityKind,
    VisionConfig, write_safetensors,
};
use fourfold_tensor::Precision;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};

const SHARDS: [&str; 2] = [
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
];
const INDEX: &str = "model.safetensors.index.json";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/backbones")
        .join(name)
}

fn config(vision: &Path, language: &Path) -> Result<ModelConfig, String> {
    let text = |error: fourfold_model::ModelError| error.to_string();
    Ok(ModelConfig {
        vision: VisionConfig::of_folder(vision).map_err(text)?,
        projector: ProjectorConfig {
            kind: ProjectorKind::Linear,
            pixel_shuffle: 1,
            hidden_size: None,
        },
        language: LanguageConfig::of_folder(language).map_err(text)?,
        visibility: VisibilityKind::Causal,
        tokenizer_sha256: String::new(),
        lora: None,
    })
}

/// The numbers of a model that begins from these folders, or why there is none.
fn begin(vision: &Path, language: &Path) -> Result<Model, String> {
    let pretrained = Pretrained {
        vision: Some(vision),
        language: Some(language),
    };
    let config = config(vision, language)?;
    Model::begin(config, Precision::F32, 1, pretrained).map_err(|error| error.to_string())
}

fn numbers(model: &Model) -> Vec<(String, Vec<f32>)> {
    let all = model.parameters.iter();
    all.map(|(_, p)| (p.name().to_owned(), p.master().to_f32_vec()))
        .collect()
}

/// The tensors of a fixture, copied out.
struct Tensors(Vec<u8>);

impl Tensors {
    fn of(name: &str) -> Self {
        Self(fs::read(fixture(name).join("model.safetensors")).expect("committed"))
    }

    fn all(&self) -> BTreeMap<String, TensorView<'_>> {
        let file = SafeTensors::deserialize(&self.0).expect("whole");
        file.tensors().into_iter().collect()
    }
}

/// A copy of a fixture's configuration in a folder that has no weights yet.
fn folder_with(config: &Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("config.json"), config.to_string()).expect("written");
    folder
}

fn config_of(name: &str) -> Value {
    let text = fs::read_to_string(fixture(name).join("config.json")).expect("committed");
    serde_json::from_str(&text).expect("JSON")
}

/// The qwen2 fixture in two shards, tensors dealt out in turn.
fn sharded() -> tempfile::TempDir {
    let folder = folder_with(&config_of("qwen2"));
    let tensors = Tensors::of("qwen2");
    let mut weight_map = serde_json::Map::new();
    for (turn, shard) in SHARDS.iter().enumerate() {
        let dealt = tensors.all().into_iter().enumerate();
        let own: Vec<_> = dealt
            .filter(|(index, _)| index % 2 == turn)
            .map(|(_, named)| named)
            .collect();
        for (name, _) in &own {
            weight_map.insert(name.clone(), (*shard).into());
        }
        write_safetensors(&folder.path().join(shard), own, None).expect("written");
    }
    let index = json!({"metadata": {"total_size": 0}, "weight_map": weight_map});
    fs::write(folder.path().join(INDEX), index.to_string()).expect("written");
    folder
}

#[test]
fn shards_are_the_model_that_one_file_is() {
    let one = begin(&fixture("siglip"), &fixture("qwen2")).expect("loads");
    let folder = sharded();
    let several = begin(&fixture("siglip"), folder.path()).expect("loads");
    assert_eq!(numbers(&one), numbers(&several));
}

/// The two backbones within one folder, as a vision-language model has them.
#[test]
fn parts_are_found_within_a_larger_model() {
    let parts = begin(&fixture("clip"), &fixture("llama")).expect("loads");
    let folder = folder_with(&json!({
        "model_type": "llava",
        "vision_config": config_of("clip"),
        "text_config": config_of("llama"),
    }));
    let (clip, llama) = (Tensors::of("clip"), Tensors::of("llama"));
    let inside = |prefix: &'static str| {
        move |(name, tensor): (String, TensorView<'_>)| {
            let data = tensor.data().to_vec();
            (
                format!("{prefix}{name}"),
                tensor.dtype(),
                tensor.shape().to_vec(),
                data,
            )
        }
    };
    let clip = clip
        .all()
        .into_iter()
        .map(inside("vision_tower.vision_model."));
    let llama = llama.all().into_iter().map(inside("language_model."));
    let all: Vec<_> = clip.chain(llama).collect();
    let views = all.iter().map(|(name, dtype, shape, data)| {
        let view = TensorView::new(*dtype, shape.clone(), data).expect("as it was");
        (name.as_str(), view)
    });
    let path = folder.path().join("model.safetensors");
    write_safetensors(&path, views, None).expect("written");
    let within = begin(folder.path(), folder.path()).expect("loads");
    assert_eq!(numbers(&parts), numbers(&within));
}

/// A head that is the embedding table may be stored beside it, in other bits as well.
#[test]
fn a_tied_head_may_be_stored() {
    let tensors = Tensors::of("llama");
    let mut all = tensors.all();
    let table = all["model.embed_tokens.weight"].clone();
    let rounded: Vec<half::bf16> = table
        .data()
        .as_chunks::<4>()
        .0
        .iter()
        .map(|bytes| half::bf16::from_f32(f32::from_le_bytes(*bytes)))
        .collect();
    let short: Vec<u8> = rounded.iter().flat_map(|n| n.to_le_bytes()).collect();
    let long: Vec<u8> = rounded
        .iter()
        .flat_map(|n| n.to_f32().to_le_bytes())
        .collect();
    let mut other = long.clone();
    other[3] ^= 0x80; // the sign of the first number
    let shape = table.shape().to_vec();
    let view = |dtype, bytes| TensorView::new(dtype, shape.clone(), bytes).expect("as it was");
    for (head, loads) in [
        (view(Dtype::F32, &long), true),
        (view(Dtype::F32, &other), false),
    ] {
        let table = view(Dtype::BF16, &short);
        all.insert("model.embed_tokens.weight".into(), table);
        all.insert("lm_head.weight".into(), head);
        let mut config = config_of("llama");
        config["tie_word_embeddings"] = true.into();
        let folder = folder_with(&config);
        let path = folder.path().join("model.safetensors");
        let views = all.iter().map(|(name, view)| (name.as_str(), view.clone()));
        write_safetensors(&path, views, None).expect("written");
        let begun = begin(&fixture("siglip"), folder.path());
        assert_eq!(begun.is_ok(), loads, "{:?}", begun.err());
    }
}

/// What `transformers` leaves out of a file has its default, also in the part of a larger model.
#[test]
fn what_a_file_leaves_unsaid_is_the_default_of_its_family() {
    let folder =
        folder_with(&json!({"model_type": "siglip", "vision_config": {"hidden_size": 24}}));
    let vision = VisionConfig::of_folder(folder.path()).expect("complete");
    assert_eq!(
        (
            vision.hidden_size,
            vision.num_hidden_layers,
            vision.patches()
        ),
        (24, 12, 196)
    );
    // The first files of CLIP say it twice; the older key goes before, with all that it leaves unsaid.
    let folder = folder_with(&json!({
        "model_type": "clip",
        "vision_config": {"hidden_size": 1024, "num_hidden_layers": 24},
        "vision_config_dict": {"hidden_size": 24},
    }));
    let vision = VisionConfig::of_folder(folder.path()).expect("complete");
    assert_eq!((vision.hidden_size, vision.num_hidden_layers), (24, 12));
    let folder = folder_with(&json!({"model_type": "llama", "vocab_size": 32064}));
    let language = LanguageConfig::of_folder(folder.path()).expect("complete");
    assert_eq!(
        (language.vocabulary(), language.width(), language.layers()),
        (32064, 4096, 32)
    );
}

/// A copy of the qwen2 fixture, changed.
fn changed(change: impl FnOnce(&Path)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for file in ["config.json", "model.safetensors"] {
        fs::copy(fixture("qwen2").join(file), folder.path().join(file)).expect("copied");
    }
    change(folder.path());
    folder
}

fn sharded_and(change: impl FnOnce(&Path)) -> tempfile::TempDir {
    let folder = sharded();
    change(folder.path());
    folder
}

fn edit_config(folder: &Path, key: &str, value: Value) {
    let path = folder.join("config.json");
    let mut config: Value =
        serde_json::from_str(&fs::read_to_string(&path).expect("there")).expect("JSON");
    config[key] = value;
    fs::write(path, config.to_string()).expect("written");
}

/// Lets `change` write the bytes of the weights; its second argument is where numbers begin.
fn edit_weights(folder: &Path, change: impl FnOnce(&mut Vec<u8>, usize)) {
    let path = folder.join("model.safetensors");
    let mut bytes = fs::read(&path).expect("there");
    let header = u64::from_le_bytes(bytes[..8].try_into().expect("eight"));
    change(&mut bytes, 8 + header as usize);
    fs::write(path, bytes).expect("written");
}

#[test]
fn what_is_wrong_or_damaged_is_named() {
    let truncated = |path: &Path| {
        let bytes = fs::read(path).expect("there");
        fs::write(path, &bytes[..bytes.len() - 10]).expect("written");
    };
    let weights = |folder: &Path| folder.join("model.safetensors");
    let cases: Vec<(&str, tempfile::TempDir, &[&str])> = vec![
        (
            "a missing shard",
            sharded_and(|f| fs::remove_file(f.join(SHARDS[1])).expect("there")),
            &[INDEX, SHARDS[1], "missing"],
        ),
        (
            "a shard cut short",
            sharded_and(|f| truncated(&f.join(SHARDS[0]))),
            &[SHARDS[0], "no whole safetensors file"],
        ),
        (
            "a shard without the tensor that the index names",
            sharded_and(|f| {
                let empty: Vec<(&str, TensorView<'_>)> = vec![];
                write_safetensors(&f.join(SHARDS[0]), empty, None).expect("written");
            }),
            &[SHARDS[0], "has no tensor"],
        ),
        (
            "an index that leads out of its folder",
            sharded_and(|f| {
                let index = json!({"weight_map": {"model.norm.weight": "../secret.safetensors"}});
                fs::write(f.join(INDEX), index.to_string()).expect("written");
            }),
            &[INDEX, "../secret.safetensors"],
        ),
        (
            "an index that is no index",
            sharded_and(|f| fs::write(f.join(INDEX), "[1, 2]").expect("written")),
            &[INDEX],
        ),
        (
            "a file cut short",
            changed(|f| truncated(&weights(f))),
            &["model.safetensors", "no whole safetensors file"],
        ),
        (
            "an empty file",
            changed(|f| fs::write(weights(f), "").expect("written")),
            &["model.safetensors", "no whole safetensors file"],
        ),
        (
            "a header of absurd length",
            changed(|f| {
                edit_weights(f, |bytes, _| {
                    bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes())
                });
            }),
            &["model.safetensors", "no whole safetensors file"],
        ),
        (
            "no weights at all",
            changed(|f| fs::remove_file(weights(f)).expect("there")),
            &["holds no weights", "model.safetensors.index.json"],
        ),
        (
            "weights that only Python reads",
            changed(|f| fs::rename(weights(f), f.join("pytorch_model.bin")).expect("there")),
            &["pytorch_model.bin", "save_pretrained"],
        ),
        (
            "an index without a tensor",
            sharded_and(|f| fs::write(f.join(INDEX), r#"{"weight_map": {}}"#).expect("written")),
            &[INDEX, "names no tensor"],
        ),
        (
            "a number that is none",
            changed(|f| {
                edit_weights(f, |bytes, start| {
                    bytes[start..start + 4].copy_from_slice(&f32::NAN.to_le_bytes());
                });
            }),
            &["model.safetensors", "lm_head.weight", "NaN at 0"],
        ),
        (
            "another width",
            changed(|f| edit_config(f, "intermediate_size", 25.into())),
            &[
                "model.safetensors",
                "mlp.gate_proj.weight",
                "[24, 16]",
                "[25, 16]",
            ],
        ),
        (
            "more layers",
            changed(|f| {
                edit_config(f, "num_hidden_layers", 3.into());
                edit_config(f, "layer_types", serde_json::Value::Null);
            }),
            &["model.layers.2.input_layernorm.weight", "has no tensor"],
        ),
        (
            "another family",
            changed(|f| {
                edit_config(f, "model_type", "qwen3".into());
                edit_config(f, "head_dim", 4.into());
            }),
            &["k_proj.bias", "do not belong together"],
        ),
        (
            "fewer layers",
            changed(|f| {
                edit_config(f, "num_hidden_layers", 1.into());
                edit_config(f, "layer_types", Value::Null);
            }),
            &["model.layers.1.", "do not belong together"],
        ),
        (
            "a vocabulary that the weights do not have",
            changed(|f| edit_config(f, "vocab_size", 99.into())),
            &["embed_tokens.weight", "[99, 16]"],
        ),
        (
            "weights in a way of their own",
            changed(|f| {
                let how = json!({"quant_method": "gptq", "bits": 4});
                edit_config(f, "quantization_config", how);
            }),
            &["config.json", "quantization_config", "gptq"],
        ),
        (
            "a head that is not the embedding table it is said to be",
            changed(|f| edit_config(f, "tie_word_embeddings", true.into())),
            &["lm_head.weight", "tie_word_embeddings"],
        ),
        (
            "an unknown family",
            changed(|f| edit_config(f, "model_type", "mamba".into())),
            &["config.json", "model_type", "mamba", "qwen2"],
        ),
        (
            "a key of another type",
            changed(|f| edit_config(f, "hidden_size", "wide".into())),
            &["config.json: hidden_size: is \"wide\"; expected a whole number"],
        ),
        (
            "no configuration",
            changed(|f| fs::remove_file(f.join("config.json")).expect("there")),
            &["config.json"],
        ),
        (
            "a size with digits too many",
            changed(|f| edit_config(f, "vocab_size", 4_000_000_000_u64.into())),
            &["config.json: vocab_size: is 4000000000"],
        ),
        (
            "an encoder alone",
            changed(|f| {
                fs::copy(fixture("siglip").join("model.safetensors"), weights(f)).expect("copied");
            }),
            &["model.safetensors", "holds no language model"],
        ),
    ];
    for (what, folder, expected) in cases {
        let message = begin(&fixture("siglip"), folder.path())
            .map(|_| ())
            .expect_err(what);
        for words in expected {
            assert!(
                message.contains(words),
                "{what}: {message} should say '{words}'"
            );
        }
    }
}
