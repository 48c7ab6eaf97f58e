//! Decoding over a cache against whole forward passes, and beam search against trying everything.

use std::path::Path;

use fourfold_model::{
    DocumentSpan, GenerateOptions, Generated, Images, Input, Model, Prompt, VisibilityKind,
    VisualSpan,
};
use fourfold_tensor::{Precision, Tensor};

mod common;

use common::PAIRS;

const END: u32 = 3;
const VISIBILITIES: [VisibilityKind; 4] = [
    VisibilityKind::Causal,
    VisibilityKind::ImageBidirectional,
    VisibilityKind::PrefixLm,
    VisibilityKind::ImageIsolated,
];

fn model(kind: &str) -> Model {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(kind);
    Model::load(&folder, Precision::F32).expect("the fixture's weights")
}

fn options(max_tokens: usize, beams: usize) -> GenerateOptions {
    let visibility = VisibilityKind::ImageBidirectional;
    GenerateOptions {
        max_tokens,
        end: END,
        visibility,
        beams,
        length_penalty: 1.0,
    }
}

/// Prompts of different lengths: with one image, with none, with two.
fn prompts() -> Vec<Prompt> {
    let pixels = |count: usize, seed: usize| -> Tensor {
        let len = count * 3 * 16 * 16;
        let values: Vec<f32> = (0..len)
            .map(|i| ((i * 7 + seed * 13) % 19) as f32 / 9.0 - 1.0)
            .collect();
        Tensor::from_f32(&[count, 3, 16, 16], &values).expect("as many pixels as the shape says")
    };
    let span = |start, image| VisualSpan {
        start,
        len: 4,
        image,
    };
    let tokens = |len: u32, step: u32| (0..len).map(|i| 5 + i * step % 30).collect::<Vec<u32>>();
    vec![
        Prompt {
            tokens: tokens(9, 7),
            visual: vec![span(1, 0)],
            images: pixels(1, 1),
        },
        Prompt {
            tokens: tokens(3, 11),
            visual: vec![],
            images: pixels(0, 0),
        },
        Prompt {
            tokens: tokens(14, 3),
            visual: vec![span(1, 1), span(6, 0)],
            images: pixels(2, 2),
        },
    ]
}

/// Log-probabilities of the token after `prompt` and `answer`, by one whole forward pass.
fn next(model: &Model, prompt: &Prompt, answer: &[u32], visibility: VisibilityKind) -> Vec<f32> {
    let tokens = [&prompt.tokens[..], answer].concat();
    let positions: Vec<u32> = (0..tokens.len() as u32).collect();
    let documents = [DocumentSpan {
        start: 0,
        end: tokens.len(),
        prompt_end: prompt.tokens.len(),
        visual: prompt.visual.clone(),
    }];
    let input = Input {
        tokens: &tokens,
        positions: &positions,
        documents: &documents,
        images: Images::Pixels(&prompt.images),
        targets: &[],
    };
    let logits = model.logits(&input, visibility).expect("a valid prompt");
    let last = &logits.f32().expect("f32")[(tokens.len() - 1) * 40..];
    let sum: f64 = last.iter().map(|logit| f64::from(*logit).exp()).sum();
    last.iter().map(|logit| logit - sum.ln() as f32).collect()
}

fn greedy_by_whole_passes(
    model: &Model,
    prompt: &Prompt,
    max_tokens: usize,
    visibility: VisibilityKind,
) -> Generated {
    let mut answer = Generated {
        tokens: vec![],
        log_probability: 0.0,
        finished: false,
    };
    loop {
        let scores = next(model, prompt, &answer.tokens, visibility);
        let token = (0..40)
            .max_by(|a, b| scores[*a].total_cmp(&scores[*b]))
            .expect("forty tokens");
        if token as u32 != END && answer.tokens.len() == max_tokens {
            return answer;
        }
        answer.log_probability += scores[token];
        if token as u32 == END {
            answer.finished = true;
            return answer;
        }
        answer.tokens.push(token as u32);
    }
}

#[test]
fn greedy_over_a_cache_equals_whole_passes() {
    for (kind, visibility) in PAIRS
        .into_iter()
        .flat_map(|kind| VISIBILITIES.map(|visibility| (kind, visibility)))
    {
        let model = model(kind);
        let options = GenerateOptions {
            visibility,
            ..options(12, 1)
        };
        let answers = model.generate(&prompts(), &options).expect("valid prompts");
        for (prompt, answer) in prompts().iter().zip(&answers) {
            let wanted = greedy_by_whole_passes(&model, prompt, 12, visibility);
            assert_eq!(answer.tokens, wanted.tokens, "{kind} {visibility}");
            assert_eq!(answer.finished, wanted.finished, "{kind} {visibility}");
            assert!(
                (answer.log_probability - wanted.log_probability).abs() < 1e-3,
                "{kind} {visibility}"
            );
        }
    }
}

