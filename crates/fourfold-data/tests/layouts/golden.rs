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
    (
        "llava/llava_v1_5_mix665k.json",
        &[
            "llava_v1_5_mix665k.json:row 0 to 12 image 0 in 1..4: begin image image image What _colour _is _on _the _left ? answer→I I→t t→_is _is→_red _red→. .→end end A nd _on _the _right ? answer→I I→t t→_is _is→_orange _orange→, ,→_which _which→_is _is→_red _red→_with _with→_more _more→_green _green→_in _in→_it _it→. .→end end I s _it _flat ? answer→No No→, ,→_it _it→_changes _changes→_from _from→_left _left→_to _to→_right _right→. .→end",
            "llava_v1_5_mix665k.json:row 1 to 28 image 1 in 24..27: begin W r it e _the _ l a b e l _ c a f Ã © _ ð Ł ĺ Ģ . image image image answer→c c→a a→f f→Ã Ã→© ©→_ _→ð ð→Ł Ł→ĺ ĺ→Ģ Ģ→end",
            "llava_v1_5_mix665k.json:row 2 to 8: begin N am e _a _colour . answer→Bl Bl→ue ue→. .→end end A no t he r ? answer→Green Green→. .→end",
        ],
    ),
    (
        "llava/several_images.json",
        &[
            "several_images.json:row 0 to 11 image 0 in 1..4 image 1 in 4..7: begin image image image image image image What _differs ? answer→T T→he he→_second _second→_is _is→_darker _darker→. .→end",
            "several_images.json:row 1 to 14 image 2 in 2..5 image 3 in 7..10 image 4 in 19..22: begin First image image image , _then image image image : _same ? answer→No No→. .→end end A nd image image image ? answer→A A→s s→_the _the→_first _first→. .→end",
            "several_images.json:row 2 to 9 image 5 in 1..4: begin image image image What _is _it ? answer→A A→_picture _picture→. .→end",
            "several_images.json:row 3 to 15 image 6 in 7..10: begin B e _sho r t . image image image What _is _it ? answer→Y Y→e e→l l→lo lo→w w→. .→end",
        ],
    ),
    (
        "messages/train.jsonl",
        &[
            "train.jsonl:line 1 to 9 image 0 in 1..4: begin image image image What _is _it ? answer→A A→_gradient _gradient→. .→end end Of _what ? answer→C C→olou olou→rs rs→. .→end",
            "train.jsonl:line 2 to 18 image 1 in 7..10 image 2 in 10..13: begin B e _sho r t . image image image image image image S am e ? answer→No No→. .→end",
        ],
    ),
    (
        "coco/annotations/captions_val2017.json",
        &[
            "captions_val2017.json:image 397133 element 0 to 5 image 0 in 1..4: begin image image image answer→A A→_man _man→_is _is→_in _in→_a _a→_kitchen _kitchen→_of _of→_colours _colours→. .→end",
            "captions_val2017.json:image 37777 element 0 to 5 image 1 in 1..4: begin image image image answer→A A→_kitchen _kitchen→_in _in→_pale _pale→_colours _colours→. .→end",
            "captions_val2017.json:image 37777 element 1 to 5 image 2 in 1..4: begin image image image answer→P P→ale ale→_colours _colours→. .→end",
        ],
    ),
    (
        "karpathy/dataset_flickr30k.json",
        &[
            "dataset_flickr30k.json:row 0 element 0 to 5 image 0 in 1..4: begin image image image answer→T T→wo wo→_colours _colours→_look _look→_a _a→t t→_ _→e e→a a→c c→h h→_o _o→t t→he he→r r→. .→end",
            "dataset_flickr30k.json:row 0 element 1 to 5 image 1 in 1..4: begin image image image answer→T T→wo wo→_young _young→, ,→_pale _pale→_colours _colours→_are _are→_outside _outside→. .→end",
        ],
    ),
    (
        "flickr/results.csv",
        &[
            "results.csv:line 2 element 0 to 5 image 0 in 1..4: begin image image image answer→T T→wo wo→_young _young→_gradients _gradients→_hang _hang→_out _out→_in _in→_the _the→_yard _yard→_. _.→end",
            "results.csv:line 2 element 1 to 5 image 1 in 1..4: begin image image image answer→T T→wo wo→_colours _colours→_, _,→_one _one→_pale _pale→_, _,→_are _are→_outside _outside→_. _.→end",
        ],
    ),
    (
        "vqa/v2_OpenEnded_mscoco_val2014_questions.json",
        &[
            "v2_OpenEnded_mscoco_val2014_questions.json:question 262148000 to 12 image 0 in 1..4: begin image image image W here _does _the _colour _look ? answer→d d→o o→w w→n n→end",
            "v2_OpenEnded_mscoco_val2014_questions.json:question 262148001 to 12 image 1 in 1..4: begin image image image Ho w _many _colours _are _there ? answer→2 2→end",
        ],
    ),
    (
        "huggingface/path-vqa/data/train-00000-of-00001.parquet",
        &[
            "train-00000-of-00001.parquet:row 0 to 17 image 0 in 1..4: begin image image image w here _are _the _pale _colours _( oval _ones ) _located ? answer→i i→n n→_the _the→_upper _upper→_left _left→end",
            "train-00000-of-00001.parquet:row 1 to 10 image 1 in 1..4: begin image image image i s _it _pale ? answer→no no→end",
        ],
    ),
    (
        "huggingface/the_cauldron/ai2d/train-00000-of-00001.parquet",
        &[
            "train-00000-of-00001.parquet:row 0 to 34 image 0 in 1..4: begin image image image Qu estio n : _Which _is _red ? ⏎ C ho ices : ⏎ A . _Left ⏎ B . _Right ⏎ A ns wer _with _the _letter . answer→A A→ns ns→wer wer→: :→_A _A→end",
            "train-00000-of-00001.parquet:row 1 to 15 image 1 in 1..4 image 2 in 4..7: begin image image image image image image Do _both _images _show _one _colour ? answer→No No→. .→end end A nd _shape ? answer→Yes Yes→. .→end",
        ],
    ),
    (
        "webdataset/laion.tar",
        &[
            "laion.tar:sample 0 (00) to 5 image 0 in 1..4: begin image image image answer→A A→_poster _poster→_of _of→_colours _colours→end",
            "laion.tar:sample 1 (01) to 5 image 1 in 1..4: begin image image image answer→C C→olou olou→rs rs→_for _for→_sale _sale→end",
        ],
    ),
    (
        "tables/plain.csv",
        &[
            "plain.csv:line 2 to 5 image 0 in 1..4: begin image image image answer→P P→lai lai→n n→_words _words→end",
            "plain.csv:line 3 to 5 image 1 in 1..4: begin image image image answer→A A→_comma _comma→, ,→_and _and→_more _more→end",
        ],
    ),
];
