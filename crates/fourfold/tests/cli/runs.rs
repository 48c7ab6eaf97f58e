//! Runs: what training leaves, keeps and takes up again.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::*;

#[test]
fn training_leaves_a_run_with_scores() {
    let place = trained();
    let run = place.join("runs/tiny");
    for file in [
        "recipe.toml",
        "metrics.jsonl",
        "environment.json",
        "model/model.safetensors",
    ] {
        assert!(run.join(file).is_file(), "{file} is missing");
    }
    let text = fs::read_to_string(run.join("scores.json")).expect("scores");
    let scores: Value = serde_json::from_str(&text).expect("JSON");
    let held_out = &scores["held-out"];
    assert_eq!(held_out["samples"], 3);
    assert_eq!(held_out["model"]["exact_match"], 1.0, "{text}");
    assert_eq!(held_out["shuffled_images"]["exact_match"], 0.0, "{text}");
    assert_eq!(held_out["pixel_nn"]["exact_match"], 1.0, "{text}");
    assert!(
        held_out["blind"]["exact_match"].as_f64().expect("a number") < 0.5,
        "{text}"
    );
    let predictions =
        fs::read_to_string(run.join("predictions/held-out.jsonl")).expect("predictions");
    assert_eq!(json_lines(&predictions)[0]["prediction"], "red");
    let report = fs::read_to_string(run.join("report.html")).expect("report");
    let (_, after) = report
        .split_once("<h2>Scores</h2>")
        .expect("the report has scores");
    let (scores, _) = after.split_once("</pre>").expect("a table");
    assert!(
        scores.contains("held-out") && scores.contains("100.0"),
        "{scores}"
    );
}

#[test]
fn a_run_that_was_moved_away_from_its_data_is_of_use() {
    let place = trained();
    let moved = tempfile::tempdir().expect("a temporary folder");
    let moved = moved.path();
    let run = moved.join("far/off");
    fs::create_dir_all(run.join("model")).expect("made");
    fs::copy(place.join("runs/tiny/recipe.toml"), run.join("recipe.toml")).expect("copied");
    for file in fs::read_dir(place.join("runs/tiny/model")).expect("a folder") {
        let file = file.expect("a file");
        fs::copy(file.path(), run.join("model").join(file.file_name())).expect("copied");
    }
    fs::copy(place.join("red.png"), moved.join("red.png")).expect("copied");
    let caption = good(moved, &["caption", "--model", "far/off", "red.png"]);
    assert_eq!(caption.out, "red\n", "the prompt is that of the recipe");
    write(
        moved,
        "mine.jsonl",
        "{\"image\": \"red.png\", \"name\": \"red\"}\n",
    );
    assert_eq!(accuracy(moved, "far/off", "mine.jsonl"), 1.0);
    let message = refused(
        moved,
        &["eval", "--model", "far/off", "--data", "held-out"],
        1,
    );
    assert!(message.contains("colors.jsonl"), "{message}");
}

#[test]
fn a_run_is_kept_and_a_broken_sample_is_told() {
    let place = workplace();
    let place = place.path();
    let quick = ["--set", "stage.unify.samples=8", "--no-eval"];
    let train = |more: &[&'static str]| {
        let mut arguments = vec!["train", "tiny.toml"];
        arguments.extend(quick);
        arguments.extend(more);
        arguments
    };
    good(place, &train(&[]));
    let weights = fs::read(place.join("runs/tiny/model/model.safetensors")).expect("weights");
    let message = refused(place, &train(&[]), 1);
    assert!(
        message.contains("--force") && message.contains("--resume"),
        "{message}"
    );
    let message = refused(
        place,
        &["train", "tiny.toml", "--resume", "--set", "seed=9"],
        1,
    );
    assert!(
        message.contains("seed"),
        "a checkpoint of another recipe: {message}"
    );
    let again = good(
        place,
        &["train", "--resume", "--run", "runs/tiny", "--no-eval"],
    );
    assert!(again.err.contains("all stages are done"), "{}", again.err);
    assert_eq!(
        weights,
        fs::read(place.join("runs/tiny/model/model.safetensors")).expect("weights")
    );
    write(place, "green.png", "no picture");
    let ended = good(place, &train(&["--force", "--threads", "1"]));
    assert!(
        ended.err.contains("skipped: ") && ended.err.contains("green.png"),
        "{}",
        ended.err
    );
    let message = refused(place, &train(&["--force", "--strict"]), 1);
    assert!(
        message.contains("green.png") && message.contains("strict"),
        "{message}"
    );
}

