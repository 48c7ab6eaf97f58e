//! One line: the likeliest token each time, or a drawn one.

use fourfold_tensor::ops::{highest_logit, log_sum_exp};

use super::queue::Asked;
use super::rules;
use super::sampling::Sampler;
use super::{GenerateOptions, Generated};

/// An answer that grows by one token at a time.
pub(super) struct Line {
    answer: Generated,
    sampler: Option<Sampler>,
}

impl Line {
    pub fn new(options: &GenerateOptions, draw: u64) -> Self {
        let sampling = options.sampling;
        Self {
            answer: Generated::default(),
            sampler: sampling.map(|sampling| Sampler::new(sampling, draw)),
        }
    }

    /// Takes the next token, given its logits; whether the answer goes on.
    pub fn advance(&mut self, logits: &[f32], asked: &Asked<'_>) -> bool {
        let said = &self.answer.tokens;
        let ruled = rules::any(asked.options).then(|| {
            let mut scores = logits.to_vec();
            rules::apply(&mut scores, &asked.prompt.tokens, said, asked.options);
            scores
        });
        let scores = ruled.as_deref().unwrap_or(logits);
        let token = match &mut self.sampler {
            Some(sampler) => sampler.draw(scores),
            None => highest_logit(scores).0,
        };
        let answer = &mut self.answer;
        answer
            .log_probabilities
            .push(logits[token] - log_sum_exp(logits));
        let token = token as u32;
        answer.finished = token == asked.options.end;
        if !answer.finished {
            answer.tokens.push(token);
            answer.finished = asked.stops(&answer.tokens);
        }
        !answer.finished && answer.tokens.len() < asked.limit
    }

    pub fn last(&self) -> u32 {
        self.answer.tokens.last().copied().unwrap_or_default()
    }

    pub fn finish(self) -> Generated {
        self.answer
    }
}
