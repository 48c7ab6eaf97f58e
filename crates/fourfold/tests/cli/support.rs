//! A tiny recipe, pictures, and the program run on them.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;

pub const RECIPE: &str = r#"
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
pub fn workplace() -> TempDir {
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

pub fn write(place: &Path, name: &str, text: &str) {
    fs::write(place.join(name), text).expect("written");
}

pub fn command(place: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fourfold"));
    command
        .current_dir(place)
        .args(arguments)
        .env_remove("RUST_BACKTRACE");
    command
}

/// What a command wrote and how it ended; it never panics.
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

pub fn ended(output: &Output) -> Ended {
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

pub fn run(place: &Path, arguments: &[&str]) -> Ended {
    ended(&command(place, arguments).output().expect("started"))
}

/// Runs what has to succeed.
pub fn good(place: &Path, arguments: &[&str]) -> Ended {
    let ended = run(place, arguments);
    assert_eq!(ended.code, 0, "{arguments:?}: {}", ended.err);
    ended
}

/// Runs what has to be refused; gives the message.
pub fn refused(place: &Path, arguments: &[&str], code: i32) -> String {
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
pub fn trained() -> &'static Path {
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
pub fn accuracy(place: &Path, model: &str, file: &str) -> Value {
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

pub fn json_lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}
