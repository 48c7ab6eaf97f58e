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

#[test]
fn a_whole_recipe_leaves_scores_and_predictions() {
    let place = workplace("evaluation");
    let (run, scores) = measured(place.path());
    let read = read_scores(&run.scores()).unwrap();
    assert_eq!(table(&read, Layout::Text), table(&scores, Layout::Text));
    let colors = &scores.0["colors"];
    assert_eq!((colors.samples, colors.skipped), (6, 0));
    assert_eq!(
        colors.pixel_nn.as_ref().unwrap().get("exact_match"),
        Some(1.0),
        "the shades are near"
    );
    // "no" is the commoner answer to "Is it warm?": 2 of 3; a colour is guessed right once in 3.
    assert_eq!(colors.majority.as_ref().unwrap().get("accuracy"), Some(0.5));
    assert!(colors.shuffled_images.is_some() && colors.blind.is_some());
    assert_eq!(
        colors.model.get("accuracy"),
        colors.model.get("exact_match")
    );
    let intervals: Vec<&str> = colors.interval_95.keys().map(String::as_str).collect();
    assert_eq!(
        intervals,
        [
            "accuracy",
            "bleu1",
            "bleu2",
            "bleu3",
            "bleu4",
            "cider_d",
            "exact_match",
            "rouge_l"
        ]
    );
    let text = fs::read_to_string(run.path().join("predictions/colors.pixel_nn.jsonl")).unwrap();
    let first: Prediction = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!((first.prediction.as_str(), first.correct), ("red", true));
    assert_eq!(first.id, "test.jsonl:line 1");
    let json: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(run.scores()).unwrap()).unwrap();
    assert_eq!(json["colors"]["pixel_nn"]["accuracy"], 1.0);
    assert_eq!(json["colors"]["samples"], 6);
    let report = fs::read_to_string(run.report()).unwrap();
    assert!(report.contains("<h2>Scores</h2>") && report.contains("pixel nn"));
}

#[test]
fn an_unreadable_image_is_left_out_of_every_system() {
    let place = workplace("skips");
    fs::write(place.path().join("test-green.png"), b"no picture").unwrap();
    let recipe = Recipe::load(&place.path().join("recipe.toml"), &[]).unwrap();
    let (model, reading) = untrained(&recipe);
    let evaluator = Evaluator::new(&model, &reading).unwrap();
    let (source, train) = (
        open(place.path(), "test.jsonl", ""),
        open(place.path(), "train.jsonl", ""),
    );
    let measure = &recipe.evaluation["colors"].measure;
    let evaluated = evaluator
        .evaluate("colors", &*source, measure, &[&*train], &mut Quiet)
        .unwrap();
    // Without prompts, a picture's two answers are references of one case.
    assert_eq!((evaluated.scores.samples, evaluated.scores.skipped), (2, 1));
    assert!(evaluated.skipped.first[0].reason.contains("test-green.png"));
    assert!(
        evaluated
            .predictions
            .iter()
            .all(|(_, lines)| lines.len() == 2)
    );
}

#[test]
fn an_answer_ends_before_the_text_that_stops_it() {
    let place = workplace("stops");
    let recipe = Recipe::load(&place.path().join("recipe.toml"), &[]).unwrap();
    let (model, reading) = untrained(&recipe);
    let source = open(place.path(), "test.jsonl", "{{ question }}");
    let questions: Vec<Question> = Cases::read(&*source, &Measure::default())
        .cases
        .iter()
        .map(|case| case.question(None))
        .collect();
    let answerer = Answerer::new(&model, &reading).unwrap();
    let search = Search {
        max_new_tokens: 12,
        ..Search::default()
    };
    let whole = answerer.answer(&model, &questions, &search).unwrap();
    // The last two characters of an answer, wherever they are in the others.
    let end: Vec<char> = whole[0].chars().rev().take(2).collect();
    let stop: String = end.into_iter().rev().collect();
    let search = Search {
        stop: vec![stop.clone()],
        ..search
    };
    let cut = answerer.answer(&model, &questions, &search).unwrap();
    assert_ne!(cut, whole);
    for (cut, whole) in cut.iter().zip(&whole) {
        let wanted = whole.split(&stop).next().unwrap().trim();
        assert_eq!(cut, wanted);
    }
}

