//! A whole recipe measured, and the table of its scores.

use super::*;

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
