//! Going through a whole source before training on it.

use rayon::prelude::*;
use serde::Serialize;

use crate::{DataError, Encoder, SkipReport, Source, sample_rng};

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
    /// Rows of the good samples, together.
    pub tokens: usize,
    /// Rows with a target, together.
    pub targets: usize,
    /// The fewest rows of a good sample.
    pub shortest: usize,
    /// The most rows of a good sample.
    pub longest: usize,
    /// Good samples whose answer was cut at the token limit.
    pub truncated: usize,
    /// The others.
    pub broken: SkipReport,
}

/// Makes every sample of a source into a document and counts. Broken samples are listed in the
/// report; only what concerns the whole source, such as an unfit tokenizer, is an error.
pub fn check(source: &dyn Source, encoder: &Encoder) -> Result<CheckReport, DataError> {
    let measure = |row: usize| {
        let mut rng = sample_rng(0, row as u64);
        let sample = source.sample(row, &mut rng)?;
        let document = encoder.document(&sample, &mut rng)?;
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
        shortest: usize::MAX,
        ..Default::default()
    };
    for result in results {
        match result {
            Ok(([images, tokens, targets], truncated)) => {
                report.good += 1;
                report.images += images;
                report.tokens += tokens;
                report.targets += targets;
                report.shortest = report.shortest.min(tokens);
                report.longest = report.longest.max(tokens);
                report.truncated += usize::from(truncated);
            }
            Err(error) if error.concerns_sample() => report.broken.add(source.name(), &error),
            Err(error) => return Err(error),
        }
    }
    if report.good == 0 {
        report.shortest = 0;
    }
    Ok(report)
}

impl std::fmt::Display for CheckReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            name,
            samples,
            good,
            images,
            tokens,
            targets,
            ..
        } = self;
        writeln!(
            f,
            "{name}: {good} of {samples} samples good, {images} images"
        )?;
        let mean = *tokens as f64 / (*good).max(1) as f64;
        writeln!(
            f,
            "{tokens} tokens, {targets} of them targets; a sample has {} to {}, {mean:.1} on \
             average; {} cut at the limit",
            self.shortest, self.longest, self.truncated
        )?;
        write!(f, "{}", self.broken)
    }
}
