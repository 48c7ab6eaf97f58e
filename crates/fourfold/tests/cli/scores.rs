//! Captions and answers from elsewhere, scored.

use serde_json::{Value, json};

use crate::support::*;

/// Three images with two references each, and captions for them.
fn captions(place: &std::path::Path) {
    let annotation =
        |id: usize, caption: &str| json!({"image_id": id, "id": 0, "caption": caption});
    let references = json!({
        "images": [{"id": 1}, {"id": 2}, {"id": 3}],
        "annotations": [
            annotation(1, "A cat sleeps on a bed."),
            annotation(2, "Two dogs run on the grass."),
            annotation(1, "A grey cat on a bed"),
            annotation(3, "A red kite flies."),
            annotation(2, "Dogs running outside"),
            annotation(3, "A kite in the sky"),
        ],
    });
    write(place, "references.json", &references.to_string());
    let said = json!([
        {"image_id": 1, "caption": "a grey cat on a bed"},
        {"image_id": 2, "caption": "two dogs run on the grass"},
        {"image_id": 3, "caption": ""},
    ]);
    write(place, "said.json", &said.to_string());
}

const FILES: [&str; 5] = [
    "score",
    "--predictions",
    "said.json",
    "--references",
    "references.json",
];

#[test]
fn captions_are_scored_as_the_field_does() {
    let place = tempfile::tempdir().expect("a temporary folder");
    captions(place.path());
    let out = good(place.path(), &[&FILES[..], &["--json"]].concat()).out;
    let scores: Value = serde_json::from_str(&out).expect("JSON");
    let model = &scores["captions"]["model"];
    assert_eq!(scores["captions"]["samples"], 3);
    // Two of three are said as they are written, and one says nothing.
    let rouge = model["rouge_l"].as_f64().expect("a number");
    assert!((rouge - 2.0 / 3.0).abs() < 1e-9, "{model}");
    assert!(model["bleu4"].as_f64().expect("a number") > 0.7, "{model}");
    let text = good(place.path(), &FILES).out;
    assert!(
        text.contains("CIDEr-D") && text.contains("66.7 ("),
        "{text}"
    );
}

/// Whether `c.` is a word hangs on the caption behind it, so the order is that of COCO's tool.
#[test]
fn captions_are_read_in_the_order_of_the_images() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let place = place.path();
    let score = |images: Value| {
        let references = json!({
            "images": images,
            "annotations": [
                {"image_id": 1, "caption": "The key"},
                {"image_id": 2, "caption": "a middle c"},
            ],
        });
        write(place, "references.json", &references.to_string());
        let said = [(1, "The key"), (2, "a middle C.")];
        let said = said.map(|(id, text)| json!({"image_id": id, "caption": text}));
        write(place, "said.json", &json!(said).to_string());
        let arguments = [&FILES[..], &["--metrics", "rouge_l", "--json"]].concat();
        let scores: Value = serde_json::from_str(&good(place, &arguments).out).expect("JSON");
        scores["captions"]["model"]["rouge_l"]
            .as_f64()
            .expect("a number")
    };
    // "c." before the end, "c" before "The".
    let last = score(json!([{"id": 1}, {"id": 2}]));
    assert!((last - 5.0 / 6.0).abs() < 1e-9, "{last}");
    assert_eq!(score(json!([{"id": 2}, {"id": 1}])), 1.0);
    assert_eq!(score(json!([])), last);
}

#[test]
fn answers_of_vqa_are_scored_as_the_challenge_does() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let people = |yes: usize| -> Vec<Value> {
        let said = |n| json!({"answer_id": n, "answer": if n < yes { "yes" } else { "no" }});
        (0..10).map(said).collect()
    };
    let question = |id: usize, yes| json!({"question_id": id, "multiple_choice_answer": "no", "answers": people(yes)});
    let references = json!({"annotations": [question(7, 10), question(8, 3)]});
    write(place.path(), "references.json", &references.to_string());
    let said = json!([{"question_id": 8, "answer": "Yes."}, {"question_id": 7, "answer": "yes"}]);
    write(place.path(), "said.json", &said.to_string());
    let out = good(place.path(), &[&FILES[..], &["--json"]].concat()).out;
    let scores: Value = serde_json::from_str(&out).expect("JSON");
    let accuracy = scores["answers"]["model"]["vqa_accuracy"]
        .as_f64()
        .expect("a number");
    assert!((accuracy - 0.95).abs() < 1e-9, "{scores}");
}

