//! Models in the formats of others, and LLaVA's folders back: weights that survive, and what is refused.
//!
//! That `transformers` opens the folders and computes the same is held by `parity.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use fourfold_model::{
    DocumentSpan, ExportFormat, ImageSize, Images, Input, LanguageConfig, LlavaFolder, Model,
    ModelConfig, ModelError, Part, Pretrained, ProjectorConfig, ProjectorKind, SpecialTokens,
    VisibilityKind, VisionConfig, VisualSpan, WeightFormat, check_part,
};
use fourfold_tensor::{Precision, Tensor};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

const TOKENS: SpecialTokens = SpecialTokens {
    begin: 1,
    image: 2,
    end: 3,
};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn backbone(name: &str) -> PathBuf {
    fixtures().join("backbones").join(name)
}

/// What LLaVA can express, around these backbones.
fn config(vision: &str, layer: i64, language: &str) -> ModelConfig {
    let encoder = VisionConfig::of_folder(&backbone(vision)).expect("a known family");
    ModelConfig {
        vision: encoder.cut_at(layer).expect("a layer"),
        projector: ProjectorConfig::default(),
        language: LanguageConfig::of_folder(&backbone(language)).expect("a known family"),
        visibility: VisibilityKind::Causal,
        tokenizer_sha256: "abc".into(),
        lora: None,
    }
}

fn model(vision: &str, layer: i64, language: &str) -> Model {
    let (folder, other) = (backbone(vision), backbone(language));
    let pretrained = Pretrained {
        vision: Some(&folder),
        language: Some(&other),
    };
    let config = config(vision, layer, language);
    Model::begin(config, Precision::F32, 3, pretrained).expect("loads")
}

fn export(model: &Model, format: ExportFormat) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    model
        .export(folder.path(), format, TOKENS, WeightFormat::F32)
        .expect("expressible");
    folder
}

fn masters(model: &Model) -> Vec<(String, Vec<f32>)> {
    let parameters = model.parameters.iter();
    parameters
        .map(|(_, p)| (p.name().to_owned(), p.master().to_f32_vec()))
        .collect()
}

fn import(folder: &Path) -> Result<(Model, u32), String> {
    let read = || {
        let llava = LlavaFolder::open(folder)?;
        let image = llava.image_token();
        Ok((llava.load("abc".into())?, image))
    };
    read().map_err(|error: ModelError| error.to_string())
}

fn read_config(folder: &Path) -> Value {
    let text = fs::read_to_string(folder.join("config.json")).expect("there");
    serde_json::from_str(&text).expect("JSON")
}

fn write_config(folder: &Path, config: &Value) {
    fs::write(folder.join("config.json"), config.to_string()).expect("written");
}

/// Every tensor of a folder with its shape and bytes, all of them f32.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<u8>)>;

fn tensors(folder: &Path) -> Tensors {
    let bytes = fs::read(folder.join("model.safetensors")).expect("there");
    let file = SafeTensors::deserialize(&bytes).expect("whole");
    let tensor = |(name, view): (String, TensorView<'_>)| {
        (name, (view.shape().to_vec(), view.data().to_vec()))
    };
    file.tensors().into_iter().map(tensor).collect()
}

fn write_tensors(path: &Path, tensors: &Tensors) {
    let views = tensors.iter().map(|(name, (shape, bytes))| {
        let view = TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes);
        (name, view.expect("as many bytes as numbers"))
    });
    safetensors::serialize_to_file(views, None, path).expect("written");
}

const PAIRS: [(&str, i64, &str); 4] = [
    ("clip", -2, "llama"),
    ("clip", -1, "llama-llama3"),
    ("siglip", -1, "qwen2-window"),
    ("siglip", -2, "qwen3"),
];

