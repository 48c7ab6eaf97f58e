//! A tiny recipe, pictures, and runs of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fourfold_tensor::Device;
use fourfold_train::hub::{Hub, HubSettings};
use fourfold_train::metrics::StepRecord;
use fourfold_train::parallel::Ranks;
use fourfold_train::progress::{Progress, Silent};
use fourfold_train::recipe::Recipe;
use fourfold_train::trainer::{Outcome, Start, TrainOptions, train};

pub const RECIPE: &str = r#"
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
pub fn workplace() -> tempfile::TempDir {
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

pub fn run(
    place: &Path,
    name: &str,
    overrides: &[&str],
    start: Start,
    stop: Arc<AtomicBool>,
    progress: &mut (dyn Progress + Send),
) -> anyhow::Result<Outcome> {
    run_on(
        Compute::default(),
        place,
        name,
        overrides,
        start,
        stop,
        progress,
    )
}

/// Who computes a run, and on what.
#[derive(Clone, Default)]
pub struct Compute {
    pub ranks: Ranks,
    pub devices: Vec<Device>,
}

impl Compute {
    pub fn threads(ranks: usize) -> Self {
        Self {
            ranks: Ranks::Threads(ranks),
            devices: Vec::new(),
        }
    }
}

pub fn run_on(
    compute: Compute,
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
        hub: Hub::new(HubSettings::offline("no-cache".into())),
        ranks: compute.ranks,
        devices: compute.devices,
        stop,
    };
    train(recipe, &options, progress)
}

pub fn whole(place: &Path, name: &str, overrides: &[&str]) -> anyhow::Result<PathBuf> {
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

pub fn weights(run: &Path) -> Vec<u8> {
    fs::read(run.join("model/model.safetensors")).expect("a finished run has weights")
}

/// The message of a run that cannot be made, whether it had begun or not.
pub fn refusal(place: &Path, overrides: &[&str]) -> String {
    let error = whole(place, "refused", overrides).expect_err("refused");
    let folder = place.join("refused");
    if folder.exists() {
        fs::remove_dir_all(folder).expect("removed");
    }
    format!("{error:#}")
}

/// Goes on with a run that was stopped.
pub fn resume(place: &Path, name: &str, overrides: &[&str]) -> PathBuf {
    let never = Arc::new(AtomicBool::new(false));
    let outcome = run(place, name, overrides, Start::Resume, never, &mut Silent);
    match outcome.expect("goes on") {
        Outcome::Finished { run } => run.path().to_owned(),
        Outcome::Stopped { .. } => panic!("nobody asked it to stop"),
    }
}

pub fn resume_refusal(place: &Path, overrides: &[&str], never: Arc<AtomicBool>) -> String {
    let outcome = run(place, "done", overrides, Start::Resume, never, &mut Silent);
    format!("{:#}", outcome.expect_err("another recipe"))
}

/// Begins a run and stops it after `updates` updates.
pub fn stopped(place: &Path, name: &str, overrides: &[&str], updates: usize) {
    let stop = Arc::new(AtomicBool::new(false));
    let mut progress = StopAfter(updates, stop.clone());
    let new = Start::New { force: false };
    let outcome = run(place, name, overrides, new, stop, &mut progress).expect("trains");
    assert!(
        matches!(outcome, Outcome::Stopped { .. }),
        "stopped at {updates}"
    );
}

/// Asks to stop after some updates.
pub struct StopAfter(pub usize, pub Arc<AtomicBool>);

impl Progress for StopAfter {
    fn updated(&mut self, record: &StepRecord) {
        if record.step == self.0 {
            self.1.store(true, Ordering::Relaxed);
        }
    }
}

/// Of a run that has written one.
pub fn newest_checkpoint(run: &Path) -> PathBuf {
    let mut all = fs::read_dir(run.join("checkpoints")).expect("there");
    all.next()
        .expect("one checkpoint")
        .expect("readable")
        .path()
}

/// A prompt of at least a hundred tokens; the language model takes 64.
pub fn long_prompt() -> String {
    let words: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    words.join(" ")
}
