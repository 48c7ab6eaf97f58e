//! Which rows see which: a named rule, compiled to one interval a row.

use std::fmt;
use std::ops::Range;

use fourfold_tensor::ops::Visibility;
use serde::{Deserialize, Serialize};

use crate::Result;

/// Who sees whom within a document; documents never see each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VisibilityKind {
    /// Every row sees the rows before it and itself.
    Causal,
    /// Causal, but the rows of an image see all of their image.
    #[default]
    ImageBidirectional,
    /// Causal, but the rows of the prompt see all of the prompt.
    PrefixLm,
    /// The rows of an image see their image and nothing else; text is causal.
    ImageIsolated,
}

impl VisibilityKind {
    /// The word used in recipes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Causal => "causal",
            Self::ImageBidirectional => "image-bidirectional",
            Self::PrefixLm => "prefix-lm",
            Self::ImageIsolated => "image-isolated",
        }
    }

    /// The interval of each of `rows` rows. Rows outside every document see themselves alone.
    ///
    /// # Errors
    /// When a document or image lies outside its bounds.
    pub fn compile(self, rows: usize, documents: &[DocumentSpan]) -> Result<Visibility> {
        self.within(rows, documents, usize::MAX)
    }

    /// The same, but no row sees farther back than `window` rows, its own counted; an image that sees itself still sees
    /// all of itself.
    ///
    /// # Errors
    /// When a document or image lies outside its bounds.
    pub fn within(
        self,
        rows: usize,
        documents: &[DocumentSpan],
        window: usize,
    ) -> Result<Visibility> {
        let mut sees: Vec<Range<usize>> = (0..rows).map(|row| row..row + 1).collect();
        for document in documents {
            document.check(rows)?;
            for (row, sees) in sees
                .iter_mut()
                .enumerate()
                .take(document.end)
                .skip(document.start)
            {
                *sees = document.start.max((row + 1).saturating_sub(window))..row + 1;
            }
            match self {
                Self::Causal => {}
                Self::PrefixLm => {
                    for sees in &mut sees[document.start..document.prompt_end] {
                        sees.end = document.prompt_end;
                    }
                }
                Self::ImageBidirectional | Self::ImageIsolated => {
                    for image in &document.visual {
                        for sees in &mut sees[image.start..image.start + image.len] {
                            sees.start = sees.start.min(image.start);
                            sees.end = image.start + image.len;
                            if self == Self::ImageIsolated {
                                sees.start = image.start;
                            }
                        }
                    }
                }
            }
        }
        let bounds =
            |bound: fn(&Range<usize>) -> usize| sees.iter().map(|s| bound(s) as u32).collect();
        Ok(Visibility::new(
            bounds(|sees| sees.start),
            bounds(|sees| sees.end),
        )?)
    }

    /// What rows see in the layers of a model, of which some may have a window.
    pub(crate) fn sight(
        self,
        rows: usize,
        documents: &[DocumentSpan],
        window: Option<usize>,
    ) -> Result<Sight> {
        let windowed = window.map(|window| self.within(rows, documents, window));
        Ok(Sight {
            full: self.compile(rows, documents)?,
            windowed: windowed.transpose()?,
        })
    }
}

/// What rows see in the layers that see everything, and in those that have a window.
#[derive(Clone, Debug)]
pub(crate) struct Sight {
    pub full: Visibility,
    windowed: Option<Visibility>,
}

impl Sight {
    /// What rows see in a layer with this window, or none; all windows of a model are equally long.
    pub fn of(&self, window: Option<usize>) -> &Visibility {
        match (window, &self.windowed) {
            (Some(_), Some(windowed)) => windowed,
            _ => &self.full,
        }
    }
}

impl fmt::Display for VisibilityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a document lies in a pack, in absolute rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentSpan {
    /// First row.
    pub start: usize,
    /// One past the last row.
    pub end: usize,
    /// One past the last row of the prompt.
    pub prompt_end: usize,
    /// The rows of its images.
    pub visual: Vec<VisualSpan>,
    /// What tells it from other documents, in whatever pack it is: what is left out of it at random follows from it.
    pub key: u64,
}

