//! Whole runs with features on disk: the same losses to the bit, and an encoder that has nothing to do.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fourfold_train::feature_cache::Origins;
use fourfold_train::hub::{Hub, HubSettings};
use fourfold_train::metrics::{self, StepRecord};
use fourfold_train::parallel::Ranks;
use fourfold_train::plan::plan;
use fourfold_train::progress::Progress;
use fourfold_train::recipe::Recipe;
use fourfold_train::trainer::{Outcome, Start, TrainOptions, train};

/// Packs hold as many images as go through the encoder together where features are kept: so the encoder's products
/// are as high without a cache, and add in the same order.
const RECIPE: &str = r#"
name = "cached"
seed = 5
precision = "f32"
[model.vision]
hidden_size = 16
intermediate_size = 24
num_hidden_layers = 2
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
train = { vocabulary = 270, on = ["pictures"] }
[image]
size = 16
[data.pictures]
path = "pictures.jsonl"
prompt = "Which?"
answer = "{{ name }}"
[[stage]]
name = "align"
train = ["projector"]
mixture = { pictures = 1 }
samples = 48
batch = 8
pack_images = 8
lr = 1e-2
[[stage]]
name = "unify"
train = ["projector", "language"]
mixture = { pictures = 1 }
samples = 64
batch = 8
pack_images = 8
lr = 1e-2
augment = { shift = 0.1, brightness = 0.1, views = 2 }
[training]
checkpoint_every = 4
"#;

const PICTURES: usize = 12;

const KEPT: [&str; 2] = [
    "stage.align.cache_features=true",
    "stage.unify.cache_features=true",
];

fn workplace() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut rows = String::new();
    for number in 0..PICTURES {
        draw(folder.path(), number, number);
        rows += &format!("{{\"image\": \"{number}.png\", \"name\": \"n{number}\"}}\n");
    }
    fs::write(folder.path().join("pictures.jsonl"), rows).expect("written");
    fs::write(folder.path().join("cached.toml"), RECIPE).expect("written");
    folder
}

/// Writes picture `number`, which looks as `look` says.
fn draw(place: &Path, number: usize, look: usize) {
    let colour = |x: u32, y: u32| {
        image::Rgb(
            [0, 1, 2].map(|channel| ((x * 11 + y * 5 + channel) as usize * (look + 3)) as u8),
        )
    };
    let picture = image::RgbImage::from_fn(20, 16, colour);
    let file = place.join(format!("{number}.png"));
    picture.save(file).expect("written");
}

/// Hears the notes, and stops after some updates.
#[derive(Default)]
struct Ear {
    notes: Vec<String>,
    stop: Option<(usize, Arc<AtomicBool>)>,
}

impl Progress for Ear {
    fn note(&mut self, text: &str) {
        self.notes.push(text.to_owned());
    }

    fn updated(&mut self, record: &StepRecord) {
        if let Some((_, stop)) = self.stop.as_ref().filter(|(at, _)| *at == record.step) {
            stop.store(true, Ordering::Relaxed);
        }
    }
}

fn recipe(place: &Path, overrides: &[&str]) -> anyhow::Result<Recipe> {
    let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
    Recipe::load(&place.join("cached.toml"), &overrides)
}

fn start(
    place: &Path,
    name: &str,
    overrides: &[&str],
    start: Start,
    stop_at: Option<usize>,
) -> anyhow::Result<Run> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut ear = Ear {
        stop: stop_at.map(|at| (at, Arc::clone(&stop))),
        ..Ear::default()
    };
    let options = TrainOptions {
        folder: place.join(name),
        start,
        strict: false,
        hub: Hub::new(HubSettings::offline("no-cache".into())),
        ranks: Ranks::default(),
        devices: Vec::new(),
        stop,
    };
    let outcome = train(recipe(place, overrides)?, &options, &mut ear)?;
    assert_eq!(
        matches!(outcome, Outcome::Stopped { .. }),
        stop_at.is_some()
    );
    Ok(Run {
        folder: place.join(name),
        notes: ear.notes,
    })
}

