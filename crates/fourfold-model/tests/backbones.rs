//! Every family of backbones, from the files that `transformers` writes, against what `transformers` computes.
//! `fixtures/make.py` makes them.

use std::fs;
use std::path::{Path, PathBuf};

use fourfold_model::{
    DocumentSpan, GenerateOptions, ImageSize, Images, Input, LanguageConfig, Model, ModelConfig,
    Pretrained, ProjectorConfig, ProjectorKind, Prompt, VisibilityKind, VisionConfig,
};
use fourfold_tensor::{Precision, Tensor};
use safetensors::SafeTensors;

const VISION: [&str; 8] = [
    "siglip",
    "siglip-rest",
    "clip",
    "vit",
    "deit",
    "dinov2",
    "dinov2-registers",
    "dinov2-gated",
];
const LANGUAGE: [&str; 11] = [
    "llama",
    "llama-biases",
    "llama-linear",
    "llama-dynamic",
    "llama-llama3",
    "qwen2",
    "qwen2-yarn",
    "qwen2-window",
    "qwen3",
    "gemma3",
    "gpt2",
];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/backbones")
        .join(name)
}

/// What `transformers` gave.
struct Expected(Vec<u8>);

impl Expected {
    fn of(name: &str) -> Self {
        Self(fs::read(folder(name).join("expected.safetensors")).expect("the fixture is committed"))
    }

    fn words(&self, name: &str) -> (Vec<usize>, Vec<u32>) {
        let file = SafeTensors::deserialize(&self.0).expect("a whole file");
        let tensor = file.tensor(name).expect("a known name");
        let (words, _) = tensor.data().as_chunks::<4>();
        let words = words.iter().map(|word| u32::from_le_bytes(*word)).collect();
        (tensor.shape().to_vec(), words)
    }

    fn floats(&self, name: &str) -> (Vec<usize>, Vec<f32>) {
        let (shape, words) = self.words(name);
        (shape, words.into_iter().map(f32::from_bits).collect())
    }
}

/// Pixels behind the last whole patch count for nothing, and SigLIP so400m at 384 pixels makes 27 by 27 patches.
#[test]
fn pixels_that_make_no_whole_patch_are_left_out() {
    let folder = folder("siglip-rest");
    let vision = VisionConfig::of_folder(&folder).expect("a known family");
    assert_eq!(
        (vision.image_size, vision.patch_size),
        (ImageSize::square(18), 4)
    );
    assert_eq!(vision.grid(), ImageSize::square(4));
    let pretrained = Pretrained {
        vision: Some(&folder),
        language: None,
    };
    let model = Model::begin(
        around(Some(vision.clone()), None),
        Precision::F32,
        1,
        pretrained,
    );
    let model = model.expect("loads");
    let (shape, mut pixels) = Expected::of("siglip-rest").floats("images");
    let before = Tensor::from_f32(&shape, &pixels).expect("images");
    let features = model.encode(&before).expect("its size").to_f32_vec();
    let side = shape[3];
    for (at, pixel) in pixels.iter_mut().enumerate() {
        if at % side >= 16 || at / side % side >= 16 {
            *pixel = 1e3;
        }
    }
    let after = Tensor::from_f32(&shape, &pixels).expect("images");
    assert_eq!(
        model.encode(&after).expect("its size").to_f32_vec(),
        features
    );
    // Images of another size are refused, though as many patches fit in them.
    let other = Tensor::zeros(&[1, 3, 16, 16]);
    let error = model.encode(&other).expect_err("refused").to_string();
    assert!(
        error.contains("16 x 16") && error.contains("18 x 18"),
        "{error}"
    );

    let so400m = VisionConfig {
        image_size: ImageSize::square(384),
        patch_size: 14,
        ..vision
    };
    assert_eq!(so400m.patches(), 729);
    let mut config = around(Some(so400m), None);
    config.projector.pixel_shuffle = 3;
    assert_eq!(config.visual_tokens(), 81);
    config.validate().expect("a model");
    config.projector.pixel_shuffle = 2;
    let error = config.validate().expect_err("refused").to_string();
    assert!(error.contains("27"), "{error}");
    config.vision.patch_size = 385;
    let error = config.validate().expect_err("refused").to_string();
    assert!(error.contains("385, larger than image_size 384"), "{error}");
}

