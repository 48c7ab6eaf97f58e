//! What an answer may not say, as changes of the scores of the next token. Orders and formulas are those of
//! `transformers`' logits processors.

use std::collections::HashSet;

use super::{GenerateOptions, Repetition};

/// Whether [`apply`] may change anything.
pub(super) fn any(options: &GenerateOptions) -> bool {
    options.repetition != Repetition::default() || options.min_tokens > 0
}

/// Changes `scores`, logits or their log softmax, of the token that follows `prompt` and `answer`.
pub(super) fn apply(scores: &mut [f32], prompt: &[u32], answer: &[u32], options: &GenerateOptions) {
    let Repetition {
        penalty,
        no_repeat_ngram,
    } = options.repetition;
    if penalty != 1.0 {
        let said: HashSet<u32> = prompt.iter().chain(answer).copied().collect();
        for token in said {
            if let Some(score) = scores.get_mut(token as usize) {
                *score *= if *score < 0.0 { penalty } else { 1.0 / penalty };
            }
        }
    }
    if no_repeat_ngram > 0 {
        for token in completing(&[prompt, answer].concat(), no_repeat_ngram) {
            if let Some(score) = scores.get_mut(token as usize) {
                *score = f32::NEG_INFINITY;
            }
        }
    }
    if answer.len() < options.min_tokens
        && let Some(score) = scores.get_mut(options.end as usize)
    {
        *score = f32::NEG_INFINITY;
    }
}

/// The tokens that would complete a sequence of `n` that `tokens` hold already.
fn completing(tokens: &[u32], n: usize) -> Vec<u32> {
    if tokens.len() < n {
        return Vec::new();
    }
    let last = &tokens[tokens.len() + 1 - n..];
    let again = tokens.windows(n).filter(|ngram| ngram.starts_with(last));
    again.map(|ngram| ngram[n - 1]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VisibilityKind;

    fn options(repetition: Repetition, min_tokens: usize) -> GenerateOptions {
        GenerateOptions {
            repetition,
            min_tokens,
            ..GenerateOptions::greedy(9, 0, VisibilityKind::Causal)
        }
    }

    #[test]
    fn what_was_said_becomes_less_likely() {
        let mut scores = [2.0, -2.0, 4.0, -4.0];
        let rule = Repetition {
            penalty: 2.0,
            ..Repetition::default()
        };
        apply(&mut scores, &[2, 9], &[3, 3], &options(rule, 0));
        assert_eq!(scores, [2.0, -2.0, 2.0, -8.0]);
    }

    #[test]
    fn no_pair_is_said_twice_and_no_answer_ends_early() {
        let mut scores = [1.0; 6];
        let rule = Repetition {
            no_repeat_ngram: 2,
            ..Repetition::default()
        };
        // 5 followed 4 in the prompt, 3 followed it in the answer.
        apply(&mut scores, &[4, 5], &[4, 3, 4], &options(rule, 4));
        let never = f32::NEG_INFINITY;
        assert_eq!(scores, [never, 1.0, 1.0, never, 1.0, never]);
        assert_eq!(completing(&[7], 1), [7]);
        assert!(completing(&[7], 2).is_empty());
    }
}
