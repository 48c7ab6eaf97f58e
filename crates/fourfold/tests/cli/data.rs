//! Data shown, checked and measured on, and what a plan counts of it.

use std::fs;

use serde_json::Value;

use crate::support::*;

#[test]
fn evaluations_are_found_by_name_and_by_file() {
    let place = trained();
    let text = good(
        place,
        &["eval", "--model", "runs/tiny", "--data", "held-out"],
    )
    .out;
    assert!(text.starts_with("evaluation  system"), "{text}");
    assert!(
        text.contains("shuffled images") && text.contains("majority"),
        "{text}"
    );
    assert_eq!(accuracy(place, "runs/tiny", "colors.jsonl"), 1.0);
    let message = refused(
        place,
        &["eval", "--model", "runs/tiny", "--data", "held-oot"],
        1,
    );
    assert!(message.contains("held-out"), "{message}");
    let message = refused(place, &["eval", "--model", "runs/tiny"], 1);
    assert!(
        message.contains("scores.json exists already") && message.contains("--force"),
        "{message}"
    );
}

#[test]
fn data_is_shown_and_checked() {
    let place = workplace();
    let place = place.path();
    let rows = good(place, &["data", "show", "colors.jsonl", "--count", "1"]).out;
    assert!(
        rows.contains("3 rows") && rows.contains("red.png, 16 × 16"),
        "{rows}"
    );
    let documents = good(
        place,
        &[
            "data",
            "show",
            "tiny.toml",
            "--data",
            "names",
            "--start",
            "2",
        ],
    )
    .out;
    assert!(
        documents.contains("colors.jsonl:line 3: ") && documents.contains("<|image|>×4"),
        "{documents}"
    );
    let checked = good(
        place,
        &["data", "check", "tiny.toml", "--no-overlap", "--json"],
    )
    .out;
    let reports: Value = serde_json::from_str(&checked).expect("JSON");
    assert_eq!(
        (&reports[0]["name"], &reports[0]["good"]),
        (&"names".into(), &3.into())
    );
    write(place, "green.png", "no picture");
    let ended = run(place, &["data", "check", "tiny.toml", "--data", "names"]);
    assert_eq!(ended.code, 1);
    assert!(
        ended.out.contains("2 of 3 samples good") && ended.out.contains("green.png"),
        "{}",
        ended.out
    );
    assert!(
        ended.err.contains(
            "1 sample is broken; training skips them, or stops at the first with `train --strict`"
        ),
        "{}",
        ended.err
    );
    let named = ["--answer", "{{ name }}"];
    let ended = run(
        place,
        &[&["data", "check", "colors.jsonl"], &named[..]].concat(),
    );
    assert_eq!(ended.code, 1);
    let unanswered = run(place, &["data", "check", "colors.jsonl"]);
    assert!(
        unanswered.code == 1
            && unanswered
                .err
                .contains("--answer: nothing says what is to be learnt"),
        "{}",
        unanswered.err
    );
    assert!(ended.out.contains("colors.jsonl:line 2"), "{}", ended.out);
    assert!(
        !ended.out.contains("tokens"),
        "nothing counted them: {}",
        ended.out
    );
    let lines: String = (0..30)
        .map(|row| format!("{{\"image\": \"green.png\", \"name\": \"name {row}\"}}\n"))
        .collect();
    write(place, "colors.jsonl", &lines);
    for target in ["colors.jsonl", "tiny.toml"] {
        let mut arguments = vec!["data", "check", target, "--skipped", "skipped.jsonl"];
        if target == "colors.jsonl" {
            arguments.extend(named);
        }
        let ended = run(place, &arguments);
        assert_eq!(ended.code, 1);
        if target == "colors.jsonl" {
            assert!(
                ended.out.contains("image that cannot be read: 30")
                    && ended.out.contains("… and 25 more"),
                "{}",
                ended.out
            );
            let skipped = fs::read_to_string(place.join("skipped.jsonl")).expect("written");
            let origins: Vec<Value> = json_lines(&skipped)
                .iter()
                .map(|skip| skip["origin"].clone())
                .collect();
            let expected: Vec<String> = (1..=30)
                .map(|line| format!("colors.jsonl:line {line}"))
                .collect();
            assert_eq!(origins, expected);
            let then = "training stops when it has met them all: of colors.jsonl more is broken";
            assert!(ended.err.contains(then), "{}", ended.err);
        }
    }
}

#[test]
fn a_plan_counts_what_training_does() {
    let place = workplace();
    let out = good(place.path(), &["plan", "tiny.toml", "--json"]).out;
    let plan: Value = serde_json::from_str(&out).expect("JSON");
    let run = trained().join("runs/tiny");
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).expect("metrics");
    let steps = json_lines(&metrics);
    for stage in plan["stages"].as_array().expect("a list") {
        let steps: Vec<&Value> = steps
            .iter()
            .filter(|step| step["stage"] == stage["name"])
            .collect();
        assert_eq!(stage["updates"], steps.len());
        let tokens: f64 = steps
            .iter()
            .filter_map(|step| step["tokens"].as_f64())
            .sum();
        let planned = stage["tokens"].as_f64().expect("a number");
        assert!((planned / tokens - 1.0).abs() < 0.1, "{planned} {tokens}");
        assert!(stage["seconds"].as_f64().expect("a number") > 0.0);
    }
    let projector = &plan["parameters"]["projector"];
    assert_eq!(&plan["stages"][0]["trainable"], projector);
    let text = good(place.path(), &["plan", "tiny.toml", "--measure", "0"]).out;
    assert!(text.contains("align") && !text.contains("time"), "{text}");
}

#[test]
fn loading_is_timed() {
    let place = workplace();
    let place = place.path();
    let bench = |more: &[&str]| {
        let arguments = [
            "data",
            "bench",
            "tiny.toml",
            "--data",
            "names",
            "--samples",
            "10",
        ];
        let arguments = [&arguments, more].concat();
        good(place, &arguments).out
    };
    let times: Value =
        serde_json::from_str(&bench(&["--batch", "4", "--threads", "1", "--json"])).unwrap();
    // Whole batches.
    assert_eq!(times["samples"], 12, "{times}");
    assert_eq!(times["images"], 12, "{times}");
    assert_eq!(times["threads"], 1, "{times}");
    assert!(
        times["samples_per_second"].as_f64().unwrap() > 0.0,
        "{times}"
    );
    assert!(bench(&[]).starts_with("names: "));
    let message = refused(place, &["data", "bench", "colors.jsonl"], 1);
    assert!(message.contains("give a recipe"), "{message}");
}