#[test]
fn a_llava_comes_back_as_it_went() {
    for (vision, layer, language) in PAIRS {
        let model = model(vision, layer, language);
        for format in [WeightFormat::F32, WeightFormat::Bf16] {
            let folder = tempfile::tempdir().expect("a folder");
            model
                .export(folder.path(), ExportFormat::Llava, TOKENS, format)
                .expect("expressible");
            let (again, image) = import(folder.path()).expect("a LLaVA");
            assert_eq!(image, TOKENS.image);
            assert_eq!(again.config(), model.config(), "{vision} {language}");
            // The projector's random numbers are the only ones here that 16 bits do not hold.
            let (found, wanted) = (masters(&again), masters(&model));
            for ((name, found), (_, wanted)) in found.iter().zip(&wanted) {
                let exact = format == WeightFormat::F32 || !name.starts_with("projector.");
                assert!(!exact || found == wanted, "{name} of {vision} {language}");
            }
            assert_eq!(found.len(), wanted.len());
        }
    }
}

#[test]
fn a_llava_is_read_with_blocks_behind_its_features_under_the_names_of_modules_and_from_shards() {
    let model = model("clip", -2, "llama-biases");
    let folder = export(&model, ExportFormat::Llava);
    let path = folder.path();
    // The encoder as a whole, of which LLaVA reads the features of the last block but one.
    let mut config = read_config(path);
    let whole = fs::read_to_string(backbone("clip").join("config.json")).expect("there");
    config["vision_config"] = serde_json::from_str(&whole).expect("JSON");
    config["vision_feature_layer"] = json!(-2);
    write_config(path, &config);
    let mut all = tensors(path);
    all.retain(|name, _| !name.starts_with("vision_tower."));
    for (name, tensor) in tensors(&backbone("clip")) {
        all.insert(format!("vision_tower.{name}"), tensor);
    }
    write_tensors(&path.join("model.safetensors"), &all);
    let (again, _) = import(path).expect("a LLaVA");
    assert_eq!(masters(&again), masters(&model));

    let renamed = |name: &str| match name.strip_prefix("language_model.") {
        Some("lm_head.weight") => "lm_head.weight".to_owned(),
        Some(rest) => format!("model.language_model.{}", rest.replacen("model.", "", 1)),
        None => format!("model.{}", name.replacen("vision_model.", "", 1)),
    };
    let modules: Tensors = all
        .iter()
        .map(|(name, t)| (renamed(name), t.clone()))
        .collect();
    fs::remove_file(path.join("model.safetensors")).expect("there");
    let (mut shards, mut places) = ([Tensors::new(), Tensors::new()], BTreeMap::new());
    for (number, (name, tensor)) in modules.into_iter().enumerate() {
        places.insert(name.clone(), format!("{}.safetensors", number % 2));
        shards[number % 2].insert(name, tensor);
    }
    for (number, shard) in shards.iter().enumerate() {
        write_tensors(&path.join(format!("{number}.safetensors")), shard);
    }
    let index = json!({ "metadata": {}, "weight_map": places }).to_string();
    fs::write(path.join("model.safetensors.index.json"), index).expect("written");
    let (again, _) = import(path).expect("a LLaVA");
    assert_eq!(masters(&again), masters(&model));
}

#[test]
fn a_native_folder_remains_a_model_of_its_own() {
    for name in ["llama", "gpt2", "clip-llama", "dinov2-gemma3"] {
        let model = Model::load(&fixtures().join(name), Precision::F32).expect("the fixture");
        let folder = export(&model, ExportFormat::Native);
        let again = Model::load(folder.path(), Precision::F32).expect("a model folder");
        assert_eq!(masters(&again), masters(&model), "{name}");
        assert_eq!(again.config(), model.config(), "{name}");
    }
}

