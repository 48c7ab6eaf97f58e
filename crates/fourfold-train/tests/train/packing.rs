//! Stages that count in packs and tokens, and what packing must not change.

use std::fs;

use fourfold_data::{
    Document, Encoder, EncoderConfig, Pack, PackBudget, Sample, Turn, pack, sample_rng,
};
use fourfold_model::{LossOptions, Model, VisibilityKind};
use fourfold_tensor::{Gradients, Precision, Tape};
use fourfold_train::assemble::{Reading, assemble, text};
use fourfold_train::input::{PackInput, pack_pixels};
use fourfold_train::metrics;
use fourfold_train::recipe::{PrecisionChoice, Recipe};
use fourfold_train::sources::Sources;

use crate::support::*;

const VISIBILITIES: [VisibilityKind; 4] = [
    VisibilityKind::Causal,
    VisibilityKind::ImageBidirectional,
    VisibilityKind::PrefixLm,
    VisibilityKind::ImageIsolated,
];

/// Names of images, and prompts with their answers.
type Case = (
    &'static [&'static str],
    &'static [(&'static str, &'static str)],
);

/// Documents with no, one and two images, images before, within and after the prompt, one and several turns.
fn documents(place: &std::path::Path, reading: &Reading, visual: usize) -> Vec<Document> {
    let config = EncoderConfig {
        format: reading.format.clone(),
        transform: reading.transform.clone(),
        augment: None,
        visual_tokens_per_image: visual,
        max_tokens: 64,
    };
    let encoder = Encoder::new(reading.tokenizer.clone(), config).expect("an encoder");
    let cases: [Case; 7] = [
        (&["red"], &[("What colour?", "red")]),
        (&[], &[("", "a text about nothing")]),
        (
            &["green", "blue"],
            &[("One <image> two <image>?", "no"), ("Sure?", "yes")],
        ),
        (&[], &[("Name a colour.", "grey"), ("Another?", "red")]),
        (&["grey"], &[("Is it grey? <image>", "it is")]),
        (&["blue", "red"], &[("", "two")]),
        (
            &["blue", "grey"],
            &[("First <image>", "blue"), ("Now <image>", "grey")],
        ),
    ];
    let document = |(images, turns): &Case| {
        let image = |name: &&str| fourfold_data::RowImage::File(place.join(format!("{name}.png")));
        let turn = |(prompt, answer): &(&str, &str)| Turn {
            prompt: (*prompt).into(),
            answer: (*answer).into(),
        };
        let sample = Sample {
            origin: "test:row 0".into(),
            images: images.iter().map(image).collect(),
            turns: turns.iter().map(turn).collect(),
        };
        encoder
            .document(&sample, &mut sample_rng(0, 0))
            .expect("a document")
    };
    cases.iter().map(document).collect()
}

/// The sum of the losses of some packs, and what it gives every parameter.
fn learnt(model: &Model, packs: &[Pack], visibility: VisibilityKind) -> (f64, Vec<Vec<f32>>) {
    let mut gradients = Gradients::new(&model.parameters);
    let options = LossOptions {
        visibility,
        scale: 1.0,
        recompute: false,
    };
    let mut sum = 0.0;
    for pack in packs {
        let input = PackInput::seen(pack, pack_pixels(pack).expect("pixels"));
        let tape = Tape::recording(&model.parameters);
        let loss = model
            .loss(&tape, &input.as_input(), options)
            .expect("a loss");
        sum += f64::from(loss.f32().expect("a number")[0]);
        tape.backward(&loss, &mut gradients).expect("gradients");
    }
    let gradient = |id| {
        gradients
            .get(id)
            .map_or(Vec::new(), |g| g.f32().expect("f32").to_vec())
    };
    (sum, model.parameters.ids().map(gradient).collect())
}

fn prepared(place: &std::path::Path) -> (Model, Vec<Document>) {
    let recipe = Recipe::load(&place.join("tiny.toml"), &[]).expect("valid");
    let sources = Sources::new(&recipe);
    let text = text(&recipe, &sources, None).expect("a tokenizer");
    let mut recipe = recipe.clone();
    recipe.precision = PrecisionChoice::F32;
    let mut assembled = assemble(&recipe, text, Precision::F32).expect("a model");
    assembled.model.parameters.set_trainable(|_| true);
    let visual = assembled.model.config().visual_tokens();
    let documents = documents(place, &assembled.reading, visual);
    (assembled.model, documents)
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-5 * a.abs().max(b.abs()).max(1.0)
}

