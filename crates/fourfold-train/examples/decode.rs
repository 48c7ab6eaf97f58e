//! Times decoding: with and without refill, and three beams beside one. Prints JSON; `bench/eval/run` makes a page of it.
//!
//!     cargo run --release -p fourfold-train --example decode -- ROUNDS
//!
//! The model is SigLIP-B/16 with SmolLM2-135M, its weights random. Images are encoded before the clock starts. Answers are
//! as long as those to open questions (48 tokens on average, at most 256), five to an image, or as captions (4 to 18), one
//! to an image, whatever the tokens.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use fourfold_model::{
    GenerateOptions, Generated, Model, ModelError, Prompt, PromptImage, VisualSpan,
};
use fourfold_tensor::{Precision, Tensor};
use fourfold_train::bench::{Geometry, Work};
use serde_json::json;

/// Most images that a case has.
const IMAGES: usize = 128;
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
    name: String,
    lengths: Lengths,
    options: GenerateOptions,
    prompts: usize,
    /// Prompts about each image.
    shared: usize,
}

fn main() -> Result<()> {
    let rounds: usize = match std::env::args().nth(1) {
        Some(text) => text.parse().context("expected a number of rounds")?,
        None => 5,
    };
    let config = Work::VlmAll.model(Geometry::M222);
    let precision = Precision::fastest();
    let model = Model::new(config, precision, 1)?;
    let visibility = model.config().visibility;
    let greedy = |tokens| GenerateOptions::greedy(tokens, NO_END, visibility);
    let mut cases = Vec::new();
    for (sequences, refill) in [(16, true), (16, false), (64, true), (64, false)] {
        let how = if refill { "refill" } else { "no refill" };
        let options = GenerateOptions {
            sequences,
            refill,
            ..greedy(256)
        };
        for (kind, lengths, prompts, shared) in [
            ("open", Lengths::Open, 320, 5),
            ("captions", Lengths::Captions, IMAGES, 1),
        ] {
            cases.push(Case {
                name: format!("{kind}, {how}, {sequences}"),
                lengths,
                options,
                prompts,
                shared,
            });
        }
    }
    for (name, beams) in [("greedy, 24 tokens", 1), ("three beams, 24 tokens", 3)] {
        cases.push(Case {
            name: name.into(),
            lengths: Lengths::Fixed(24),
            options: GenerateOptions {
                beams,
                ..greedy(24)
            },
            prompts: 42,
            shared: 1,
        });
    }
    let images = images(&model)?;
    let mut seconds = vec![Vec::new(); cases.len()];
    let mut tokens = vec![0; cases.len()];
    // The first round is a rehearsal.
    for round in 0..=rounds {
        for (place, case) in cases.iter().enumerate() {
            let prompts = prompts(&model, &images, case);
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

/// Images that are encoded.
fn images(model: &Model) -> Result<Vec<Arc<PromptImage>>> {
    let size = model.config().vision.image_size;
    let image = |number: usize| {
        let pixels: Vec<f32> = (0..3 * size.area())
            .map(|i| {
                ((i + 7919 * number).wrapping_mul(2_654_435_761) >> 7 & 255) as f32 / 127.5 - 1.0
            })
            .collect();
        let shape = [3, size.height, size.width];
        Ok(PromptImage::new(Tensor::from_f32(&shape, &pixels)?))
    };
    let images = (0..IMAGES).map(image).collect::<Result<Vec<_>>>()?;
    let visibility = model.config().visibility;
    let all: Vec<Prompt> = images.iter().map(|image| prompt(model, image, 0)).collect();
    model.generate(&all, &GenerateOptions::greedy(1, NO_END, visibility))?;
    Ok(images)
}

fn prompts(model: &Model, images: &[Arc<PromptImage>], case: &Case) -> Vec<Prompt> {
    (0..case.prompts)
        .map(|number| prompt(model, &images[number / case.shared], number))
        .collect()
}

fn prompt(model: &Model, image: &Arc<PromptImage>, number: usize) -> Prompt {
    let (len, vocabulary) = (model.config().visual_tokens(), model.config().vocabulary());
    let mut tokens = vec![0; len];
    tokens.extend(
        (0..WORDS).map(|place| (((number * 1009 + place) * 7919 + 31) % vocabulary) as u32),
    );
    Prompt {
        tokens,
        visual: vec![VisualSpan {
            start: 0,
            len,
            image: 0,
        }],
        images: vec![Arc::clone(image)],
        draw: number as u64,
    }
}
