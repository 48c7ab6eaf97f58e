//! The test splits that data must not share images with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use fourfold_data::{HeldOut, Paths, Source, SourceConfig};
use fourfold_train::recipe::{Recipe, unknown_word};

use super::bar::Bar;
use super::{Prepared, open_file};
use crate::output::note;

/// What is held out.
#[derive(Args, Debug)]
pub struct Splits {
    /// A data file, or an [evaluation.NAME] of the recipe, whose images must not be among the data; repeatable. Without
    /// it: all evaluations of the recipe
    #[arg(long, value_name = "FILE|NAME", help_heading = "Overlap with tests")]
    against: Vec<String>,
    /// A list of held-out images: a Karpathy split (dataset_coco.json), or COCO ids, file names, SHA-256 or perceptual
    /// hashes, one a line or in JSON; repeatable
    #[arg(long, value_name = "FILE", help_heading = "Overlap with tests")]
    blocklist: Vec<PathBuf>,
    /// Do not compare with the recipe's evaluations
    #[arg(long, conflicts_with = "against", help_heading = "Overlap with tests")]
    no_overlap: bool,
    /// Fail even because of images that merely look like held-out ones
    #[arg(long, help_heading = "Overlap with tests")]
    pub no_likeness: bool,
}

impl Splits {
    /// The test splits, gone through.
    ///
    /// # Errors
    /// When one cannot be read, or not one of its images.
    pub fn open(&self, recipe: Option<(&Recipe, &Prepared)>) -> Result<Vec<HeldOut>> {
        let mut splits = Vec::new();
        for path in &self.blocklist {
            splits.push(HeldOut::blocklist(path)?);
        }
        for word in &self.against {
            let evaluation = recipe.filter(|(recipe, _)| {
                recipe.evaluation.contains_key(word) || recipe.data.contains_key(word)
            });
            match evaluation {
                Some((_, prepared)) => splits.push(read(word, &*prepared.sources.get(word)?)?),
                None => splits.push(read(word, &*file(word, recipe.map(|(recipe, _)| recipe))?)?),
            }
        }
        if let Some((recipe, prepared)) = recipe
            && self.against.is_empty()
            && !self.no_overlap
        {
            for (names, source) in evaluations(recipe, prepared)? {
                splits.push(read(&names, &*source)?);
            }
        }
        Ok(splits)
    }
}

/// The evaluations with images; those over the same rows of the same file together.
fn evaluations(recipe: &Recipe, prepared: &Prepared) -> Result<Vec<(String, Arc<dyn Source>)>> {
    let mut groups: Vec<(Vec<&str>, &SourceConfig)> = Vec::new();
    for (name, evaluation) in &recipe.evaluation {
        let config = &evaluation.source;
        let same = |(_, other): &&mut (Vec<&str>, &SourceConfig)| {
            other.path == config.path
                && other.filter == config.filter
                && other.image_folder == config.image_folder
                && other.image_column == config.image_column
        };
        if !config.images || recipe.data.contains_key(name) {
            continue;
        }
        match groups.iter_mut().find(same) {
            Some((names, _)) => names.push(name),
            None => groups.push((vec![name], config)),
        }
    }
    let mut opened = Vec::new();
    for (names, _) in groups {
        let source = prepared.sources.get(names[0])?;
        if source.shows_images() {
            opened.push((names.join(", "), source));
        }
    }
    Ok(opened)
}

fn file(word: &str, recipe: Option<&Recipe>) -> Result<Arc<dyn Source>> {
    let path = Path::new(word);
    let exists = Paths::from(path)
        .files()
        .is_ok_and(|files| files.iter().all(|file| file.exists()));
    if !exists {
        let names: Vec<&String> = recipe
            .iter()
            .flat_map(|recipe| recipe.evaluation.keys())
            .collect();
        match names.is_empty() {
            true => bail!("--against {word}: there is no such file"),
            false => bail!(
                "--against {word}: no file, and no evaluation either: {}",
                unknown_word("evaluation", word, &names)
            ),
        }
    }
    let config = SourceConfig {
        path: path.into(),
        images: true,
        ..SourceConfig::default()
    };
    open_file(word, &config).with_context(|| format!("--against {word}"))
}

fn read(name: &str, source: &dyn Source) -> Result<HeldOut> {
    ensure!(
        source.shows_images(),
        "--against {name}: it shows no images to compare; list its images with --blocklist"
    );
    let bar = Bar::new(&format!("reading {name}"), source.len());
    let (held_out, broken) = HeldOut::of(name, source, &|more| bar.advance(more))?;
    drop(bar);
    if broken.count > 0 {
        let first = broken.first.first().map_or("", |skip| skip.reason.as_str());
        ensure!(
            !held_out.is_empty(),
            "not one image of {name} can be read, so nothing can be compared with it: {first}; list its images with --blocklist, \
             or leave it out with --no-overlap"
        );
        note(format_args!(
            "{} samples of {name} cannot be read and are compared with nothing; the first: {first}",
            broken.count
        ));
    }
    Ok(held_out)
}