#[test]
fn a_prompt_is_answered_alike_alone_and_among_others() {
    let model = model("llama");
    let together = model
        .generate(&prompts(), &options(8, 1))
        .expect("valid prompts");
    for (prompt, wanted) in prompts().into_iter().zip(together) {
        let alone = model
            .generate(&[prompt], &options(8, 1))
            .expect("a valid prompt");
        assert_eq!(alone[0].tokens, wanted.tokens);
    }
}

/// Every token after `prompt`, and every token after each of them: log-probabilities by whole passes.
fn two_tokens(model: &Model, prompt: &Prompt) -> (Vec<f32>, Vec<Vec<f32>>) {
    let next = |answer: &[u32]| next(model, prompt, answer, VisibilityKind::ImageBidirectional);
    (next(&[]), (0..40).map(|token| next(&[token])).collect())
}

/// With as many beams as tokens, beam search sees every answer of one token. What is left out at the end is an end
/// that is not among the forty best continuations of all of them.
#[test]
fn wide_beams_find_the_best_answer_there_is() {
    for kind in PAIRS {
        let model = model(kind);
        let answers = model
            .generate(&prompts(), &options(1, 40))
            .expect("valid prompts");
        for (prompt, answer) in prompts().iter().zip(&answers) {
            let (first, second) = two_tokens(&model, prompt);
            let tokens = (0..40).filter(|token| *token != END as usize);
            let score = |a: usize, b: usize| first[a] + second[a][b];
            let mut all: Vec<f32> = tokens
                .clone()
                .flat_map(|a| (0..40).map(move |b| (a, b)))
                .map(|(a, b)| score(a, b))
                .collect();
            all.sort_by(|a, b| b.total_cmp(a));
            let mut best = (first[END as usize], vec![], true);
            for a in tokens {
                let ended = score(a, END as usize);
                let found = if ended > all[40] {
                    (ended / 2.0, vec![a as u32], true)
                } else {
                    (first[a], vec![a as u32], false)
                };
                if found.0 > best.0 {
                    best = found;
                }
            }
            assert_eq!(
                (&answer.tokens, answer.finished),
                (&best.1, best.2),
                "{kind}"
            );
        }
    }
}

/// The end is the likeliest token after the likeliest answer, and long answers are favoured above all else.
#[test]
fn beams_let_the_longest_answer_end() {
    for kind in PAIRS {
        let model = model(kind);
        for prompt in prompts() {
            let (first, second) = two_tokens(&model, &prompt);
            let mut best = (f32::NEG_INFINITY, 0, 0);
            for a in 0..40 {
                for b in (0..40).filter(|b| *b != a) {
                    let score = first[a] + second[a][b];
                    if score > best.0 {
                        best = (score, a as u32, b as u32);
                    }
                }
            }
            let options = GenerateOptions {
                end: best.2,
                length_penalty: 20.0,
                ..options(1, 40)
            };
            let answers = model.generate(&[prompt], &options).expect("valid prompts");
            assert_eq!(answers[0].tokens, [best.1], "{kind}");
            assert!(answers[0].finished, "{kind}: its end belongs to it");
            assert!(
                (answers[0].log_probability - best.0).abs() < 1e-3,
                "{kind}: {} {}",
                answers[0].log_probability,
                best.0
            );
        }
    }
}

#[test]
fn answers_never_outgrow_the_model() {
    let model = model("gpt2");
    let tokens: Vec<u32> = (0..60).map(|i| 4 + i % 30).collect();
    let images = Tensor::zeros(&[0, 3, 16, 16]);
    let prompt = Prompt {
        tokens,
        visual: vec![],
        images,
    };
    for beams in [1, 3] {
        let answer = model
            .generate(std::slice::from_ref(&prompt), &options(50, beams))
            .expect("room for four");
        assert!(answer[0].tokens.len() <= 4);
    }
    let long = Prompt {
        tokens: vec![5; 64],
        ..prompt
    };
    let message = model
        .generate(&[long], &options(5, 1))
        .expect_err("no room")
        .to_string();
    assert!(message.contains("64 tokens"), "{message}");
}