struct Run {
    folder: PathBuf,
    notes: Vec<String>,
}

impl Run {
    fn records(&self) -> Vec<StepRecord> {
        metrics::read(&self.folder.join("metrics.jsonl")).expect("readable")
    }

    /// All that training makes, in bits.
    fn bits(&self) -> (Vec<[u64; 2]>, Vec<u8>) {
        let numbers = |record: &StepRecord| [record.loss.to_bits(), record.grad_norm.to_bits()];
        let records = self.records().iter().map(numbers).collect();
        let weights = fs::read(self.folder.join("model/model.safetensors"));
        (records, weights.expect("a finished run has weights"))
    }

    fn origins(&self) -> Origins {
        let mut all = Origins::default();
        for record in self.records() {
            all.add(record.features.unwrap_or_default());
        }
        all
    }
}

fn whole(place: &Path, name: &str, overrides: &[&str]) -> Run {
    let new = Start::New { force: false };
    start(place, name, overrides, new, None).expect("trains")
}

/// With features in memory, and on disk in `features/`.
fn on_disk(more: &[&'static str]) -> Vec<&'static str> {
    [&KEPT[..], &["training.feature_cache=features"], more].concat()
}

/// The shards in `features/`.
fn shards(place: &Path) -> BTreeSet<PathBuf> {
    let list = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).expect("a folder");
        entries.map(|entry| entry.expect("listed").path()).collect()
    };
    let folders = list(&place.join("features"));
    let files = folders.iter().flat_map(|folder| list(folder));
    files
        .filter(|file| file.extension().is_some_and(|end| end == "features"))
        .collect()
}

#[test]
fn losses_without_with_a_cold_and_with_a_warm_cache_are_the_same_bits() {
    for precision in ["precision=f32", "precision=bf16"] {
        let place = workplace();
        let place = place.path();
        let with = |name: &str, more: &[&'static str]| {
            whole(place, name, &[&on_disk(more)[..], &[precision]].concat())
        };
        let plain = whole(place, "plain", &[precision]);
        assert!(plain.records().iter().all(|r| r.features.is_none()));
        let memory = whole(place, "memory", &[&KEPT[..], &[precision]].concat());
        assert_eq!(memory.origins().disk, 0);

        let cold = with("cold", &[]);
        let first = cold.origins();
        assert_eq!(first, memory.origins());
        assert!(first.encoded > PICTURES && first.encoded <= 3 * PICTURES);
        let written = shards(place);
        assert_eq!(written.len(), 2, "one for each stage's way of reading");

        let warm = with("warm", &[]);
        let expected = Origins {
            memory: first.memory,
            disk: first.encoded,
            encoded: 0,
        };
        assert_eq!(warm.origins(), expected);
        let small = with("small", &["training.feature_cache_mib=0"]);
        let expected = Origins {
            memory: 0,
            disk: first.memory + first.encoded,
            encoded: 0,
        };
        assert_eq!(small.origins(), expected);
        assert_eq!(shards(place), written, "nothing was new");
        assert!(warm.notes.iter().any(|note| {
            note.starts_with("unify: features: ") && note.ends_with("from disk, 0 encoded")
        }));

        let bits = plain.bits();
        for run in [memory, cold, warm, small] {
            assert!(run.bits() == bits, "{precision}: {}", run.folder.display());
        }
    }
}

#[test]
fn a_full_disk_cache_changes_no_bit() {
    let place = workplace();
    let none = on_disk(&["training.feature_cache_disk_mib=0"]);
    let full = whole(place.path(), "full", &none);
    let told = |note: &&String| note.contains("feature_cache_disk_mib = 0");
    // Each stage varies images in its own way, and so has files of its own.
    assert_eq!(full.notes.iter().filter(told).count(), 2);
    assert!(shards(place.path()).is_empty());
    assert!(full.bits() == whole(place.path(), "plain", &[]).bits());
}

