//! Times decoding: with and without refill, and three beams beside one. Prints JSON; `bench/eval/run` makes a page of it.
//!
//!     cargo run --release -p fourfold-train --example decode -- ROUNDS
//!
//! The model is SigLIP-B/16 with SmolLM2-135M, its weights random; prompts ask about eight images, which are encoded
//! once each. Answers are as long as captions are (4 to 18 tokens), or as those to open questions (48 on average, at most
//! 256), whatever the tokens.

use std::time::Instant;

use anyhow::{Context, Result};
use fourfold_model::{
    GenerateOptions, Generated, Model, ModelError, Prompt, PromptImage, VisualSpan,
};
use fourfold_tensor::{Precision, Tensor};
use fourfold_train::bench::Work;
use serde_json::json;

/// Images that they share.
const IMAGES: usize = 8;
/// Tokens of a prompt behind its image.
const WORDS: usize = 12;
/// No token has this number.
const NO_END: u32 = u32::MAX;

/// How long answers are.
#[derive(Clone, Copy)]
enum Lengths {
    Captions,
    Open,
    Fixed(usize),
}

impl Lengths {
    /// Of the answer to prompt `number`.
    fn of(self, number: usize) -> usize {
        let spread = (number as u32).wrapping_mul(2_654_435_761);
        let share = f64::from(spread) / f64::from(u32::MAX);
        match self {
            // Nearly a bell: 11 on average.
            Self::Captions => 4 + (14.0 * (0.5 + 0.5 * (2.0 * share - 1.0).powi(3))) as usize,
            // Geometric with mean 48, at most 256.
            Self::Open => (1.0 + (1.0 - share).ln() / (47.0f64 / 48.0).ln()).min(256.0) as usize,
            Self::Fixed(length) => length,
        }
    }
}

struct Case {
    name: &'static str,
    lengths: Lengths,
    options: GenerateOptions,
    prompts: usize,
}

fn main() -> Result<()> {
    let rounds: usize = match std::env::args().nth(1) {
        Some(text) => text.parse().context("expected a number of rounds")?,
        None => 5,
    };
    let config = Work::VlmAll.model();
    let precision = Precision::fastest();
    let model = Model::new(config, precision, 1)?;
    let visibility = model.config().visibility;
    let greedy = |tokens| GenerateOptions::greedy(tokens, NO_END, visibility);
    let filled = |refill| GenerateOptions {
        refill,
        ..greedy(256)
    };
    let beams = GenerateOptions {
        beams: 3,
        ..greedy(24)
    };
    let case = |name, lengths, options, prompts| Case {
        name,
        lengths,
        options,
        prompts,
    };
    let cases = [
        case("open, refill", Lengths::Open, filled(true), 320),
        case("open, no refill", Lengths::Open, filled(false), 320),
        case("captions, refill", Lengths::Captions, filled(true), 128),
        case("captions, no refill", Lengths::Captions, filled(false), 128),
        case("greedy, 24 tokens", Lengths::Fixed(24), greedy(24), 42),
        case("three beams, 24 tokens", Lengths::Fixed(24), beams, 42),
    ];
    let mut seconds = vec![Vec::new(); cases.len()];
    let mut tokens = vec![0; cases.len()];
    // The first round is a rehearsal.
    for round in 0..=rounds {
        for (place, case) in cases.iter().enumerate() {
            let prompts = prompts(&model, case.prompts)?;
            let begin = Instant::now();
            tokens[place] = answer(&model, prompts, case)?;
            if round > 0 {
                seconds[place].push(begin.elapsed().as_secs_f64());
            }
        }
    }
    let results: Vec<_> = cases
        .iter()
        .enumerate()
        .map(|(place, case)| {
            json!({
                "name": case.name,
                "prompts": case.prompts,
                "tokens": tokens[place],
                "seconds": seconds[place],
            })
        })
        .collect();
    let whole = json!({
        "precision": format!("{precision:?}"),
        "sequences": greedy(1).sequences,
        "cases": results,
    });
    println!("{whole:#}");
    Ok(())
}

/// Answers all prompts; how many tokens.
fn answer(model: &Model, prompts: Vec<Prompt>, case: &Case) -> Result<usize> {
    let mut tokens = 0;
    let stop = |number: usize, said: &[u32]| said.len() >= case.lengths.of(number);
    let mut heard = |_, answer: Generated| -> Result<(), ModelError> {
        tokens += answer.tokens.len();
        Ok(())
    };
    model.generate_each(&mut prompts.into_iter(), &case.options, &stop, &mut heard)?;
    Ok(tokens)
}

/// Prompts about images that are not encoded yet.
fn prompts(model: &Model, count: usize) -> Result<Vec<Prompt>> {
    let config = model.config();
    let size = config.vision.image_size;
    let image = |number: usize| {
        let pixels: Vec<f32> = (0..3 * size.area())
            .map(|i| {
                ((i + 7919 * number).wrapping_mul(2_654_435_761) >> 7 & 255) as f32 / 127.5 - 1.0
            })
            .collect();
        Ok(PromptImage::new(Tensor::from_f32(
            &[3, size.height, size.width],
            &pixels,
        )?))
    };
    let images = (0..IMAGES).map(image).collect::<Result<Vec<_>>>()?;
    let len = config.visual_tokens();
    let word =
        |number: usize, place: usize| ((number * 1009 + place) * 7919 + 31) % config.vocabulary();
    let prompt = |number: usize| {
        let mut tokens = vec![0; len];
        tokens.extend((0..WORDS).map(|place| word(number, place) as u32));
        Prompt {
            tokens,
            visual: vec![VisualSpan {
                start: 0,
                len,
                image: 0,
            }],
            images: vec![images[number * IMAGES / count].clone()],
            draw: number as u64,
        }
    };
    Ok((0..count).map(prompt).collect())
}