#[test]
fn packed_documents_teach_what_they_teach_one_by_one() {
    let place = workplace();
    let (model, documents) = prepared(place.path());
    let alone = PackBudget {
        tokens: 64,
        images: 2,
    };
    let apart: Vec<Pack> = documents
        .iter()
        .flat_map(|document| pack(vec![document.clone()], alone).expect("packs"))
        .collect();
    for visibility in VISIBILITIES {
        let (loss, gradients) = learnt(&model, &apart, visibility);
        for tokens in [64, 100, 1000] {
            let budget = PackBudget { tokens, images: 64 };
            let packs = pack(documents.clone(), budget).expect("packs");
            assert!(packs.len() < documents.len());
            let (packed, together) = learnt(&model, &packs, visibility);
            assert!(
                near(packed, loss),
                "{visibility:?}, {tokens}: {packed} and {loss}"
            );
            for (id, (a, b)) in model.parameters.ids().zip(gradients.iter().zip(&together)) {
                let largest = a.iter().fold(1e-3f32, |most, x| most.max(x.abs()));
                let differ = a
                    .iter()
                    .zip(b)
                    .map(|(a, b)| (a - b).abs())
                    .fold(0.0, f32::max);
                let name = model.parameters.get(id).name();
                assert!(
                    differ <= 1e-5 * largest.max(1.0),
                    "{visibility:?}, {tokens}, {name}: {differ} of {largest}"
                );
            }
        }
    }
}

#[test]
fn a_document_s_loss_does_not_depend_on_what_shares_its_pack() {
    let place = workplace();
    let (model, documents) = prepared(place.path());
    let all = PackBudget::UNLIMITED;
    // The loss of a pack is the sum over its documents: without the targets of the others it is the one's.
    let silent = |document: &Document| {
        let mut document = document.clone();
        document.targets.fill(None);
        document
    };
    for visibility in VISIBILITIES {
        for index in 0..documents.len() {
            let one = pack(vec![documents[index].clone()], all).expect("a pack");
            let (loss, _) = learnt(&model, &one, visibility);
            let mut shared: Vec<Document> = documents.iter().map(silent).collect();
            shared[index] = documents[index].clone();
            shared.rotate_left(index / 2);
            let (among, _) = learnt(&model, &pack(shared, all).expect("a pack"), visibility);
            assert!(
                near(loss, among),
                "{visibility:?}, document {index}: {loss} and {among}"
            );
        }
    }
}

/// What a stage in packs needs beside the tiny recipe.
const IN_PACKS: [&str; 5] = [
    "stage.align.samples=24",
    "stage.unify.pack_tokens=64",
    "stage.unify.augment.shift=0.1",
    "stage.unify.schedule=linear",
    "training.checkpoint_every=3",
];

fn with_packs(place: &std::path::Path, length: &str) {
    let recipe = RECIPE.replace(
        "samples = 160\nbatch = 4\n",
        &format!("{length}\npacks = 2\n"),
    );
    assert_ne!(recipe, RECIPE);
    fs::write(place.join("tiny.toml"), recipe).expect("written");
}

#[test]
fn a_stage_in_packs_draws_every_sample_and_goes_on_where_it_stopped() {
    let place = workplace();
    with_packs(place.path(), "epochs = 40.5");
    let straight = whole(place.path(), "straight", &IN_PACKS).expect("trains");
    let records = metrics::read(&straight.join("metrics.jsonl")).expect("readable");
    let unify: Vec<_> = records
        .iter()
        .filter(|record| record.stage == "unify")
        .collect();
    assert_eq!(
        unify.iter().map(|record| record.samples).sum::<usize>(),
        162
    );
    assert!(
        unify
            .iter()
            .all(|record| record.packs <= 2 && record.tokens <= 128)
    );
    let full = unify.iter().filter(|record| record.tokens > 100).count();
    assert!(full + 3 > unify.len(), "{full} of {}", unify.len());
    let rates: Vec<f64> = unify
        .iter()
        .filter_map(|record| record.lr.values().next().copied())
        .collect();
    assert!(rates.last() < rates.get(rates.len() / 2), "{rates:?}");
    for stop_at in [7, 10, 13] {
        let name = format!("stopped-{stop_at}");
        stopped(place.path(), &name, &IN_PACKS, stop_at);
        let folder = resume(place.path(), &name, &IN_PACKS);
        assert!(
            weights(&folder) == weights(&straight),
            "stopped after {stop_at} updates"
        );
        let again = metrics::read(&folder.join("metrics.jsonl")).expect("readable");
        let told = |records: &[metrics::StepRecord]| -> Vec<(usize, usize)> {
            records
                .iter()
                .map(|record| (record.samples, record.tokens))
                .collect()
        };
        assert_eq!(told(&again), told(&records));
    }
}

#[test]
fn a_stage_may_end_at_so_many_tokens() {
    let place = workplace();
    with_packs(place.path(), "tokens = 1000");
    let run = whole(place.path(), "tokens", &IN_PACKS).expect("trains");
    let records = metrics::read(&run.join("metrics.jsonl")).expect("readable");
    let unify = records.iter().filter(|record| record.stage == "unify");
    let tokens: usize = unify.map(|record| record.tokens).sum();
    assert!((1000..1064).contains(&tokens), "{tokens}");
    let wrong = |length: &str, part: &str| {
        with_packs(place.path(), length);
        let message = refusal(place.path(), &[]);
        assert!(message.contains(part), "{message}");
    };
    wrong("tokens = 0", "stage.unify.tokens");
    wrong("tokens = 10\nsamples = 10", "both are given");
    wrong(
        "tokens = 10\nbatch = 4",
        "`batch` (documents an update) or `packs`",
    );
}
