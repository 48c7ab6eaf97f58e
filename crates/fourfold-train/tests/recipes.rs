//! The recipes that ship with Fourfold.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use fourfold_model::Part;
use fourfold_train::hub::HubId;
use fourfold_train::recipe::{Backbone, Origin, Recipe, Stage, Weights};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes")
}

/// Reads a recipe without looking its files up: a model that it starts from may not be made yet.
fn read(file: &Path) -> Recipe {
    let text = fs::read_to_string(file).expect("readable");
    let name = file.display().to_string();
    Recipe::parse(&name, &text, &[]).unwrap_or_else(|error| panic!("{error:#}"))
}

/// Recipes on published models and data sets, which do not ship with Fourfold.
const OF_PUBLISHED_DATA: [&str; 3] = ["fourfold-0.9b", "fourfold-222m", "gpt2-clip"];

/// The recipes of `folder`, by the name of their file.
fn recipes(folder: &Path) -> BTreeMap<String, Recipe> {
    let files = fs::read_dir(folder).expect("a folder");
    let files = files.map(|entry| entry.expect("an entry").path());
    let recipes = files.filter(|file| file.extension().is_some_and(|ending| ending == "toml"));
    let named = recipes.map(|file| {
        let name = file.file_stem().expect("a name").to_string_lossy();
        (name.into_owned(), read(&file))
    });
    named.collect()
}

/// The files that `recipe` in `folder` reads samples from.
fn data(recipe: &Recipe, folder: &Path) -> Vec<PathBuf> {
    let evaluations = recipe.evaluation.values().map(|e| &e.source);
    let sources = recipe.data.values().chain(evaluations);
    sources
        .flat_map(|source| source.path.written().to_vec())
        .map(|path| folder.join(path))
        .collect()
}

#[test]
fn every_recipe_is_valid_and_its_data_is_here() {
    for folder in [folder(), folder().join("../bench/memory")] {
        let recipes = recipes(&folder);
        assert!(!recipes.is_empty(), "no recipe in {}", folder.display());
        for (file, recipe) in recipes {
            assert_eq!(recipe.name, file, "a recipe is called as its file is");
            if OF_PUBLISHED_DATA.contains(&file.as_str()) {
                continue;
            }
            for path in data(&recipe, &folder) {
                assert!(path.is_file(), "{file}: {}", path.display());
            }
        }
    }
}

/// They go from published models through the four stages, and what they read is a kind of file that is read here.
#[test]
fn recipes_on_published_data_have_four_stages_from_models_of_the_hub() {
    let recipes = recipes(&folder());
    let staged = &recipes["quickstart"];
    let names = |recipe: &Recipe| -> Vec<String> {
        recipe
            .stage
            .iter()
            .map(|stage| stage.name.clone())
            .collect()
    };
    for name in OF_PUBLISHED_DATA {
        let recipe = &recipes[name];
        assert_eq!(names(recipe), names(staged), "{name}");
        let vision = recipe.model.vision.as_ref().and_then(Backbone::from);
        let language = recipe.model.language.as_ref().and_then(Backbone::from);
        for origin in [vision, language] {
            // Not looked up yet, an id is a path of two names.
            let Some(Origin::Local(written)) = origin else {
                panic!("{name}: {origin:?}");
            };
            let id = written.to_str().expect("text").parse::<HubId>();
            assert!(id.is_ok(), "{name}: {}", written.display());
        }
        for path in data(recipe, &folder()) {
            assert!(path.extension().is_some_and(|ending| ending == "jsonl"));
        }
        // The language model is frozen first, and more is seen before it is set free than after.
        let free = |stage: &&Stage| stage.trains(Part::Language);
        let first_free = recipe.stage.iter().position(|stage| free(&stage));
        assert_eq!(first_free, Some(2), "{name}");
        let seen = |stages: &[Stage]| -> usize { stages.iter().filter_map(|s| s.samples).sum() };
        assert!(
            seen(&recipe.stage[..2]) > seen(&recipe.stage[2..]),
            "{name}"
        );
    }
}

/// What a reader copies from the README has to work.
#[test]
fn the_recipe_of_the_readme_is_whole() {
    let readme = fs::read_to_string(folder().join("../README.md")).expect("readable");
    let (_, rest) = readme.split_once("```toml\n").expect("a recipe");
    let (recipe, _) = rest.split_once("```").expect("its end");
    let recipe =
        Recipe::parse("README.md", recipe, &[]).unwrap_or_else(|error| panic!("{error:#}"));
    for source in recipe.data.values() {
        let path = folder().join("..").join(&source.path.written()[0]);
        assert!(path.is_file(), "{}", path.display());
    }
}

/// Samples of all stages, and how often each data name is drawn for them.
fn draws(recipe: &Recipe) -> (usize, BTreeMap<String, f64>) {
    let mut total = 0;
    let mut draws = BTreeMap::new();
    for stage in &recipe.stage {
        let samples = stage.samples.expect("a number of samples");
        let Weights::Given(weights) = &stage.mixture else {
            panic!("stage '{}' gives no weights", stage.name);
        };
        let sum: f64 = weights.values().sum();
        for (name, weight) in weights {
            *draws.entry(name.clone()).or_default() += samples as f64 * weight / sum;
        }
        total += samples;
    }
    (total, draws)
}

/// Else a comparison of the two would not be one of the stages.
#[test]
fn one_stage_sees_what_the_four_of_the_quickstart_see() {
    let staged = draws(&read(&folder().join("quickstart.toml")));
    let one = read(&folder().join("one-stage.toml"));
    assert_eq!(one.stage.len(), 1);
    let one = draws(&one);
    assert_eq!(one.0, staged.0, "samples in total");
    let names = |draws: &BTreeMap<String, f64>| draws.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&one.1), names(&staged.1));
    for (name, expected) in &staged.1 {
        let drawn = one.1[name];
        assert!(
            (drawn / expected - 1.0).abs() < 0.01,
            "'{name}' is drawn {drawn:.0} times, {expected:.0} times in the quickstart"
        );
    }
}
