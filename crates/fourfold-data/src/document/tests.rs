//! The layout of documents, and small encoders and samples for other tests.

use std::collections::HashSet;
use std::sync::{Arc, RwLock};

use super::tests_support::{encoder, picture, text_sample};
use crate::{
    Augment, DataError, DocumentImage, EncodedImage, Encoder, EncoderConfig, ImageKey, Sample,
    Turn, sample_rng,
};

fn names(encoder: &Encoder, tokens: &[u32]) -> Vec<String> {
    tokens
        .iter()
        .map(|id| encoder.tokenizer().token(*id).expect("a known id"))
        .collect()
}

fn turn(prompt: &str, answer: &str) -> Turn {
    Turn {
        prompt: prompt.into(),
        answer: answer.into(),
    }
}

#[test]
fn an_image_a_prompt_and_an_answer() {
    let encoder = encoder(4, 100);
    let mut sample = text_sample("say", "hi");
    sample.images.push(EncodedImage::new(picture()).into());
    let document = encoder.document(&sample, &mut sample_rng(0, 0)).unwrap();
    let image = "<|image|>";
    let tokens = [
        "<|begin|>",
        image,
        image,
        image,
        image,
        "s",
        "a",
        "y",
        "<|answer|>",
        "h",
        "i",
    ];
    assert_eq!(names(&encoder, &document.tokens), tokens);
    assert_eq!(document.prompt_end, 9);
    assert_eq!((document.visual[0].start, document.visual[0].len), (1, 4));
    assert_eq!(document.images.len(), 1);
    // The rows that predict: the answer marker, then each token of the answer; the end comes last.
    let learnt: Vec<Option<String>> = document
        .targets
        .iter()
        .map(|t| t.and_then(|id| encoder.tokenizer().token(id)))
        .collect();
    let some = |token: &str| Some(token.to_owned());
    assert!(learnt[..8].iter().all(Option::is_none));
    assert_eq!(learnt[8..], [some("h"), some("i"), some("<|end|>")]);
}

#[test]
fn later_turns_follow_and_only_answers_are_learnt() {
    let encoder = encoder(4, 100);
    let sample = Sample {
        turns: vec![turn("a", "b"), turn("c", "d")],
        ..text_sample("", "x")
    };
    let document = encoder.document(&sample, &mut sample_rng(0, 0)).unwrap();
    let tokens = [
        "<|begin|>",
        "a",
        "<|answer|>",
        "b",
        "<|end|>",
        "c",
        "<|answer|>",
        "d",
    ];
    assert_eq!(names(&encoder, &document.tokens), tokens);
    let learnt: Vec<bool> = document.targets.iter().map(Option::is_some).collect();
    assert_eq!(learnt, [false, false, true, true, false, false, true, true]);
    assert_eq!(document.prompt_end, 3);
}

#[test]
fn text_alone_is_all_target() {
    let encoder = encoder(4, 100);
    let document = encoder
        .document(&text_sample("", "ab"), &mut sample_rng(0, 0))
        .unwrap();
    assert_eq!(names(&encoder, &document.tokens), ["<|begin|>", "a", "b"]);
    assert!(document.targets.iter().all(Option::is_some));
}

#[test]
fn every_target_is_the_next_token() {
    let encoder = encoder(4, 100);
    let sample = Sample {
        turns: vec![turn("who", "me"), turn("", "you")],
        ..text_sample("", "x")
    };
    let document = encoder.document(&sample, &mut sample_rng(0, 0)).unwrap();
    for (row, target) in document
        .targets
        .iter()
        .enumerate()
        .take(document.tokens.len() - 1)
    {
        assert!(
            target.is_none_or(|target| target == document.tokens[row + 1]),
            "row {row}"
        );
    }
}

#[test]
fn a_long_answer_is_cut_and_counted() {
    let document = encoder(4, 6)
        .document(&text_sample("q", "abcdefgh"), &mut sample_rng(0, 0))
        .unwrap();
    assert!(document.truncated);
    assert_eq!((document.tokens.len(), document.targets.len()), (6, 6));
    assert_eq!(document.target_count(), 4);
}