#[test]
fn predictions_and_references_are_of_the_same_ids() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let place = place.path();
    captions(place);
    let refusal = |said: Value| {
        write(place, "said.json", &said.to_string());
        refused(place, &FILES, 1)
    };
    let caption = |id: Value| json!({"image_id": id, "caption": "a cat"});
    for (said, expected) in [
        (
            json!([caption(json!(1)), caption(json!(9))]),
            "image_id 9 is none of references.json",
        ),
        (
            json!([caption(json!(1))]),
            "no prediction for image_id 2, nor for 1 more; give all, or --subset",
        ),
        (
            json!([caption(json!(1)), caption(json!("1"))]),
            "prediction 1: image_id 1 is there already",
        ),
        (
            json!([caption(json!(null))]),
            "expected `image_id` with a whole number or a text",
        ),
        (
            json!([{"image_id": 1, "caption": 5}]),
            "expected `caption` with a text",
        ),
        (json!({"1": "a cat"}), "expected a list of {\"image_id\": …"),
        (json!([]), "said.json has no predictions"),
    ] {
        let message = refusal(said);
        assert!(message.contains(expected), "{expected}: {message}");
    }
    write(place, "said.json", "[{\"image_id\": 1, \"caption\": NaN}]");
    let message = refused(place, &FILES, 1);
    assert!(message.contains("said.json is no JSON"), "{message}");
    write(place, "said.json", &json!([caption(json!(1))]).to_string());
    good(place, &[&FILES[..], &["--subset"]].concat());
    write(place, "references.json", "[]");
    let message = refused(place, &FILES, 1);
    assert!(
        message.contains("references.json: expected an object with a list `annotations`"),
        "{message}"
    );
}

#[test]
fn domains_of_images_are_scored_apart_and_samples_written() {
    let place = tempfile::tempdir().expect("a temporary folder");
    captions(place.path());
    let text = std::fs::read_to_string(place.path().join("references.json")).expect("a file");
    let mut references: Value = serde_json::from_str(&text).expect("JSON");
    references["images"] = json!([
        {"id": 1, "domain": "in-domain"},
        {"id": 2, "domain": "near-domain"},
        {"id": 3, "domain": "in-domain"},
    ]);
    write(place.path(), "references.json", &references.to_string());
    let more = [
        "--json",
        "--samples",
        "samples.jsonl",
        "--metrics",
        "rouge_l",
    ];
    let out = good(place.path(), &[&FILES[..], &more].concat()).out;
    let scores: Value = serde_json::from_str(&out).expect("JSON");
    let groups = &scores["captions"]["groups"];
    assert_eq!(groups["in-domain"]["samples"], 2);
    assert_eq!(groups["in-domain"]["model"]["rouge_l"], 0.5);
    assert_eq!(groups["near-domain"]["model"]["rouge_l"], 1.0);
    let text = std::fs::read_to_string(place.path().join("samples.jsonl")).expect("a file");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[1]["scores"]["rouge_l"], 1.0);
    assert_eq!(lines[1]["group"], "near-domain");
    // What was written is scored again, with other metrics too.
    let again = [
        "score",
        "--predictions",
        "samples.jsonl",
        "--metrics",
        "rouge_l,exact_match",
        "--json",
    ];
    let again: Value = serde_json::from_str(&good(place.path(), &again).out).expect("JSON");
    let (first, second) = (&scores["captions"], &again["predictions"]);
    assert_eq!(first["model"]["rouge_l"], second["model"]["rouge_l"]);
    assert_eq!(second["groups"]["in-domain"]["samples"], 2);
    let itself = ["--samples", "said.json"];
    let message = refused(place.path(), &[&FILES[..], &itself].concat(), 1);
    assert!(message.contains("said.json is what is scored"), "{message}");
}

#[test]
fn other_programs_may_score_too() {
    let place = tempfile::tempdir().expect("a temporary folder");
    captions(place.path());
    // A metric that likes captions with a cat.
    let lines = "while read -r line; do case \"$line\" in *'\"prediction\":\"a grey cat'*) echo 1;; *) echo 0.5;; esac; done";
    let likes = format!("cats={lines}");
    let more = ["--external", &likes, "--json"];
    let out = good(place.path(), &[&FILES[..], &more].concat()).out;
    let scores: Value = serde_json::from_str(&out).expect("JSON");
    let cats = scores["captions"]["model"]["cats"]
        .as_f64()
        .expect("a number");
    assert!((cats - 2.0 / 3.0).abs() < 1e-12, "{scores}");
    let text = good(place.path(), &[&FILES[..], &more[..2]].concat()).out;
    assert!(text.contains("cats") && text.contains("0.667"), "{text}");
    for (command, expected) in [
        ("x=echo 1", "wrote 1 numbers for 3 predictions"),
        ("x=cat", "line 1: expected a number"),
        ("x=exit 3", "ended with exit status: 3"),
        ("x=yes NaN | head -3", "line 1: expected a number"),
    ] {
        let message = refused(
            place.path(),
            &[&FILES[..], &["--external", command]].concat(),
            1,
        );
        assert!(message.contains(expected), "{message}");
    }
}
