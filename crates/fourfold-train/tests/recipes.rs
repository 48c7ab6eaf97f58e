//! The recipes that ship with Fourfold.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use fourfold_train::recipe::{Recipe, Weights};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes")
}

/// Reads a recipe without looking its files up: a model that it starts from may not be made yet.
fn read(file: &Path) -> Recipe {
    let text = fs::read_to_string(file).expect("readable");
    let name = file.display().to_string();
    Recipe::parse(&name, &text, &[]).unwrap_or_else(|error| panic!("{error:#}"))
}

#[test]
fn every_recipe_is_valid_and_its_data_is_here() {
    let mut count = 0;
    for entry in fs::read_dir(folder()).expect("a folder") {
        let file = entry.expect("an entry").path();
        if file.extension().is_none_or(|ending| ending != "toml") {
            continue;
        }
        let recipe = read(&file);
        let evaluations = recipe.evaluation.values().map(|e| &e.source);
        for source in recipe.data.values().chain(evaluations) {
            let path = folder().join(&source.path);
            assert!(path.is_file(), "{}: {}", file.display(), path.display());
        }
        count += 1;
    }
    assert!(count > 0, "no recipe in {}", folder().display());
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
        let path = folder().join("..").join(&source.path);
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
