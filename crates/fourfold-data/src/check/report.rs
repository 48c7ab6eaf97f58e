//! What a check found, as text and as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::Reason;
use crate::SkipReport;
use crate::overlap::Evidence;

/// How many of a kind are shown.
pub const SHOWN: usize = 5;

/// What a source holds, as training would see it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CheckReport {
    /// The source.
    pub name: String,
    /// All its samples.
    pub samples: usize,
    /// Rows that are no sample since their lists of captions, questions or turns are empty.
    pub rows_without_samples: usize,
    /// Samples that decode and have targets.
    pub good: usize,
    /// Images of the good samples.
    pub images: usize,
    /// How many of all images that decode differ from each other in content.
    pub distinct_images: usize,
    /// Their rows; none where no tokenizer counted them.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub rows: Option<RowCounts>,
    /// Those that training passes over.
    pub broken: SkipReport,
    /// Those that it stops at, because the limit leaves them no target.
    pub masked: SkipReport,
    /// Both by the kind of reason, with the first of each.
    pub reasons: BTreeMap<Reason, SkipReport>,
    /// Samples without images where others have some, or where a column looks like one of images.
    pub without_images: WithoutImages,
    /// Samples whose images and turns are those of an earlier one.
    pub repeated: Found<Pair>,
    /// Images that look like an earlier one, with another content.
    pub near_duplicates: Found<Pair>,
    /// Samples with an image of a test split.
    pub overlap: Vec<Overlap>,
}

/// The rows of a source's good samples.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RowCounts {
    /// All of them.
    pub tokens: usize,
    /// Those with a target.
    pub targets: usize,
    /// The fewest rows of a good sample.
    pub shortest: usize,
    /// The most rows of a good sample.
    pub longest: usize,
    /// Good samples whose answer was cut at the token limit.
    pub truncated: usize,
}

/// Samples without images.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WithoutImages {
    /// How many.
    pub count: usize,
    /// Where the first are.
    pub first: Vec<String>,
    /// Columns that look like paths of images and are not read as such, with the number of these samples where they do.
    pub columns: BTreeMap<String, usize>,
}

/// Things found, the first of them kept.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Found<T> {
    /// How many.
    pub count: usize,
    /// The first.
    pub first: Vec<T>,
}

impl<T> Default for Found<T> {
    fn default() -> Self {
        Self {
            count: 0,
            first: Vec::new(),
        }
    }
}

impl<T> Found<T> {
    /// Counts one more; `describe` is asked while few are kept.
    pub fn add(&mut self, describe: impl FnOnce() -> T) {
        self.count += 1;
        if self.first.len() < SkipReport::LISTED {
            self.first.push(describe());
        }
    }
}

/// Two samples that are alike.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// Where the later is.
    pub origin: String,
    /// Where the earlier is.
    pub earlier: String,
    /// Bits of the perceptual hash that differ.
    pub distance: u32,
}

/// What is shared with one test split.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Overlap {
    /// What the split is called.
    pub with: String,
    /// Samples that a listed identifier or the content of an image gives away.
    pub certain: Found<Shared>,
    /// Samples of which an image looks like one of the split's.
    pub similar: Found<Shared>,
}

/// A sample with an image of a test split.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shared {
    /// Where the sample is.
    pub origin: String,
    /// Where the split has the image; empty for a list.
    pub held_out: String,
    /// How it is known.
    pub evidence: Evidence,
}

impl CheckReport {
    /// Samples that share an image with a test split for certain, and those that seem to; each is counted for every
    /// split.
    pub fn overlapping(&self) -> [usize; 2] {
        let sum = |count: fn(&Overlap) -> usize| self.overlap.iter().map(count).sum();
        [
            sum(|overlap| overlap.certain.count),
            sum(|overlap| overlap.similar.count),
        ]
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} of {} samples good, {} images",
            self.name, self.good, self.samples, self.images
        )?;
        if self.distinct_images > 0 {
            write!(f, " ({} different)", self.distinct_images)?;
        }
        if let Some(rows) = &self.rows {
            let mean = rows.tokens as f64 / self.good.max(1) as f64;
            write!(
                f,
                "\n{} tokens, {} of them targets; a sample has {} to {}, {mean:.1} on average; {} \
                 cut at the limit",
                rows.tokens, rows.targets, rows.shortest, rows.longest, rows.truncated
            )?;
        }
        write!(f, "\n{} broken samples skipped", self.broken.count)?;
        if self.masked.count > 0 {
            write!(f, ", {} samples left without a target", self.masked.count)?;
        }
        for (reason, samples) in &self.reasons {
            write!(f, "\n  {reason}: {}", samples.count)?;
            let reasons = samples.first.iter().map(|skip| &skip.reason);
            listed(f, samples.count, reasons)?;
        }
        if self.rows_without_samples > 0 {
            let rows = self.rows_without_samples;
            write!(f, "\n{rows} rows are no sample: their lists are empty")?;
        }
        self.without_images.fmt(f)?;
        pairs(f, "samples repeat an earlier one", &self.repeated)?;
        pairs(f, "images look like an earlier one", &self.near_duplicates)?;
        for Overlap {
            with,
            certain,
            similar,
        } in &self.overlap
        {
            let kinds = [
                ("samples have an image of", certain),
                ("samples have an image that looks like one of", similar),
            ];
            for (what, found) in kinds.iter().filter(|(_, found)| found.count > 0) {
                write!(f, "\n{} {what} {with}", found.count)?;
                let lines = found.first.iter().map(|shared| {
                    let place = match shared.held_out.as_str() {
                        "" => String::new(),
                        held_out => format!(": {held_out}"),
                    };
                    format!("{}: {}{place}", shared.origin, shared.evidence)
                });
                listed(f, found.count, lines)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for WithoutImages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.count == 0 {
            return Ok(());
        }
        write!(f, "\n{} samples have no image", self.count)?;
        listed(f, self.count, self.first.iter())?;
        for (column, count) in &self.columns {
            write!(
                f,
                "\n  in {count} of them the column `{column}` looks like an image's path and is not read as one: name it with \
                 `image_column`, or rename it in the file"
            )?;
        }
        Ok(())
    }
}

fn pairs(f: &mut fmt::Formatter<'_>, what: &str, found: &Found<Pair>) -> fmt::Result {
    if found.count == 0 {
        return Ok(());
    }
    write!(f, "\n{} {what}", found.count)?;
    let lines = found.first.iter().map(|pair| {
        let bits = match pair.distance {
            0 => String::new(),
            bits => format!(" ({bits} of 64 bits differ)"),
        };
        format!("{}: as {}{bits}", pair.origin, pair.earlier)
    });
    listed(f, found.count, lines)
}

/// The first few of `count`.
fn listed(
    f: &mut fmt::Formatter<'_>,
    count: usize,
    lines: impl Iterator<Item = impl fmt::Display>,
) -> fmt::Result {
    let mut shown = 0;
    for line in lines.take(SHOWN) {
        write!(f, "\n    {line}")?;
        shown += 1;
    }
    match count - shown {
        0 => Ok(()),
        more => write!(f, "\n    … and {more} more"),
    }
}
