//! Documents as plain text, to look at.

use std::fmt::Write;

use crate::{Document, Tokenizer};

/// Renders a document: what it is, then its tokens. Targets stand in `⟦…⟧` at the row that has to
/// predict them; runs of visual tokens are shortened.
///
/// ```text
/// train.parquet:row 12: 9 tokens, 3 targets, 1 image, prompt ends at 6
/// <|begin|> <|image|>×4 <|answer|> ⟦a⟧ a ⟦ cat⟧ ␣cat ⟦<|end|>⟧
/// ```
pub fn document(document: &Document, tokenizer: &Tokenizer) -> String {
    let mut text = format!(
        "{}: {} tokens, {} targets, {} images, prompt ends at {}{}\n",
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
    );
    let mut row = 0;
    while row < document.tokens.len() {
        let span = document.visual.iter().find(|span| span.start == row);
        let name = token(document.tokens[row], tokenizer);
        match span {
            Some(span) if span.len > 1 && row + span.len <= document.tokens.len() => {
                let _ = write!(text, "{name}×{} ", span.len);
                row += span.len;
            }
            _ => {
                let _ = write!(text, "{name} ");
                row += 1;
            }
        }
        if let Some(target) = document.targets.get(row - 1).copied().flatten() {
            let _ = write!(text, "⟦{}⟧ ", token(target, tokenizer));
        }
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
    }
}