#[test]
fn what_a_format_cannot_express_is_refused_with_the_reason_and_the_way_out() {
    use ExportFormat::{Gemma3, Llava, Native};
    let llava = || config("clip", -2, "llama");
    let gemma = || {
        let mut config = config("siglip", -1, "gemma3");
        config.vision = VisionConfig::of_folder(&backbone("siglip")).expect("a known family");
        config.projector.kind = ProjectorKind::Gemma3;
        config.projector.pixel_shuffle = 2;
        config.visibility = VisibilityKind::ImageBidirectional;
        config
    };
    assert!(Llava.check(&llava()).is_ok() && Gemma3.check(&gemma()).is_ok());
    type Change = fn(&mut ModelConfig);
    let cases: [(ExportFormat, Change, &str); 17] = [
        (Llava, |c| c.vision.final_norm = true, "layer = -1"),
        (
            Llava,
            |c| c.visibility = VisibilityKind::PrefixLm,
            "prefix-lm",
        ),
        (
            Llava,
            |c| c.projector.kind = ProjectorKind::Linear,
            "[model.projector]",
        ),
        (Llava, |c| c.projector.pixel_shuffle = 2, "pixel_shuffle"),
        (Llava, |c| c.projector.hidden_size = Some(20), "hidden_size"),
        (
            Llava,
            |c| c.language = LanguageConfig::of_folder(&backbone("gpt2")).expect("read"),
            "gpt2",
        ),
        (
            Llava,
            |c| c.language = LanguageConfig::of_folder(&backbone("gemma3")).expect("read"),
            "gemma3_text",
        ),
        (
            Llava,
            |c| c.vision = VisionConfig::of_folder(&backbone("dinov2")).expect("read"),
            "dinov2",
        ),
        (Llava, |c| c.vision.image_size.width = 20, "16 x 20"),
        (Gemma3, |c| c.vision.final_norm = false, "last norm"),
        (
            Gemma3,
            |c| c.vision = VisionConfig::of_folder(&backbone("clip")).expect("read"),
            "clip",
        ),
        (Gemma3, |c| c.projector.kind = ProjectorKind::Mlp, "`kind`"),
        (Gemma3, |c| c.projector.pixel_shuffle = 1, "window of 6"),
        (
            Gemma3,
            |c| c.visibility = VisibilityKind::Causal,
            "image-bidirectional",
        ),
        (
            Gemma3,
            |c| c.language = LanguageConfig::of_folder(&backbone("qwen2")).expect("read"),
            "qwen2",
        ),
        (
            Native,
            |c| {
                c.vision.image_size = ImageSize {
                    height: 8,
                    width: 16,
                }
            },
            "8 x 16",
        ),
        (
            Native,
            |c| {
                c.vision = VisionConfig::of_folder(&backbone("dinov2-registers")).expect("read");
                c.vision.image_size.width = 24;
            },
            "x 24",
        ),
    ];
    for (format, change, expected) in cases {
        let mut config = if format == Gemma3 { gemma() } else { llava() };
        change(&mut config);
        let message = format.check(&config).expect_err(expected).to_string();
        assert!(message.contains(expected), "{message}");
        let square = config.vision.image_size.side().is_some();
        let way_out = if square {
            "format native"
        } else {
            "no other format"
        };
        assert!(message.contains(way_out), "{message}");
    }
}

#[test]
fn an_encoder_of_rectangles_goes_out_alone_where_transformers_has_one() {
    for (name, known) in [
        ("vit", true),
        ("deit", true),
        ("clip", false),
        ("dinov2", false),
    ] {
        let mut config = config("clip", -2, "llama");
        config.vision = VisionConfig::of_folder(&backbone(name)).expect("read");
        assert!(check_part(Part::Vision, &config).is_ok(), "{name}: squares");
        config.vision.image_size.width *= 2;
        let checked = check_part(Part::Vision, &config).map_err(|error| error.to_string());
        assert_eq!(checked.is_ok(), known, "{name}: {checked:?}");
        if let Err(message) = checked {
            assert!(
                message.contains(name) && message.contains("`image_size` in [model.vision]"),
                "{message}"
            );
        }
        assert!(check_part(Part::Language, &config).is_ok());
    }
}

#[test]
fn lengths_of_pretraining_are_written_as_whole_numbers() {
    for language in ["llama-llama3", "qwen2-yarn"] {
        let folder = export(&model("clip", -2, language), ExportFormat::Llava);
        let text = &read_config(folder.path())["text_config"];
        let scaling = ["rope_parameters", "rope_scaling"].map(|key| &text[key]);
        let scaling = scaling.into_iter().find(|table| table.is_object());
        let length = &scaling.expect("a rule")["original_max_position_embeddings"];
        assert!(length.is_u64(), "{language}: {length}");
    }
}

