//! What stops a run, and what it says.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use fourfold_data::Skip;
use fourfold_train::hub::{Hub, HubSettings};
use fourfold_train::metrics;
use fourfold_train::parallel::Ranks;
use fourfold_train::progress::{Progress, Silent};
use fourfold_train::recipe::Recipe;
use fourfold_train::trainer::{Start, TrainOptions, train};

use crate::support::*;

#[test]
fn failures_are_loud_and_say_what_to_do() {
    let place = workplace();
    let message = refusal(place.path(), &["stage.align.lr=1e30"]);
    assert!(
        message.contains("align") && message.contains("NaN"),
        "{message}"
    );

    // The loss before the last step is a number; what the step makes is none.
    let last = ["stage.unify.samples=4", "stage.unify.lr=1e38"];
    let message = refusal(place.path(), &last);
    assert!(
        message.contains("'unify'") && message.contains("the weights of '"),
        "{message}"
    );

    let message = refusal(place.path(), &["stage.align.max_tokens=5"]);
    assert!(message.contains("colours.jsonl"), "{message}");

    let message = refusal(place.path(), &["data.colours.images=false"]);
    assert!(
        message.contains("`projector` trains, but none of its data has images"),
        "a projector cannot learn from text alone: {message}"
    );

    let message = refusal(place.path(), &["data.colours.answer="]);
    assert!(
        message.contains("key 'data.colours.answer'"),
        "nothing to learn from: {message}"
    );

    let run = whole(place.path(), "done", &[]).expect("trains");
    let again = format!(
        "{:#}",
        whole(place.path(), "done", &[]).expect_err("exists")
    );
    assert!(
        again.contains("--force") && again.contains("--resume"),
        "{again}"
    );

    let never = Arc::new(AtomicBool::new(false));
    let overrides = ["stage.unify.lr=0.5"];
    let error = resume_refusal(place.path(), &overrides, never);
    assert!(
        error.contains("lr"),
        "a checkpoint of another recipe names the key: {error}"
    );

    let tokenizer = run.join("model/tokenizer.json");
    let text = fs::read_to_string(&tokenizer)
        .expect("saved")
        .replace("<|end|>", "<|fin|>");
    fs::write(&tokenizer, text).expect("written");
    let adapt = RECIPE.replace("name = \"tiny\"", "name = \"adapt\"");
    let start = adapt.find("[model.vision]").expect("there");
    let end = adapt.find("[data.colours]").expect("there");
    let adapt = format!(
        "{}[model]\nfrom = \"done/model\"\n{}",
        &adapt[..start],
        &adapt[end..]
    );
    fs::write(place.path().join("tiny.toml"), adapt).expect("written");
    let message = refusal(place.path(), &[]);
    assert!(message.contains("tokenizer"), "{message}");
}

#[test]
fn a_broken_picture_is_skipped_and_counted_or_fatal() {
    let place = workplace();
    fs::write(place.path().join("grey.png"), b"no picture").expect("written");
    let run_folder = whole(place.path(), "skipping", &[]).expect("trains on the others");
    let records = metrics::read(&run_folder.join("metrics.jsonl")).expect("readable");
    assert!(records.iter().map(|record| record.skipped).sum::<usize>() > 0);
    assert!(
        records
            .iter()
            .all(|record| record.samples + record.skipped == 4),
        "a broken sample leaves its place empty"
    );

    let recipe = Recipe::load(&place.path().join("tiny.toml"), &[]).expect("valid");
    let options = TrainOptions {
        folder: place.path().join("strict"),
        start: Start::New { force: false },
        strict: true,
        hub: Hub::new(HubSettings::offline("no-cache".into())),
        ranks: Ranks::default(),
        devices: Vec::new(),
        stop: Arc::new(AtomicBool::new(false)),
    };
    let error = format!(
        "{:#}",
        train(recipe, &options, &mut Silent).expect_err("strict")
    );
    assert!(
        error.contains("colours.jsonl") && error.contains("grey.png"),
        "{error}"
    );
}

/// In whatever stage or evaluation the mistake is: no folder stands in the way of the next try, and no earlier run
/// is given for one that cannot be made.
#[test]
fn a_run_that_cannot_be_made_leaves_everything_as_it_was() {
    let place = workplace();
    let too_long = "stage.unify.max_tokens=65";
    let later = "data.later={path=\"colours.jsonl\",answer=\"{{ nme }}\"}";
    let evaluation = |answer: &str| {
        format!(
            "evaluation.held-out={{path=\"colours.jsonl\",answer=\"{answer}\",metrics=[\"accuracy\"]}}"
        )
    };
    let misspelt = evaluation("{{ nme }}");
    let failing = evaluation("{{ colour.no.such }}");
    let one_image = "evaluation.held-out={path=\"colours.jsonl\",answer=\"{{ colour }}\",metrics=[\"accuracy\"],\
                     baselines=[\"shuffled_images\"],where={colour=\"red\"}}";
    let cases: [(&[&str], [&str; 2]); 7] = [
        (
            &["stage.unify.max_tokens=2"],
            ["stage 'unify'", "all targets are masked"],
        ),
        (
            &["stage.unify.augment={ noise = 0.1, views = 0 }"],
            ["stage 'unify'", "augment.views"],
        ),
        (
            &[one_image],
            ["evaluation 'held-out'", "two different images"],
        ),
        (&[too_long], ["stage 'unify'", "max_tokens = 65"]),
        (
            &[later, "stage.unify.mixture={later=1}"],
            ["stage 'unify'", "`nme`"],
        ),
        (&[&misspelt], ["evaluation 'held-out'", "`nme`"]),
        (
            &[&failing],
            ["evaluation 'held-out'", "not one of the 4 samples"],
        ),
    ];
    for (overrides, expected) in cases {
        let error = whole(place.path(), "early", overrides).expect_err("refused");
        let message = format!("{error:#}");
        for part in expected {
            assert!(message.contains(part), "{part} is missing in: {message}");
        }
        assert!(!place.path().join("early").exists(), "after: {message}");
    }
    let short = ["stage.align.samples=4", "stage.unify.samples=4"];
    let folder = whole(place.path(), "early", &short).expect("a plain retry trains");
    let before = weights(&folder);
    let replace = |overrides: &[&str]| {
        let never = Arc::new(AtomicBool::new(false));
        let force = Start::New { force: true };
        let outcome = run(place.path(), "early", overrides, force, never, &mut Silent);
        format!("{:#}", outcome.expect_err("refused"))
    };
    replace(&[too_long]);
    // What the new run starts from would go with the old one.
    let inside = folder.join("model/tokenizer.json");
    fs::rename(
        place.path().join("colours.jsonl"),
        folder.join("samples/colours.jsonl"),
    )
    .expect("moved");
    let message = replace(&["data.colours.path=early/samples/colours.jsonl"]);
    assert!(
        message.contains("'data.colours.path'") && message.contains("--run"),
        "{message}"
    );
    assert!(
        inside.exists() && weights(&folder) == before,
        "the earlier run is still there"
    );
}

