//! `report.html`: a run on one page, which opens without a network.

mod chart;
pub mod encode;
mod page;

use std::fs;

use anyhow::{Context, Result};

pub use page::STYLE;

use crate::evaluation::{Layout, read_scores, table};
use crate::files;
use crate::metrics;
use crate::run_folder::RunFolder;
use crate::samples;

/// Writes the report of what `run` holds so far: curves, scores if there are any, the last captions and the
/// recipe. Pictures are part of the page.
///
/// # Errors
/// Names the file that cannot be read or written.
pub fn write(run: &RunFolder) -> Result<()> {
    let recipe = fs::read_to_string(run.recipe())
        .with_context(|| format!("cannot read {}", run.recipe().display()))?;
    let records = match run.metrics().exists() {
        true => metrics::read(&run.metrics())?,
        false => Vec::new(),
    };
    let scores = match run.scores().exists() {
        true => Some(table(&read_scores(&run.scores())?, Layout::Text)),
        false => None,
    };
    let said = samples::read(&run.samples())?;
    let name = run.path().file_name().map(|name| name.to_string_lossy());
    let page = page::page(&page::Content {
        name: name.as_deref().unwrap_or("run"),
        records: &records,
        scores: scores.as_deref(),
        samples: said.last(),
        pictures: &run.samples(),
        recipe: &recipe,
    });
    files::write_atomic(&run.report(), page.as_bytes())
}

#[cfg(test)]
mod tests;
