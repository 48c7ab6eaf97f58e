//! Decoding over a cache against whole forward passes, and beam search against trying everything.

use std::collections::BTreeSet;
use std::path::Path;

use fourfold_model::{
    DocumentSpan, GenerateOptions, Generated, Images, Input, Model, ModelError, Prompt,
    PromptImage, Sampling, VisibilityKind, VisualSpan,
};
use fourfold_tensor::{DeviceChoice, Precision, Tensor};

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
    GenerateOptions {
        beams,
        ..GenerateOptions::greedy(max_tokens, END, VisibilityKind::ImageBidirectional)
    }
}

/// Prompts of different lengths: with one image, with none, with two.
fn prompts() -> Vec<Prompt> {
    let image = |seed: usize| {
        let values: Vec<f32> = (0..3 * 16 * 16)
            .map(|i| ((i * 7 + seed * 13) % 19) as f32 / 9.0 - 1.0)
            .collect();
        PromptImage::new(
            Tensor::from_f32(&[3, 16, 16], &values).expect("as many as the shape says"),
        )
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
            images: vec![image(1)],
            draw: 0,
        },
        Prompt {
            tokens: tokens(3, 11),
            visual: vec![],
            images: vec![],
            draw: 1,
        },
        Prompt {
            tokens: tokens(14, 3),
            visual: vec![span(1, 1), span(6, 0)],
            images: vec![image(2), image(3)],
            draw: 2,
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
        key: 0,
    }];
    let features = match &prompt.images[..] {
        [] => Tensor::zeros(&[0]),
        images => {
            let pixels: Vec<&Tensor> = images.iter().map(|image| image.pixels()).collect();
            let pixels = Tensor::stack(&pixels).expect("of one size");
            model.encode(&pixels).expect("of the encoder's size")
        }
    };
    let input = Input {
        tokens: &tokens,
        positions: &positions,
        documents: &documents,
        images: Images::Features(&features),
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
    let mut answer = Generated::default();
    while answer.tokens.len() < max_tokens && !answer.finished {
        let scores = next(model, prompt, &answer.tokens, visibility);
        let token = (0..40)
            .max_by(|a, b| scores[*a].total_cmp(&scores[*b]))
            .expect("forty tokens");
        answer.log_probabilities.push(scores[token]);
        if token as u32 == END {
            answer.finished = true;
        } else {
            answer.tokens.push(token as u32);
        }
    }
    answer
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
            let (found, wanted) = (&answer.log_probabilities, &wanted.log_probabilities);
            assert_eq!(found.len(), wanted.len(), "{kind} {visibility}");
            for (found, wanted) in found.iter().zip(wanted) {
                assert!((found - wanted).abs() < 1e-4, "{kind} {visibility}");
            }
        }
    }
}

