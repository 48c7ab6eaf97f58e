//! `plan`.

use std::fs;

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