#[test]
fn a_killed_run_goes_on_as_if_it_had_not_been() {
    let place = workplace();
    let place = place.path();
    let straight = whole(place, "straight", &[]).bits();
    let new = Start::New { force: false };
    // In the first stage and in the second; what was being written is torn.
    for stop_at in [3, 10] {
        let name = format!("stopped-{stop_at}");
        let kept = on_disk(&[]);
        start(place, &name, &kept, new, Some(stop_at)).expect("trains");
        for shard in shards(place) {
            let length = fs::metadata(&shard).expect("there").len();
            let file = fs::File::options().write(true).open(&shard);
            file.and_then(|file| file.set_len(length - 7)).expect("cut");
        }
        let resumed = start(place, &name, &kept, Start::Resume, None).expect("goes on");
        assert!(resumed.bits() == straight, "stopped after {stop_at}");
        fs::remove_dir_all(place.join("features")).expect("removed");
    }
    // With the cache that another run has filled, and then without any.
    whole(place, "filling", &on_disk(&[]));
    start(place, "back", &on_disk(&[]), new, Some(5)).expect("trains");
    let resumed = start(place, "back", &[], Start::Resume, None);
    // `cache_features` belongs to what must not change; the folder does not.
    assert!(format!("{:#}", resumed.err().expect("refused")).contains("cache_features"));
    let resumed = start(place, "back", &KEPT, Start::Resume, None).expect("goes on");
    assert!(resumed.bits() == straight);
}

#[test]
fn damage_and_changed_images_are_encoded_anew() {
    let place = workplace();
    let place = place.path();
    let kept = on_disk(&[]);
    whole(place, "cold", &kept);
    let straight = whole(place, "plain", &[]).bits();

    let shard = shards(place).pop_last().expect("written");
    let mut bytes = fs::read(&shard).expect("readable");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&shard, bytes).expect("written");
    let damaged = whole(place, "damaged", &kept);
    assert!(damaged.bits() == straight);
    assert_eq!(damaged.origins().encoded, 1);
    let told = |note: &&String| note.contains("is damaged at byte");
    assert_eq!(damaged.notes.iter().filter(told).count(), 1);
    assert_eq!(whole(place, "healed", &kept).origins().encoded, 0);

    // The same file names, another content; moved, the same content.
    draw(place, 4, 100);
    let changed = whole(place, "changed", &kept);
    assert!((1..=3).contains(&changed.origins().encoded));
    assert!(changed.bits() == whole(place, "changed-plain", &[]).bits());
    fs::rename(place.join("3.png"), place.join("moved.png")).expect("moved");
    let rows = fs::read_to_string(place.join("pictures.jsonl")).expect("there");
    let rows = rows.replace("3.png", "moved.png");
    fs::write(place.join("pictures.jsonl"), rows).expect("written");
    assert_eq!(whole(place, "moved", &kept).origins().encoded, 0);
}

/// What the encoder was before it trained is not what it is after.
#[test]
fn an_encoder_that_trained_in_between_finds_only_its_own() {
    let place = workplace();
    let place = place.path();
    let third = "\n[[stage]]\nname = \"tune\"\ntrain = [\"vision\"]\nmixture = { pictures = 1 }\nsamples = 16\n\
        batch = 8\nlr = 1e-2\n[[stage]]\nname = \"last\"\ntrain = [\"language\"]\nmixture = { pictures = 1 }\n\
        samples = 24\nbatch = 8\npack_images = 8\nlr = 1e-2\n[training]";
    let text = RECIPE.replace("\n[training]", third);
    fs::write(place.join("cached.toml"), text).expect("written");
    let kept = on_disk(&["stage.last.cache_features=true"]);
    let cold = whole(place, "cold", &kept);
    assert_eq!(shards(place).len(), 3);
    let last = |run: &Run| {
        let records = run.records();
        records
            .iter()
            .rev()
            .take(3)
            .map(|r| r.features.expect("kept").encoded)
            .sum::<usize>()
    };
    assert!(last(&cold) > 0, "'align' read the same images as they are");
    let warm = whole(place, "warm", &kept);
    assert_eq!(warm.origins().encoded, 0);
    assert!(warm.bits() == cold.bits());
    assert!(cold.bits() == whole(place, "plain", &[]).bits());
}

