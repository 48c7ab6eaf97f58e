//! From packs of data to what the model reads.

use anyhow::Result;
use fourfold_data::{Document, Pack, VisualSpan};
use fourfold_model::{DocumentSpan, Input, Prompt};
use fourfold_tensor::Tensor;

/// A pack with its images as a tensor and its targets as a list.
pub struct PackInput<'p> {
    pack: &'p Pack,
    images: Tensor,
    documents: Vec<DocumentSpan>,
    targets: Vec<(u32, u32)>,
}

impl<'p> PackInput<'p> {
    /// Prepares `pack`.
    ///
    /// # Errors
    /// When its pixels are not as many as it says.
    pub fn new(pack: &'p Pack) -> Result<Self> {
        let side = pack.image_size;
        let documents = pack.documents.iter().map(|document| DocumentSpan {
            start: document.start,
            end: document.end,
            prompt_end: document.prompt_end,
            visual: visual(&document.visual),
        });
        let rows = pack.targets.iter().enumerate();
        let targets = rows.filter_map(|(row, target)| target.map(|token| (row as u32, token)));
        Ok(Self {
            images: Tensor::from_f32(&[pack.image_count, 3, side, side], &pack.images)?,
            documents: documents.collect(),
            targets: targets.collect(),
            pack,
        })
    }

    /// What the model reads.
    pub fn as_input(&self) -> Input<'_> {
        Input {
            tokens: &self.pack.tokens,
            positions: &self.pack.positions,
            documents: &self.documents,
            images: &self.images,
            targets: &self.targets,
        }
    }
}

/// What generation starts from.
///
/// # Errors
/// When the images of the document differ in size.
pub fn prompt(document: &Document) -> Result<Prompt> {
    let (height, width) = document
        .images
        .first()
        .map_or((0, 0), |p| (p.height, p.width));
    let pixels: Vec<f32> = document
        .images
        .iter()
        .flat_map(|p| &p.data)
        .copied()
        .collect();
    Ok(Prompt {
        tokens: document.tokens.clone(),
        visual: visual(&document.visual),
        images: Tensor::from_f32(&[document.images.len(), 3, height, width], &pixels)?,
    })
}

fn visual(spans: &[VisualSpan]) -> Vec<fourfold_model::VisualSpan> {
    let convert = |span: &VisualSpan| fourfold_model::VisualSpan {
        start: span.start,
        len: span.len,
        image: span.image,
    };
    spans.iter().map(convert).collect()
}
