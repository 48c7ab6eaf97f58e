//! Packs: documents laid end to end under a budget of tokens and images. No padding.

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
        });
        Ok(())
    }
}

/// Packs documents by best fit: each goes, in its order, to the fullest pack that still takes it,
/// or opens a new one. No document is split or lost.
///
/// # Errors
/// [`DataError::TooLarge`] for a document that no empty pack could take.
pub fn pack(documents: Vec<Document>, budget: PackBudget) -> Result<Vec<Pack>, DataError> {
    let mut packs: Vec<Pack> = Vec::new();
    for document in documents {
        fits_alone(&document, budget)?;
        let (tokens, images) = (document.tokens.len(), document.images.len());
        let best = packs
            .iter_mut()
            .filter(|pack| {
                pack.tokens.len() + tokens <= budget.tokens
                    && pack.images.len() + images <= budget.images
            })
            // The earliest of the fullest.
            .reduce(|best, pack| {
                if pack.tokens.len() > best.tokens.len() {
                    pack
                } else {
                    best
                }
            });
        match best {
            Some(pack) => pack.push(document)?,
            None => {
                let mut pack = Pack::default();
                pack.push(document)?;
                packs.push(pack);
            }
        }
    }
    Ok(packs)
}

/// Refuses a document that no pack can hold.
pub(crate) fn fits_alone(document: &Document, budget: PackBudget) -> Result<(), DataError> {
    if document.tokens.len() <= budget.tokens && document.images.len() <= budget.images {
        return Ok(());
    }
    Err(DataError::TooLarge {
        origin: document.origin.clone(),
        tokens: document.tokens.len(),
        images: document.images.len(),
        max_tokens: budget.tokens,
        max_images: budget.images,
    })
}

#[cfg(test)]
mod tests;
