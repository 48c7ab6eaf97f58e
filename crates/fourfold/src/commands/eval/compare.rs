//! `fourfold eval --compare A B`: two models on the same cases.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use fourfold_data::Tables;
use fourfold_data::source::RowImage;
use fourfold_train::evaluation::{
    Cases, Comparing, Comparison, compare, comparison_page, comparison_text, predictions_in,
};
use fourfold_train::recipe::Recipe;
use serde_json::{Value, json};

use crate::output::{note, say};

/// Options of comparisons.
#[derive(Args, Debug)]
#[command(next_help_heading = "Comparison")]
pub struct CompareOptions {
    /// Compare two run folders, task folders or predictions files: what both were measured on
    #[arg(long, num_args = 2, value_names = ["A", "B"], conflicts_with_all = [
        "run", "model", "data", "task", "recipe", "prompt", "answer", "references", "predictions", "split", "images", "out",
        "shard", "merge",
    ])]
    pub compare: Vec<PathBuf>,
    /// Compare the cases that both have, where each has others too
    #[arg(long, requires = "compare")]
    pub common: bool,
    /// Write a page with both models' answers side by side
    #[arg(long, value_name = "FILE", requires = "compare")]
    pub html: Option<PathBuf>,
}

impl CompareOptions {
    /// Compares, with paired bootstrap.
    ///
    /// # Errors
    /// When the two have no evaluation in common, or not the same cases.
    pub fn run(
        &self,
        first: &Path,
        second: &Path,
        how: &Comparing<'_>,
        as_json: bool,
        force: bool,
    ) -> Result<()> {
        if let Some(html) = &self.html {
            // So no file of answers or scores is replaced.
            ensure!(
                html.extension()
                    .is_some_and(|extension| extension == "html"),
                "--html: {} does not end in .html, as a page does",
                html.display()
            );
            ensure!(
                force || !html.exists(),
                "{} exists already; --force replaces it",
                html.display()
            );
        }
        let (ours, mut theirs) = (predictions_in(first)?, predictions_in(second)?);
        // A file has no name for its evaluation, and a task may have two.
        if ours.len() == 1 && theirs.len() == 1 {
            let (name, other) = (ours.keys().next().cloned(), theirs.pop_first());
            theirs.extend(name.zip(other).map(|(name, (_, file))| (name, file)));
        }
        let (mut comparisons, mut unlike, mut alone) = (Vec::new(), Vec::new(), Vec::new());
        for (name, file) in &ours {
            match theirs.remove(name) {
                Some(other) => {
                    let title = titled(name);
                    match compare(title, file, &other, how) {
                        Ok(comparison) => comparisons.push(comparison),
                        Err(error) => unlike.push((title, error)),
                    }
                }
                None => alone.push(titled(name)),
            }
        }
        alone.extend(theirs.keys().map(|name| titled(name)));
        if comparisons.is_empty()
            && let Some((title, error)) = unlike.pop()
        {
            return Err(error.context(format!("{title} cannot be compared")));
        }
        ensure!(
            !comparisons.is_empty(),
            "{} and {} were measured on nothing in common: only one of them has {}",
            first.display(),
            second.display(),
            alone.join(", ")
        );
        if !alone.is_empty() {
            note(format_args!(
                "only one of them was measured on: {}",
                alone.join(", ")
            ));
        }
        for comparison in &comparisons {
            if let Some(how) = &comparison.asked_otherwise {
                note(format_args!(
                    "{}: they were asked otherwise: {how}",
                    comparison.name
                ));
            }
        }
        let names = [first, second].map(|path| path.display().to_string());
        let names = [names[0].as_str(), names[1].as_str()];
        if let Some(html) = &self.html {
            let mut images = HashMap::new();
            for comparison in &comparisons {
                // Pictures are a help: a run whose data are gone is compared without.
                images.extend(images_of(first, &comparison.name).unwrap_or_default());
            }
            let (page, lost) = comparison_page(&comparisons, names, &images);
            std::fs::write(html, page)
                .with_context(|| format!("cannot write {}", html.display()))?;
            if lost > 0 {
                note(format_args!(
                    "{} is without {lost} pictures: predictions name their files as seen from where `eval` was started",
                    html.display()
                ));
            }
        }
        match as_json {
            true => say(as_numbers(&comparisons)?)?,
            false => say(comparison_text(&comparisons, names).trim_end())?,
        }
        for (title, error) in &unlike {
            note(format_args!("{title} cannot be compared: {error:#}"));
        }
        ensure!(
            unlike.is_empty(),
            "{} of {} evaluations cannot be compared",
            unlike.len(),
            unlike.len() + comparisons.len()
        );
        Ok(())
    }
}

/// All figures as JSON.
fn as_numbers(comparisons: &[Comparison]) -> Result<String> {
    let whole: serde_json::Map<String, Value> = comparisons
        .iter()
        .map(|comparison| {
            let figures = comparison.figures.iter().map(|figure| {
                let value = json!({
                    "first": figure.totals[0],
                    "second": figure.totals[1],
                    "difference": figure.difference.difference,
                    "interval_95": [
                        figure.difference.interval.low,
                        figure.difference.interval.high,
                    ],
                    "p": figure.difference.p,
                });
                (figure.name.to_owned(), value)
            });
            (comparison.name.clone(), Value::Object(figures.collect()))
        })
        .collect();
    Ok(serde_json::to_string_pretty(&whole)?)
}

/// What an evaluation is called; of a file or a task's folder there is one, without a name.
fn titled(name: &str) -> &str {
    match name {
        "" => "predictions",
        name => name,
    }
}

/// The images of an evaluation of a run's recipe, by the ids of its cases.
fn images_of(run: &Path, name: &str) -> Result<HashMap<String, RowImage>> {
    let recipe = Recipe::read(&run.join("recipe.toml"))?;
    let evaluation = recipe.evaluation.get(name).context("none of the recipe")?;
    let source = Tables::new().open(&evaluation.source)?;
    let cases = Cases::read(&*source, &evaluation.measure).cases;
    let image =
        |case: fourfold_train::evaluation::Case| Some((case.id, case.images.into_iter().next()?));
    Ok(cases.into_iter().filter_map(image).collect())
}