/// With the kernels for GPUs, greedily and by beams.
#[test]
fn answers_are_the_same_on_a_device() {
    let device = DeviceChoice::Emulated.open().expect("a C++ compiler");
    for kind in PAIRS {
        let here = model(kind);
        let mut there = model(kind);
        there.parameters.to_device(&device).expect("room");
        for beams in [1, 3] {
            let options = options(6, beams);
            let wanted = here.generate(&prompts(), &options).expect("valid prompts");
            let found = there.generate(&prompts(), &options).expect("valid prompts");
            for (found, wanted) in found.iter().zip(&wanted) {
                assert_eq!(found.tokens, wanted.tokens, "{kind} {beams}");
                let pairs = found
                    .log_probabilities
                    .iter()
                    .zip(&wanted.log_probabilities);
                for (found, wanted) in pairs {
                    assert!((found - wanted).abs() < 1e-4, "{kind} {beams}");
                }
            }
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

/// With as many beams as tokens, beam search sees every answer of two tokens, of which the end is one.
#[test]
fn wide_beams_find_the_best_answer_there_is() {
    for (kind, length_penalty) in PAIRS
        .into_iter()
        .flat_map(|kind| [(kind, 1.0), (kind, -3.0)])
    {
        let model = model(kind);
        let options = GenerateOptions {
            length_penalty,
            ..options(2, 40)
        };
        let answers = model.generate(&prompts(), &options).expect("valid prompts");
        for (prompt, answer) in prompts().iter().zip(&answers) {
            let (first, second) = two_tokens(&model, prompt);
            let mut best = (first[END as usize], vec![], true);
            for a in (0..40).filter(|token| *token != END) {
                for b in 0..40 {
                    let score = first[a as usize] + second[a as usize][b as usize];
                    let score = score / 2f32.powf(length_penalty);
                    if score > best.0 {
                        best = match b {
                            END => (score, vec![a], true),
                            b => (score, vec![a, b], false),
                        };
                    }
                }
            }
            assert_eq!(
                (&answer.tokens, answer.finished),
                (&best.1, best.2),
                "{kind} {length_penalty}"
            );
        }
    }
}

/// Prompts, and an end that makes the lengths of drawn answers to them differ.
fn many(model: &Model) -> (Vec<Prompt>, GenerateOptions) {
    let mut many = Vec::new();
    let shared = prompts();
    for round in 0..9u32 {
        for mut prompt in shared.clone() {
            let last = prompt.tokens.len() - 1;
            prompt.tokens[last] = 5 + round * 3;
            prompt.draw = many.len() as u64;
            many.push(prompt);
        }
    }
    let sampling = Sampling {
        top_k: 20,
        seed: 5,
        ..Sampling::default()
    };
    let drawn = |end: u32| GenerateOptions {
        end,
        sampling: Some(sampling),
        ..options(10, 1)
    };
    let lengths = |end: u32| {
        let answers = model.generate(&many, &drawn(end)).expect("valid prompts");
        let lengths = answers.iter().map(|answer| answer.tokens.len());
        lengths.collect::<BTreeSet<usize>>().len()
    };
    let end = (4..40).max_by_key(|end| lengths(*end)).expect("tokens");
    assert!(lengths(end) > 4, "lengths hardly differ");
    (many, drawn(end))
}

#[test]
fn neighbours_and_refill_change_no_answer() {
    for kind in PAIRS {
        let model = model(kind);
        let (many, drawn) = many(&model);
        let greedy = GenerateOptions {
            sampling: None,
            ..drawn
        };
        let beams = GenerateOptions { beams: 3, ..greedy };
        for options in [greedy, drawn, beams] {
            let alone: Vec<Generated> = many
                .iter()
                .flat_map(|prompt| {
                    let prompt = std::slice::from_ref(prompt);
                    model.generate(prompt, &options).expect("a valid prompt")
                })
                .collect();
            // Once question by question, once image by image.
            let mut by_image: Vec<usize> = (0..many.len()).collect();
            by_image.sort_by_key(|number| number % prompts().len());
            let orders = [(0..many.len()).collect(), by_image];
            for (number, (sequences, refill)) in [(64, true), (6, true), (7, false), (1, true)]
                .into_iter()
                .enumerate()
            {
                let options = GenerateOptions {
                    sequences,
                    refill,
                    ..options
                };
                let order: &Vec<usize> = &orders[number % 2];
                let ordered: Vec<Prompt> = order.iter().map(|place| many[*place].clone()).collect();
                let among = model.generate(&ordered, &options).expect("valid prompts");
                let alone = order.iter().map(|place| &alone[*place]);
                for (alone, among) in alone.zip(among) {
                    assert_eq!(alone.tokens, among.tokens, "{kind} {sequences} {refill}");
                    assert_eq!(alone.finished, among.finished, "{kind}");
                }
            }
        }
    }
}

#[test]
fn answers_come_as_they_are_complete_and_prompts_when_there_is_room() {
    let model = model("llama");
    let (many, options) = many(&model);
    let options = GenerateOptions {
        sequences: 4,
        ..options
    };
    let taken = std::sync::atomic::AtomicUsize::new(0);
    let order = std::sync::atomic::Ordering::Relaxed;
    let mut waiting = many.iter().cloned().inspect(|_| {
        taken.fetch_add(1, order);
    });
    let mut answered = Vec::new();
    let mut hear = |index, _| {
        answered.push(index);
        assert!(taken.load(order) <= answered.len() + 4);
        Ok(())
    };
    model
        .generate_each::<ModelError>(&mut waiting, &options, &|_, _| false, &mut hear)
        .expect("valid prompts");
    let mut sorted = answered.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..many.len()).collect::<Vec<_>>());
    assert_ne!(sorted, answered, "short answers overtake long ones");
}

/// Prompts about one image have it encoded once, and what they have in common is read once: no answer shows it.
#[test]
fn a_shared_image_answers_like_its_copy() {
    let (first, two) = (prompts().remove(0), prompts().remove(2));
    let mut swapped = two.clone();
    (swapped.visual[0].image, swapped.visual[1].image) = (0, 1);
    let other = |change: fn(&mut Prompt)| {
        let mut prompt = first.clone();
        change(&mut prompt);
        prompt
    };
    let shared = [
        first.clone(),
        other(|prompt| prompt.tokens.push(9)),
        other(|prompt| prompt.tokens[8] = 30),
        // Nothing behind the image.
        other(|prompt| prompt.tokens.truncate(5)),
        // These begin otherwise.
        other(|prompt| prompt.tokens[0] = 30),
        other(|prompt| prompt.visual[0].start = 2),
        other(|prompt| prompt.images = prompts().remove(2).images[..1].to_vec()),
        two,
        swapped,
        first.clone(),
    ];
    let apart = shared.clone().map(|mut prompt| {
        let copy = |image: &std::sync::Arc<PromptImage>| PromptImage::new(image.pixels().clone());
        prompt.images = prompt.images.iter().map(copy).collect();
        prompt
    });
    for kind in PAIRS {
        let model = model(kind);
        for (visibility, sequences) in VISIBILITIES.into_iter().zip([64, 2, 64, 1]) {
            let options = GenerateOptions {
                visibility,
                sequences,
                ..options(8, 1)
            };
            let shared = model.generate(&shared, &options).expect("valid prompts");
            let apart = model.generate(&apart, &options).expect("valid prompts");
            for (number, (shared, apart)) in shared.iter().zip(&apart).enumerate() {
                assert_eq!(
                    shared.tokens, apart.tokens,
                    "{kind} {visibility:?} {number}"
                );
                for (a, b) in shared
                    .log_probabilities
                    .iter()
                    .zip(&apart.log_probabilities)
                {
                    assert!(
                        (a - b).abs() < 1e-5,
                        "{kind} {visibility:?} {number}: {a} {b}"
                    );
                }
            }
            let said = shared[..9]
                .iter()
                .map(|answer| format!("{:?}", answer.log_probabilities));
            assert_eq!(
                said.collect::<BTreeSet<_>>().len(),
                9,
                "they are asked different things"
            );
        }
    }
}

#[test]
fn answers_stop_where_they_are_told() {
    let model = model("llama");
    let whole = model.generate(&prompts(), &options(8, 1)).expect("valid");
    let stop = |_: usize, tokens: &[u32]| tokens.len() == 3;
    for beams in [1, 3] {
        let mut waiting = prompts().into_iter();
        let mut lengths = Vec::new();
        let mut hear = |index: usize, answer: Generated| {
            assert!(answer.finished);
            assert!(beams > 1 || whole[index].tokens.starts_with(&answer.tokens));
            lengths.push(answer.tokens.len());
            Ok(())
        };
        model
            .generate_each::<ModelError>(&mut waiting, &options(8, beams), &stop, &mut hear)
            .expect("valid prompts");
        assert!(lengths.iter().all(|length| *length <= 3) && lengths.contains(&3));
    }
}

#[test]
fn one_likeliest_token_to_draw_from_is_greedy() {
    let model = model("gpt2");
    let greedy = model.generate(&prompts(), &options(8, 1)).expect("valid");
    let one = GenerateOptions {
        sampling: Some(Sampling {
            top_k: 1,
            ..Sampling::default()
        }),
        ..options(8, 1)
    };
    assert_eq!(model.generate(&prompts(), &one).expect("valid"), greedy);
    let drawn = GenerateOptions {
        sampling: Some(Sampling::default()),
        ..options(8, 1)
    };
    assert_ne!(model.generate(&prompts(), &drawn).expect("valid"), greedy);
}

#[test]
fn options_out_of_range_are_refused() {
    let model = model("llama");
    let sampling = |sampling| GenerateOptions {
        sampling: Some(sampling),
        ..options(4, 1)
    };
    let fault = |options: GenerateOptions| {
        let refused = model.generate(&prompts(), &options);
        refused.expect_err("out of range").to_string()
    };
    let cold = Sampling {
        temperature: 0.0,
        ..Sampling::default()
    };
    assert!(fault(sampling(cold)).contains("temperature is 0"));
    let none = Sampling {
        top_p: 0.0,
        ..Sampling::default()
    };
    assert!(fault(sampling(none)).contains("top_p is 0"));
    let beams = GenerateOptions {
        beams: 2,
        ..sampling(Sampling::default())
    };
    assert!(fault(beams).contains("2 beams"));
    let mut penalty = options(4, 1);
    penalty.repetition.penalty = f32::NAN;
    assert!(fault(penalty).contains("repetition penalty is NaN"));
    assert!(fault(options(0, 1)).contains("max_tokens"));
}

#[test]
fn answers_never_outgrow_the_model() {
    let model = model("gpt2");
    let tokens: Vec<u32> = (0..60).map(|i| 4 + i % 30).collect();
    let prompt = Prompt {
        tokens,
        visual: vec![],
        images: vec![],
        draw: 0,
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
