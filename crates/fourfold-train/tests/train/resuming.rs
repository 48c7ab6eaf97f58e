//! Runs that go on from a checkpoint.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use fourfold_train::metrics;
use fourfold_train::progress::Silent;
use fourfold_train::trainer::Start;

use crate::support::*;

#[test]
fn a_stopped_run_goes_on_as_if_it_had_not_been() {
    let place = workplace();
    let straight = weights(&whole(place.path(), "straight", &[]).expect("trains"));
    // Within the first stage, at its end, and within the second.
    for stop_at in [2, 6, 15] {
        let name = format!("stopped-{stop_at}");
        stopped(place.path(), &name, &[], stop_at);
        let folder = resume(place.path(), &name, &[]);
        assert!(
            weights(&folder) == straight,
            "stopped after {stop_at} updates"
        );
        let steps: Vec<usize> = metrics::read(&folder.join("metrics.jsonl"))
            .expect("readable")
            .iter()
            .map(|record| record.step)
            .collect();
        assert_eq!(
            steps,
            (1..=46).collect::<Vec<_>>(),
            "every step is there once"
        );
    }
}

#[test]
fn a_finished_run_that_is_resumed_writes_the_same_model() {
    let place = workplace();
    let overrides = [
        "stage.align.samples=4",
        "stage.unify.samples=4",
        "stage.unify.visibility=causal",
    ];
    let folder = whole(place.path(), "done", &overrides).expect("trains");
    let config = || fs::read_to_string(folder.join("model/config.json")).expect("readable");
    let (before, trained) = (config(), weights(&folder));
    assert!(before.contains("\"causal\""), "{before}");
    resume(place.path(), "done", &overrides);
    assert_eq!(config(), before);
    assert!(weights(&folder) == trained);
}

/// The checkpoint is written first, and `[training]` may be mended before going on.
#[test]
fn captions_that_cannot_be_made_cost_no_training() {
    let place = workplace();
    let straight = weights(&whole(place.path(), "straight", &[]).expect("trains"));
    let evaluation = format!(
        "evaluation.long={{path=\"colours.jsonl\",prompt=\"{}\",answer=\"{{{{ colour }}}}\",metrics=[\"accuracy\"]}}",
        long_prompt()
    );
    let samples = "training.samples={data=\"long\",count=1}";
    let error = whole(place.path(), "asked", &[&evaluation, samples]).expect_err("too long");
    let message = format!("{error:#}");
    assert!(
        message.contains("training.samples") && message.contains("shorten the prompt"),
        "{message}"
    );
    let checkpoint = place.path().join("asked/checkpoints/step-00000006");
    assert!(checkpoint.exists(), "that of the stage's end");
    let folder = resume(place.path(), "asked", &[]);
    assert!(weights(&folder) == straight);
}

/// Images and text take turns. The last batch is text, and teaches the vision encoder nothing.
#[test]
fn a_stage_resumed_before_a_batch_of_text_passes_as_the_whole_does() {
    let place = workplace();
    let overrides = [
        "data.text={path=\"colours.jsonl\",images=false,answer=\"{{ colour }}\"}",
        "stage.align.samples=4",
        "stage.unify.mixture={colours=1,text=1}",
        "stage.unify.samples=4",
        "stage.unify.batch=1",
    ];
    let straight = whole(place.path(), "straight", &overrides).expect("trains");
    let records = metrics::read(&straight.join("metrics.jsonl")).expect("readable");
    let images: Vec<usize> = records.iter().map(|record| record.images).collect();
    assert_eq!(images, [4, 1, 0, 1, 0]);
    stopped(place.path(), "stopped", &overrides, 4);
    let folder = resume(place.path(), "stopped", &overrides);
    assert!(weights(&folder) == weights(&straight));
}

/// Whoever edits a checkpoint's place does not get an untrained rest for a finished model.
#[test]
fn a_checkpoint_at_no_place_of_the_run_is_refused() {
    let place = workplace();
    stopped(place.path(), "done", &[], 3);
    let newest = newest_checkpoint(&place.path().join("done")).join("state.json");
    let text = fs::read_to_string(&newest).expect("readable");
    let state: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    for (key, value) in [("update", 999), ("stage", 99)] {
        let mut altered = state.clone();
        altered[key] = value.into();
        fs::write(&newest, altered.to_string()).expect("written");
        let message = resume_refusal(place.path(), &[], Arc::new(AtomicBool::new(false)));
        assert!(message.contains("altered"), "{message}");
    }
    fs::write(&newest, text).expect("written");
    resume(place.path(), "done", &[]);
}

#[test]
fn a_damaged_checkpoint_is_refused_by_name() {
    let place = workplace();
    let stop = Arc::new(AtomicBool::new(false));
    let mut progress = StopAfter(3, stop.clone());
    let new = Start::New { force: false };
    run(place.path(), "damaged", &[], new, stop, &mut progress).expect("stops");
    let newest = newest_checkpoint(&place.path().join("damaged"));
    let files: Vec<PathBuf> = fs::read_dir(&newest)
        .expect("a folder")
        .flatten()
        .map(|file| file.path())
        .collect();
    let largest = files
        .iter()
        .max_by_key(|file| file.metadata().map_or(0, |m| m.len()))
        .expect("files");
    let bytes = fs::read(largest).expect("readable");
    fs::write(largest, &bytes[..bytes.len() - 100]).expect("written");
    let never = Arc::new(AtomicBool::new(false));
    let outcome = run(
        place.path(),
        "damaged",
        &[],
        Start::Resume,
        never,
        &mut Silent,
    );
    let error = format!("{:#}", outcome.expect_err("damaged"));
    assert!(error.contains(&newest.display().to_string()), "{error}");
}
