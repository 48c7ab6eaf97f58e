//! Numbers of data, and data written anew.

use std::fs;

use serde_json::Value;

use crate::support::*;

#[test]
fn a_recipe_and_a_file_are_counted() {
    let place = workplace();
    let place = place.path();
    let out = good(place, &["data", "stats", "tiny.toml", "--json"]).out;
    let report: Value = serde_json::from_str(&out).expect("JSON");
    let names = &report["data"][0];
    assert_eq!(
        (&names["name"], &names["images"]["max"]),
        (&"names".into(), &1.into())
    );
    assert_eq!(names["widths"]["median"], 16);
    assert!(names["tokens"]["min"].as_u64() > Some(4), "{names}");
    assert_eq!(report["stages"][0]["documents"], 3, "{report}");
    assert_eq!(report["stages"][0]["pack_tokens"], 2048);
    let text = good(
        place,
        &["data", "stats", "tiny.toml", "--pack-tokens", "60"],
    )
    .out;
    assert!(
        text.contains("# stage align: 3 documents in ") && text.contains("of 60 tokens"),
        "{text}"
    );
    assert!(text.contains("3  What colour?"), "{text}");
    let text = good(place, &["data", "stats", "colors.jsonl"]).out;
    assert!(text.contains("characters of `name`: 3 to 5"), "{text}");
    let text = good(
        place,
        &["data", "stats", "colors.jsonl", "--answer", "{{ name }}"],
    )
    .out;
    assert!(
        text.contains("words an answer: all 1") && !text.contains("tokens"),
        "{text}"
    );
}

#[test]
fn a_recipes_data_is_converted_and_read_again() {
    let place = workplace();
    let place = place.path();
    write(place, "green.png", "no picture");
    let arguments = [
        "data",
        "convert",
        "tiny.toml",
        "--data",
        "names",
        "out/train-{00000..}.tar",
        "--shard-size",
        "2",
    ];
    let ended = good(place, &arguments);
    assert!(
        ended.out.contains("2 samples in 2 shards") && ended.out.contains("1 skipped"),
        "{}",
        ended.out
    );
    assert!(ended.err.contains("colors.jsonl:line 2"), "{}", ended.err);
    let again = good(place, &arguments).out;
    assert!(again.contains("2 shards were there already"), "{again}");
    let shown = good(place, &["data", "check", "out/*.tar", "--json"]).out;
    let report: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(
        (&report[0]["good"], &report[0]["images"]),
        (&2.into(), &2.into())
    );
    good(place, &["data", "convert", "out/*.tar", "again.parquet"]);
    let rows = good(place, &["data", "show", "again.parquet", "--count", "1"]).out;
    assert!(
        rows.contains("prompts: [\"What colour?\"]") && rows.contains("answers: [\"red\"]"),
        "{rows}"
    );
    let message = refused(place, &["data", "convert", "out/*.tar", "again.parquet"], 1);
    assert!(
        message.contains("again.parquet exists already"),
        "{message}"
    );
    good(
        place,
        &["data", "convert", "out/*.tar", "again.parquet", "--force"],
    );
    let message = refused(
        place,
        &[
            "data",
            "convert",
            "again.parquet",
            "again.parquet",
            "--force",
        ],
        1,
    );
    assert!(message.contains("is what is read"), "{message}");
    assert!(fs::metadata(place.join("again.parquet")).is_ok());
}

/// A script should notice that most of its data is gone.
#[test]
fn a_conversion_that_loses_much_fails() {
    let place = workplace();
    let place = place.path();
    for name in ["green.png", "red.png"] {
        write(place, name, "no picture");
    }
    let arguments = [
        "data",
        "convert",
        "tiny.toml",
        "--data",
        "names",
        "out.parquet",
    ];
    let message = refused(place, &arguments, 1);
    assert!(
        message.contains("2 of 3 samples were skipped, more than the 1 % that may be"),
        "{message}"
    );
    assert!(place.join("out.parquet").exists());
    let more = ["--force", "--max-skipped", "0.7"];
    good(place, &[&arguments[..], &more].concat());
    let pattern = [
        "data",
        "convert",
        "tiny.toml",
        "--data",
        "names",
        "out-*.tar",
    ];
    let message = refused(place, &pattern, 1);
    assert!(
        message.contains("out-*.tar") && message.contains("pattern"),
        "{message}"
    );
}

#[test]
fn what_cannot_be_converted_is_told() {
    let place = workplace();
    let place = place.path();
    let message = refused(place, &["data", "convert", "colors.jsonl", "x.parquet"], 1);
    assert!(
        message.contains("--answer") && message.contains("name"),
        "{message}"
    );
    let message = refused(place, &["data", "convert", "tiny.toml", "x.parquet"], 1);
    assert!(
        message.contains("--data") && message.contains("held-out"),
        "{message}"
    );
    fn with(destination: &str) -> Vec<&str> {
        let start = ["data", "convert", "colors.jsonl", destination];
        [&start[..], &["--answer", "{{ name }}"]].concat()
    }
    for destination in ["x.csv", "x-{3..}.tar", "x-{00..}.zip"] {
        let message = refused(place, &with(destination), 1);
        assert!(
            message.contains("expected") && message.contains(destination),
            "{message}"
        );
    }
    let mut sized = with("x.tar");
    sized.extend(["--shard-size", "2"]);
    let message = refused(place, &sized, 1);
    assert!(message.contains("train-{00000..}.tar"), "{message}");
}
