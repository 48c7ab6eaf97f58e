//! Every value of `fixtures/metrics.json` and `tokens.json`, which `fixtures/make.py` takes from `pycocoevalcap`, and of
//! `vqa.json`, which `fixtures/make_vqa.py` takes from the VQA evaluator.

use std::path::Path;

use fourfold_eval::meteor::{Meteor, Statistics, TokenizedCase, WordNet};
use fourfold_eval::{Case, Metric, measure, tokenize::tokenize_before, vqa};
use serde_json::Value;

fn fixture(name: &str) -> Value {
    let path = format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn strings(value: &Value) -> Vec<String> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|text| text.as_str().unwrap().to_owned())
        .collect()
}

/// Equal to 1e-6 of the expected value, or to 1e-9 where that is more: BLEU's constants give
/// values of 1e-6 and less, which an absolute bound of 1e-6 would not test.
fn assert_close(got: f64, expected: &Value, what: &str) {
    let expected = expected.as_f64().unwrap();
    assert!(
        (got - expected).abs() <= (expected.abs() * 1e-6).max(1e-9),
        "{what}: {got}, expected {expected}"
    );
}

#[test]
fn corpus_and_sentence_scores_are_those_of_the_reference() {
    let fixture = fixture("metrics.json");
    let expected = fixture["cases"].as_array().unwrap();
    let references: Vec<_> = expected.iter().map(|c| strings(&c["references"])).collect();
    let cases: Vec<_> = expected
        .iter()
        .zip(&references)
        .map(|(case, references)| Case {
            id: case["id"].as_str().unwrap(),
            candidate: case["candidate"].as_str().unwrap(),
            references,
        })
        .collect();
    assert!(cases.len() >= 60);
    let metrics = [Metric::CiderD, Metric::Bleu, Metric::RougeL, Metric::Cider];
    let figures = measure(&cases, &metrics).unwrap();
    // BLEU's orders are a list in the fixture.
    let value = |scores: &Value, name: &str| match name.strip_prefix("bleu") {
        Some(order) => scores["bleu"][order.parse::<usize>().unwrap() - 1].clone(),
        None => scores[name].clone(),
    };
    assert_eq!(figures.len(), 7);
    for figure in figures {
        let name = figure.name;
        assert_close(
            figure.total(),
            &value(&fixture["corpus"], name),
            &format!("corpus {name}"),
        );
        for (case, sample) in expected.iter().zip(&figure.samples) {
            let what = format!("{name} of {}", case["id"]);
            assert_close(sample.unwrap(), &value(case, name), &what);
        }
    }
}

#[test]
fn words_are_those_of_the_reference_tokenizer() {
    let fixture = fixture("tokens.json");
    let sentences = fixture.as_array().unwrap();
    assert!(sentences.len() >= 40);
    for case in sentences {
        let (text, next) = (
            case["text"].as_str().unwrap(),
            case["next"].as_str().unwrap(),
        );
        let words = tokenize_before(text, next);
        assert_eq!(words, strings(&case["tokens"]), "{text} before {next}");
    }
}

#[test]
fn answers_are_as_right_as_the_reference_says() {
    let fixture = fixture("vqa.json");
    let cases = fixture["cases"].as_array().unwrap();
    assert!(cases.len() >= 1000);
    let mut sum = 0.0;
    for case in cases {
        let mut people: Vec<&str> = Vec::new();
        for run in case["people"].as_array().unwrap() {
            let count = run[1].as_u64().unwrap() as usize;
            people.extend(std::iter::repeat_n(run[0].as_str().unwrap(), count));
        }
        let answer = case["answer"].as_str().unwrap();
        let got = vqa::accuracy(answer, &people);
        assert_close(got, &case["accuracy"], &format!("{answer:?} of {people:?}"));
        sum += got;
    }
    assert_close(sum / cases.len() as f64, &fixture["overall"], "overall");
}

/// The program is asked for the modules that are here, once without and once with synonyms.
#[test]
fn meteor_is_that_of_the_program() {
    let fixture = fixture("meteor.json");
    let expected = fixture["cases"].as_array().unwrap();
    assert!(expected.len() >= 400);
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    let cases: Vec<_> = expected
        .iter()
        .map(|case| TokenizedCase {
            candidate: words(case["candidate"].as_str().unwrap()),
            references: strings(&case["references"])
                .iter()
                .map(|text| words(text))
                .collect(),
        })
        .collect();
    let wordnet = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/wordnet");
    let wordnet = WordNet::read(&wordnet).unwrap();
    for (name, meteor) in [
        ("stem", Meteor::new(None)),
        ("synonym", Meteor::new(Some(wordnet))),
    ] {
        let segments = meteor.segments(&cases);
        for (segment, case) in segments.iter().zip(expected) {
            let score = case[name].as_f64().unwrap();
            assert!(
                (segment.score() - score).abs() < 1e-12,
                "{name}: {}, expected {score}: {case}",
                segment.score()
            );
        }
        let corpus: Statistics = segments.iter().copied().sum();
        assert_close(corpus.score(), &fixture["corpus"][name], name);
        // With its paraphrases and all of its synonyms the program is another metric, a near one.
        let away = segments.iter().zip(expected);
        let away =
            away.map(|(segment, case)| (segment.score() - case["all"].as_f64().unwrap()).abs());
        let away = away.sum::<f64>() / cases.len() as f64;
        assert!((0.001..0.01).contains(&away), "{name}: {away}");
    }
}
