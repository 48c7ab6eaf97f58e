//! The program as a user calls it, on a tiny model and pictures made here.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;

const RECIPE: &str = r#"
name = "tiny"
precision = "f32"
[model.vision]
hidden_size = 16
intermediate_size = 24
num_hidden_layers = 1
num_attention_heads = 2
image_size = 16
patch_size = 8
[model.projector]
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
train = { vocabulary = 280, on = ["names"] }
[image]
size = 16
[data.names]
path = "colors.jsonl"
prompt = "What colour?"
answer = "{{ name }}"
[[stage]]
name = "align"
train = ["projector"]
mixture = ["names"]
samples = 16
batch = 4
lr = 1e-2
[[stage]]
name = "unify"
train = ["vision", "projector", "language"]
mixture = ["names"]
samples = 480
batch = 4
lr = 1e-2
[training]
checkpoint_every = 5
samples = { data = "names", count = 3 }
[evaluation.held-out]
path = "colors.jsonl"
prompt = "What colour?"
answer = "{{ name }}"
metrics = ["exact_match", "cider_d"]
baselines = ["pixel_nn", "majority", "shuffled_images"]
baseline_data = ["names"]
max_new_tokens = 8
"#;

/// A folder with pictures, a recipe and what else a test needs.
fn workplace() -> TempDir {
    let place = tempfile::tempdir().expect("a temporary folder");
    let mut lines = String::new();
    for (name, rgb) in [
        ("red", [255, 0, 0]),
        ("green", [0, 255, 0]),
        ("blue", [0, 0, 255]),
    ] {
        let picture = image::RgbImage::from_pixel(16, 16, image::Rgb(rgb));
        picture
            .save(place.path().join(format!("{name}.png")))
            .expect("written");
        lines += &format!("{{\"image\": \"{name}.png\", \"name\": \"{name}\"}}\n");
    }
    write(place.path(), "colors.jsonl", &lines);
    write(place.path(), "tiny.toml", RECIPE);
    place
}

fn write(place: &Path, name: &str, text: &str) {
    fs::write(place.join(name), text).expect("written");
}

fn command(place: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fourfold"));
    command
        .current_dir(place)
        .args(arguments)
        .env_remove("RUST_BACKTRACE");
    command
}

/// What a command wrote and how it ended; it never panics.
struct Ended {
    code: i32,
    out: String,
    err: String,
}

fn ended(output: &Output) -> Ended {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let ended = Ended {
        code: output.status.code().expect("ended by itself"),
        out: text(&output.stdout),
        err: text(&output.stderr),
    };
    for word in ["panicked", "stack backtrace", "defect"] {
        assert!(!ended.err.contains(word), "{}", ended.err);
    }
    ended
}

fn run(place: &Path, arguments: &[&str]) -> Ended {
    ended(&command(place, arguments).output().expect("started"))
}

/// Runs what has to succeed.
fn good(place: &Path, arguments: &[&str]) -> Ended {
    let ended = run(place, arguments);
    assert_eq!(ended.code, 0, "{arguments:?}: {}", ended.err);
    ended
}

/// Runs what has to be refused; gives the message.
fn refused(place: &Path, arguments: &[&str], code: i32) -> String {
    let ended = run(place, arguments);
    assert_eq!(
        ended.code, code,
        "{arguments:?}: {}{}",
        ended.out, ended.err
    );
    assert!(
        ended.err.starts_with("error: ") || ended.err.contains("\nerror: "),
        "{}",
        ended.err
    );
    ended.err
}

/// A finished run in a folder that all tests read and none writes to.
fn trained() -> &'static Path {
    static PLACE: OnceLock<TempDir> = OnceLock::new();
    PLACE
        .get_or_init(|| {
            let place = workplace();
            good(place.path(), &["train", "tiny.toml"]);
            place
        })
        .path()
}

