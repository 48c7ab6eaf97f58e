//! What `transformers` makes of exported models. `scripts/transformers-parity` runs this, which writes models and what
//! they compute here, and `compare.py`, which opens them there.

mod question;
mod search;
mod target;

use std::fs;
use std::path::{Path, PathBuf};

use fourfold_model::{
    ExportFormat, LanguageConfig, LoraConfig, Model, ModelConfig, Part, Pretrained,
    ProjectorConfig, ProjectorKind, SpecialTokens, VisibilityKind, VisionConfig, WeightFormat,
};
use fourfold_tensor::Precision;

use target::Target;

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

/// A model of two backbones of `backbones`; its projector has numbers everywhere.
struct Pair {
    vision: &'static str,
    /// Where the encoder is cut.
    layer: Option<i64>,
    keep_class_token: bool,
    projector: ProjectorConfig,
    language: &'static str,
    visibility: VisibilityKind,
}

impl Pair {
    fn model(&self) -> Model {
        let (vision, language) = (backbone(self.vision), backbone(self.language));
        let mut encoder = VisionConfig::of_folder(&vision).expect("a known family");
        if let Some(layer) = self.layer {
            encoder = encoder.cut_at(layer).expect("a layer");
        }
        encoder.keep_class_token = self.keep_class_token;
        let config = ModelConfig {
            vision: encoder,
            projector: self.projector.clone(),
            language: LanguageConfig::of_folder(&language).expect("a known family"),
            visibility: self.visibility,
            tokenizer_sha256: String::new(),
            lora: None,
        };
        let pretrained = Pretrained {
            vision: Some(&vision),
            language: Some(&language),
        };
        let model = Model::begin(config, Precision::F32, 3, pretrained).expect("loads");
        filled(model, Part::Projector)
    }
}

fn projector(kind: ProjectorKind, pixel_shuffle: usize) -> ProjectorConfig {
    ProjectorConfig {
        kind,
        pixel_shuffle,
        hidden_size: None,
    }
}

/// Gives the parameters of `part` numbers other than the first ones, of which some are all zero or one.
fn filled(mut model: Model, part: Part) -> Model {
    for (number, id) in model.parameters.ids().enumerate() {
        if Part::of(model.parameters.get(id).name()) == Some(part) {
            let fill = |values: &mut [f32]| {
                for (place, value) in values.iter_mut().enumerate() {
                    *value += ((place * 7 + number * 5) % 13) as f32 / 26.0 - 0.25;
                }
            };
            model.parameters.update(id, fill).expect("no tape holds it");
        }
    }
    model
}

fn llava(target: &Target) {
    let plain = || Pair {
        vision: "clip",
        layer: Some(-2),
        keep_class_token: false,
        projector: projector(ProjectorKind::Mlp, 1),
        language: "llama",
        visibility: VisibilityKind::Causal,
    };
    for (name, pair) in [
        ("clip-llama", plain()),
        (
            "clip-class-token-llama3",
            Pair {
                keep_class_token: true,
                language: "llama-llama3",
                ..plain()
            },
        ),
        (
            "clip-last-qwen2-window",
            Pair {
                layer: None,
                language: "qwen2-window",
                ..plain()
            },
        ),
        (
            "siglip-qwen3",
            Pair {
                vision: "siglip",
                layer: Some(-1),
                language: "qwen3",
                ..plain()
            },
        ),
        (
            "siglip-llama-biases",
            Pair {
                vision: "siglip",
                language: "llama-biases",
                ..plain()
            },
        ),
    ] {
        target.whole(ExportFormat::Llava, name, &pair.model());
    }
}

fn gemma3(target: &Target) {
    for (name, block) in [("blocks", 2), ("one-token", 4)] {
        let pair = Pair {
            vision: "siglip",
            layer: None,
            keep_class_token: false,
            projector: projector(ProjectorKind::Gemma3, block),
            language: "gemma3",
            visibility: VisibilityKind::ImageBidirectional,
        };
        target.whole(ExportFormat::Gemma3, name, &pair.model());
    }
}

fn native(target: &Target) {
    for name in [
        "llama",
        "gpt2",
        "siglip-qwen2",
        "clip-llama",
        "vit-qwen3",
        "dinov2-gemma3",
        "siglip-gemma3",
    ] {
        let mut model = Model::load(&fixtures().join(name), Precision::F32).expect("the fixture");
        for visibility in [
            VisibilityKind::Causal,
            VisibilityKind::ImageBidirectional,
            VisibilityKind::PrefixLm,
            VisibilityKind::ImageIsolated,
        ] {
            model.set_visibility(visibility);
            target.whole(
                ExportFormat::Native,
                &format!("{name}-{visibility}"),
                &model,
            );
        }
    }
    for (name, vision, layer, keep_class_token, kind, language) in [
        (
            "deit-qwen2-window",
            "deit",
            None,
            false,
            ProjectorKind::Linear,
            "qwen2-window",
        ),
        (
            "dinov2-cut",
            "dinov2",
            Some(-2),
            true,
            ProjectorKind::Mlp,
            "qwen2-yarn",
        ),
        (
            "clip-class-token",
            "clip",
            None,
            true,
            ProjectorKind::Mlp,
            "llama-dynamic",
        ),
        (
            "siglip-mean",
            "siglip",
            Some(-1),
            false,
            ProjectorKind::Gemma3,
            "llama-linear",
        ),
        (
            "vit-cut",
            "vit",
            Some(-1),
            false,
            ProjectorKind::Gemma3,
            "gpt2",
        ),
    ] {
        let block = if keep_class_token { 1 } else { 2 };
        let pair = Pair {
            vision,
            layer,
            keep_class_token,
            projector: projector(kind, block),
            language,
            visibility: VisibilityKind::PrefixLm,
        };
        target.whole(ExportFormat::Native, name, &pair.model());
    }
}