/// Trouble at the first stage shows before anything is trained; later it is told, and costs no run.
#[test]
fn trouble_at_a_later_stage_costs_nothing() {
    let place = workplace();
    let place = place.path();
    let cold = whole(place, "cold", &on_disk(&[]));
    let about = |varied: bool| {
        let shards = shards(place);
        let mut found = shards
            .iter()
            .map(|shard| shard.with_file_name("about.json"));
        found
            .find(|about| {
                let text = fs::read_to_string(about).expect("written");
                text.contains("\"augment\": null") != varied
            })
            .expect("one for each stage")
    };
    let (first, second) = (about(false), about(true));
    fs::write(&second, "changed").expect("written");
    let run = whole(place, "noted", &on_disk(&[]));
    assert!(run.bits() == cold.bits());
    let told = |note: &&String| note.contains("goes on without features on disk");
    let notes: Vec<&String> = run.notes.iter().filter(told).collect();
    assert!(
        notes.len() == 1 && notes[0].contains("'unify'") && notes[0].contains("about.json"),
        "{:?}",
        run.notes
    );
    fs::write(&first, "changed").expect("written");
    let new = Start::New { force: false };
    let refused = start(place, "refused", &on_disk(&[]), new, None).err();
    assert!(format!("{:#}", refused.expect("refused")).contains("about.json"));
}

#[test]
fn a_folder_that_makes_no_sense_is_refused() {
    let place = workplace();
    let place = place.path();
    let refusal = |overrides: &[&str]| {
        let new = Start::New { force: false };
        let refused = start(place, "refused", overrides, new, None).err();
        assert!(!place.join("refused").exists(), "before anything is made");
        format!("{:#}", refused.expect("refused"))
    };
    let message = refusal(&["training.feature_cache=features"]);
    assert!(
        message.contains("key 'training.feature_cache': no stage keeps features"),
        "{message}"
    );
    let message = refusal(&[&KEPT[..], &["training.feature_cache=pictures.jsonl"]].concat());
    assert!(
        message.contains("pictures.jsonl of training.feature_cache; make it writable"),
        "{message}"
    );
    let message = refusal(&[&KEPT[..], &["training.feature_cache=refused/features"]].concat());
    assert!(
        message.contains("key 'training.feature_cache'") && message.contains("run folder"),
        "{message}"
    );
    let foreign = on_disk(&[]);
    let cold = whole(place, "cold", &foreign);
    let text = fs::read_to_string(cold.folder.join("recipe.toml")).expect("written");
    assert!(text.contains("feature_cache = \"../features\""), "{text}");
}

#[test]
fn what_the_disk_will_hold_is_planned() {
    let place = workplace();
    let place = place.path();
    let disk = |overrides: &[&str]| -> f64 {
        let costs = plan(&recipe(place, overrides).expect("valid")).expect("a plan");
        costs.stages.iter().map(|stage| stage.disk).sum()
    };
    assert_eq!(disk(&KEPT), 0.0);
    assert_eq!(disk(&on_disk(&["training.feature_cache_disk_mib=0"])), 0.0);
    let planned = disk(&on_disk(&[]));
    assert!(!place.join("features").exists(), "a plan makes nothing");
    let encoded = whole(place, "cold", &on_disk(&[])).origins().encoded;
    let bytes = encoded as f64 * 16.0 * 16.0 * 4.0;
    assert!(
        (0.8..1.25).contains(&(planned / bytes)),
        "{planned} planned, {bytes} written"
    );
}
