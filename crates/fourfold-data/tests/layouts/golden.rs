//! From a file of each layout to a pack: tokens, targets, and where images go.

use std::sync::Arc;

use fourfold_data::{
    Encoder, EncoderConfig, ImageTransform, Pack, PackBudget, SourceConfig, TextFormat, Tokenizer,
    pack, sample_rng, train_bpe,
};

use crate::common::open;
use crate::read::{config, expected};

/// What the tokenizer is trained on, twice, so that all of these words become tokens; others stay letters and parts.
const TEXTS: &str = "What is it? What colour is on the left? And on the right? Is it flat? Where does the colour look? \
    It is red. It is orange, which is red with more green in it. No, it changes from left to right. Yes. Blue. Green. \
    How many colours are there? What differs? The second is darker. First, then: same? And? As the first. A picture. \
    Two young gradients hang out in the yard . Two colours , one pale , are outside . A gradient. Of what? Colours. \
    A man is in a kitchen of colours. A kitchen in pale colours. Pale colours. Plain words A comma, and more \
    Answer with the letter. Question: Which Choices: Left Right Do both images show one colour? And shape? \
    A poster of colours Colours for sale where are the pale colours (oval ones) located? in the upper left no";

/// An encoder with three rows an image.
fn encoder() -> Encoder {
    let format = TextFormat::default();
    let tokenizer = train_bpe([TEXTS, TEXTS].iter(), 1200, &format.tokens()).unwrap();
    let config = EncoderConfig {
        format,
        transform: ImageTransform {
            size: 8.into(),
            ..ImageTransform::default()
        },
        augment: None,
        visual_tokens_per_image: 3,
        max_tokens: 200,
    };
    Encoder::new(Arc::new(tokenizer), config).unwrap()
}

/// A line a document; in it a word a row, with the token that is learnt there after an arrow. A space before a word is
/// written `_`, a line's end `⏎`.
fn shown(pack: &Pack, tokenizer: &Tokenizer) -> Vec<String> {
    let word = |id: u32| {
        let token = tokenizer.token(id).unwrap();
        token
            .trim_matches(['<', '>', '|'])
            .replace('Ġ', "_")
            .replace('Ċ', "⏎")
    };
    let document = |placed: &fourfold_data::PackedDocument| {
        let rows = (placed.start..placed.end).map(|row| match pack.targets[row] {
            Some(target) => format!("{}→{}", word(pack.tokens[row]), word(target)),
            None => word(pack.tokens[row]),
        });
        let images = placed.visual.iter().map(|span| {
            let (first, last) = (
                span.start - placed.start,
                span.start + span.len - placed.start,
            );
            format!(" image {} in {first}..{last}", span.image)
        });
        let rows: Vec<String> = rows.collect();
        let images: String = images.collect();
        format!(
            "{} to {}{images}: {}",
            placed.origin,
            placed.prompt_end - placed.start,
            rows.join(" ")
        )
    };
    pack.documents.iter().map(document).collect()
}

/// The pack of the first `count` samples of a file.
fn packed(config: &SourceConfig, count: usize) -> Vec<String> {
    let (source, encoder) = (open(config), encoder());
    let documents = (0..count).map(|number| {
        let mut rng = sample_rng(0, number as u64);
        let sample = source.sample(number, &mut rng).unwrap();
        encoder.document(&sample, &mut rng).unwrap()
    });
    let budget = PackBudget {
        tokens: 400,
        images: 8,
    };
    let mut packs = pack(documents.collect(), budget).unwrap();
    assert_eq!(packs.len(), 1);
    let pack = packs.remove(0);
    assert_eq!(pack.tokens.len(), pack.targets.len());
    assert!(pack.images.iter().all(|image| image.pixels().is_some()));
    shown(&pack, encoder.tokenizer())
}

#[test]
fn a_file_of_each_layout_becomes_a_pack() {
    let all = expected();
    let mut wrong = String::new();
    for (name, lines) in GOLDEN {
        let got = packed(&config(name, &all[*name]), lines.len());
        if got != *lines {
            wrong += &format!("(\n{name:?},\n&{got:#?},\n),\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

const GOLDEN: &[(&str, &[&str])] = &[
    ("llava/llava_v1_5_mix665k.json", &["", "", ""]),
    ("llava/several_images.json", &["", "", "", ""]),
    ("messages/train.jsonl", &["", ""]),
    ("coco/annotations/captions_val2017.json", &["", "", ""]),
    ("karpathy/dataset_flickr30k.json", &["", ""]),
    ("flickr/results.csv", &["", ""]),
    ("vqa/v2_OpenEnded_mscoco_val2014_questions.json", &["", ""]),
    (
        "huggingface/path-vqa/data/train-00000-of-00001.parquet",
        &["", ""],
    ),
    (
        "huggingface/the_cauldron/ai2d/train-00000-of-00001.parquet",
        &["", ""],
    ),
    ("webdataset/laion.tar", &["", ""]),
    ("tables/plain.csv", &["", ""]),
];
