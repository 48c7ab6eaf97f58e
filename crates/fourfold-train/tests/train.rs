//! Whole runs of a tiny model on pictures made here.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fourfold_train::measure::measure;
use fourfold_train::metrics::{self, StepRecord};
use fourfold_train::plan::plan;
use fourfold_train::progress::{Progress, Silent};
use fourfold_train::recipe::Recipe;
use fourfold_train::trainer::{Outcome, Start, TrainOptions, train};

const RECIPE: &str = r#"
name = "tiny"
seed = 3
precision = "f32"
[model.vision]
hidden_size = 16
intermediate_size = 24
num_hidden_layers = 1
num_attention_heads = 2
image_size = 16
patch_size = 4
[model.projector]
kind = "mlp"
pixel_shuffle = 2
[model.language]
model_type = "llama"
hidden_size = 16
intermediate_size = 24
num_hidden_layers = 1
num_attention_heads = 2
num_key_value_heads = 1
max_position_embeddings = 64
tie_word_embeddings = true
[tokenizer]
train = { vocabulary = 270, on = ["colours"] }
[image]
size = 16
[data.colours]
path = "colours.jsonl"
prompt = "What colour?"
answer = "{{ colour }}"
[[stage]]
name = "align"
train = ["projector"]
mixture = { colours = 1 }
samples = 24
batch = 4
lr = 1e-2
[[stage]]
name = "unify"
train = ["vision", "projector", "language"]
mixture = { colours = 1 }
samples = 160
batch = 4
lr = 1e-2
weight_decay = 0.1
augment = { shift = 0.1, brightness = 0.1 }
[training]
checkpoint_every = 5
"#;

/// A folder with six pictures of plain colours and the recipe.
fn workplace() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let colours = [
        ("red", [255, 0, 0]),
        ("green", [0, 255, 0]),
        ("blue", [0, 0, 255]),
        ("grey", [128; 3]),
    ];
    let mut rows = String::new();
    for (name, rgb) in colours {
        let file = format!("{name}.png");
        let picture = image::RgbImage::from_pixel(16, 16, image::Rgb(rgb));
        picture.save(folder.path().join(&file)).expect("written");
        rows += &format!("{{\"image\": \"{file}\", \"colour\": \"{name}\"}}\n");
    }
    fs::write(folder.path().join("colours.jsonl"), rows).expect("written");
    fs::write(folder.path().join("tiny.toml"), RECIPE).expect("written");
    folder
}

fn run(
    place: &Path,
    name: &str,
    overrides: &[&str],
    start: Start,
    stop: Arc<AtomicBool>,
    progress: &mut (dyn Progress + Send),
) -> anyhow::Result<Outcome> {
    let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
    let recipe = Recipe::load(&place.join("tiny.toml"), &overrides)?;
    let options = TrainOptions {
        folder: place.join(name),
        start,
        strict: false,
        stop,
    };
    train(recipe, &options, progress)
}

fn whole(place: &Path, name: &str, overrides: &[&str]) -> anyhow::Result<PathBuf> {
    let never = Arc::new(AtomicBool::new(false));
    match run(
        place,
        name,
        overrides,
        Start::New { force: false },
        never,
        &mut Silent,
    )? {
        Outcome::Finished { run } => Ok(run.path().to_owned()),
        Outcome::Stopped { .. } => panic!("nobody asked it to stop"),
    }
}

fn weights(run: &Path) -> Vec<u8> {
    fs::read(run.join("model/model.safetensors")).expect("a finished run has weights")
}

/// The message of a run that cannot be made, whether it had begun or not.
fn refusal(place: &Path, overrides: &[&str]) -> String {
    let error = whole(place, "refused", overrides).expect_err("refused");
    let folder = place.join("refused");
    if folder.exists() {
        fs::remove_dir_all(folder).expect("removed");
    }
    format!("{error:#}")
}

/// Goes on with a run that was stopped.
fn resume(place: &Path, name: &str, overrides: &[&str]) -> PathBuf {
    let never = Arc::new(AtomicBool::new(false));
    let outcome = run(place, name, overrides, Start::Resume, never, &mut Silent);
    match outcome.expect("goes on") {
        Outcome::Finished { run } => run.path().to_owned(),
        Outcome::Stopped { .. } => panic!("nobody asked it to stop"),
    }
}

