//! Greedy decoding: always the likeliest token.

use fourfold_tensor::ops::{highest_logit, log_sum_exp};

use super::decoder::Decoder;
use super::{GenerateOptions, Generated, Prompt};
use crate::{Model, Result};

pub(super) fn decode(
    model: &Model,
    prompts: &[Prompt],
    options: &GenerateOptions,
) -> Result<Vec<Generated>> {
    let mut decoder = Decoder::new(model, prompts.len(), prompts, options)?;
    let mut answers = vec![
        Generated {
            tokens: Vec::new(),
            log_probability: 0.0,
            finished: false
        };
        prompts.len()
    ];
    let mut active: Vec<usize> = (0..prompts.len()).collect();
    let mut logits = decoder.prefill(prompts, options.visibility)?;
    loop {
        let mut next = Vec::new();
        for (row, sequence) in logits.iter().zip(&active) {
            let (token, logit) = highest_logit(row);
            let (token, score) = (token as u32, logit - log_sum_exp(row));
            let answer = &mut answers[*sequence];
            if token == options.end {
                answer.log_probability += score;
                answer.finished = true;
            } else if answer.tokens.len() < decoder.limit(*sequence) {
                answer.log_probability += score;
                answer.tokens.push(token);
                next.push((*sequence, token));
            }
        }
        if next.is_empty() {
            return Ok(answers);
        }
        active = next.iter().map(|(sequence, _)| *sequence).collect();
        logits = decoder.step(&next)?;
    }
}