fn close(what: &str, found: &[f32], wanted: &[f32]) {
    assert_eq!(found.len(), wanted.len(), "{what}: length");
    for (place, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        let error = (found - wanted).abs();
        assert!(
            error <= 1e-4 * wanted.abs().max(1.0),
            "{what} at {place}: found {found}, transformers {wanted}"
        );
    }
}

/// A small model around a vision encoder or a language model.
fn around(vision: Option<VisionConfig>, language: Option<LanguageConfig>) -> ModelConfig {
    let vision =
        vision.unwrap_or_else(|| VisionConfig::of_folder(&folder("siglip")).expect("read"));
    let language =
        language.unwrap_or_else(|| LanguageConfig::of_folder(&folder("gpt2")).expect("read"));
    ModelConfig {
        vision,
        projector: ProjectorConfig {
            kind: ProjectorKind::Linear,
            pixel_shuffle: 1,
            hidden_size: None,
        },
        language,
        visibility: VisibilityKind::Causal,
        tokenizer_sha256: String::new(),
        lora: None,
    }
}

/// The features that an encoder gives, of images of another size too, from the last layer and the one before it, with
/// and without the class token.
fn check_vision(name: &str) {
    let expected = Expected::of(name);
    let stored = VisionConfig::of_folder(&folder(name)).expect("a known family");
    let tokens = stored.prefix();
    for size in ["images", "larger", "smaller"] {
        let (shape, pixels) = expected.floats(size);
        let images = Tensor::from_f32(&shape, &pixels).expect("images");
        for layer in [None, Some(-1), Some(-2)] {
            for keep_class_token in [false, true] {
                if keep_class_token && tokens == 0 {
                    continue;
                }
                let mut vision = match layer {
                    None => stored.clone(),
                    Some(layer) => stored.clone().cut_at(layer).expect("a layer"),
                };
                vision.image_size = ImageSize {
                    height: shape[2],
                    width: shape[3],
                };
                vision.keep_class_token = keep_class_token;
                let folder = folder(name);
                let pretrained = Pretrained {
                    vision: Some(&folder),
                    language: None,
                };
                let config = around(Some(vision), None);
                let model = Model::begin(config, Precision::F32, 1, pretrained).expect("loads");
                let found = model
                    .encode(&images)
                    .expect("images of its size")
                    .to_f32_vec();
                let key = layer.map_or("last".into(), |layer| layer.to_string());
                let (shape, rows) = expected.floats(&format!("{size}.{key}"));
                let (all, width) = (shape[1], shape[2]);
                let kept = rows.chunks(width).enumerate().filter(|(row, _)| {
                    let place = row % all;
                    place >= tokens || (keep_class_token && place == 0)
                });
                let wanted: Vec<f32> = kept.flat_map(|(_, row)| row.to_vec()).collect();
                close(&format!("{name} {size} {key}"), &found, &wanted);
            }
        }
    }
}

#[test]
fn vision_encoders_give_the_features_of_transformers() {
    VISION.into_iter().for_each(check_vision);
}

fn language_model(name: &str) -> Model {
    let folder = folder(name);
    let config = LanguageConfig::of_folder(&folder).expect("a known family");
    let pretrained = Pretrained {
        vision: None,
        language: Some(&folder),
    };
    Model::begin(around(None, Some(config)), Precision::F32, 1, pretrained).expect("loads")
}

