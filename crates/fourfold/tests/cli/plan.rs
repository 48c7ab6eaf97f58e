//! `plan`.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::*;

/// A model large enough that its numbers, not the program, take the memory.
const LARGER: &[&str] = &[
    "model.vision.hidden_size=192",
    "model.vision.intermediate_size=768",
    "model.vision.num_hidden_layers=4",
    "model.vision.image_size=64",
    "image.size=64",
    "model.language.max_position_embeddings=256",
    "model.language.hidden_size=256",
    "model.language.intermediate_size=1024",
    "model.language.num_hidden_layers=4",
    "stage.align.samples=64",
    "stage.align.batch=64",
    "stage.unify.samples=64",
    "stage.unify.batch=64",
    "threads=2",
];

#[test]
fn memory_is_foreseen() {
    let place = workplace();
    let set: Vec<&str> = LARGER.iter().flat_map(|set| ["--set", set]).collect();
    for precision in ["precision=f32", "precision=auto"] {
        let given = [&["tiny.toml", "--set", precision], &set[..]].concat();
        let plan = good(
            place.path(),
            &[&["plan", "--measure", "0", "--json"], &given[..]].concat(),
        );
        let plan: Value = serde_json::from_str(&plan.out).expect("JSON");
        let run = ["train", "--no-eval", "--force", "--run", "run"];
        good(place.path(), &[&run, &given[..]].concat());
        let metrics = fs::read_to_string(place.path().join("run/metrics.jsonl")).expect("written");
        for (stage, update) in [(0, 0), (1, 1)] {
            let memory = plan["stages"][stage]["memory"].as_object().expect("parts");
            let planned: f64 = memory.values().filter_map(Value::as_f64).sum::<f64>() / 1048576.0;
            let Some(found) = json_lines(&metrics)[update]["memory_mib"].as_f64() else {
                return; // The system does not tell.
            };
            let ratio = found / planned;
            // What is too little lets a run fail; what is too much only warns too early.
            assert!(
                (0.75..1.2).contains(&ratio),
                "{precision}, stage {stage}: {found:.0} MiB, planned {planned:.0}"
            );
        }
    }
}

#[test]
fn a_stage_of_another_precision_is_named() {
    let place = workplace();
    let plan = |more: &[&str]| {
        let given = [&["plan", "--measure", "0", "tiny.toml"], more].concat();
        good(place.path(), &given).out
    };
    assert!(plan(&[]).contains("; products in f32\n"));
    let other = plan(&["--set", "stage.unify.precision=fp16"]);
    assert!(
        other.contains("; products in f32, of unify in fp16\n"),
        "{other}"
    );
}

/// The tiny recipe with a tokenizer of its own, its data gone.
fn without_data() -> tempfile::TempDir {
    let place = workplace();
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/tiny-llama");
    let from = format!("from = {:?}", assets.canonicalize().expect("assets"));
    let recipe = RECIPE.replace("train = { vocabulary = 280, on = [\"names\"] }", &from);
    write(place.path(), "tiny.toml", &recipe);
    fs::remove_file(place.path().join("colors.jsonl")).expect("it was there");
    place
}

#[test]
fn averages_are_taken_as_given_where_the_data_are_missing() {
    let place = without_data();
    let gone = refused(place.path(), &["plan", "tiny.toml"], 1);
    assert!(gone.contains("colors.jsonl"), "{gone}");
    let assumed = ["plan", "tiny.toml", "--assume", "12,5,1"];
    let json = |more: &[&str]| -> Value {
        let out = good(place.path(), &[&assumed[..], &["--json"], more].concat()).out;
        serde_json::from_str(&out).expect("JSON")
    };
    let plan = json(&[]);
    let unify = &plan["stages"][1];
    assert_eq!(
        [&unify["tokens"], &unify["targets"], &unify["images"]],
        [480.0 * 12.0, 480.0 * 5.0, 480.0]
    );
    assert!(unify.get("seconds_at_rate").is_none());

    // Two devices have half of a batch each, all weights, and half the time.
    let rate = ["--rate", "1TFLOPS"];
    let one = json(&rate);
    let two = json(&[&rate[..], &["--devices", "2"]].concat());
    let number = |plan: &Value, pointer: &str| -> f64 {
        let value = plan["stages"][1].pointer(pointer).and_then(Value::as_f64);
        value.expect("a number")
    };
    let operations = number(&one, "/operations");
    let seconds = number(&one, "/seconds_at_rate");
    assert!((seconds / (operations / 1e12) - 1.0).abs() < 1e-9);
    assert!((number(&two, "/seconds_at_rate") * 2.0 / seconds - 1.0).abs() < 1e-9);
    assert_eq!(number(&two, "/operations"), operations);
    for same in ["/memory/weights", "/memory/training"] {
        assert_eq!(number(&two, same), number(&one, same), "{same}");
    }
    assert_eq!(
        number(&two, "/memory/data") * 2.0,
        number(&one, "/memory/data")
    );
    assert!(number(&two, "/memory/activations") < number(&one, "/memory/activations"));

    let text = good(
        place.path(),
        &[&assumed[..], &rate, &["--devices", "8"]].concat(),
    )
    .out;
    for part in [
        "at 8 x 1 TFLOP/s",
        "memory a device",
        "gradients and moments",
        "FLOP/sample",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn what_cannot_be_assumed_is_refused() {
    let place = without_data();
    let refuse = |more: &[&str], code: i32, expected: &str| {
        let message = refused(place.path(), &[&["plan", "tiny.toml"], more].concat(), code);
        assert!(message.contains(expected), "{more:?}: {message}");
    };
    refuse(&["--assume", "12,5"], 2, "TOKENS,TARGETS,IMAGES");
    refuse(&["--assume", "12,5,1", "--rate", "5"], 2, "TFLOPS");
    refuse(&["--assume", "12,5,1", "--memory"], 2, "--memory");
    // An image is 4 visual tokens here, and the language model takes 64.
    refuse(&["--assume", "8,5,1"], 1, "at least 9");
    refuse(&["--assume", "65,5,1"], 1, "64");
    let recipe = fs::read_to_string(place.path().join("tiny.toml")).expect("written");
    write(
        place.path(),
        "tiny.toml",
        &recipe.replace("samples = 480", "epochs = 2"),
    );
    refuse(&["--assume", "12,5,1"], 1, "epochs");
}

/// A peak of each stage, in a process of its own.
#[test]
fn memory_is_measured_beside_the_estimate() {
    let place = workplace();
    let out = good(place.path(), &["plan", "tiny.toml", "--memory", "--json"]).out;
    let plan: Value = serde_json::from_str(&out).expect("JSON");
    for stage in plan["stages"].as_array().expect("a list") {
        let taken = &stage["taken"];
        assert_eq!(taken["updates"], 2);
        assert_eq!(taken["images"], 8);
        assert!(taken["loss"].as_f64().expect("a number") > 0.0);
        if taken["peak_mib"].is_null() {
            return; // The system does not tell.
        }
        let parts = stage["memory"].as_object().expect("parts");
        let foreseen: f64 = parts.values().filter_map(Value::as_f64).sum::<f64>() / 1048576.0;
        let share = taken["peak_mib"].as_f64().expect("a number") / foreseen;
        assert!(
            (taken["peak_over_foreseen"].as_f64().expect("a number") / share - 1.0).abs() < 1e-6
        );
    }
    let unknown = refused(
        place.path(),
        &["plan", "tiny.toml", "--memory", "--stage", "groud"],
        1,
    );
    assert!(unknown.contains("align, unify"), "{unknown}");
}
