//! Answers where they are asked for in groups, and where they stop.

use super::*;

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
