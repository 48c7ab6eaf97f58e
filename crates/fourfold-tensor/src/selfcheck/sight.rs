//! What rows see: the rules that models know, written as intervals.

use std::ops::Range;

use crate::Result;
use crate::ops::Visibility;

/// Who sees whom within a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Every row sees the rows before it and itself.
    Causal,
    /// Causal, but the rows of an image see all of their image.
    ImageBidirectional,
    /// Causal, but the rows of the prompt see all of the prompt.
    Prefix,
    /// The rows of an image see nothing but their image.
    ImageIsolated,
    /// Everything within its document, as in an encoder.
    Everything,
}

impl Rule {
    pub(super) const ALL: [Self; 5] = [
        Self::Causal,
        Self::ImageBidirectional,
        Self::Prefix,
        Self::ImageIsolated,
        Self::Everything,
    ];

    /// What rows see of documents of these lengths that lie end to end, and `alone` rows after them that belong to none
    /// and see themselves; with a `window` no farther back than so many rows, but for images. A document of at least four
    /// rows has an image, from its second row to its middle, and its first three quarters are its prompt.
    pub(super) fn compile(
        self,
        lengths: &[usize],
        alone: usize,
        window: Option<usize>,
    ) -> Result<Visibility> {
        let mut sees: Vec<Range<usize>> = Vec::new();
        for length in lengths {
            let document = sees.len()..sees.len() + length;
            sees.extend(
                document
                    .clone()
                    .map(|row| self.seen(row, &document, window)),
            );
        }
        let rows = sees.len();
        sees.extend((rows..rows + alone).map(|row| row..row + 1));
        let (start, end) = sees
            .iter()
            .map(|seen| (seen.start as u32, seen.end as u32))
            .unzip();
        Visibility::new(start, end)
    }

    fn seen(self, row: usize, document: &Range<usize>, window: Option<usize>) -> Range<usize> {
        let length = document.len();
        let image = match length {
            0..4 => document.start..document.start,
            _ => document.start + 1..document.start + length / 2,
        };
        let prompt = document.start..document.start + (3 * length).div_ceil(4);
        let far = (row + 1).saturating_sub(window.unwrap_or(usize::MAX));
        let first = far.max(document.start);
        match self {
            Self::ImageBidirectional if image.contains(&row) => first.min(image.start)..image.end,
            Self::ImageIsolated if image.contains(&row) => image,
            Self::Prefix if prompt.contains(&row) => first..prompt.end,
            Self::Everything => first..document.end,
            _ => first..row + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_what_they_say() {
        let compile = |rule: Rule, window| {
            let sight = rule.compile(&[1, 8], 1, window).expect("holds each row");
            let pairs = sight.start().iter().zip(sight.end());
            pairs.map(|(a, b)| (*a, *b)).collect::<Vec<_>>()
        };
        // The document is rows 1 to 8, its image rows 2 to 4, its prompt rows 1 to 6.
        assert_eq!(
            compile(Rule::Causal, None)[..4],
            [(0, 1), (1, 2), (1, 3), (1, 4)]
        );
        assert_eq!(
            compile(Rule::Causal, Some(2))[7..],
            [(6, 8), (7, 9), (9, 10)]
        );
        assert_eq!(
            compile(Rule::ImageBidirectional, None)[2..4],
            [(1, 5), (1, 5)]
        );
        assert_eq!(compile(Rule::ImageBidirectional, Some(1))[4], (2, 5));
        assert_eq!(compile(Rule::ImageIsolated, None)[3], (2, 5));
        assert_eq!(compile(Rule::Prefix, None)[6..8], [(1, 7), (1, 8)]);
        assert_eq!(compile(Rule::Everything, None)[8], (1, 9));
    }
}
