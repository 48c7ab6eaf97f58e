//! Beam search: several hypotheses a prompt, the best finished one wins.
//!
//! Scoring and stopping follow `transformers`: a finished hypothesis scores its log-probability divided by
//! `length ^ length_penalty` (its end counted), and a prompt is done when as many are finished as there are beams and no
//! living one can still beat the worst of them, or all are as long as they may be.

use fourfold_tensor::ops::log_sum_exp;

use super::queue::Asked;
use super::{Generated, rules};

/// A hypothesis that still grows.
#[derive(Clone, Default)]
struct Living {
    answer: Generated,
    /// Sum of the log-probabilities as rules have changed them.
    score: f32,
}

/// The hypotheses of one prompt.
pub(super) struct Beams {
    living: Vec<Living>,
    /// The best ones with their scores, the best first.
    finished: Vec<(f32, Generated)>,
}

/// A hypothesis continued by one token.
#[derive(Clone, Copy)]
struct Candidate {
    score: f32,
    log_probability: f32,
    parent: usize,
    token: u32,
}

impl Beams {
    pub fn new() -> Self {
        Self {
            living: vec![Living::default()],
            finished: Vec::new(),
        }
    }

    /// Replaces the living hypotheses by their best continuations, given the logits after each; those that end become
    /// finished. The parent of each that lives now.
    pub fn advance(&mut self, logits: &[&[f32]], asked: &Asked<'_>) -> Vec<usize> {
        let beams = asked.options.beams;
        let mut candidates: Vec<Candidate> = Vec::new();
        for (parent, (living, logits)) in self.living.iter().zip(logits).enumerate() {
            candidates.extend(living.continuations(parent, logits, asked));
        }
        // Equal scores keep the order of hypothesis and token, so that the result is always the same.
        candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
        candidates.truncate(2 * beams);
        let (mut living, mut parents) = (Vec::with_capacity(beams), Vec::with_capacity(beams));
        for (rank, candidate) in candidates.into_iter().enumerate() {
            let mut answer = self.living[candidate.parent].answer.clone();
            answer.log_probabilities.push(candidate.log_probability);
            let length = answer.tokens.len() + 1;
            answer.finished = candidate.token == asked.options.end;
            if !answer.finished {
                answer.tokens.push(candidate.token);
                answer.finished = asked.stops(&answer.tokens);
            }
            let complete = answer.finished || length == asked.limit;
            if complete && rank < beams {
                let score = normalised(candidate.score, length, asked);
                self.finished.push((score, answer));
            } else if !complete && living.len() < beams {
                let score = candidate.score;
                living.push(Living { answer, score });
                parents.push(candidate.parent);
            }
        }
        self.finished.sort_by(|a, b| b.0.total_cmp(&a.0));
        self.finished.truncate(beams);
        self.living = living;
        if self.is_done(asked) {
            self.living.clear();
            parents.clear();
        }
        parents
    }

    /// The last token of each living hypothesis.
    pub fn last(&self) -> impl Iterator<Item = u32> {
        let tokens = self.living.iter().map(|living| living.answer.tokens.last());
        tokens.map(|token| token.copied().unwrap_or_default())
    }

    pub fn finish(self) -> Generated {
        let best = self.finished.into_iter().next();
        best.map_or_else(Generated::default, |(_, answer)| answer)
    }

    fn is_done(&self, asked: &Asked<'_>) -> bool {
        let (Some(best), Some((worst, _))) = (self.living.first(), self.finished.last()) else {
            return self.living.is_empty();
        };
        let hopes = normalised(best.score, best.answer.tokens.len(), asked);
        self.finished.len() == asked.options.beams && hopes <= *worst
    }
}

impl Living {
    /// The best continuations by one token, twice as many as there are beams.
    fn continuations(
        &self,
        parent: usize,
        logits: &[f32],
        asked: &Asked<'_>,
    ) -> impl Iterator<Item = Candidate> {
        let log_sum = log_sum_exp(logits);
        let ruled = rules::any(asked.options).then(|| {
            let mut scores: Vec<f32> = logits.iter().map(|logit| logit - log_sum).collect();
            let said = &self.answer.tokens;
            rules::apply(&mut scores, &asked.prompt.tokens, said, asked.options);
            scores
        });
        let best = match &ruled {
            Some(scores) => highest(scores, 2 * asked.options.beams),
            None => highest(logits, 2 * asked.options.beams),
        };
        best.into_iter().map(move |token| {
            let log_probability = logits[token] - log_sum;
            let score = ruled.as_ref().map_or(log_probability, |s| s[token]);
            Candidate {
                score: self.score + score,
                log_probability,
                parent,
                token: token as u32,
            }
        })
    }
}

/// The places of the `count` highest scores, the highest first, of equal ones the first.
fn highest(scores: &[f32], count: usize) -> Vec<usize> {
    let mut best: Vec<usize> = Vec::with_capacity(count + 1);
    let mut least = f32::NEG_INFINITY;
    for (place, score) in scores.iter().enumerate() {
        if best.len() == count && *score <= least {
            continue;
        }
        let rank = best.partition_point(|other| scores[*other] >= *score);
        best.insert(rank, place);
        best.truncate(count);
        if best.len() == count {
            least = scores[best[count - 1]];
        }
    }
    best
}

fn normalised(score: f32, length: usize, asked: &Asked<'_>) -> f32 {
    score / (length.max(1) as f32).powf(asked.options.length_penalty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_come_in_order_and_of_equal_ones_the_first() {
        let scores = [1.0, 3.0, 2.0, 3.0, f32::NEG_INFINITY, 2.0];
        assert_eq!(highest(&scores, 4), [1, 3, 2, 5]);
        assert_eq!(highest(&scores, 9), [1, 3, 2, 5, 0, 4]);
        assert_eq!(highest(&scores, 1), [1]);
    }
}
