//! From draws to packs: texts first, which say how long documents are, then the images of those that are used.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::seq::SliceRandom;
use rayon::ThreadPool;
use rayon::prelude::*;

use super::{Batch, End, Shard, TooLong};
use crate::mixture::keyed;
use crate::pack::{Extent, WINDOW_PACKS, fits_alone, fullest};
use crate::{
    DataError, Document, Draw, Encoder, Mixture, Pack, PackBudget, RowImage, SampleRng, Sampler,
    SamplerState, Skip, sample_rng,
};

/// A window is also closed when its images, as far as they are in memory, have that many bytes.
const BYTES: usize = 128 << 20;
/// Draws whose texts are made at once.
const DRAWS: usize = 64;

/// Makes documents and lays them in packs.
pub(super) struct Maker {
    pub mixture: Mixture,
    pub encoder: Arc<Encoder>,
    pub budget: PackBudget,
    pub too_long: TooLong,
    pub shard: Shard,
    pub strict: bool,
    pub pool: ThreadPool,
    pub stop: Arc<AtomicBool>,
}

/// A document whose images are still to be read.
pub(super) struct Planned {
    draw: Draw,
    document: Document,
    images: Vec<RowImage>,
    rng: SampleRng,
}

impl Planned {
    fn tokens(&self) -> usize {
        self.document.tokens.len()
    }
}

/// What became of a draw.
enum Text {
    Planned(Box<Planned>),
    /// It is too long, and such are left out.
    Dropped,
}

/// Draws laid in packs, of which some are used.
pub(super) struct Window {
    /// The position before its first draw.
    begin: SamplerState,
    /// Packs that are not used yet, the next one last.
    packs: Vec<Vec<Planned>>,
    used: u64,
    /// Tokens of those.
    used_tokens: u64,
}

impl Window {
    /// Whether all packs are used.
    pub fn is_empty(&self) -> bool {
        self.packs.is_empty()
    }

    /// Tokens of all documents up to here.
    pub fn tokens(&self) -> u64 {
        self.begin.tokens + self.used_tokens
    }

    /// Draws up to here, by the part of the packs that is used; `after` all of them there are so many.
    pub fn draws(&self, after: u64) -> f64 {
        let (before, packs) = (self.begin.total(), self.used + self.packs.len() as u64);
        before as f64 + (after - before) as f64 * self.used as f64 / packs.max(1) as f64
    }

    /// Takes the next pack.
    pub fn take(&mut self) -> Vec<Planned> {
        let pack = self.packs.pop().unwrap_or_default();
        self.used += 1;
        self.used_tokens += tokens(&pack);
        pack
    }

    /// The position after the packs that are used; `after` is the one after all draws.
    pub fn state(&self, after: &SamplerState) -> SamplerState {
        match self.is_empty() {
            true => after.clone(),
            false => SamplerState {
                packs: self.used,
                ..self.begin.clone()
            },
        }
    }
}

impl Maker {
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Whether this process accounts for texts that all of them make.
    fn accounts(&self) -> bool {
        self.shard.rank == 0
    }

    /// The documents of those of `draws` that are read here, packed in their order; and the tokens of all.
    pub fn packed(
        &self,
        draws: &[Draw],
        seed: u64,
        batch: &mut Batch,
    ) -> Result<(Vec<Pack>, u64), DataError> {
        let mut elsewhere = Batch::default();
        let planned = self.texts(
            draws,
            seed,
            if self.accounts() {
                &mut *batch
            } else {
                &mut elsewhere
            },
        )?;
        let all = tokens(&planned);
        batch.planned += planned.len();
        let weights: Vec<usize> = planned.iter().map(Planned::tokens).collect();
        let documents = self.with_images(self.shard.own(&weights, planned), batch)?;
        Ok((crate::pack(documents, self.budget)?, all))
    }

    /// The window that begins where `sampler` is, or whose first packs are used already; its draws are made.
    pub fn window(
        &self,
        sampler: &mut Sampler,
        end: End,
        batch: &mut Batch,
    ) -> Result<Window, DataError> {
        let begin = sampler.state().clone();
        let used = sampler.begin_window();
        // What was left out of it has been accounted for when its first pack was used.
        let mut before = Batch::default();
        let counts = used == 0 && self.accounts();
        let batch = if counts { batch } else { &mut before };
        let mut planned: Vec<Planned> = Vec::new();
        let (mut rows, mut images, mut bytes, mut drawn) = (0, 0, 0, 0);
        let full = |held: usize, budget: usize| held / WINDOW_PACKS >= budget;
        while !full(rows, self.budget.tokens)
            && !full(images, self.budget.images.max(1))
            && bytes < BYTES
        {
            let draws: Vec<Draw> = (0..end.allows(sampler.state(), DRAWS))
                .map(|_| sampler.draw())
                .collect();
            if draws.is_empty() {
                break;
            }
            drawn += draws.len();
            let more = self.texts(&draws, begin.seed, batch)?;
            for planned in &more {
                let extent = Extent::of(&planned.document);
                rows += extent.tokens;
                sampler.add_tokens(extent.tokens as u64);
                images += extent.images;
                bytes += planned.images.iter().map(held).sum::<usize>();
            }
            planned.extend(more);
            // Where hardly anything can be used, the account of it must not wait.
            if planned.is_empty() && drawn >= self.mixture.len() {
                break;
            }
        }
        let extents: Vec<Extent> = planned
            .iter()
            .map(|planned| Extent::of(&planned.document))
            .collect();
        let mut members = fullest(&extents, self.budget);
        let mut planned: Vec<Option<Planned>> = planned.into_iter().map(Some).collect();
        // Packs of long documents would come first; and within a pack the longest, which the model must not learn.
        let mut rng = keyed(begin.seed, "packs", begin.total(), 0);
        members.shuffle(&mut rng);
        members
            .iter_mut()
            .for_each(|members| members.shuffle(&mut rng));
        let mut packs: Vec<Vec<Planned>> = members
            .into_iter()
            .map(|members| {
                members
                    .into_iter()
                    .filter_map(|index| planned[index].take())
                    .collect()
            })
            .collect();
        packs.reverse();
        let unused = packs.len().saturating_sub(used as usize);
        let used_tokens = packs[unused..].iter().map(|pack| tokens(pack)).sum();
        packs.truncate(unused);
        Ok(Window {
            begin,
            packs,
            used,
            used_tokens,
        })
    }