/// Ctrl-C is a signal; how it is sent is a matter of the system.
#[cfg(unix)]
#[test]
fn an_interrupted_run_says_how_to_go_on_and_goes_on() {
    let place = workplace();
    let place = place.path();
    // A thousand updates: enough for the signal to arrive in time, few enough to wait for the end of them.
    let long = [
        "train",
        "tiny.toml",
        "--set",
        "stage.align.samples=4000",
        "--set",
        "stage.unify.samples=4",
        "--set",
        "training.checkpoint_every=100000",
        "--no-eval",
        "--strict",
        "--threads",
        "1",
    ];
    let child = command(place, &long)
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let metrics = place.join("runs/tiny/metrics.jsonl");
    for _ in 0..400 {
        if fs::metadata(&metrics).is_ok_and(|file| file.len() > 0) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .expect("started")
            .success()
    );
    let ended = ended(&child.wait_with_output().expect("waited for"));
    assert_eq!(ended.code, 130, "{}", ended.err);
    assert!(
        ended.err.contains("stopping after the work at hand"),
        "{}",
        ended.err
    );
    let told = "train --resume --run runs/tiny --strict --no-eval --threads 1";
    assert!(ended.err.contains(told), "{}", ended.err);
    assert!(!place.join("runs/tiny/model").exists());
    let message = refused(place, &["caption", "--model", "runs/tiny", "red.png"], 1);
    assert!(message.contains("not finished"), "{message}");
    let checkpoints = fs::read_dir(place.join("runs/tiny/checkpoints")).expect("a folder");
    assert!(checkpoints.count() > 0);
    let arguments: Vec<&str> = told.split(' ').collect();
    good(place, &arguments);
    assert!(place.join("runs/tiny/model/model.safetensors").is_file());
    let metrics = fs::read_to_string(metrics).expect("metrics");
    let steps: Vec<Value> = json_lines(&metrics)
        .iter()
        .map(|line| line["step"].clone())
        .collect();
    let all: Vec<Value> = (1..=1001).map(Value::from).collect();
    assert_eq!(steps, all, "no update is left out or made twice");
}

#[test]
fn the_quickstart_trains_scores_and_shows() {
    let place = workplace();
    let place = place.path();
    let message = refused(place, &["quickstart"], 1);
    assert!(message.contains("recipes/quickstart.toml"), "{message}");
    fs::create_dir(place.join("recipes")).expect("made");
    let recipe = RECIPE.replace("colors.jsonl", "../colors.jsonl");
    write(place, "recipes/quickstart.toml", &recipe);
    let ended = good(place, &["quickstart", "--minutes", "1e-6"]);
    assert!(
        ended.err.contains("the scores alone take longer"),
        "{}",
        ended.err
    );
    assert!(ended.err.contains("all of it takes about"), "{}", ended.err);
    assert!(ended.out.contains("shuffled images"), "{}", ended.out);
    assert!(ended.out.contains("said: "), "{}", ended.out);
    for next in [
        "runs/tiny/samples/000.png \"What is the main color?\"",
        "train recipes/adapt-easy-vqa.toml --set model.from=/",
        "/runs/tiny/model\n",
    ] {
        assert!(ended.out.contains(next), "{}", ended.out);
    }
    assert!(place.join("runs/tiny/scores.json").is_file());
    assert!(place.join("runs/tiny/report.html").is_file());
    let message = refused(place, &["quickstart"], 1);
    assert!(message.contains("--force"), "{message}");
    assert!(
        !message.contains("measuring"),
        "found out at once: {message}"
    );
}
