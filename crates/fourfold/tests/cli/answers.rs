//! What a model says of images, by `caption` and `ask`.

use std::fs;

use crate::support::*;

#[test]
fn captions_and_answers_come_as_text_and_as_json() {
    let place = trained();
    let one = good(place, &["caption", "--model", "runs/tiny", "red.png"]);
    assert_eq!(one.out, "red\n", "the prompt is that of the recipe");
    let two = good(
        place,
        &[
            "caption",
            "--model",
            "runs/tiny/model",
            "--prompt",
            "What colour?",
            "red.png",
            "blue.png",
        ],
    );
    assert_eq!(two.out, "red.png: red\nblue.png: blue\n");
    let ask = good(
        place,
        &[
            "ask",
            "--model",
            "runs/tiny",
            "--json",
            "green.png",
            "What colour?",
        ],
    );
    let line = &json_lines(&ask.out)[0];
    assert_eq!(
        (&line["path"], &line["text"]),
        (&"green.png".into(), &"green".into())
    );
    assert!(line["log_probability"].as_f64().expect("a number") < 0.0);
    assert_eq!(line["finished"], true);
    let rows = tempfile::tempdir().expect("a temporary folder");
    fs::copy(place.join("blue.png"), rows.path().join("b.png")).expect("copied");
    write(
        rows.path(),
        "rows.jsonl",
        "{\"image\": \"b.png\", \"question\": \"What colour?\", \"id\": 7}\n",
    );
    let file = rows.path().join("rows.jsonl");
    let file = file.to_str().expect("a path");
    let asked = good(
        place,
        &[
            "ask",
            "--model",
            "runs/tiny",
            "--json",
            "--beams",
            "2",
            "--jsonl",
            file,
        ],
    );
    let line = &json_lines(&asked.out)[0];
    assert_eq!((&line["id"], &line["text"]), (&7.into(), &"blue".into()));
}

/// More rows than are answered at a time.
#[test]
fn captions_of_many_rows_come_in_their_order() {
    let place = trained();
    let rows = tempfile::tempdir().expect("a temporary folder");
    fs::copy(place.join("blue.png"), rows.path().join("b.png")).expect("copied");
    let mut lines = String::from("{\"image\": \"b.png\"}\n");
    for id in 1..70 {
        lines += &format!("{{\"image\": \"b.png\", \"prompt\": \"What colour?\", \"id\": {id}}}\n");
    }
    write(rows.path(), "rows.jsonl", &lines);
    let file = rows.path().join("rows.jsonl");
    let file = file.to_str().expect("a path");
    let out = good(place, &["caption", "--model", "runs/tiny", "--jsonl", file]).out;
    let mut said = out.lines();
    let first = said.next().expect("a line");
    assert!(first.ends_with("b.png: blue"), "{first}");
    for id in 1..70 {
        assert_eq!(said.next(), Some(format!("{id}: blue").as_str()));
    }
    assert_eq!(said.next(), None);
}

#[test]
fn a_bad_image_is_named_and_the_others_are_answered() {
    let place = trained();
    let bad = tempfile::tempdir().expect("a temporary folder");
    write(bad.path(), "bad.png", "no picture");
    let file = bad.path().join("bad.png");
    let file = file.to_str().expect("a path");
    let ended = run(
        place,
        &[
            "caption",
            "--model",
            "runs/tiny",
            "red.png",
            file,
            "none.png",
            "blue.png",
        ],
    );
    assert_eq!(ended.code, 1);
    assert_eq!(ended.out, "red.png: red\nblue.png: blue\n");
    assert!(
        ended.err.contains("bad.png") && ended.err.contains("none.png"),
        "{}",
        ended.err
    );
    assert!(ended.err.contains("2 of 4 not answered"), "{}", ended.err);
}