#[test]
fn every_case_keeps_its_own_answer_in_many_groups() {
    let place = workplace("groups");
    let lines: String = (0..600)
        .map(|i| {
            format!(
                "{{\"image\": \"test-red.png\", \"question\": \"{i}?\", \"answer\": \"{i}\"}}\n"
            )
        })
        .collect();
    fs::write(place.path().join("many.jsonl"), lines).unwrap();
    let recipe = Recipe::load(&place.path().join("recipe.toml"), &[]).unwrap();
    let (model, reading) = untrained(&recipe);
    let source = open(place.path(), "many.jsonl", "{{ question }}");
    let measure = Measure {
        metrics: vec![Metric::ExactMatch],
        baselines: Vec::new(),
        search: Search {
            max_new_tokens: 2,
            ..Search::default()
        },
        ..recipe.evaluation["colors"].measure.clone()
    };
    let evaluated = Evaluator::new(&model, &reading)
        .unwrap()
        .evaluate("many", &*source, &measure, &[], &mut Quiet)
        .unwrap();
    assert_eq!(evaluated.scores.samples, 600);
    let search = Search {
        max_new_tokens: 2,
        ..Search::default()
    };
    let answerer = Answerer::new(&model, &reading).unwrap();
    for (index, line) in evaluated.predictions[0].1.iter().enumerate() {
        assert_eq!(line.id, format!("many.jsonl:line {}", index + 1));
        assert_eq!(line.references, [index.to_string()]);
    }
    // The last of the second group and the first of the third.
    for index in [511, 512] {
        let case = &Cases::read(&*source, &Measure::default()).cases[index];
        let alone = answerer
            .answer(&model, &[case.question(None)], &search)
            .unwrap();
        assert_eq!(evaluated.predictions[0].1[index].prediction, alone[0]);
    }
}

#[test]
fn the_same_prompt_about_the_same_image_is_one_case() {
    let place = workplace("cases");
    let asked = Cases::read(
        &*open(place.path(), "test.jsonl", "{{ question }}"),
        &Measure::default(),
    );
    assert_eq!(asked.cases.len(), 6);
    let unasked = Cases::read(&*open(place.path(), "test.jsonl", ""), &Measure::default()).cases;
    assert_eq!(unasked.len(), 3);
    assert_eq!(unasked[0].references, ["red", "yes"]);
    let thinned = Cases::read(
        &*open(place.path(), "test.jsonl", "{{ question }}"),
        &Measure {
            limit: Some(3),
            ..Measure::default()
        },
    )
    .cases;
    let ids: Vec<&str> = thinned.iter().map(|case| case.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "test.jsonl:line 1",
            "test.jsonl:line 3",
            "test.jsonl:line 5"
        ]
    );
}

#[test]
fn shuffling_leaves_no_image_in_its_place_and_loses_none() {
    let place = workplace("shuffle");
    let cases = Cases::read(
        &*open(place.path(), "test.jsonl", "{{ question }}"),
        &Measure::default(),
    )
    .cases;
    for seed in 0..20 {
        let questions = shuffled(&cases, seed).unwrap();
        let mut seen = BTreeSet::new();
        for (case, question) in cases.iter().zip(&questions) {
            assert_eq!(case.prompt, question.prompt);
            let (own, other) = (case.images[0].key(), question.images[0].key());
            assert_ne!(own, other, "seed {seed}");
            seen.insert(other);
        }
        assert_eq!(seen.len(), 3);
        // Both questions about a picture are asked about the same other picture.
        assert_eq!(questions[0].images[0].key(), questions[1].images[0].key());
    }
    let error = shuffled(&cases[..2], 0).unwrap_err().to_string();
    assert!(error.contains("two different images"), "{error}");
}