#[test]
fn a_head_is_tied_where_either_table_says_so() {
    let model = model("clip", -2, "llama-biases");
    let folder = export(&model, ExportFormat::Llava);
    let path = folder.path();
    let mut all = tensors(path);
    all.remove("language_model.lm_head.weight")
        .expect("a head of its own");
    write_tensors(&path.join("model.safetensors"), &all);
    let mut config = read_config(path);
    config["text_config"]["tie_word_embeddings"] = false.into();
    for (top, expected) in [
        (json!(true), None),
        (json!(false), Some("lm_head.weight")),
        (json!(null), Some("lm_head.weight")),
        (json!(1), Some("tie_word_embeddings is 1")),
    ] {
        config["tie_word_embeddings"] = top;
        write_config(path, &config);
        match (import(path), expected) {
            (Ok((model, _)), None) => {
                let own = |(name, _): &(String, Vec<f32>)| name.contains("lm_head");
                assert!(!masters(&model).iter().any(own));
            }
            (Err(message), Some(expected)) => assert!(message.contains(expected), "{message}"),
            (found, _) => panic!("{:?}", found.map(|_| "a model")),
        }
    }
}

#[test]
fn a_token_that_the_model_does_not_know_is_refused() {
    let model = model("clip", -2, "llama");
    let tokens = SpecialTokens {
        image: 40,
        ..TOKENS
    };
    let folder = tempfile::tempdir().expect("a folder");
    let refused = model.export(
        folder.path(),
        ExportFormat::Llava,
        tokens,
        WeightFormat::F32,
    );
    let message = refused.expect_err("unknown").to_string();
    assert!(message.contains("image token is 40"), "{message}");
}

#[test]
fn a_folder_that_is_no_llava_of_this_kind_is_refused_by_key_and_tensor() {
    let model = model("clip", -2, "llama-biases");
    type Change = fn(&mut Value);
    let keys: [(Change, &[&str]); 12] = [
        (
            |c| c["model_type"] = "llava_next".into(),
            &["model_type", "llava_next"],
        ),
        (
            |c| c["vision_feature_layer"] = json!([-2, -1]),
            &["vision_feature_layer", "one layer"],
        ),
        (
            |c| c["vision_feature_layer"] = json!(-7),
            &["vision_feature_layer", "-7"],
        ),
        (
            |c| c["vision_feature_select_strategy"] = "all".into(),
            &["vision_feature_select_strategy"],
        ),
        (
            |c| c["projector_hidden_act"] = "relu".into(),
            &["projector_hidden_act", "relu"],
        ),
        (
            |c| c["multimodal_projector_bias"] = false.into(),
            &["multimodal_projector_bias"],
        ),
        (
            |c| c["image_token_index"] = json!(40),
            &["image_token_index", "40"],
        ),
        (
            |c| c["image_token_index"] = json!("x"),
            &["image_token_index"],
        ),
        (
            |c| c["text_config"] = Value::Null,
            &["text_config", "missing"],
        ),
        (
            |c| c["text_config"]["model_type"] = "mamba".into(),
            &["text_config", "mamba"],
        ),
        (
            |c| c["vision_config"]["model_type"] = "vit".into(),
            &["vision_config", "vit"],
        ),
        (
            |c| c["text_config"]["hidden_size"] = json!(32),
            &["model.safetensors", "is [16, 12]"],
        ),
    ];
    for (change, expected) in keys {
        let folder = export(&model, ExportFormat::Llava);
        let mut config = read_config(folder.path());
        change(&mut config);
        write_config(folder.path(), &config);
        let message = import(folder.path()).expect_err("no LLaVA of this kind");
        assert!(
            expected.iter().all(|part| message.contains(part)),
            "{message}"
        );
        assert!(
            message.contains(&folder.path().display().to_string()),
            "{message}"
        );
    }
    let head = "language_model.lm_head.weight";
    type Tear = fn(&mut Tensors);
    let files: [(Tear, &str); 4] = [
        (
            |t| drop(t.remove("language_model.lm_head.weight")),
            "lm_head.weight",
        ),
        (
            |t| drop(t.remove("multi_modal_projector.linear_2.bias")),
            "linear_2.bias",
        ),
        (
            |t| {
                let tensor = t["language_model.lm_head.weight"].clone();
                t.insert("image_newline".into(), tensor);
            },
            "image_newline",
        ),
        // A table of fewer rows than tokens is no reason to make some up.
        (
            |t| {
                let tensor = t.get_mut("language_model.lm_head.weight").expect("there");
                tensor.0[0] -= 1;
                tensor.1.truncate(tensor.1.len() - 64);
            },
            "[39, 16]",
        ),
    ];
    for (tear, expected) in files {
        let folder = export(&model, ExportFormat::Llava);
        let mut all = tensors(folder.path());
        assert!(all.contains_key(head));
        tear(&mut all);
        write_tensors(&folder.path().join("model.safetensors"), &all);
        let message = import(folder.path()).expect_err(expected);
        assert!(message.contains(expected), "{message}");
    }
}

