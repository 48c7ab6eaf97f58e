//! Documents as text, to look at.

use std::fmt::Write;

use crate::{Document, Tokenizer};

/// A part of a document as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The token's text, spaces and line ends made visible.
    pub text: String,
    /// What it is.
    pub kind: PartKind,
}

/// The kinds of parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartKind {
    /// An input token.
    Token,
    /// So many visual tokens of one image.
    Visual(usize),
    /// What the row before is to predict.
    Target,
}

/// What a document is, in one line without its end.
pub fn summary(document: &Document) -> String {
    format!(
        "{}: {} tokens, {} targets, {} images, prompt ends at {}{}",
        document.origin,
        document.tokens.len(),
        document.target_count(),
        document.images.len(),
        document.prompt_end,
        if document.truncated {
            ", answer cut at the limit"
        } else {
            ""
        }
    )
}

/// A document's tokens in their order, each target after the row that has to predict it, visual tokens of an image
/// together.
pub fn parts(document: &Document, tokenizer: &Tokenizer) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut row = 0;
    while row < document.tokens.len() {
        let span = document.visual.iter().find(|span| span.start == row);
        let text = token(document.tokens[row], tokenizer);
        let (kind, rows) = match span {
            Some(span) if row + span.len <= document.tokens.len() => {
                (PartKind::Visual(span.len), span.len.max(1))
            }
            _ => (PartKind::Token, 1),
        };
        parts.push(Part { text, kind });
        row += rows;
        if let Some(target) = document.targets.get(row - 1).copied().flatten() {
            parts.push(Part {
                text: token(target, tokenizer),
                kind: PartKind::Target,
            });
        }
    }
    parts
}

/// Renders a document: what it is, then its tokens. Targets stand in `⟦…⟧` at the row that has to
/// predict them; runs of visual tokens are shortened.
///
/// ```text
/// train.parquet:row 12: 9 tokens, 3 targets, 1 image, prompt ends at 6
/// <|begin|> <|image|>×4 <|answer|> ⟦a⟧ a ⟦ cat⟧ ␣cat ⟦<|end|>⟧
/// ```
pub fn document(document: &Document, tokenizer: &Tokenizer) -> String {
    let mut text = summary(document) + "\n";
    for part in parts(document, tokenizer) {
        let _ = match part.kind {
            PartKind::Visual(count) if count > 1 => write!(text, "{}×{count} ", part.text),
            PartKind::Target => write!(text, "⟦{}⟧ ", part.text),
            _ => write!(text, "{} ", part.text),
        };
    }
    text.truncate(text.trim_end().len());
    text
}

/// One token as text: special tokens by name, spaces and line ends made visible.
fn token(id: u32, tokenizer: &Tokenizer) -> String {
    let plain = tokenizer.decode(&[id]).unwrap_or_default();
    if plain.is_empty() || plain.contains('\u{fffd}') {
        return tokenizer
            .token(id)
            .unwrap_or_else(|| format!("<unknown {id}>"));
    }
    plain.replace(' ', "␣").replace('\n', "⏎")
}

#[cfg(test)]
mod tests {
    use super::{Part, PartKind};
    use crate::document::tests_support::{encoder, text_sample};
    use crate::sample_rng;

    #[test]
    fn shows_targets_where_they_are_predicted() {
        let encoder = encoder(4, 100);
        let sample = text_sample("say", "hi you");
        let document = encoder.document(&sample, &mut sample_rng(0, 0)).unwrap();
        let text = super::document(&document, encoder.tokenizer());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "test:row 0: 11 tokens, 7 targets, 0 images, prompt ends at 5"
        );
        assert_eq!(
            lines[1],
            "<|begin|> s a y <|answer|> ⟦h⟧ h ⟦i⟧ i ⟦␣⟧ ␣ ⟦y⟧ y ⟦o⟧ o ⟦u⟧ u ⟦<|end|>⟧"
        );
        let part = |text: &str, kind| Part {
            text: text.into(),
            kind,
        };
        let parts = super::parts(&document, encoder.tokenizer());
        assert_eq!(parts[4], part("<|answer|>", PartKind::Token));
        assert_eq!(parts[5], part("h", PartKind::Target));
    }
}