#[test]
fn a_sample_whose_answer_does_not_fit_is_refused_by_name() {
    let error = encoder(4, 3)
        .document(&text_sample("long prompt", "a"), &mut sample_rng(0, 0))
        .unwrap_err();
    assert!(matches!(error, DataError::AllMasked { .. }));
    assert!(error.to_string().contains("test:row 0"), "{error}");
}

#[test]
fn an_image_that_is_none_is_refused_by_name() {
    let mut sample = text_sample("a", "b");
    sample
        .images
        .push(EncodedImage::new(&b"no image"[..]).into());
    let error = encoder(4, 100)
        .document(&sample, &mut sample_rng(0, 0))
        .unwrap_err();
    assert!(error.to_string().contains("test:row 0"), "{error}");
}

#[test]
fn a_prompt_is_the_beginning_of_its_document() {
    let encoder = encoder(4, 100);
    let mut sample = text_sample("say", "hi");
    sample.images.push(EncodedImage::new(picture()).into());
    let document = encoder.document(&sample, &mut sample_rng(0, 0)).unwrap();
    let prompt = encoder
        .prompt("x", &sample.read_images().unwrap(), "say")
        .unwrap();
    assert_eq!(prompt.tokens, document.tokens[..document.prompt_end]);
    assert_eq!(prompt.images, document.images);
    assert_eq!(prompt.visual, document.visual);
}

fn one_image(bytes: Vec<u8>) -> Sample {
    let mut sample = text_sample("say", "hi");
    sample.images.push(EncodedImage::new(bytes).into());
    sample
}

fn varied(views: Option<u32>) -> Encoder {
    let plain = encoder(4, 100);
    let config = EncoderConfig {
        augment: Some(Augment {
            noise: 0.5,
            views,
            ..Augment::default()
        }),
        ..plain.config().clone()
    };
    Encoder::new(Arc::clone(plain.tokenizer()), config).unwrap()
}

#[test]
fn an_image_has_as_many_variations_as_it_may() {
    let distinct = |views: Option<u32>| {
        let encoder = varied(views);
        let mut found: Vec<Vec<f32>> = Vec::new();
        for ordinal in 0..60 {
            let mut rng = sample_rng(3, ordinal);
            let document = encoder.document(&one_image(picture()), &mut rng).unwrap();
            let pixels = document.images[0].pixels().unwrap().data.clone();
            if !found.contains(&pixels) {
                found.push(pixels);
            }
        }
        found.len()
    };
    assert_eq!(distinct(Some(1)), 1);
    assert_eq!(distinct(Some(3)), 3);
    assert_eq!(distinct(None), 60);
}

#[test]
fn a_known_image_is_left_undecoded_and_no_other() {
    let known = Arc::new(RwLock::new(HashSet::new()));
    let encoder = varied(Some(1)).knowing(known.clone());
    let image = |bytes: &[u8]| {
        let document = encoder.document(&one_image(bytes.to_vec()), &mut sample_rng(0, 0));
        document.map(|document| document.images[0].clone())
    };
    let Ok(DocumentImage::Pixels(_, Some(key))) = image(&picture()) else {
        panic!("an unknown image comes with pixels and key");
    };
    known.write().unwrap().insert(key);
    assert_eq!(image(&picture()).unwrap(), DocumentImage::Known(key));
    // Broken bytes are another image, and are looked at.
    assert!(matches!(image(b"no image"), Err(DataError::Image { .. })));
    known
        .write()
        .unwrap()
        .insert(ImageKey::new(&EncodedImage::new(&b"no image"[..]), 0));
    assert!(image(b"no image").is_ok());
}

#[test]
fn an_image_that_varies_without_end_is_never_known() {
    let known = RwLock::new(HashSet::from([ImageKey::new(
        &EncodedImage::new(picture()),
        0,
    )]));
    let encoder = varied(None).knowing(Arc::new(known));
    let document = encoder.document(&one_image(picture()), &mut sample_rng(0, 0));
    let image = document.unwrap().images[0].clone();
    assert!(matches!(image, DocumentImage::Pixels(_, None)));
}