fn check_language(name: &str) {
    let expected = Expected::of(name);
    let model = language_model(name);
    let (_, tokens) = expected.words("tokens");
    let positions: Vec<u32> = (0..tokens.len() as u32).collect();
    let none = Tensor::zeros(&[0, 3, 16, 16]);
    let input = Input {
        tokens: &tokens,
        positions: &positions,
        documents: &[DocumentSpan {
            start: 0,
            end: tokens.len(),
            prompt_end: 0,
            visual: vec![],
            key: 0,
        }],
        images: Images::Pixels(&none),
        targets: &[],
    };
    let hidden = model.hidden(&input, VisibilityKind::Causal).expect("fits");
    let logits = model.logits(&input, VisibilityKind::Causal).expect("fits");
    close(
        &format!("{name} hidden"),
        &hidden.to_f32_vec(),
        &expected.floats("hidden").1,
    );
    close(
        &format!("{name} logits"),
        &logits.to_f32_vec(),
        &expected.floats("logits").1,
    );
    let (_, answer) = expected.words("answer");
    let prompt = Prompt {
        tokens: tokens[..7].to_vec(),
        visual: vec![],
        images: vec![],
        draw: 0,
    };
    let options = GenerateOptions::greedy(answer.len(), u32::MAX, VisibilityKind::Causal);
    let found = model.generate(&[prompt], &options).expect("fits");
    assert_eq!(found[0].tokens, answer, "{name}: greedy continuation");
}

#[test]
fn language_models_give_the_logits_and_answers_of_transformers() {
    LANGUAGE.into_iter().for_each(check_language);
}

/// What is written reads back as the same configuration.
#[test]
fn configurations_survive_a_round_trip() {
    for name in VISION {
        let config = VisionConfig::of_folder(&folder(name)).expect("a known family");
        let text = serde_json::to_string(&config).expect("JSON");
        assert_eq!(
            serde_json::from_str::<VisionConfig>(&text).expect(&text),
            config
        );
    }
    for name in LANGUAGE {
        let config = LanguageConfig::of_folder(&folder(name)).expect("a known family");
        let text = serde_json::to_string(&config).expect("JSON");
        assert_eq!(
            serde_json::from_str::<LanguageConfig>(&text).expect(&text),
            config
        );
    }
}

/// What makes no model is refused by file and key, before anything is as large as the file says.
#[test]
fn a_folder_that_makes_no_model_is_named_with_its_key() {
    for (name, key) in [
        ("vit", "num_hidden_layers"),
        ("llama", "num_hidden_layers"),
        ("gpt2", "n_layer"),
    ] {
        let copy = tempfile::TempDir::new().expect("a folder");
        let text = fs::read_to_string(folder(name).join("config.json")).expect("read");
        let mut file: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        file[key] = 1_000_000_000.into();
        let path = copy.path().join("config.json");
        fs::write(&path, file.to_string()).expect("written");
        let error = match name {
            "vit" => VisionConfig::of_folder(copy.path()).map(|_| ()),
            _ => LanguageConfig::of_folder(copy.path()).map(|_| ()),
        };
        let error = error.expect_err("refused").to_string();
        let begin = format!("{}: {key}: is 1000000000; expected", path.display());
        assert!(error.starts_with(&begin), "{error}");

        // A configuration that did not come from that folder.
        let (config, pretrained) = match name {
            "vit" => {
                let mut vision = VisionConfig::of_folder(&folder(name)).expect("read");
                vision.num_hidden_layers = 1_000_000_000;
                (
                    around(Some(vision), None),
                    Pretrained {
                        vision: Some(copy.path()),
                        language: None,
                    },
                )
            }
            _ => {
                let mut language = LanguageConfig::of_folder(&folder(name)).expect("read");
                match &mut language {
                    LanguageConfig::Rotary(config) => config.num_hidden_layers = 1_000_000_000,
                    LanguageConfig::Gpt2(config) => config.n_layer = 1_000_000_000,
                }
                (
                    around(None, Some(language)),
                    Pretrained {
                        vision: None,
                        language: Some(copy.path()),
                    },
                )
            }
        };
        let error = Model::begin(config, Precision::F32, 1, pretrained).expect_err("refused");
        assert!(
            error
                .to_string()
                .contains("is 1000000000; expected at most"),
            "{error}"
        );
    }
}
