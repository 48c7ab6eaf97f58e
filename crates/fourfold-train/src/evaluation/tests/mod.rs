//! Evaluation of a small model that was never trained.

mod asking;
mod baselines;
mod cases;
mod recipes;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use fourfold_data::source::RowImage;
use fourfold_data::{ImageFiles, ImageTransform, Source, SourceConfig, Tables, decode_rgb};
use fourfold_model::Model;
use fourfold_tensor::Precision;

use super::*;
use crate::answer::{Answerer, Question};
use crate::assemble::{Reading, assemble, text};
use crate::files::testing::Scratch;
use crate::recipe::{Measure, Metric, Recipe, Search};
use crate::run_folder::RunFolder;
use crate::sources::Sources;

const RECIPE: &str = r#"
name = "measured"
precision = "f32"
[model.vision]
hidden_size = 16
intermediate_size = 24
num_hidden_layers = 1
num_attention_heads = 2
image_size = 16
patch_size = 8
[model.projector]
[model.language]
model_type = "llama"
hidden_size = 16
intermediate_size = 24
num_hidden_layers = 1
num_attention_heads = 2
num_key_value_heads = 1
max_position_embeddings = 48
tie_word_embeddings = true
[tokenizer]
train = { vocabulary = 270, on = ["train"] }
[image]
size = 16
[data.train]
path = "train.jsonl"
prompt = "{{ question }}"
answer = "{{ answer }}"
[[stage]]
name = "align"
train = ["projector"]
mixture = ["train"]
samples = 6
batch = 2
lr = 1e-3
[evaluation.colors]
path = "test.jsonl"
prompt = "{{ question }}"
answer = "{{ answer }}"
metrics = ["accuracy", "exact_match", "cider_d", "bleu", "rouge_l"]
baselines = ["pixel_nn", "majority", "shuffled_images"]
baseline_data = ["train"]
max_new_tokens = 6
"#;

const COLORS: [(&str, [u8; 3]); 3] = [
    ("red", [250, 10, 0]),
    ("green", [0, 240, 20]),
    ("blue", [5, 0, 245]),
];

/// Pictures of plain colours, training and test shades apart, and what is asked of them.
fn workplace(name: &str) -> Scratch {
    let scratch = Scratch::new(name);
    for (split, lighten) in [("train", 0), ("test", 5)] {
        let mut lines = String::new();
        for (color, rgb) in COLORS {
            let file = format!("{split}-{color}.png");
            let pixels = image::RgbImage::from_pixel(16, 16, image::Rgb(rgb.map(|c| c + lighten)));
            pixels.save(scratch.path().join(&file)).unwrap();
            let warm = if color == "red" { "yes" } else { "no" };
            for (question, answer) in [("What colour?", color), ("Is it warm?", warm)] {
                lines += &format!(
                    "{{\"image\": \"{file}\", \"question\": \"{question}\", \"answer\": \"{answer}\"}}\n"
                );
            }
        }
        fs::write(scratch.path().join(format!("{split}.jsonl")), lines).unwrap();
    }
    fs::write(scratch.path().join("recipe.toml"), RECIPE).unwrap();
    scratch
}

fn open(place: &Path, file: &str, prompt: &str) -> std::sync::Arc<dyn Source> {
    let config = SourceConfig {
        path: place.join(file).into(),
        prompt: fourfold_data::Prompts::One(prompt.into()),
        answer: Some("{{ answer }}".into()),
        images: true,
        ..SourceConfig::default()
    };
    Tables::new().open(&config).unwrap()
}

fn untrained(recipe: &Recipe) -> (Model, Reading) {
    let sources = Sources::new(recipe);
    let text = text(recipe, &sources, None).unwrap();
    let assembled = assemble(recipe, text, Precision::F32).unwrap();
    (assembled.model, assembled.reading)
}

/// The run that an untrained model of the recipe in `place` is measured in, and what it scores.
fn measured(place: &Path) -> (RunFolder, Scores) {
    let recipe = Recipe::load(&place.join("recipe.toml"), &[]).unwrap();
    let (model, reading) = untrained(&recipe);
    let run = RunFolder::create(&place.join("run"), false, RECIPE)
        .unwrap()
        .0;
    let scores = evaluate_recipe(&recipe, &model, &reading, &run, &mut Quiet).unwrap();
    (run, scores)
}
