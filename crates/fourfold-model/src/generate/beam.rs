//! Beam search: several hypotheses a prompt, the best finished one wins.
//!
//! Scoring and stopping follow `transformers`: a finished hypothesis scores its log-probability divided by
//! `length ^ length_penalty` (its end counted), and a prompt is done when as many are finished as there are beams
//! and no living one can still beat the worst of them. After the longest answer only its end may follow: there a
//! hypothesis ends if its end is among the best continuations, as at any other length, and is cut off if not.

use super::decoder::Decoder;
use super::{GenerateOptions, Generated, Prompt, log_softmax};
use crate::{Model, Result};

/// A hypothesis that still grows; its keys and values lie in cache sequence `sequence`.
#[derive(Clone)]
struct Living {
    sequence: usize,
    tokens: Vec<u32>,
    score: f32,
}

struct Search {
    living: Vec<Living>,
    finished: Vec<(f32, Generated)>,
    /// Most tokens that this prompt leaves room for.
    limit: usize,
}

pub(super) fn decode(
    model: &Model,
    prompts: &[Prompt],
    options: &GenerateOptions,
) -> Result<Vec<Generated>> {
    let beams = options.beams;
    let mut decoder = Decoder::new(model, prompts.len() * beams, prompts, options)?;
    let mut searches: Vec<Search> = (0..prompts.len())
        .map(|prompt| Search {
            living: vec![Living {
                sequence: prompt,
                tokens: Vec::new(),
                score: 0.0,
            }],
            finished: Vec::new(),
            limit: decoder.limit(prompt),
        })
        .collect();
    let mut logits = decoder.prefill(prompts, options.visibility)?;
    loop {
        let mut rows = logits.iter();
        for search in &mut searches {
            let scores: Vec<Vec<f32>> = rows
                .by_ref()
                .take(search.living.len())
                .map(|row| log_softmax(row))
                .collect();
            search.advance(&scores, options);
        }
        let parents: Vec<usize> = searches
            .iter()
            .flat_map(|search| &search.living)
            .map(|living| living.sequence)
            .collect();
        if parents.is_empty() {
            return Ok(searches.into_iter().map(Search::best).collect());
        }
        decoder.rearrange(&parents)?;
        let mut next = Vec::new();
        for living in searches.iter_mut().flat_map(|search| &mut search.living) {
            living.sequence = next.len();
            let last = living.tokens.last().copied().unwrap_or(options.end);
            next.push((living.sequence, last));
        }
        logits = decoder.step(&next)?;
    }
}

impl Search {
    /// Replaces the living hypotheses by their best continuations; those that end become finished.
    fn advance(&mut self, scores: &[Vec<f32>], options: &GenerateOptions) {
        let beams = options.beams;
        let mut candidates: Vec<(f32, usize, u32)> = Vec::new();
        for (index, (living, scores)) in self.living.iter().zip(scores).enumerate() {
            let continued =
                |(token, score): (usize, &f32)| (living.score + score, index, token as u32);
            candidates.extend(scores.iter().enumerate().map(continued));
        }
        // Equal scores keep the order of hypothesis and token, so that the result is always the same.
        let order = |a: &(f32, usize, u32), b: &(f32, usize, u32)| {
            b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2))
        };
        let wanted = (2 * beams).min(candidates.len());
        if wanted < candidates.len() {
            candidates.select_nth_unstable_by(wanted, order);
            candidates.truncate(wanted);
        }
        candidates.sort_unstable_by(order);
        let mut living = Vec::with_capacity(beams);
        let mut ended = vec![false; self.living.len()];
        for (rank, (score, index, token)) in candidates.into_iter().enumerate() {
            let parent = &self.living[index];
            if token == options.end {
                if rank < beams {
                    ended[index] = true;
                    self.finish(parent.tokens.clone(), score, true, options);
                }
            } else if parent.tokens.len() < self.limit && living.len() < beams {
                let tokens = parent.tokens.iter().copied().chain([token]).collect();
                living.push(Living {
                    sequence: parent.sequence,
                    tokens,
                    score,
                });
            }
        }
        let parents = std::mem::replace(&mut self.living, living);
        for (parent, ended) in parents.into_iter().zip(ended) {
            if !ended && parent.tokens.len() >= self.limit {
                self.finish(parent.tokens, parent.score, false, options);
            }
        }
        self.stop_if_done(options);
    }

    fn finish(&mut self, tokens: Vec<u32>, score: f32, ended: bool, options: &GenerateOptions) {
        let length = tokens.len() + usize::from(ended);
        let answer = Generated {
            tokens,
            log_probability: score,
            finished: ended,
        };
        self.finished
            .push((normalised(score, length, options), answer));
        self.finished.sort_by(|a, b| b.0.total_cmp(&a.0));
        self.finished.truncate(options.beams);
    }

    fn stop_if_done(&mut self, options: &GenerateOptions) {
        let Some(best) = self.living.first() else {
            return;
        };
        let best = normalised(best.score, best.tokens.len(), options);
        let full = self.finished.len() == options.beams;
        if full
            && self
                .finished
                .last()
                .is_some_and(|(worst, _)| best <= *worst)
        {
            self.living.clear();
        }
    }

    fn best(self) -> Generated {
        let none = Generated {
            tokens: Vec::new(),
            log_probability: 0.0,
            finished: false,
        };
        self.finished
            .into_iter()
            .next()
            .map_or(none, |(_, answer)| answer)
    }
}

fn normalised(score: f32, length: usize, options: &GenerateOptions) -> f32 {
    score / (length.max(1) as f32).powf(options.length_penalty)
}
