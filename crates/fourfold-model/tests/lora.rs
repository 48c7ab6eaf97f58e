//! Low-rank adapters: what they compute, what they learn, and how they leave the model.

use std::path::Path;

use fourfold_model::{
    DocumentSpan, Images, Input, LoraConfig, LossOptions, Model, ModelError, Part, VisibilityKind,
    VisualSpan, WeightFormat,
};
use fourfold_tensor::{Gradients, Precision, Tape, Tensor};

const TARGETS: [&str; 5] = [
    "q_proj",
    "v_proj",
    "language.*.mlp.*",
    "vision.*.fc2",
    "linear_1",
];

fn model(targets: &[&str], dropout: f32) -> Model {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/siglip-qwen2");
    let lora = LoraConfig {
        rank: 3,
        alpha: Some(4.5),
        dropout,
        targets: targets.iter().map(|target| (*target).to_owned()).collect(),
    };
    adapted(&folder, lora).expect("the fixture and its layers")
}

fn adapted(folder: &Path, lora: LoraConfig) -> Result<Model, ModelError> {
    let mut config = Model::read_config(folder)?;
    config.lora = Some(lora);
    Model::resume(config, folder, Precision::F32, 5)
}

/// Fills the adapters with numbers: those of a new model change nothing.
fn learned(mut model: Model) -> Model {
    for (number, id) in model.parameters.ids().enumerate() {
        if Part::of(model.parameters.get(id).name()) == Some(Part::Lora) {
            let fill = |values: &mut [f32]| {
                for (i, value) in values.iter_mut().enumerate() {
                    *value = ((i * 7 + number * 5) % 13) as f32 / 26.0 - 0.25;
                }
            };
            model.parameters.update(id, fill).expect("no tape holds it");
        }
    }
    model
}

struct Pack {
    tokens: Vec<u32>,
    positions: Vec<u32>,
    documents: Vec<DocumentSpan>,
    images: Tensor,
    targets: Vec<(u32, u32)>,
}

fn pack() -> Pack {
    let pixels: Vec<f32> = (0..3 * 16 * 16)
        .map(|i| (i * 7 % 19) as f32 / 9.0 - 1.0)
        .collect();
    Pack {
        tokens: (0..14).map(|i| 5 + i * 11 % 30).collect(),
        positions: (0..14).collect(),
        documents: vec![DocumentSpan {
            start: 0,
            end: 14,
            prompt_end: 8,
            visual: vec![VisualSpan {
                start: 1,
                len: 4,
                image: 0,
            }],
            key: 0,
        }],
        images: Tensor::from_f32(&[1, 3, 16, 16], &pixels).expect("an image"),
        targets: (7..13).map(|row| (row, (row * 5) % 40)).collect(),
    }
}

impl Pack {
    fn input(&self) -> Input<'_> {
        Input {
            tokens: &self.tokens,
            positions: &self.positions,
            documents: &self.documents,
            images: Images::Pixels(&self.images),
            targets: &self.targets,
        }
    }
}

fn logits(model: &Model) -> Vec<f32> {
    let logits = model.logits(&pack().input(), VisibilityKind::ImageBidirectional);
    logits.expect("fits").to_f32_vec()
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

/// The loss and its gradients, by the names of the parameters that have some.
fn gradients(model: &Model, seed: u64, recompute: bool) -> (f32, Vec<(String, Vec<f32>)>) {
    let pack = pack();
    let tape = Tape::recording(&model.parameters);
    tape.set_seed(seed);
    let options = LossOptions {
        visibility: VisibilityKind::ImageBidirectional,
        scale: 0.2,
        recompute,
    };
    let loss = model
        .loss(&tape, &pack.input(), options)
        .expect("a valid pack");
    let value = loss.f32().expect("f32")[0];
    let mut gradients = Gradients::new(&model.parameters);
    tape.backward(&loss, &mut gradients)
        .expect("something trains");
    let named = model.parameters.iter().filter_map(|(id, parameter)| {
        let gradient = gradients.get(id)?.to_f32_vec();
        Some((parameter.name().to_owned(), gradient))
    });
    (value, named.collect())
}

#[test]
fn new_adapters_change_nothing_and_learned_ones_are_added_to_the_saved_weights() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/siglip-qwen2");
    let plain = Model::load(&folder, Precision::F32).expect("the fixture");
    let new = model(&TARGETS, 0.0);
    assert_eq!(logits(&new), logits(&plain));
    let learned = learned(new);
    let changed = largest_difference(&logits(&learned), &logits(&plain));
    assert!(changed > 0.1, "changed by {changed}");
    let saved = tempfile::tempdir().expect("a folder");
    learned
        .save(saved.path(), WeightFormat::F32)
        .expect("written");
    let merged = Model::load(saved.path(), Precision::F32).expect("a plain model");
    assert!(merged.config().lora.is_none());
    let error = largest_difference(&logits(&learned), &logits(&merged));
    assert!(error < 1e-4, "merged weights give logits {error} off");
}