#[test]
fn the_blind_image_is_the_mean_color() {
    let case = Case {
        id: "a".into(),
        images: vec![RowImage::Missing; 2],
        image_key: None,
        prompt: "p".into(),
        references: Vec::new(),
        group: None,
    };
    let transform = ImageTransform {
        size: 7.into(),
        mean: [0.2, 0.5, 1.0],
        std: [1.0; 3],
        ..ImageTransform::default()
    };
    let questions = blind(&[case], &transform);
    assert_eq!(questions[0].images.len(), 2);
    let blind = questions[0].images[0].load("blind", 0).unwrap();
    let pixels = decode_rgb(&blind.bytes).unwrap();
    assert_eq!(pixels.dimensions(), (7, 7));
    assert!(pixels.pixels().all(|pixel| pixel.0 == [51, 128, 255]));
    let normalized = transform.apply(&blind.bytes).unwrap();
    assert!(normalized.data.iter().all(|value| value.abs() < 0.01));
}

/// Against the definition: the sum of squared differences, image by image.
#[test]
fn the_nearest_image_is_the_one_of_least_squared_difference() {
    let scratch = Scratch::new("nearest");
    let mut state = 1u64;
    let mut noise = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 56) as u8
    };
    let mut images = Vec::new();
    for (split, count) in [("train", 300), ("test", 20)] {
        let mut lines = String::new();
        for number in 0..count {
            let picture =
                image::RgbImage::from_fn(4, 4, |_, _| image::Rgb([noise(), noise(), noise()]));
            picture
                .save(scratch.path().join(format!("{split}{number}.bmp")))
                .unwrap();
            lines += &format!("{{\"image\": \"{split}{number}.bmp\", \"answer\": \"{number}\"}}\n");
            images.push(picture);
        }
        fs::write(scratch.path().join(format!("{split}.jsonl")), lines).unwrap();
    }
    let (train, test) = images.split_at(300);
    let transform = ImageTransform {
        size: 4.into(),
        ..ImageTransform::default()
    };
    let index = PixelIndex::build(
        &[&*open(scratch.path(), "train.jsonl", "")],
        &transform,
        ImageFiles::default(),
    )
    .unwrap();
    let cases = Cases::read(
        &*open(scratch.path(), "test.jsonl", ""),
        &Measure::default(),
    )
    .cases;
    let distance = |a: &image::RgbImage, b: &image::RgbImage| -> i64 {
        a.as_raw()
            .iter()
            .zip(b.as_raw())
            .map(|(a, b)| (i64::from(*a) - i64::from(*b)).pow(2))
            .sum()
    };
    for (said, picture) in index.nearest(&cases).unwrap().iter().zip(test) {
        let nearest = (0..300)
            .min_by_key(|place| distance(&train[*place], picture))
            .unwrap();
        assert_eq!(*said, Some(nearest.to_string()));
    }
}

#[test]
fn the_nearest_image_answers_the_question_that_is_asked() {
    let place = workplace("asked");
    let train = open(place.path(), "train.jsonl", "{{ question }}");
    let index = PixelIndex::build(
        &[&*train],
        &ImageTransform {
            size: 16.into(),
            ..ImageTransform::default()
        },
        ImageFiles::default(),
    )
    .unwrap();
    let cases = Cases::read(
        &*open(place.path(), "test.jsonl", "{{ question }}"),
        &Measure::default(),
    )
    .cases;
    let said = |cases: &[Case]| -> Vec<String> {
        let said = index.nearest(cases).unwrap().into_iter();
        said.map(|said| said.unwrap_or_else(|| "none".into()))
            .collect()
    };
    assert_eq!(said(&cases), ["red", "yes", "green", "no", "blue", "no"]);
    let other = Cases::read(
        &*open(place.path(), "test.jsonl", "Never asked"),
        &Measure::default(),
    )
    .cases;
    assert_eq!(said(&other), ["red", "green", "blue"]);
    let blind = Case {
        images: Vec::new(),
        image_key: None,
        ..cases[0].clone()
    };
    assert_eq!(said(&[blind]), ["none"]);
}