/// A prompt of at least a hundred tokens; the language model takes 64.
fn long_prompt() -> String {
    let words: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    words.join(" ")
}

/// Asks to stop after some updates.
struct StopAfter(usize, Arc<AtomicBool>);

impl Progress for StopAfter {
    fn updated(&mut self, record: &StepRecord) {
        if record.step == self.0 {
            self.1.store(true, Ordering::Relaxed);
        }
    }
}

/// Begins a run and stops it after `updates` updates.
fn stopped(place: &Path, name: &str, overrides: &[&str], updates: usize) {
    let stop = Arc::new(AtomicBool::new(false));
    let mut progress = StopAfter(updates, stop.clone());
    let new = Start::New { force: false };
    let outcome = run(place, name, overrides, new, stop, &mut progress).expect("trains");
    assert!(
        matches!(outcome, Outcome::Stopped { .. }),
        "stopped at {updates}"
    );
}

#[test]
fn the_loss_falls_and_a_run_repeats_bit_for_bit() {
    let place = workplace();
    let first = whole(place.path(), "first", &[]).expect("trains");
    let second = whole(place.path(), "second", &["threads=1"]).expect("trains");
    assert_eq!(
        weights(&first),
        weights(&second),
        "one thread and several give the same weights"
    );
    let records = metrics::read(&first.join("metrics.jsonl")).expect("readable");
    assert_eq!(records.len(), 46);
    let (begin, end) = (records[0].loss, records[45].loss);
    assert!(end < 0.5 * begin, "loss {begin} -> {end}");
}

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
fn splitting_a_batch_into_packs_changes_nothing_but_rounding() {
    let place = workplace();
    // One update, so that rounding does not grow over a whole run.
    let one = ["stage.align.samples=4", "stage.unify.samples=4"];
    let whole_batch = whole(place.path(), "one-pack", &one).expect("trains");
    let split = [
        &one[..],
        &["stage.align.pack_images=1", "stage.unify.pack_images=1"],
    ]
    .concat();
    let split = whole(place.path(), "many-packs", &split).expect("trains");
    let norms = |run: &Path| -> Vec<(usize, f64, f64)> {
        let records = metrics::read(&run.join("metrics.jsonl")).expect("readable");
        records
            .iter()
            .map(|record| (record.packs, record.loss, record.grad_norm))
            .collect()
    };
    for (whole, split) in norms(&whole_batch).iter().zip(norms(&split)) {
        assert_eq!((whole.0, split.0), (1, 4));
        assert!(
            (whole.1 - split.1).abs() < 1e-5 * whole.1,
            "loss {} and {}",
            whole.1,
            split.1
        );
        assert!(
            (whole.2 - split.2).abs() < 1e-4 * whole.2,
            "norm {} and {}",
            whole.2,
            split.2
        );
    }
}

/// The second stage with a frozen encoder, two variations an image.
const FROZEN_ENCODER: [&str; 2] = [
    "stage.unify.train=[\"projector\", \"language\"]",
    "stage.unify.augment={ shift = 0.1, brightness = 0.1, views = 2 }",
];

#[test]
fn kept_features_change_nothing_but_rounding() {
    let place = workplace();
    let with = |name: &str, more: &[&str]| {
        let overrides = [&FROZEN_ENCODER, more].concat();
        whole(place.path(), name, &overrides).expect("trains")
    };
    let kept = with("kept", &["stage.unify.cache_features=true"]);
    let no_room = [
        "stage.unify.cache_features=true",
        "training.feature_cache_mib=0",
    ];
    let no_room = with("no-room", &no_room);
    assert!(
        weights(&kept) == weights(&no_room),
        "an image found and one computed anew are the same to the bit"
    );
    let losses = |run: &Path| -> Vec<f64> {
        let records = metrics::read(&run.join("metrics.jsonl")).expect("readable");
        records.iter().map(|record| record.loss).collect()
    };
    let plain = losses(&with("plain", &[]));
    for (update, (kept, plain)) in losses(&kept).iter().zip(&plain).enumerate() {
        assert!(
            (kept - plain).abs() < 1e-3 * plain,
            "update {update}: loss {kept} with kept features, {plain} without"
        );
    }
}