/// A LLaVA that `transformers` made says here what it says there.
#[test]
fn a_llava_of_transformers_is_read() {
    let folder = fixtures().join("llava");
    let (model, image) = import(&folder).expect("a LLaVA");
    let bytes = fs::read(folder.join("expected.safetensors")).expect("the fixture is committed");
    let file = SafeTensors::deserialize(&bytes).expect("whole");
    let words = |name: &str| -> Vec<u32> {
        let (words, _) = file.tensor(name).expect("there").data().as_chunks::<4>();
        words.iter().map(|word| u32::from_le_bytes(*word)).collect()
    };
    let floats = |name: &str| -> Vec<f32> { words(name).into_iter().map(f32::from_bits).collect() };
    let tokens = words("tokens");
    let positions: Vec<u32> = (0..tokens.len() as u32).collect();
    let span = |start, image| VisualSpan {
        start,
        len: 16,
        image,
    };
    assert!(
        tokens[1..17]
            .iter()
            .chain(&tokens[18..34])
            .all(|token| *token == image)
    );
    let images = Tensor::from_f32(&[2, 3, 16, 16], &floats("images")).expect("two images");
    let input = Input {
        tokens: &tokens,
        positions: &positions,
        documents: &[DocumentSpan {
            start: 0,
            end: tokens.len(),
            prompt_end: tokens.len(),
            visual: vec![span(1, 0), span(18, 1)],
            key: 0,
        }],
        images: Images::Pixels(&images),
        targets: &[],
    };
    let logits = model.logits(&input, VisibilityKind::Causal).expect("fits");
    for (found, wanted) in logits.to_f32_vec().iter().zip(floats("logits")) {
        let error = (found - wanted).abs();
        assert!(error <= 1e-4, "logit {found}, transformers {wanted}");
    }
    // And it goes out again as it came.
    let again = export(&model, ExportFormat::Llava);
    assert_eq!(
        masters(&import(again.path()).expect("a LLaVA").0),
        masters(&model)
    );
}

/// The features of an encoder are the same after the way out and back.
#[test]
fn a_class_token_that_is_kept_is_kept() {
    let mut config = config("clip", -1, "llama");
    config.vision.keep_class_token = true;
    let folder = backbone("clip");
    let pretrained = Pretrained {
        vision: Some(&folder),
        language: None,
    };
    let model = Model::begin(config, Precision::F32, 1, pretrained).expect("loads");
    let folder = export(&model, ExportFormat::Llava);
    let strategy = read_config(folder.path())["vision_feature_select_strategy"].clone();
    assert_eq!(strategy, "full");
    let (again, _) = import(folder.path()).expect("a LLaVA");
    let images = Tensor::from_f32(&[1, 3, 16, 16], &[0.3; 768]).expect("an image");
    let features = |model: &Model| model.encode(&images).expect("fits").to_f32_vec();
    assert_eq!(features(&again), features(&model));
    assert_eq!(again.config().visual_tokens(), 17);
}