#[test]
fn an_evaluation_whose_images_are_all_broken_is_told_before_training() {
    let place = workplace("broken");
    for (color, _) in COLORS {
        fs::write(
            place.path().join(format!("test-{color}.png")),
            b"no picture",
        )
        .unwrap();
    }
    let recipe = Recipe::load(&place.path().join("recipe.toml"), &[]).unwrap();
    let error = check_evaluations(&recipe, &Sources::new(&recipe)).unwrap_err();
    let message = format!("{error:#}");
    assert!(
        message.contains("not one of the 6 samples can be read")
            && message.contains("test-red.png"),
        "{message}"
    );
}

/// One question without an image does not cost the scores of all.
#[test]
fn a_question_without_an_image_gets_the_usual_answer() {
    let place = workplace("blind");
    let mut lines = fs::read_to_string(place.path().join("test.jsonl")).unwrap();
    lines += "{\"question\": \"Is it warm?\", \"answer\": \"no\"}\n";
    fs::write(place.path().join("test.jsonl"), lines).unwrap();
    let (_, scores) = measured(place.path());
    let pixel_nn = scores.0["colors"].pixel_nn.as_ref().unwrap();
    assert_eq!(
        (scores.0["colors"].samples, pixel_nn.get("exact_match")),
        (7, Some(1.0))
    );
}

#[test]
fn majority_breaks_ties_by_the_alphabet_and_knows_what_is_common() {
    let place = workplace("majority");
    let train = open(place.path(), "train.jsonl", "{{ question }}");
    let cases = Cases::read(
        &*open(place.path(), "test.jsonl", "{{ question }}"),
        &Measure::default(),
    )
    .cases;
    let said = majority(&cases, &[&*train]).unwrap();
    assert_eq!(said, ["blue", "no", "blue", "no", "blue", "no"]);
    let unseen = Cases::read(
        &*open(place.path(), "test.jsonl", "Unseen?"),
        &Measure::default(),
    )
    .cases;
    assert_eq!(majority(&unseen, &[&*train]).unwrap(), ["no", "no", "no"]);
    assert!(majority(&cases, &[]).is_err());
}

#[test]
fn the_table_is_aligned_and_complete() {
    let cases: Vec<Case> = ["a cat sleeps", "a dog runs", "two birds fly"]
        .iter()
        .enumerate()
        .map(|(number, text)| Case {
            id: number.to_string(),
            images: Vec::new(),
            image_key: None,
            prompt: String::new(),
            references: vec![(*text).into()],
            group: None,
        })
        .collect();
    let said = ["a cat sleeps", "a dog", "birds"].map(String::from);
    let metrics = [Metric::ExactMatch, Metric::CiderD];
    let judge = Judge::new(&metrics, None).unwrap();
    let of_model = score(&cases, &said, &judge).unwrap();
    let others = ["a".into(), "b".into(), "c".into()];
    let pixel_nn = score(&cases, &others, &judge).unwrap().figures;
    let evaluation = EvaluationScores {
        samples: 3,
        model: of_model.figures,
        pixel_nn: Some(pixel_nn),
        interval_95: of_model.interval_95,
        ..EvaluationScores::default()
    };
    let scores = Scores([("captions".to_owned(), evaluation)].into());
    let text = table(&scores, Layout::Text);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(
        lines[0].starts_with("evaluation  system    samples"),
        "{text}"
    );
    assert!(
        lines[1].starts_with("captions    model           3  33.3 (0.0–100.0)"),
        "{text}"
    );
    assert!(lines[2].trim_start().starts_with("pixel nn"), "{text}");
    let markdown = table(&scores, Layout::Markdown);
    assert!(markdown.contains("|---|---|---:|---:|---:|"), "{markdown}");
    let widths: BTreeSet<usize> = markdown.lines().map(|l| l.matches('|').count()).collect();
    assert_eq!(widths.len(), 1);
}