/// What no pretrained encoder of the fixtures is: a CLIP whose patches are normed, and encoders of rectangles.
fn from_the_beginning(target: &Target) {
    type Change = fn(&mut VisionConfig);
    let cases: [(&str, &str, Change); 3] = [
        ("clip-normed", "clip", |vision| vision.final_norm = true),
        ("vit-wide", "vit", |vision| vision.image_size.width *= 2),
        ("deit-high", "deit", |vision| vision.image_size.height *= 2),
    ];
    for (name, vision, change) in cases {
        let language = backbone("qwen2");
        let mut encoder = VisionConfig::of_folder(&backbone(vision)).expect("a known family");
        change(&mut encoder);
        let config = ModelConfig {
            vision: encoder,
            projector: projector(ProjectorKind::Mlp, 2),
            language: LanguageConfig::of_folder(&language).expect("a known family"),
            visibility: VisibilityKind::ImageBidirectional,
            tokenizer_sha256: String::new(),
            lora: None,
        };
        let pretrained = Pretrained {
            vision: None,
            language: Some(&language),
        };
        let model = Model::begin(config, Precision::F32, 3, pretrained).expect("begins");
        let model = filled(filled(model, Part::Vision), Part::Projector);
        target.whole(ExportFormat::Native, name, &model);
    }
}

fn parts(target: &Target) {
    for name in [
        "siglip",
        "clip",
        "vit",
        "deit",
        "dinov2",
        "dinov2-registers",
        "dinov2-gated",
    ] {
        for layer in [None, Some(-1)] {
            let pair = Pair {
                vision: name,
                layer,
                keep_class_token: false,
                projector: projector(ProjectorKind::Linear, 1),
                language: "gpt2",
                visibility: VisibilityKind::Causal,
            };
            let name = match layer {
                None => name.to_owned(),
                Some(_) => format!("{name}-cut"),
            };
            let model = pair.model();
            target.vision("vision", &name, &model, &model);
        }
    }
    for name in [
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
    ] {
        let pair = Pair {
            vision: "siglip",
            layer: None,
            keep_class_token: false,
            projector: projector(ProjectorKind::Linear, 1),
            language: name,
            visibility: VisibilityKind::Causal,
        };
        let model = pair.model();
        target.language("language", name, &model, &model);
    }
}

/// Plain parts, and adapters beside them, with what they compute together.
fn adapters(target: &Target) {
    for (name, targets) in [
        (
            "siglip-qwen2",
            ["q_proj", "v_proj", "fc2", "language.*.mlp.*"],
        ),
        (
            "gpt2",
            ["language.*.c_attn", "language.*.c_fc", "q_proj", "fc1"],
        ),
        (
            "clip-llama",
            [
                "language.*.o_proj",
                "language.*.down_proj",
                "k_proj",
                "out_proj",
            ],
        ),
        (
            "dinov2-gemma3",
            ["vision.*", "k_proj", "o_proj", "language.*.gate_proj"],
        ),
        (
            "vit-qwen3",
            ["vision.*", "q_proj", "v_proj", "language.*.up_proj"],
        ),
    ] {
        let folder = fixtures().join(name);
        let lora = LoraConfig {
            rank: 3,
            alpha: Some(4.5),
            dropout: 0.0,
            targets: targets.map(str::to_owned).to_vec(),
        };
        let base = Model::load(&folder, Precision::F32).expect("the fixture");
        let mut config = Model::read_config(&folder).expect("a model folder");
        config.lora = Some(lora);
        let learned = Model::resume(config, &folder, Precision::F32, 5).expect("its layers");
        let learned = filled(learned, Part::Lora);
        let saved = tempfile::tempdir().expect("a folder");
        learned
            .save_part(Part::Lora, saved.path(), WeightFormat::F32)
            .expect("written");
        for (part, base) in [
            (
                Part::Language,
                target.language("lora-language", name, &base, &learned),
            ),
            (
                Part::Vision,
                target.vision("lora-vision", name, &base, &learned),
            ),
        ] {
            let adapter = base.join("adapter");
            fs::create_dir_all(&adapter).expect("a folder");
            for file in ["adapter_config.json", "adapter_model.safetensors"] {
                let from = saved.path().join(part.name()).join(file);
                fs::copy(from, adapter.join(file)).expect("copied");
            }
        }
    }
}

#[test]
#[ignore = "writes models for scripts/transformers-parity"]
fn write_models_for_transformers() {
    let folder = std::env::var_os("FOURFOLD_PARITY").expect("FOURFOLD_PARITY names a folder");
    let target = Target(PathBuf::from(folder));
    llava(&target);
    gemma3(&target);
    native(&target);
    from_the_beginning(&target);
    parts(&target);
    adapters(&target);
}
