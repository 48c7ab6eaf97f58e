//! Stages that train low-rank adapters.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use fourfold_model::{Model, Part};
use fourfold_tensor::Precision;
use fourfold_train::metrics;
use fourfold_train::progress::Progress;
use fourfold_train::trainer::Start;

use crate::support::*;

const LORA: &str = "model.lora={ rank = 4, alpha = 8, dropout = 0.2, targets = [\"q_proj\", \"language.*.mlp.*\", \"fc1\"] }";
const ADAPTED: [&str; 4] = [
    LORA,
    "stage.unify.train=[\"projector\", \"lora\"]",
    "stage.unify.lr={ projector = 1e-2, lora = 2e-2 }",
    "stage.unify.export=[\"lora\", \"language\"]",
];

fn load(folder: &Path) -> Model {
    Model::load(folder, Precision::F32).expect("a model that Fourfold wrote")
}

/// The numbers of a parameter.
fn numbers(model: &Model, name: &str) -> Vec<f32> {
    let id = model.parameters.find(name).expect("there");
    model.parameters.get(id).master().to_f32_vec()
}

#[test]
fn adapters_learn_beside_frozen_weights_and_join_the_finished_model() {
    let place = workplace();
    let run = whole(place.path(), "adapted", &ADAPTED).expect("trains");
    let records = metrics::read(&run.join("metrics.jsonl")).expect("readable");
    let (begin, end) = (records[0].loss, records[45].loss);
    // The language model beneath is random, so that adapters have little to work with.
    assert!(end < 0.97 * begin, "loss {begin} -> {end}");
    assert!(records[45].lr.contains_key(&Part::Lora));
    // A model whose second stage trains the projector alone: what is frozen here and there is the same.
    let alone = ["stage.unify.train=[\"projector\"]"];
    let frozen = load(
        &whole(place.path(), "frozen", &alone)
            .expect("trains")
            .join("model"),
    );
    let merged = load(&run.join("model"));
    let layer = "language.model.layers.0";
    let qkv = format!("{layer}.self_attn.qkv_proj.weight");
    let (before, after) = (numbers(&frozen, &qkv), numbers(&merged, &qkv));
    let queries = 16 * 16;
    assert_ne!(
        before[..queries],
        after[..queries],
        "queries have an adapter"
    );
    assert_eq!(
        before[queries..],
        after[queries..],
        "keys and values have none"
    );
    for untouched in ["self_attn.o_proj.weight", "input_layernorm.weight"] {
        let name = format!("{layer}.{untouched}");
        assert_eq!(numbers(&frozen, &name), numbers(&merged, &name), "{name}");
    }
    let parts = run.join("parts");
    assert!(
        parts
            .join("lora/language/adapter_model.safetensors")
            .exists()
    );
    assert!(parts.join("lora/vision/adapter_config.json").exists());
    let config = fs::read_to_string(run.join("model/config.json")).expect("readable");
    assert!(!config.contains("lora"), "{config}");
}

/// Hears the notes.
#[derive(Default)]
struct Notes(Vec<String>);

impl Progress for Notes {
    fn note(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }
}

#[test]
fn adapters_on_a_part_that_trained_are_told_where_they_belong() {
    let place = workplace();
    let cases: [(&str, &[&str], &[&str]); 3] = [
        ("beside", &[], &[]),
        (
            "before",
            &["stage.align.train=[\"projector\", \"language\"]"],
            &["stage 'align'", "export = [\"language\"]"],
        ),
        (
            "together",
            &[
                "stage.unify.train=[\"lora\", \"language\"]",
                "stage.unify.lr=1e-2",
            ],
            &["stage 'unify'", "in no file"],
        ),
    ];
    for (name, changes, expected) in cases {
        let overrides: Vec<&str> = ADAPTED.iter().chain(changes).copied().collect();
        let mut notes = Notes::default();
        let never = Arc::new(AtomicBool::new(false));
        let new = Start::New { force: false };
        run(place.path(), name, &overrides, new, never, &mut notes).expect("trains");
        let told: Vec<&String> = notes.0.iter().filter(|n| n.contains("adapters")).collect();
        assert_eq!(told.is_empty(), expected.is_empty(), "{name}: {told:?}");
        for words in expected {
            assert!(told[0].contains(words), "{name}: {told:?}");
        }
        assert!(
            told.iter().all(|note| note.contains("language")),
            "{told:?}"
        );
    }
}

#[test]
fn a_stopped_run_with_adapters_goes_on_as_if_it_had_not_been() {
    let place = workplace();
    let straight = weights(&whole(place.path(), "straight", &ADAPTED).expect("trains"));
    stopped(place.path(), "stopped", &ADAPTED, 17);
    let resumed = resume(place.path(), "stopped", &ADAPTED);
    assert!(
        weights(&resumed) == straight,
        "dropout is drawn again as it was"
    );
}

#[test]
fn adapters_that_make_no_sense_are_refused_by_key() {
    let place = workplace();
    for (overrides, expected) in [
        (vec!["stage.unify.train=[\"lora\"]"], "[model.lora]"),
        (vec![LORA], "no stage trains `lora`"),
        (
            vec![
                "model.lora={ rank = 4, targets = [\"query\"] }",
                "stage.unify.train=[\"lora\"]",
            ],
            "'query' fits no linear layer",
        ),
        (
            vec![
                LORA,
                "stage.unify.train=[\"lora\"]",
                "stage.unify.cache_features=true",
                "stage.unify.augment={}",
            ],
            "cache_features",
        ),
        (
            vec!["stage.unify.export=[\"lora\"]"],
            "no adapters to export",
        ),
    ] {
        let message = refusal(place.path(), &overrides);
        assert!(
            message.contains(expected),
            "{message} should say {expected}"
        );
    }
}
