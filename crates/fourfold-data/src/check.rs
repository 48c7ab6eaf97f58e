//! Going through a whole source before training on it.

use rayon::prelude::*;
use serde::Serialize;

use crate::pack::fits_alone;
use crate::{DataError, Document, Encoder, PackBudget, SampleRng, SkipReport, Source, sample_rng};

/// What a source holds, as training would see it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CheckReport {
    /// The source.
    pub name: String,
    /// All its samples.
    pub samples: usize,
    /// Samples that decode and have targets.
    pub good: usize,
    /// Images of the good samples.
    pub images: usize,
    /// Their rows; none where no tokenizer counted them.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub rows: Option<RowCounts>,
    /// Those that training passes over, every one of them.
    pub broken: SkipReport,
    /// Those that it stops at, because the limit leaves them no target.
    pub masked: SkipReport,
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

/// The document that training makes of sample `row`; `rng` decides every random choice.
///
/// # Errors
/// When the sample is broken, `max_tokens` leaves it no target, or no pack of `budget` could take it.
pub fn training_document(
    source: &dyn Source,
    row: usize,
    encoder: &Encoder,
    budget: PackBudget,
    rng: &mut SampleRng,
) -> Result<Document, DataError> {
    let sample = source.sample(row, rng)?;
    let document = encoder.document(&sample, rng)?;
    fits_alone(&document, budget)?;
    Ok(document)
}

/// Makes every sample of a source into a document and counts. Broken samples, those too large for a pack of `budget`,
/// and those that `max_tokens` leaves without a target, are listed in the report; only what concerns the whole source,
/// such as an unfit tokenizer, is an error.
pub fn check(
    source: &dyn Source,
    encoder: &Encoder,
    budget: PackBudget,
) -> Result<CheckReport, DataError> {
    let measure = |row: usize| {
        let rng = &mut sample_rng(0, row as u64);
        let document = training_document(source, row, encoder, budget, rng)?;
        let sizes = [
            document.images.len(),
            document.tokens.len(),
            document.target_count(),
        ];
        Ok((sizes, document.truncated))
    };
    let results: Vec<Result<_, DataError>> =
        (0..source.len()).into_par_iter().map(measure).collect();
    let mut report = CheckReport {
        name: source.name().into(),
        samples: source.len(),
        ..Default::default()
    };
    let mut rows = RowCounts::default();
    for (sample, result) in results.into_iter().enumerate() {
        match result {
            Ok(([images, tokens, targets], truncated)) => {
                let first = report.good == 0;
                report.good += 1;
                report.images += images;
                rows.tokens += tokens;
                rows.targets += targets;
                rows.shortest = if first {
                    tokens
                } else {
                    rows.shortest.min(tokens)
                };
                rows.longest = rows.longest.max(tokens);
                rows.truncated += usize::from(truncated);
            }
            Err(error) if error.concerns_sample() => {
                report.broken.list(source.name(), sample, &error)
            }
            Err(error @ DataError::AllMasked { .. }) => {
                report.masked.list(source.name(), sample, &error)
            }
            Err(error) => return Err(error),
        }
    }
    report.rows = Some(rows);
    Ok(report)
}

impl std::fmt::Display for CheckReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            name,
            samples,
            good,
            images,
            rows,
            broken,
            masked,
        } = self;
        writeln!(
            f,
            "{name}: {good} of {samples} samples good, {images} images"
        )?;
        if let Some(rows) = rows {
            let mean = rows.tokens as f64 / (*good).max(1) as f64;
            writeln!(
                f,
                "{} tokens, {} of them targets; a sample has {} to {}, {mean:.1} on average; {} \
                 cut at the limit",
                rows.tokens, rows.targets, rows.shortest, rows.longest, rows.truncated
            )?;
        }
        write!(f, "{broken}")?;
        if masked.count > 0 {
            write!(f, "\n{} samples left without a target", masked.count)?;
        }
        for sample in &masked.first {
            write!(f, "\n  {}", sample.reason)?;
        }
        Ok(())
    }
}