#[test]
fn a_watch_can_end_an_evaluation() {
    struct Ended;
    impl Watch for Ended {
        fn advanced(&mut self, _: usize) -> anyhow::Result<()> {
            anyhow::bail!("ended")
        }
    }
    let place = workplace("ended");
    let recipe = Recipe::load(&place.path().join("recipe.toml"), &[]).unwrap();
    let (model, reading) = untrained(&recipe);
    let run = RunFolder::create(&place.path().join("run"), false, RECIPE)
        .unwrap()
        .0;
    let error = evaluate_recipe(&recipe, &model, &reading, &run, &mut Ended).unwrap_err();
    assert_eq!(format!("{error:#}"), "in the evaluation 'colors': ended");
    assert!(
        !run.scores().exists(),
        "scores are written whole or not at all"
    );
}

/// What ten people said is compared with as often as they said it, and never joined with another question's.
#[test]
fn answers_of_several_people_are_the_references() {
    let place = workplace("people");
    let row = |question: &str, answers: &str| {
        format!(
            "{{\"image\": \"test-red.png\", \"question\": \"{question}\", \"answer\": \"red\", \"answers\": {answers}}}\n"
        )
    };
    let lines = row(
        "What colour?",
        r#"["red", "red", "red", "red", "no", "no", "no", "no", "no", "no"]"#,
    ) + &row(
        "What colour?",
        r#"["crimson", "the red", "red", "no", "no", "no", "no", "no", "no", "no"]"#,
    ) + &row("Is it warm?", "\"yes\"")
        + &row("Is it warm?", "[]");
    fs::write(place.path().join("people.jsonl"), lines).unwrap();
    let source = open(place.path(), "people.jsonl", "{{ question }}");
    let Cases { cases, skipped } = Cases::read(
        &*source,
        &Measure {
            references: Some("answers".into()),
            ..Measure::default()
        },
    );
    assert_eq!((cases.len(), skipped.count), (2, 2));
    assert!(
        skipped.first[0]
            .reason
            .contains("people.jsonl:line 3: `answers`: expected a list of texts"),
        "{}",
        skipped.first[0].reason
    );
    assert_eq!(cases[0].references.len(), 10);
    let said = ["Red.".to_owned(), "red".to_owned()];
    let scored = score(
        &cases,
        &said,
        &Judge::new(&[Metric::VqaAccuracy], None).unwrap(),
    )
    .unwrap();
    let (figures, intervals) = (scored.figures, scored.interval_95);
    // The second is found once as it is written: articles of people are not dropped.
    let expected = (1.0 + 0.3) / 2.0;
    assert!(
        (figures.get("vqa_accuracy").unwrap() - expected).abs() < 1e-9,
        "{figures:?}"
    );
    assert!(intervals.contains_key("vqa_accuracy"));

    let text = RECIPE.replace("\"accuracy\", ", "\"vqa_accuracy\", ");
    fs::write(place.path().join("recipe.toml"), &text).unwrap();
    let error = Recipe::load(&place.path().join("recipe.toml"), &[]).unwrap_err();
    let message = format!("{error:#}");
    assert!(
        message.contains("key 'evaluation.colors.metrics'")
            && message.contains("references = \"answers\""),
        "{message}"
    );
    let named = "evaluation.colors.references=\"answers\"".to_owned();
    let recipe = Recipe::load(&place.path().join("recipe.toml"), &[named]).unwrap();
    let error = check_evaluations(&recipe, &Sources::new(&recipe)).unwrap_err();
    let message = format!("{error:#}");
    assert!(message.contains("`answers`: expected a list"), "{message}");
}
