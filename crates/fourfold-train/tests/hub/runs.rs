//! A run whose language model comes from the hub.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fourfold_train::hub::{Hub, HubSettings, Need, Pins};
use fourfold_train::metrics::StepRecord;
use fourfold_train::parallel::Ranks;
use fourfold_train::progress::{Progress, Silent};
use fourfold_train::recipe::{Origin, Recipe};
use fourfold_train::trainer::{Outcome, Start, TrainOptions, train};

use super::fetching::NEVER;
use super::server::{FIRST, SECOND, Server};

const RECIPE: &str = r#"
name = "hub"
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
from = "owner/model"
[data.texts]
path = "texts.jsonl"
answer = "{{ text }}"
[[stage]]
name = "align"
train = ["language"]
mixture = { texts = 1 }
samples = 4
batch = 2
lr = 1e-3
"#;

fn asset(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../assets/tiny-llama");
    fs::read(folder.join(name)).unwrap()
}

fn server() -> Server {
    let names = [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "format.json",
    ];
    let files: Vec<(&str, Vec<u8>)> = names.iter().map(|name| (*name, asset(name))).collect();
    let files: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(name, bytes)| (*name, &bytes[..]))
        .collect();
    Server::new(&files)
}

fn workplace() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let texts = "{\"text\": \"a red cat\"}\n{\"text\": \"a blue hat\"}\n";
    fs::write(folder.path().join("texts.jsonl"), texts).unwrap();
    fs::write(folder.path().join("hub.toml"), RECIPE).unwrap();
    folder
}

fn run(
    recipe: &Path,
    folder: &Path,
    start: Start,
    hub: Hub,
    stop_at: usize,
) -> anyhow::Result<Outcome> {
    let stop = Arc::new(AtomicBool::new(false));
    let options = TrainOptions {
        folder: folder.to_owned(),
        start,
        strict: false,
        hub,
        ranks: Ranks::default(),
        devices: Vec::new(),
        stop: stop.clone(),
    };
    train(
        Recipe::load(recipe, &[])?,
        &options,
        &mut StopAt(stop_at, stop),
    )
}

struct StopAt(usize, Arc<AtomicBool>);

impl Progress for StopAt {
    fn updated(&mut self, record: &StepRecord) {
        if record.step == self.0 {
            self.1.store(true, Ordering::Relaxed);
        }
    }
}

/// The recipe keeps the id, `environment.json` names the commit, and a resumed run takes that commit though the branch
/// has moved on.
#[test]
fn a_run_resumes_with_the_commit_it_began_with() {
    let (place, server) = (workplace(), server());
    let (cache, folder) = (place.path().join("cache"), place.path().join("run"));
    let new = Start::New { force: false };
    let outcome = run(
        &place.path().join("hub.toml"),
        &folder,
        new,
        server.hub(&cache),
        1,
    )
    .unwrap();
    assert!(matches!(outcome, Outcome::Stopped { .. }));
    let written = fs::read_to_string(folder.join("recipe.toml")).unwrap();
    assert!(written.contains("from = \"owner/model\""), "{written}");
    let environment = fs::read_to_string(folder.join("environment.json")).unwrap();
    assert!(
        environment.contains(&format!("\"owner/model\": \"{FIRST}\"")),
        "{environment}"
    );

    server.set(|state| {
        state.commits.insert(
            SECOND.into(),
            [("config.json".to_owned(), b"another".to_vec())].into(),
        );
        state.branches.insert("main".into(), SECOND.into());
    });
    fs::remove_dir_all(&cache).unwrap();
    let again = run(
        &folder.join("recipe.toml"),
        &folder,
        Start::Resume,
        server.hub(&cache),
        0,
    );
    assert!(matches!(again.unwrap(), Outcome::Finished { .. }));
    let environment = fs::read_to_string(folder.join("environment.json")).unwrap();
    assert!(environment.contains(FIRST), "{environment}");
}

/// All of the commit is in the cache: a hub that answers nothing but errors is not even asked.
#[test]
fn a_resumed_run_asks_no_hub_for_what_the_cache_has() {
    let (place, server) = (workplace(), server());
    let (cache, folder) = (place.path().join("cache"), place.path().join("run"));
    let recipe = place.path().join("hub.toml");
    let new = Start::New { force: false };
    run(&recipe, &folder, new, server.hub(&cache), 1).unwrap();
    server.heard();
    server.set(|state| state.failing = Some(("", 500, usize::MAX)));
    let recipe = folder.join("recipe.toml");
    let again = run(&recipe, &folder, Start::Resume, server.hub(&cache), 0);
    assert!(matches!(again.unwrap(), Outcome::Finished { .. }));
    assert_eq!(server.heard(), [""; 0]);
}

/// What exists beside the recipe is a folder, whatever its name looks like.
#[test]
fn a_folder_goes_before_an_id() {
    let place = workplace();
    let file = place.path().join("hub.toml");
    let language = |recipe: &Recipe| {
        let mut found = None;
        if let Some(fourfold_train::recipe::Backbone::Pretrained { from, .. }) =
            &recipe.model.language
        {
            found = Some(from.clone());
        }
        found.unwrap()
    };
    let id = Origin::Hub("owner/model".parse().unwrap());
    assert_eq!(language(&Recipe::load(&file, &[]).unwrap()), id);
    fs::create_dir_all(place.path().join("owner/model")).unwrap();
    let folder = language(&Recipe::load(&file, &[]).unwrap());
    assert_eq!(folder.path().unwrap(), place.path().join("owner/model"));
    let error = Recipe::load(&file, &["model.language.from=models/a/b".into()]).unwrap_err();
    let error = format!("{error:#}");
    assert!(
        error.contains("there is no") && error.contains("OWNER/NAME@REVISION"),
        "{error}"
    );
}

/// A misspelt folder looks like an id: the message says both.
#[test]
fn a_refused_id_names_its_key_and_that_it_is_no_folder() {
    let place = workplace();
    let recipe = Recipe::load(&place.path().join("hub.toml"), &[]).unwrap();
    let hub = Hub::new(HubSettings::offline(place.path().join("cache")));
    let error = recipe.fetched(&hub, Need::Weights, &Pins::new(), &mut Silent, &NEVER);
    let error = format!("{:#}", error.unwrap_err());
    for word in [
        "model.language.from",
        "no path beside the recipe",
        "holds no owner/model",
    ] {
        assert!(error.contains(word), "{word}: {error}");
    }
}