#[test]
fn what_is_kept_is_planned_and_measured() {
    let place = workplace();
    let recipe = |more: &[&str]| {
        let overrides = [&FROZEN_ENCODER, more].concat();
        let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
        Recipe::load(&place.path().join("tiny.toml"), &overrides).expect("valid")
    };
    let kept = recipe(&["stage.unify.cache_features=true"]);
    let no_room = recipe(&[
        "stage.unify.cache_features=true",
        "training.feature_cache_mib=0",
    ]);
    let operations = |recipe: &Recipe| plan(recipe).expect("a plan").stages[1].operations;
    let plain = operations(&recipe(&[]));
    assert!(operations(&kept) < plain);
    assert_eq!(operations(&no_room), plain);
    let speeds = measure(&kept, 0.0).expect("measured");
    let names: Vec<&str> = speeds.iter().map(|speed| speed.name.as_str()).collect();
    assert_eq!(names, ["align", "unify"]);
    for speed in speeds {
        assert!(
            speed.measured > 0 && speed.seconds().is_finite(),
            "{speed:?}"
        );
        assert!(speed.seconds() > 0.0, "{speed:?}");
    }
}

#[test]
fn a_stopped_run_with_kept_features_goes_on_as_if_it_had_not_been() {
    let place = workplace();
    let overrides = [&FROZEN_ENCODER[..], &["stage.unify.cache_features=true"]].concat();
    let straight = weights(&whole(place.path(), "straight", &overrides).expect("trains"));
    stopped(place.path(), "stopped", &overrides, 17);
    let resumed = resume(place.path(), "stopped", &overrides);
    assert!(weights(&resumed) == straight);
}

#[test]
fn computing_blocks_again_changes_no_bit() {
    let place = workplace();
    let with =
        |name: &str, more: &[&str]| weights(&whole(place.path(), name, more).expect("trains"));
    let again = ["stage.align.recompute=true", "stage.unify.recompute=true"];
    assert!(with("again", &again) == with("kept", &[]));
}

#[test]
fn what_a_stage_freezes_does_not_move() {
    let place = workplace();
    let only = ["stage.unify.train=[\"language\"]", "stage.unify.lr=0.05"];
    let run = whole(place.path(), "frozen", &only).expect("trains");
    let model = |folder: PathBuf| {
        fourfold_model::Model::load(&folder, fourfold_tensor::Precision::F32).expect("loads")
    };
    let after = model(run.join("model"));
    // A run with no update of the second stage's kind differs in the language model alone.
    let other = ["stage.unify.train=[\"language\"]", "stage.unify.lr=0.01"];
    let other = model(
        whole(place.path(), "other", &other)
            .expect("trains")
            .join("model"),
    );
    for ((_, a), (_, b)) in after.parameters.iter().zip(other.parameters.iter()) {
        let same = a.master().to_f32_vec() == b.master().to_f32_vec();
        assert_eq!(same, !a.name().starts_with("language."), "{}", a.name());
    }
}

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
        message.contains("colours.jsonl") && message.contains("answer"),
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

fn resume_refusal(place: &Path, overrides: &[&str], never: Arc<AtomicBool>) -> String {
    let outcome = run(place, "done", overrides, Start::Resume, never, &mut Silent);
    format!("{:#}", outcome.expect_err("another recipe"))
}

#[test]
fn a_broken_picture_is_skipped_and_counted_or_fatal() {
    let place = workplace();
    fs::write(place.path().join("grey.png"), b"no picture").expect("written");
    let run_folder = whole(place.path(), "skipping", &[]).expect("trains on the others");
    let records = metrics::read(&run_folder.join("metrics.jsonl")).expect("readable");
    assert!(records.iter().map(|record| record.skipped).sum::<usize>() > 0);
    assert!(
        records.iter().all(|record| record.samples == 4),
        "batches stay whole"
    );

    let recipe = Recipe::load(&place.path().join("tiny.toml"), &[]).expect("valid");
    let options = TrainOptions {
        folder: place.path().join("strict"),
        start: Start::New { force: false },
        strict: true,
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

/// Of a run that has written one.
fn newest_checkpoint(run: &Path) -> PathBuf {
    let mut all = fs::read_dir(run.join("checkpoints")).expect("there");
    all.next()
        .expect("one checkpoint")
        .expect("readable")
        .path()
}
