//! Which rows of a source are one case.

use super::*;

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
