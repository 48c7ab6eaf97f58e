//! Which rows of a document see which, as a small picture: a row of it is who sees, a column who is seen.

use std::fmt::Write;

use anyhow::Result;
use fourfold_data::Document;
use fourfold_model::{DocumentSpan, VisibilityKind, VisualSpan};

/// Rows and columns of a picture at most; each then stands for several rows.
const SIDE: usize = 64;

/// What the rows of one document see.
pub struct Sight {
    kind: VisibilityKind,
    /// Of each row the first that it sees, and one past the last.
    sees: Vec<(usize, usize)>,
    /// Rows of each image.
    images: Vec<(usize, usize)>,
    prompt_end: usize,
}

impl Sight {
    /// That of a document alone in its pack.
    ///
    /// # Errors
    /// When its images lie outside it.
    pub fn of(document: &Document, kind: VisibilityKind) -> Result<Self> {
        let rows = document.tokens.len();
        let visual = document.visual.iter().map(|span| VisualSpan {
            start: span.start,
            len: span.len,
            image: span.image,
        });
        let span = DocumentSpan {
            start: 0,
            end: rows,
            prompt_end: document.prompt_end.min(rows),
            visual: visual.collect(),
            key: 0,
        };
        let seen = kind.compile(rows, std::slice::from_ref(&span))?;
        let bounds = seen.start().iter().zip(seen.end());
        Ok(Self {
            kind,
            sees: bounds.map(|(a, b)| (*a as usize, *b as usize)).collect(),
            images: span
                .visual
                .iter()
                .map(|image| (image.start, image.start + image.len))
                .collect(),
            prompt_end: span.prompt_end,
        })
    }

    fn rows(&self) -> usize {
        self.sees.len()
    }

    /// Whether at least half of the pairs in a square of `step` rows and columns see each other.
    fn is_dark(&self, row: usize, column: usize, step: usize) -> bool {
        let rows = (row * step)..((row + 1) * step).min(self.rows());
        let (from, to) = (column * step, ((column + 1) * step).min(self.rows()));
        let all = rows.len() * (to - from);
        let seen: usize = self.sees[rows]
            .iter()
            .map(|(start, end)| to.min(*end).saturating_sub(from.max(*start)))
            .sum();
        2 * seen >= all
    }

    /// Lines of half blocks, two rows each, below a line that says what they are.
    pub fn text(&self) -> String {
        let rows = self.rows();
        let step = rows.div_ceil(SIDE).max(1);
        let side = rows.div_ceil(step);
        let scale = match step {
            1 => String::new(),
            step => format!(", a dot is {step} × {step}"),
        };
        let mut text = format!(
            "visibility {}: {rows} rows (down) see {rows} rows (across){scale}",
            self.kind
        );
        for line in 0..side.div_ceil(2) {
            text.push_str("\n  ");
            for column in 0..side {
                let dark = |row: usize| row < side && self.is_dark(row, column, step);
                text.push(match (dark(2 * line), dark(2 * line + 1)) {
                    (true, true) => '█',
                    (true, false) => '▀',
                    (false, true) => '▄',
                    (false, false) => '·',
                });
            }
        }
        text
    }

    /// The same as a drawing for HTML, exact; images and prompt are tinted.
    pub fn svg(&self) -> String {
        let rows = self.rows();
        let mut svg = format!(
            "<svg class=\"sight\" viewBox=\"0 0 {rows} {rows}\" role=\"img\" aria-label=\"visibility\">\
             <rect class=\"prompt\" width=\"{0}\" height=\"{rows}\"/>",
            self.prompt_end
        );
        for (start, end) in &self.images {
            let _ = write!(
                svg,
                "<rect class=\"image\" x=\"{start}\" width=\"{}\" height=\"{rows}\"/>",
                end - start
            );
        }
        svg.push_str("<path d=\"");
        // Rows that see the same are one rectangle.
        let mut row = 0;
        for alike in self.sees.chunk_by(|a, b| a == b) {
            let ((start, end), height) = (alike[0], alike.len());
            let _ = write!(svg, "M{start} {row}H{end}v{height}H{start}z");
            row += height;
        }
        svg.push_str("\"/></svg>");
        svg
    }

    /// The rule's name.
    pub fn kind(&self) -> VisibilityKind {
        self.kind
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fourfold_data::VisualSpan as Span;

    fn document(rows: usize) -> Document {
        Document {
            origin: "x:row 0".into(),
            tokens: vec![0; rows],
            targets: vec![None; rows],
            prompt_end: rows - 1,
            visual: vec![Span {
                start: 1,
                len: 2,
                image: 0,
            }],
            images: Vec::new(),
            truncated: false,
            key: 0,
        }
    }

    #[test]
    fn an_image_sees_itself_and_text_what_was_before() {
        let sight = Sight::of(&document(4), VisibilityKind::ImageBidirectional).unwrap();
        let text = sight.text();
        let lines: Vec<&str> = text.lines().skip(1).map(str::trim).collect();
        // Rows: x..., xxx., xxx., xxxx; two of them a line.
        assert_eq!(lines, ["█▄▄·", "███▄"]);
        assert!(sight.svg().contains("M0 1H3v2H0z"), "{}", sight.svg());
    }

    #[test]
    fn a_long_document_is_a_small_picture() {
        let text = Sight::of(&document(1000), VisibilityKind::Causal)
            .unwrap()
            .text();
        assert!(text.contains("a dot is 16 × 16"), "{text}");
        assert_eq!(text.lines().count(), 1 + 32);
        // Of 63 lines of dots the last has none below it.
        assert!(text.lines().last().unwrap().ends_with('▀'), "{text}");
    }
}
