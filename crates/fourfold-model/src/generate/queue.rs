//! Continuous batching: prompts wait, and each takes the place of an answer that is complete.

use std::ops::Range;

use fourfold_tensor::Tensor;
use rayon::prelude::*;

use super::beam::Beams;
use super::decoder::Decoder;
use super::line::Line;
use super::{GenerateOptions, Generated, Prompt, Stop};
use crate::{Model, ModelError, Result};

/// A prompt is not read alone if some more may be read with it soon: that share of all places has to be free.
const REFILL_SHARE: usize = 16;

/// What decides about the tokens of one answer.
pub(super) struct Asked<'a> {
    /// The number of the prompt.
    pub index: usize,
    pub prompt: &'a Prompt,
    pub options: &'a GenerateOptions,
    pub stop: &'a Stop<'a>,
    /// Most tokens of the answer, its end counted.
    pub limit: usize,
}

impl Asked<'_> {
    /// Whether an answer of these tokens stops, which it does not before it is as long as it has to be.
    pub fn stops(&self, tokens: &[u32]) -> bool {
        tokens.len() >= self.options.min_tokens && (self.stop)(self.index, tokens)
    }
}

/// An answer that grows.
enum Answer {
    Line(Box<Line>),
    Beams(Beams),
}

struct Request {
    /// Its number among the prompts.
    index: usize,
    prompt: Prompt,
    /// What of the prompt is still to be fed.
    rest: Range<usize>,
    /// The first of the cache sequences that are its own, as many as there are beams.
    first: usize,
    limit: usize,
    answer: Answer,
    /// For each hypothesis that lives, the place of the one that it continues.
    parents: Vec<usize>,
}

/// See [`Model::generate_each`].
pub(super) fn answer<E: From<ModelError> + Send>(
    model: &Model,
    prompts: &mut (dyn Iterator<Item = Prompt> + Send),
    options: &GenerateOptions,
    stop: &Stop<'_>,
    answered: &mut (dyn FnMut(usize, Generated) -> Result<(), E> + Send),
) -> Result<(), E> {
    let places = (options.sequences / options.beams).max(1);
    let mut decoder = Decoder::new(model, places * options.beams, options.visibility)?;
    let mut free: Vec<usize> = (0..places).rev().map(|p| p * options.beams).collect();
    let mut waiting = prompts.enumerate();
    let mut growing: Vec<Request> = Vec::new();
    let mut exhausted = false;
    loop {
        let enough = options.refill && free.len() * REFILL_SHARE >= places;
        if !exhausted && (enough || growing.is_empty()) {
            let mut fresh = Vec::new();
            while let Some(first) = free.pop() {
                let Some((index, prompt)) = waiting.next() else {
                    free.push(first);
                    exhausted = true;
                    break;
                };
                model.check_prompt(index, &prompt)?;
                fresh.push(Request::new(model, index, prompt, first, options));
            }
            if !fresh.is_empty() {
                let prompts: Vec<(usize, &Prompt)> =
                    fresh.iter().map(|r| (r.first, &r.prompt)).collect();
                let logits = decoder.read(&prompts)?;
                let (mut read, begun): (Vec<_>, Vec<_>) = fresh
                    .into_iter()
                    .partition(|request| request.rest.is_empty());
                if !read.is_empty() {
                    advance(&mut read, &logits, options, stop)?;
                }
                growing.extend(read);
                growing.extend(begun);
            }
        }
        let mut alive = Vec::with_capacity(growing.len());
        for request in growing {
            if !request.parents.is_empty() {
                alive.push(request);
                continue;
            }
            decoder.forget(request.first..request.first + options.beams)?;
            free.push(request.first);
            answered(request.index, request.finish())?;
        }
        growing = alive;
        if growing.is_empty() {
            if exhausted {
                return Ok(());
            }
            continue;
        }
        if options.beams > 1 {
            let moves = growing.iter().flat_map(|request| {
                request
                    .parents
                    .iter()
                    .enumerate()
                    .map(|(to, from)| (request.first + from, request.first + to))
            });
            decoder.rearrange(moves)?;
        }
        let next: Vec<(usize, u32)> = growing.iter().flat_map(Request::next).collect();
        let logits = decoder.step(&next)?;
        advance(&mut growing, &logits, options, stop)?;
    }
}

/// Gives every request its next tokens; `logits` has a row for each of their hypotheses, in their order.
fn advance(
    requests: &mut [Request],
    logits: &Tensor,
    options: &GenerateOptions,
    stop: &Stop<'_>,
) -> Result<()> {
    let logits = logits.to_host()?;
    let mut rows = logits.f32()?.chunks(logits.width());
    let rows: Vec<Vec<&[f32]>> = requests
        .iter()
        .map(|request| rows.by_ref().take(request.parents.len()).collect())
        .collect();
    requests
        .par_iter_mut()
        .zip(rows)
        .for_each(|(request, rows)| request.advance(&rows, options, stop));
    Ok(())
}

impl Request {
    fn new(
        model: &Model,
        index: usize,
        prompt: Prompt,
        first: usize,
        options: &GenerateOptions,
    ) -> Self {
        let room = model.config().max_positions() - prompt.tokens.len();
        Self {
            index,
            first,
            limit: room.min(options.max_tokens),
            answer: match options.beams {
                1 => Answer::Line(Box::new(Line::new(options, prompt.draw))),
                _ => Answer::Beams(Beams::new()),
            },
            rest: prompt.beginning(options.visibility)..prompt.tokens.len(),
            prompt,
            parents: vec![0],
        }
    }

    fn advance(&mut self, rows: &[&[f32]], options: &GenerateOptions, stop: &Stop<'_>) {
        let asked = Asked {
            index: self.index,
            prompt: &self.prompt,
            options,
            stop,
            limit: self.limit,
        };
        self.rest = self.rest.end..self.rest.end;
        self.parents = match &mut self.answer {
            Answer::Line(line) => match rows.first().is_some_and(|row| line.advance(row, &asked)) {
                true => vec![0],
                false => Vec::new(),
            },
            Answer::Beams(beams) => beams.advance(rows, &asked),
        };
    }

    /// The tokens that come next and their sequences: the rest of the prompt, or one for each living hypothesis.
    fn next(&self) -> Vec<(usize, u32)> {
        if !self.rest.is_empty() {
            let rest = self.prompt.tokens[self.rest.clone()].iter();
            return rest.map(|token| (self.first, *token)).collect();
        }
        let tokens = match &self.answer {
            Answer::Line(line) => vec![line.last()],
            Answer::Beams(beams) => beams.last().collect(),
        };
        (self.first..).zip(tokens).collect()
    }

    fn finish(self) -> Generated {
        match self.answer {
            Answer::Line(line) => line.finish(),
            Answer::Beams(beams) => beams.finish(),
        }
    }
}
