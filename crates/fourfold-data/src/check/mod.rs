//! Going through a whole source before training on it.
//!
//! Samples are examined in parallel and their facts gathered in order; what is kept of a sample is a hash, and of an image
//! two.

mod images;
mod reason;
mod report;
mod unread;

use std::collections::{HashMap, HashSet};

use sha2::{Digest, Sha256};

pub use images::ImageFacts;
pub(crate) use images::Images;
pub use reason::Reason;
pub use report::{CheckReport, Found, Overlap, Pair, RowCounts, SHOWN, Shared, WithoutImages};

use crate::in_order::in_order;
use crate::overlap::{Evidence, HeldOut, identifiers};
use crate::pack::fits_alone;
use crate::perceptual_hash::HashIndex;
use crate::pieces::{are_placed, prompts};
use crate::{
    DataError, Document, Encoder, PackBudget, PerceptualHash, Sample, SampleRng, Skip, Source,
    sample_rng,
};

/// Samples whose facts are in memory at once.
pub(crate) const AT_ONCE: usize = 256;

/// How a source is gone through.
pub struct Examination<'a> {
    /// What makes documents, and what a pack holds; without it images are decoded and templates rendered.
    pub encoder: Option<(&'a Encoder, PackBudget)>,
    /// Whether samples are to have images.
    pub wants_images: bool,
    /// Test splits that no image may be of.
    pub held_out: &'a [HeldOut],
    /// Images of which at most so many bits of the perceptual hash differ look alike; up to [`PerceptualHash::NEAR`].
    pub distance: u32,
    /// Is told of samples that were gone through, how many since it was told last.
    pub progress: &'a (dyn Fn(usize) + Sync),
    /// Gets every sample that is passed over.
    pub skipped: &'a (dyn Fn(Skip) + Sync),
}

impl<'a> Examination<'a> {
    /// As training reads: documents of `encoder`, in packs of `budget`.
    pub fn training(encoder: &'a Encoder, budget: PackBudget) -> Self {
        Self {
            encoder: Some((encoder, budget)),
            ..Self::reading()
        }
    }

    /// Images and templates alone.
    pub fn reading() -> Self {
        Self {
            encoder: None,
            wants_images: true,
            held_out: &[],
            distance: PerceptualHash::NEAR,
            progress: &|_| {},
            skipped: &|_| {},
        }
    }
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
///
/// # Errors
/// As above.
pub fn check(
    source: &dyn Source,
    encoder: &Encoder,
    budget: PackBudget,
) -> Result<CheckReport, DataError> {
    examine(source, &Examination::training(encoder, budget))
}

/// Goes through every sample of a source as `examination` says.
///
/// # Errors
/// What concerns the whole source. What concerns a sample is in the report.
pub fn examine(
    source: &dyn Source,
    examination: &Examination<'_>,
) -> Result<CheckReport, DataError> {
    let files = examination.encoder.map(|(encoder, _)| encoder.files());
    let images = Images::within(files.unwrap_or_default());
    let mut gathering = Gathering::new(source, examination);
    in_order(
        0..source.len(),
        AT_ONCE,
        |row| examination.sample(source, row, &images),
        |row, facts| {
            (examination.progress)(1);
            gathering.add(row, facts)
        },
    )?;
    Ok(gathering.report())
}

/// What is known of a good sample.
struct Facts {
    origin: String,
    images: Vec<ImageFacts>,
    /// Tokens and targets, and whether the answer was cut.
    rows: Option<(usize, usize, bool)>,
    /// A hash of images and turns; none without turns.
    content: Option<u128>,
    identifiers: Vec<String>,
    /// Columns that look like those of images, of a sample that has none.
    unread: Vec<String>,
}

impl Examination<'_> {
    fn sample(
        &self,
        source: &dyn Source,
        row: usize,
        images: &Images,
    ) -> Result<Facts, (Reason, DataError)> {
        let told = |error: DataError| (Reason::of(&error), error);
        let sample = source
            .sample(row, &mut sample_rng(0, row as u64))
            .map_err(told)?;
        let document = match self.encoder {
            Some((encoder, budget)) => {
                let document = encoder.text(&sample).map_err(told)?;
                fits_alone(&document, budget).map_err(told)?;
                Some(document)
            }
            None => {
                let (origin, count) = (&sample.origin, sample.images.len());
                if !sample.turns.is_empty() {
                    are_placed(origin, count, prompts(&sample.turns)).map_err(told)?;
                }
                None
            }
        };
        // Images that a cut leaves no place for are not read in training either.
        let used = document
            .as_ref()
            .map_or(sample.images.len(), |document| document.visual.len());
        let mut facts = Vec::with_capacity(used);
        for (index, image) in sample.images.iter().enumerate().take(used) {
            let mut resized = |rgb: &image::RgbImage| match self.encoder {
                Some((encoder, _)) => encoder.config().transform.resize(rgb).map(|_| ()),
                None => Ok(()),
            };
            let read = images.facts(&sample.origin, index, image, &mut resized);
            facts.push(read.map_err(|error| (images::reason(Some(image)), error))?);
        }
        let asked = self.held_out.iter().any(HeldOut::has_identifiers);
        let lacks = self.wants_images && sample.images.is_empty();
        let columns = match asked || lacks {
            true => source.columns(row),
            false => serde_json::Map::new(),
        };
        let unread = match lacks {
            true => unread::columns_with_images(&columns),
            false => Vec::new(),
        };
        Ok(Facts {
            content: content(source, row, &sample, &facts),
            rows: document.map(|document| {
                let targets = document.target_count();
                (document.tokens.len(), targets, document.truncated)
            }),
            identifiers: match asked {
                true => identifiers(&columns, &sample.images),
                false => Vec::new(),
            },
            unread: unread.into_iter().map(str::to_owned).collect(),
            images: facts,
            origin: sample.origin,
        })
    }
}