/// The sample is whole; it is the recipe that leaves no room for its answer. So it is not skipped.
#[test]
fn a_sample_without_a_target_stops_the_run() {
    let place = workplace();
    let file = place.path().join("colours.jsonl");
    let mut rows = fs::read_to_string(&file).expect("readable");
    rows = rows.replace("{\"image\"", "{\"question\": \"What colour?\", \"image\"");
    rows += &format!(
        "{{\"question\": \"{}\", \"image\": \"red.png\", \"colour\": \"red\"}}\n",
        long_prompt()
    );
    fs::write(&file, rows).expect("written");
    let message = refusal(place.path(), &["data.colours.prompt={{ question }}"]);
    for part in [
        "colours.jsonl:line 5",
        "all targets are masked",
        "max_tokens",
    ] {
        assert!(message.contains(part), "{part} is missing in: {message}");
    }
}

#[test]
fn images_past_the_recipes_limits_stop_the_run() {
    let place = workplace();
    let message = refusal(place.path(), &["image_files.max_side=15"]);
    assert!(
        message.contains("the limit is 15 a side (image_files.max_side)"),
        "{message}"
    );
    let message = refusal(place.path(), &["image_files.max_side=0"]);
    assert!(
        message.contains("image_files.max_side") && message.contains("expected 1 to"),
        "{message}"
    );
}

#[test]
fn a_path_that_leads_nowhere_says_what_is_wrong_with_it() {
    let place = workplace();
    let message = |path: &str| refusal(place.path(), &[&format!("data.colours.path={path}")]);
    for (path, expected) in [
        ("5", "expected a path, a pattern, or a list of them"),
        ("x{00005..00001}.tar", "expected two numbers that rise"),
        ("colours{0..2}.jsonl", "colours0.jsonl"),
        ("nowhere.jsonl", "nowhere.jsonl"),
    ] {
        let message = message(path);
        assert!(
            message.contains(expected) && message.contains("data.colours.path"),
            "{path}: {message}"
        );
    }
}

#[test]
fn the_part_that_may_be_broken_is_not_rounded_up() {
    let place = workplace();
    let rows: String = (0..150)
        .map(|row| {
            let image = if row < 2 { "none" } else { "red" };
            format!("{{\"image\": \"{image}.png\", \"colour\": \"red\"}}\n")
        })
        .collect();
    fs::write(place.path().join("colours.jsonl"), rows).expect("written");
    // One of a hundred is one of these 150.
    let message = refusal(place.path(), &[]);
    assert!(message.contains("2 of the 150 samples"), "{message}");
    whole(place.path(), "done", &["training.max_skipped=0.02"]).expect("three may be");
}

/// What is told at the end is what the file lists: that of a run that was stopped and resumed, and what broke the limit.
#[test]
fn broken_samples_are_counted_as_they_are_listed() {
    let place = workplace();
    let file = place.path().join("colours.jsonl");
    let rows = fs::read_to_string(&file).expect("readable");
    fs::write(&file, format!("{rows}{{\"image\": 3}}\n{{\"image\": 4}}\n")).expect("written");
    let listed = |run: &str| {
        let text = fs::read_to_string(place.path().join(run).join("skipped.jsonl"));
        text.expect("written").lines().count()
    };
    let heard = |run_folder: &str, start: Start, limit: &str| {
        let mut heard = Heard(0);
        let never = Arc::new(AtomicBool::new(false));
        let result = run(place.path(), run_folder, &[limit], start, never, &mut heard);
        (heard.0, result.is_ok())
    };
    let new = Start::New { force: false };
    assert_eq!(
        heard("limit", new, "training.max_skipped=0"),
        (listed("limit"), false)
    );
    let most = "training.max_skipped=1.0";
    stopped(place.path(), "going", &[most], 7);
    assert_eq!(listed("going"), 2, "both were drawn before it was stopped");
    assert_eq!(heard("going", Start::Resume, most), (2, true));
}

/// Remembers how many broken samples it was told of last.
struct Heard(usize);

impl Progress for Heard {
    fn skipped(&mut self, _: &[Skip], listed: usize) {
        self.0 = listed;
    }
}