#[test]
fn gradients_agree_with_differences_of_the_loss() {
    let mut model = learned(model(&TARGETS, 0.0));
    model
        .parameters
        .set_trainable(|name| Part::of(name) == Some(Part::Lora));
    let (_, found) = gradients(&model, 0, false);
    let adapters = model.config().parameter_counts().expect("a model");
    let count = |part| adapters.iter().find(|(p, _)| *p == part).expect("there").1;
    let numbers: usize = found.iter().map(|(_, gradient)| gradient.len()).sum();
    assert_eq!(
        numbers,
        count(Part::Lora),
        "adapters get gradients, and nothing else"
    );
    for (name, gradient) in found.iter().step_by(3) {
        let id = model.parameters.find(name).expect("named");
        for place in [0, gradient.len() / 2, gradient.len() - 1] {
            let mut loss_at = |step: f32| {
                let shift = |values: &mut [f32]| values[place] += step;
                model
                    .parameters
                    .update(id, shift)
                    .expect("no tape holds it");
                let (loss, _) = gradients(&model, 0, false);
                let back = |values: &mut [f32]| values[place] -= step;
                model.parameters.update(id, back).expect("no tape holds it");
                loss
            };
            let difference = (loss_at(1e-2) - loss_at(-1e-2)) / 2e-2;
            let error = (difference - gradient[place]).abs();
            assert!(
                error <= 2e-3 + 2e-2 * difference.abs(),
                "{name} at {place}: {} but differences give {difference}",
                gradient[place]
            );
        }
    }
}

#[test]
fn dropout_repeats_by_its_seed_and_when_blocks_are_computed_again() {
    let mut model = learned(model(&TARGETS, 0.5));
    model
        .parameters
        .set_trainable(|name| Part::of(name) == Some(Part::Lora));
    let first = gradients(&model, 3, false);
    assert_eq!(first, gradients(&model, 3, false));
    assert_eq!(first, gradients(&model, 3, true));
    assert_ne!(first, gradients(&model, 4, false));
    // Adapters that are frozen are as they will be in use.
    model
        .parameters
        .set_trainable(|name| Part::of(name) == Some(Part::Projector));
    assert_eq!(gradients(&model, 3, false), gradients(&model, 4, false));
}

#[test]
fn adapters_leave_in_the_layout_of_peft() {
    let model = learned(model(&TARGETS, 0.0));
    let folder = tempfile::tempdir().expect("a folder");
    model
        .save_part(Part::Lora, folder.path(), WeightFormat::F32)
        .expect("written");
    let language = folder.path().join("language");
    let config = std::fs::read_to_string(language.join("adapter_config.json")).expect("there");
    let config: serde_json::Value = serde_json::from_str(&config).expect("JSON");
    assert_eq!(
        (&config["peft_type"], &config["r"]),
        (&"LORA".into(), &3.into())
    );
    assert_eq!(
        config["target_modules"][0],
        "model.layers.0.self_attn.q_proj"
    );
    let bytes = std::fs::read(language.join("adapter_model.safetensors")).expect("there");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("whole");
    let name = "base_model.model.model.layers.1.mlp.down_proj.lora_B.weight";
    assert_eq!(file.tensor(name).expect("there").shape(), [16, 3]);
    assert!(folder.path().join("vision/adapter_config.json").exists());
}

#[test]
fn what_makes_no_adapter_is_refused_by_key() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/siglip-qwen2");
    let good = || LoraConfig {
        rank: 2,
        alpha: None,
        dropout: 0.0,
        targets: vec!["q_proj".into()],
    };
    for (lora, expected) in [
        (LoraConfig { rank: 0, ..good() }, "lora.rank"),
        (
            LoraConfig {
                dropout: 1.0,
                ..good()
            },
            "lora.dropout",
        ),
        (
            LoraConfig {
                alpha: Some(-1.0),
                ..good()
            },
            "lora.alpha",
        ),
        (
            LoraConfig {
                targets: vec![],
                ..good()
            },
            "lora.targets",
        ),
        (
            LoraConfig {
                targets: vec!["qproj".into()],
                ..good()
            },
            "q_proj, k_proj",
        ),
    ] {
        let refused = adapted(&folder, lora);
        let message = refused.map(|_| ()).expect_err(expected).to_string();
        assert!(message.contains(expected), "{message}");
    }
}
