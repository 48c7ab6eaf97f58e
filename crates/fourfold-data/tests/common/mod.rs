//! What the integration tests share: fixtures and small encoders.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fourfold_data::{
    Augment, Encoder, EncoderConfig, ImageTransform, Prompts, Source, SourceConfig, TextFormat,
    source, train_bpe,
};

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// `images.parquet`, asked for the name.
pub fn names() -> SourceConfig {
    SourceConfig {
        path: fixture("images.parquet").into(),
        prompt: Prompts::Several(vec!["What is it?".into(), "Name it.".into()]),
        answer: Some("{{ name }}".into()),
        images: true,
        ..Default::default()
    }
}

/// `images.parquet`, one sample a question.
pub fn questions() -> SourceConfig {
    SourceConfig {
        prompt: Prompts::One("{{ question }}".into()),
        answer: Some("{{ answer }}".into()),
        each: lists(&[("question", "questions"), ("answer", "answers")]),
        ..names()
    }
}

pub fn texts() -> SourceConfig {
    SourceConfig {
        path: fixture("text.parquet").into(),
        answer: Some("{{ text }}".into()),
        images: true,
        ..Default::default()
    }
}

pub fn lists(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(a, b)| (a.to_string(), b.to_string()))
        .collect()
}

pub fn open(config: &SourceConfig) -> Arc<dyn Source> {
    source::open(config).unwrap()
}

pub fn refusal(config: &SourceConfig) -> String {
    source::open(config)
        .err()
        .expect("a configuration that cannot work")
        .to_string()
}

pub fn encoder(augment: Option<Augment>, max_tokens: usize) -> Arc<Encoder> {
    let format = TextFormat::default();
    let tokenizer = train_bpe(["a red cat", "a red hat"].iter(), 270, &format.tokens()).unwrap();
    let transform = ImageTransform {
        size: 8.into(),
        ..ImageTransform::default()
    };
    let config = EncoderConfig {
        format,
        transform,
        augment,
        visual_tokens_per_image: 4,
        max_tokens,
    };
    Arc::new(Encoder::new(Arc::new(tokenizer), config).unwrap())
}