/// The accuracy of a model on the colours of a file.
fn accuracy(place: &Path, model: &str, file: &str) -> Value {
    let out = good(
        place,
        &[
            "eval",
            "--model",
            model,
            "--data",
            file,
            "--prompt",
            "What colour?",
            "--answer",
            "{{ name }}",
            "--metrics",
            "accuracy",
            "--json",
        ],
    );
    let scores: Value = serde_json::from_str(&out.out).expect("JSON");
    scores[file]["model"]["accuracy"].clone()
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

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
fn captions_and_answers_come_as_text_and_as_json() {
    let place = trained();
    let one = good(place, &["caption", "--model", "runs/tiny", "red.png"]);
    assert_eq!(one.out, "red\n", "the prompt is that of the recipe");
    let two = good(
        place,
        &[
            "caption",
            "--model",
            "runs/tiny/model",
            "--prompt",
            "What colour?",
            "red.png",
            "blue.png",
        ],
    );
    assert_eq!(two.out, "red.png: red\nblue.png: blue\n");
    let ask = good(
        place,
        &[
            "ask",
            "--model",
            "runs/tiny",
            "--json",
            "green.png",
            "What colour?",
        ],
    );
    let line = &json_lines(&ask.out)[0];
    assert_eq!(
        (&line["path"], &line["text"]),
        (&"green.png".into(), &"green".into())
    );
    assert!(line["log_probability"].as_f64().expect("a number") < 0.0);
    assert_eq!(line["finished"], true);
    let rows = tempfile::tempdir().expect("a temporary folder");
    fs::copy(place.join("blue.png"), rows.path().join("b.png")).expect("copied");
    write(
        rows.path(),
        "rows.jsonl",
        "{\"image\": \"b.png\", \"question\": \"What colour?\", \"id\": 7}\n",
    );
    let file = rows.path().join("rows.jsonl");
    let file = file.to_str().expect("a path");
    let asked = good(
        place,
        &[
            "ask",
            "--model",
            "runs/tiny",
            "--json",
            "--beams",
            "2",
            "--jsonl",
            file,
        ],
    );
    let line = &json_lines(&asked.out)[0];
    assert_eq!((&line["id"], &line["text"]), (&7.into(), &"blue".into()));
}

/// More rows than are answered at a time.
#[test]
fn captions_of_many_rows_come_in_their_order() {
    let place = trained();
    let rows = tempfile::tempdir().expect("a temporary folder");
    fs::copy(place.join("blue.png"), rows.path().join("b.png")).expect("copied");
    let mut lines = String::from("{\"image\": \"b.png\"}\n");
    for id in 1..70 {
        lines += &format!("{{\"image\": \"b.png\", \"prompt\": \"What colour?\", \"id\": {id}}}\n");
    }
    write(rows.path(), "rows.jsonl", &lines);
    let file = rows.path().join("rows.jsonl");
    let file = file.to_str().expect("a path");
    let out = good(place, &["caption", "--model", "runs/tiny", "--jsonl", file]).out;
    let mut said = out.lines();
    let first = said.next().expect("a line");
    assert!(first.ends_with("b.png: blue"), "{first}");
    for id in 1..70 {
        assert_eq!(said.next(), Some(format!("{id}: blue").as_str()));
    }
    assert_eq!(said.next(), None);
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
fn a_bad_image_is_named_and_the_others_are_answered() {
    let place = trained();
    let bad = tempfile::tempdir().expect("a temporary folder");
    write(bad.path(), "bad.png", "no picture");
    let file = bad.path().join("bad.png");
    let file = file.to_str().expect("a path");
    let ended = run(
        place,
        &[
            "caption",
            "--model",
            "runs/tiny",
            "red.png",
            file,
            "none.png",
            "blue.png",
        ],
    );
    assert_eq!(ended.code, 1);
    assert_eq!(ended.out, "red.png: red\nblue.png: blue\n");
    assert!(
        ended.err.contains("bad.png") && ended.err.contains("none.png"),
        "{}",
        ended.err
    );
    assert!(ended.err.contains("2 of 4 not answered"), "{}", ended.err);
}

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
    let checked = good(place, &["data", "check", "tiny.toml", "--json"]).out;
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
    let ended = run(place, &["data", "check", "colors.jsonl"]);
    assert_eq!(ended.code, 1);
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
        let ended = run(place, &["data", "check", target]);
        assert_eq!(ended.code, 1);
        for line in 1..=30 {
            let line = format!("colors.jsonl:line {line}: ");
            assert!(ended.out.contains(&line), "{target}: {}", ended.out);
        }
    }
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
        ended.err.contains("stopping after this update"),
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

#[test]
fn mistakes_are_told_with_the_way_out() {
    let place = workplace();
    let place = place.path();
    write(place, "typo.toml", &RECIPE.replace("batch = 4", "bach = 4"));
    let message = refused(place, &["train", "typo.toml"], 1);
    assert!(
        message.contains("typo.toml") && message.contains("batch"),
        "{message}"
    );
    let message = refused(
        place,
        &["train", "tiny.toml", "--set", "stage.algn.lr=1"],
        1,
    );
    assert!(message.contains("align"), "{message}");
    let message = refused(place, &["train", "nowhere.toml"], 1);
    assert!(message.contains("nowhere.toml"), "{message}");
    let message = refused(place, &["train", "tiny.toml", "--device", "cuda"], 2);
    assert!(message.contains("cpu"), "{message}");
    let message = refused(place, &["caption", "--model", "runs/none", "red.png"], 1);
    assert!(message.contains("runs/none"), "{message}");
    let message = refused(place, &["data", "show", "red.png"], 1);
    assert!(
        message.contains("red.png") && message.contains(".parquet"),
        "{message}"
    );
    let message = refused(place, &["data", "check", "none.jsonl"], 1);
    assert!(message.contains("none.jsonl"), "{message}");
    let message = refused(
        place,
        &["eval", "--model", "m", "--data", "d", "--beams", "65"],
        2,
    );
    assert!(message.contains("1..=64"), "{message}");
    let ended = ended(
        &command(place, &["plan", "tiny.toml"])
            .env("FOURFOLD_ISA", "avx1024")
            .output()
            .expect("started"),
    );
    assert_eq!(ended.code, 1);
    assert!(
        ended.err.contains("FOURFOLD_ISA") && ended.err.contains("avx512bf16"),
        "{}",
        ended.err
    );
    refused(place, &["ask", "--model", "runs/none"], 2);
    refused(place, &["train", "--resume"], 1);
}

#[test]
fn every_help_has_an_example() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let commands: [&[&str]; 10] = [
        &[],
        &["quickstart"],
        &["plan"],
        &["train"],
        &["caption"],
        &["ask"],
        &["eval"],
        &["data"],
        &["data", "show"],
        &["data", "check"],
    ];
    for words in commands {
        let mut arguments = words.to_vec();
        arguments.push("--help");
        assert!(
            good(place.path(), &arguments).out.contains("Example"),
            "{words:?}"
        );
    }
}

/// As in `fourfold data show … | head -1`.
#[cfg(unix)]
#[test]
fn a_reader_may_leave() {
    let place = workplace();
    let line = format!(
        "{} data show colors.jsonl | head -n 1",
        env!("CARGO_BIN_EXE_fourfold")
    );
    let output = Command::new("sh")
        .args(["-c", &line])
        .current_dir(place.path())
        .output()
        .expect("started");
    assert_eq!(ended(&output).err, "");
}