    /// The packs of those of `planned` that are read here, without those whose documents all turn out to be broken.
    pub fn finished(
        &self,
        planned: Vec<Vec<Planned>>,
        batch: &mut Batch,
    ) -> Result<Vec<Pack>, DataError> {
        batch.planned += planned.iter().map(Vec::len).sum::<usize>();
        let weights: Vec<usize> = planned.iter().map(|pack| tokens(pack) as usize).collect();
        let own = self.shard.own(&weights, planned);
        let packs = own
            .into_iter()
            .filter_map(|planned| self.finish(planned, batch).transpose());
        packs.collect()
    }

    fn finish(&self, planned: Vec<Planned>, batch: &mut Batch) -> Result<Option<Pack>, DataError> {
        let mut pack = Pack::default();
        for document in self.with_images(planned, batch)? {
            pack.push(document)?;
        }
        Ok((!pack.documents.is_empty()).then_some(pack))
    }

    fn texts(
        &self,
        draws: &[Draw],
        seed: u64,
        batch: &mut Batch,
    ) -> Result<Vec<Planned>, DataError> {
        let texts: Vec<Result<Text, DataError>> = self
            .pool
            .install(|| draws.par_iter().map(|draw| self.text(draw, seed)).collect());
        let mut planned = Vec::with_capacity(draws.len());
        for (draw, text) in draws.iter().zip(texts) {
            match text {
                Ok(Text::Planned(document)) => planned.push(*document),
                Ok(Text::Dropped) => batch.dropped += 1,
                Err(error) => self.skip(draw, error, batch)?,
            }
        }
        Ok(planned)
    }

    fn text(&self, draw: &Draw, seed: u64) -> Result<Text, DataError> {
        if self.stopped() {
            return Err(DataError::Loader("it was told to".into()));
        }
        let mut rng = sample_rng(seed, draw.ordinal);
        let sample = self.mixture.sources()[draw.source]
            .0
            .sample(draw.row, &mut rng)?;
        let document = match self.encoder.text(&sample) {
            Err(DataError::AllMasked { .. }) if self.too_long == TooLong::Drop => {
                return Ok(Text::Dropped);
            }
            text => text?,
        };
        if document.truncated && self.too_long == TooLong::Drop {
            return Ok(Text::Dropped);
        }
        fits_alone(&document, self.budget)?;
        let document = Document {
            key: draw.ordinal,
            ..document
        };
        Ok(Text::Planned(Box::new(Planned {
            draw: *draw,
            document,
            images: sample.images,
            rng,
        })))
    }

    fn with_images(
        &self,
        planned: Vec<Planned>,
        batch: &mut Batch,
    ) -> Result<Vec<Document>, DataError> {
        let read = |mut planned: Planned| {
            if self.stopped() {
                return (
                    planned.draw,
                    Err(DataError::Loader("it was told to".into())),
                );
            }
            let Planned {
                document,
                images,
                rng,
                ..
            } = &mut planned;
            let read = self.encoder.add_images(document, images, rng);
            (planned.draw, read.map(|()| planned.document))
        };
        let results: Vec<_> = self
            .pool
            .install(|| planned.into_par_iter().map(read).collect());
        let mut documents = Vec::with_capacity(results.len());
        for (draw, document) in results {
            match document {
                Ok(document) => {
                    batch.truncated += usize::from(document.truncated);
                    documents.push(document);
                }
                Err(error) => self.skip(&draw, error, batch)?,
            }
        }
        Ok(documents)
    }

    fn skip(&self, draw: &Draw, error: DataError, batch: &mut Batch) -> Result<(), DataError> {
        if !error.concerns_sample() {
            return Err(error);
        }
        if self.strict {
            return Err(DataError::Strict(Box::new(error)));
        }
        let source = self.mixture.sources()[draw.source].0.name();
        batch.skipped.push(Skip::new(source, draw.row, &error));
        Ok(())
    }
}

/// Tokens of some documents.
fn tokens(planned: &[Planned]) -> u64 {
    planned.iter().map(|planned| planned.tokens() as u64).sum()
}

/// Bytes of an image that are in memory.
fn held(image: &RowImage) -> usize {
    match image {
        RowImage::Bytes(image) => image.bytes.len(),
        _ => 0,
    }
}