/// Where an image's visual tokens lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VisualSpan {
    /// First row.
    pub start: usize,
    /// Number of rows.
    pub len: usize,
    /// Place of the image in the stack of images.
    pub image: usize,
}

impl DocumentSpan {
    fn check(&self, rows: usize) -> Result<()> {
        let inside =
            |span: &VisualSpan| self.start <= span.start && span.start + span.len <= self.end;
        if self.start > self.prompt_end || self.prompt_end > self.end || self.end > rows {
            return Err(crate::ModelError::Input(format!(
                "{self:?} does not lie within {rows} rows"
            )));
        }
        match self.visual.iter().find(|span| !inside(span)) {
            Some(span) => Err(crate::ModelError::Input(format!(
                "{span:?} lies outside its document"
            ))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two documents: rows 0..6 with an image at 1..4 and a prompt up to 5; rows 6..9 of text alone.
    fn documents() -> Vec<DocumentSpan> {
        let visual = vec![VisualSpan {
            start: 1,
            len: 3,
            image: 0,
        }];
        vec![
            DocumentSpan {
                start: 0,
                end: 6,
                prompt_end: 5,
                visual,
                key: 0,
            },
            DocumentSpan {
                start: 6,
                end: 9,
                prompt_end: 6,
                visual: vec![],
                key: 0,
            },
        ]
    }

    fn compiled(kind: VisibilityKind) -> Vec<(u32, u32)> {
        let visibility = kind.compile(9, &documents()).expect("spans lie inside");
        visibility
            .start()
            .iter()
            .copied()
            .zip(visibility.end().iter().copied())
            .collect()
    }

    #[test]
    fn each_rule_compiles_to_its_intervals() {
        let text = [(6, 7), (6, 8), (6, 9)];
        let with = |first: [(u32, u32); 6]| [&first[..], &text].concat();
        assert_eq!(
            compiled(VisibilityKind::Causal),
            with([(0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (0, 6)])
        );
        assert_eq!(
            compiled(VisibilityKind::ImageBidirectional),
            with([(0, 1), (0, 4), (0, 4), (0, 4), (0, 5), (0, 6)])
        );
        assert_eq!(
            compiled(VisibilityKind::PrefixLm),
            with([(0, 5), (0, 5), (0, 5), (0, 5), (0, 5), (0, 6)])
        );
        assert_eq!(
            compiled(VisibilityKind::ImageIsolated),
            with([(0, 1), (1, 4), (1, 4), (1, 4), (0, 5), (0, 6)])
        );
    }

    #[test]
    fn a_window_hides_what_lies_farther_back_but_no_part_of_an_image() {
        let windowed = |kind: VisibilityKind, window| -> Vec<(u32, u32)> {
            let visibility = kind
                .within(9, &documents(), window)
                .expect("spans lie inside");
            let ends = visibility.end().iter().copied();
            visibility.start().iter().copied().zip(ends).collect()
        };
        let text = [(6, 7), (6, 8), (7, 9)];
        let with = |first: [(u32, u32); 6]| [&first[..], &text].concat();
        assert_eq!(
            windowed(VisibilityKind::Causal, 2),
            with([(0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)])
        );
        assert_eq!(
            windowed(VisibilityKind::ImageBidirectional, 2),
            with([(0, 1), (0, 4), (1, 4), (1, 4), (3, 5), (4, 6)])
        );
        assert_eq!(
            windowed(VisibilityKind::PrefixLm, 2),
            with([(0, 5), (0, 5), (1, 5), (2, 5), (3, 5), (4, 6)])
        );
        for kind in [VisibilityKind::PrefixLm, VisibilityKind::ImageIsolated] {
            assert_eq!(windowed(kind, 9), compiled(kind));
        }
    }

    #[test]
    fn spans_outside_their_document_are_refused() {
        let mut documents = documents();
        documents[0].visual[0].len = 9;
        let message = VisibilityKind::Causal
            .compile(9, &documents)
            .expect_err("outside")
            .to_string();
        assert!(message.contains("outside its document"), "{message}");
    }
}