/// What makes two samples the same: their images and what is asked and said, with prompts drawn alike.
fn content(
    source: &dyn Source,
    row: usize,
    sample: &Sample,
    images: &[ImageFacts],
) -> Option<u128> {
    let drawn = source.sample(row, &mut sample_rng(0, 0)).ok()?;
    if sample.turns.is_empty() {
        return None;
    }
    let mut hasher = Sha256::new();
    for image in images {
        hasher.update(image.digest);
    }
    for turn in &drawn.turns {
        for text in [&turn.prompt, &turn.answer] {
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
    }
    let digest: [u8; 32] = hasher.finalize().into();
    let mut half = [0; 16];
    half.copy_from_slice(&digest[..16]);
    Some(u128::from_le_bytes(half))
}

/// What was found so far.
struct Gathering<'a> {
    source: &'a dyn Source,
    examination: &'a Examination<'a>,
    report: CheckReport,
    rows: RowCounts,
    contents: HashMap<u128, u32>,
    digests: HashSet<[u8; 32]>,
    hashes: HashIndex,
    /// Samples with images.
    illustrated: usize,
}

impl<'a> Gathering<'a> {
    fn new(source: &'a dyn Source, examination: &'a Examination<'a>) -> Self {
        let overlap = |held_out: &HeldOut| Overlap {
            with: held_out.name.clone(),
            ..Overlap::default()
        };
        Self {
            source,
            examination,
            report: CheckReport {
                name: source.name().into(),
                samples: source.len(),
                rows_without_samples: source.rows_without_samples(),
                overlap: examination.held_out.iter().map(overlap).collect(),
                ..CheckReport::default()
            },
            rows: RowCounts::default(),
            contents: HashMap::new(),
            digests: HashSet::new(),
            hashes: HashIndex::default(),
            illustrated: 0,
        }
    }

    fn add(
        &mut self,
        row: usize,
        facts: Result<Facts, (Reason, DataError)>,
    ) -> Result<(), DataError> {
        match facts {
            Ok(facts) => {
                self.count(&facts);
                self.alike(row, &facts);
                self.shared(&facts);
                Ok(())
            }
            Err((reason, error)) => self.skip(row, reason, error),
        }
    }

    fn skip(&mut self, row: usize, reason: Reason, error: DataError) -> Result<(), DataError> {
        let list = match error {
            DataError::AllMasked { .. } => &mut self.report.masked,
            _ if error.concerns_sample() => &mut self.report.broken,
            _ => return Err(error),
        };
        let name = self.source.name();
        list.add(name, row, &error);
        let alike = self.report.reasons.entry(reason).or_default();
        alike.add(name, row, &error);
        (self.examination.skipped)(Skip::new(name, row, &error));
        Ok(())
    }

    fn count(&mut self, facts: &Facts) {
        let report = &mut self.report;
        report.images += facts.images.len();
        if let Some((tokens, targets, truncated)) = facts.rows {
            let rows = &mut self.rows;
            rows.tokens += tokens;
            rows.targets += targets;
            rows.shortest = match report.good {
                0 => tokens,
                _ => rows.shortest.min(tokens),
            };
            rows.longest = rows.longest.max(tokens);
            rows.truncated += usize::from(truncated);
        }
        report.good += 1;
        if !facts.images.is_empty() {
            self.illustrated += 1;
        } else if self.examination.wants_images {
            let without = &mut report.without_images;
            without.count += 1;
            if without.first.len() < SHOWN {
                without.first.push(facts.origin.clone());
            }
            for column in &facts.unread {
                *without.columns.entry(column.clone()).or_default() += 1;
            }
        }
    }

    /// Looks for an earlier sample that is the same, and for earlier images that look the same.
    fn alike(&mut self, row: usize, facts: &Facts) {
        let pair = |earlier: u32, distance: u32| Pair {
            origin: facts.origin.clone(),
            earlier: self.source.origin(earlier as usize),
            distance,
        };
        if let Some(content) = facts.content {
            match self.contents.get(&content) {
                Some(earlier) => self.report.repeated.add(|| pair(*earlier, 0)),
                None => drop(self.contents.insert(content, row as u32)),
            }
        }
        for image in &facts.images {
            if !self.digests.insert(image.digest) {
                continue;
            }
            let Some(hash) = image.hash else {
                continue;
            };
            if let Some((earlier, distance)) = self.hashes.near(hash, self.examination.distance) {
                let found = &mut self.report.near_duplicates;
                found.add(|| pair(earlier, distance));
            }
            self.hashes.insert(hash, row as u32);
        }
    }

    /// Looks for the sample in the test splits.
    fn shared(&mut self, facts: &Facts) {
        let distance = self.examination.distance;
        for (held_out, overlap) in self
            .examination
            .held_out
            .iter()
            .zip(&mut self.report.overlap)
        {
            let found = held_out.find(&facts.identifiers, &facts.images, distance);
            let Some((evidence, place)) = found else {
                continue;
            };
            let list = match evidence {
                Evidence::Looks(_) => &mut overlap.similar,
                _ => &mut overlap.certain,
            };
            list.add(|| Shared {
                origin: facts.origin.clone(),
                held_out: place.into(),
                evidence,
            });
        }
    }

    fn report(mut self) -> CheckReport {
        self.report.distinct_images = self.digests.len();
        if self.examination.encoder.is_some() {
            self.report.rows = Some(self.rows);
        }
        // A text alone is no mistake where no sample has images and no column looks like it.
        let without = &mut self.report.without_images;
        if self.illustrated == 0 && without.columns.is_empty() {
            *without = WithoutImages::default();
        }
        self.report
    }
}
