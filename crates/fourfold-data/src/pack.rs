//! Packs: documents laid end to end under a budget of tokens and images. No padding.

mod fill;

pub use fill::fullest;

use crate::{DataError, Document, DocumentImage, VisualSpan};

/// What one pack may hold at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackBudget {
    /// Rows.
    pub tokens: usize,
    /// Images.
    pub images: usize,
}

impl PackBudget {
    /// Takes every document.
    pub const UNLIMITED: Self = Self {
        tokens: usize::MAX,
        images: usize::MAX,
    };
}

/// Documents end to end: one forward pass of the model. `[tokens]` is the number of rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pack {
    /// The input, `[tokens]`.
    pub tokens: Vec<u32>,
    /// The token expected after each row, where one is learnt, `[tokens]`.
    pub targets: Vec<Option<u32>>,
    /// The row's number within its document, `[tokens]`.
    pub positions: Vec<u32>,
    /// The documents, in the order of their rows, which they fill without gaps.
    pub documents: Vec<PackedDocument>,
    /// The images of all documents; those with pixels have one size.
    pub images: Vec<DocumentImage>,
}

/// One document's place in a pack. Rows are the pack's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedDocument {
    /// Where it comes from.
    pub origin: String,
    /// The first row.
    pub start: usize,
    /// One after the last row.
    pub end: usize,
    /// One after the last row of the first prompt, answer marker included.
    pub prompt_end: usize,
    /// Where visual tokens go; `image` is an index into the pack's images.
    pub visual: Vec<VisualSpan>,
    /// What tells it from other documents.
    pub key: u64,
}

impl Pack {
    /// How many rows have a target.
    pub fn target_count(&self) -> usize {
        self.targets.iter().flatten().count()
    }

    /// Appends a document. The caller keeps the budget.
    ///
    /// # Errors
    /// [`DataError::Row`] if its images have another size than the pack's.
    pub fn push(&mut self, document: Document) -> Result<(), DataError> {
        let start = self.tokens.len();
        let images = self.images.iter().chain(&document.images);
        let mut sizes = images
            .filter_map(DocumentImage::pixels)
            .map(|pixels| (pixels.height, pixels.width));
        if let Some((height, width)) = sizes.next()
            && let Some(other) = sizes.find(|size| *size != (height, width))
        {
            return Err(DataError::Row {
                origin: document.origin,
                message: format!(
                    "an image of {} × {} cannot be packed with images of {height} × {width}",
                    other.0, other.1
                ),
            });
        }
        let first_image = self.images.len();
        self.images.extend(document.images);
        self.positions.extend(0..document.tokens.len() as u32);
        self.tokens.extend(document.tokens);
        self.targets.extend(document.targets);
        let visual = document.visual.into_iter().map(|span| VisualSpan {
            start: start + span.start,
            len: span.len,
            image: first_image + span.image,
        });
        self.documents.push(PackedDocument {
            origin: document.origin,
            start,
            end: self.tokens.len(),
            prompt_end: start + document.prompt_end,
            visual: visual.collect(),
            key: document.key,
        });
        Ok(())
    }
}

/// A window of documents that packs are filled from is closed when it would fill so many of them: one at most is not full.
pub(crate) const WINDOW_PACKS: usize = 64;

/// What packing has to know of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Rows.
    pub tokens: usize,
    /// Images.
    pub images: usize,
}

impl Extent {
    /// That of a document, whether its images are read yet or not.
    pub fn of(document: &Document) -> Self {
        Self {
            tokens: document.tokens.len(),
            images: document.visual.len(),
        }
    }
}

/// Lays documents in packs by best fit: each goes, in the order given, to the fullest pack that still takes it, the
/// earliest of them, or opens a new one. Gives each pack's documents, by their place in `documents`. None is split or
/// lost. A document that is larger than a pack has one of its own.
///
/// Longest first ([`longest_first`]) fills packs best, but not as full as [`fullest`].
pub fn best_fit(
    documents: &[Extent],
    order: impl IntoIterator<Item = usize>,
    budget: PackBudget,
) -> Vec<Vec<usize>> {
    let mut packs: Vec<(Extent, Vec<usize>)> = Vec::new();
    for index in order {
        let document = documents[index];
        let fits = |(held, _): &&mut (Extent, Vec<usize>)| {
            held.tokens + document.tokens <= budget.tokens
                && held.images + document.images <= budget.images
        };
        let fuller = |best: &mut (Extent, Vec<usize>), pack: &mut (Extent, Vec<usize>)| {
            pack.0.tokens > best.0.tokens
        };
        let best = packs
            .iter_mut()
            .filter(fits)
            .reduce(|best, pack| if fuller(best, pack) { pack } else { best });
        match best {
            Some((held, members)) => {
                held.tokens += document.tokens;
                held.images += document.images;
                members.push(index);
            }
            None => packs.push((document, vec![index])),
        }
    }
    packs.into_iter().map(|(_, members)| members).collect()
}

/// The places of `documents`, the longest first; of equally long ones the earliest.
pub fn longest_first(documents: &[Extent]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..documents.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(documents[*index].tokens));
    order
}

/// Packs documents by best fit, in their order. No document is split or lost.
///
/// # Errors
/// [`DataError::TooLarge`] for a document that no empty pack could take.
pub fn pack(documents: Vec<Document>, budget: PackBudget) -> Result<Vec<Pack>, DataError> {
    for document in &documents {
        fits_alone(document, budget)?;
    }
    let extents: Vec<Extent> = documents.iter().map(Extent::of).collect();
    let members = best_fit(&extents, 0..documents.len(), budget);
    let mut documents: Vec<Option<Document>> = documents.into_iter().map(Some).collect();
    let lay = |members: Vec<usize>| {
        let mut pack = Pack::default();
        for document in members
            .into_iter()
            .filter_map(|index| documents[index].take())
        {
            pack.push(document)?;
        }
        Ok(pack)
    };
    members.into_iter().map(lay).collect()
}

/// Refuses a document that no pack can hold.
pub(crate) fn fits_alone(document: &Document, budget: PackBudget) -> Result<(), DataError> {
    if document.tokens.len() <= budget.tokens && document.visual.len() <= budget.images {
        return Ok(());
    }
    Err(DataError::TooLarge {
        origin: document.origin.clone(),
        tokens: document.tokens.len(),
        images: document.visual.len(),
        max_tokens: budget.tokens,
        max_images: budget.images,
    })
}

#[cfg(test)]
mod tests;
