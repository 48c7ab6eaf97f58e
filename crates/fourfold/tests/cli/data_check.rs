//! What `data check` finds beside broken samples: likeness, overlap with tests, images that nobody reads.

use std::path::Path;

use serde_json::Value;

use crate::support::*;

/// A picture like no other of another `number`, and one that looks like it.
fn pictures(place: &Path, number: u32) {
    let picture = |brighter: u8| {
        image::RgbImage::from_fn(64, 64, |x, y| {
            let wave = (f64::from(x * (number + 1) + y * (7 - number)) / 9.0).sin();
            let level = 110.0 + 60.0 * wave + f64::from(y * (number + 1)) / 4.0;
            image::Rgb([level as u8 + brighter, level as u8, (level / 2.0) as u8])
        })
    };
    let save = |name: String, brighter| {
        picture(brighter).save(place.join(name)).expect("written");
    };
    save(format!("p{number}.png"), 0);
    save(format!("like{number}.png"), 3);
}

fn report(place: &Path, arguments: &[&str]) -> (i32, Value) {
    let mut all = vec!["data", "check"];
    all.extend(arguments);
    all.push("--json");
    let ended = run(place, &all);
    let reports: Value = serde_json::from_str(&ended.out).expect(&ended.err);
    (ended.code, reports[0].clone())
}

#[test]
fn likeness_and_overlap_are_found() {
    let place = tempfile::tempdir().expect("a folder");
    let place = place.path();
    for number in 0..4 {
        pictures(place, number);
    }
    write(
        place,
        "train.csv",
        "path,caption\np0.png,one\np0.png,two\np0.png,one\nlike0.png,three\np1.png,four\nlike2.png,five\n",
    );
    write(
        place,
        "test.csv",
        "path,caption\np1.png,x\np2.png,y\np3.png,z\n",
    );
    let (code, found) = report(place, &["train.csv"]);
    assert_eq!(
        (code, &found["good"], &found["distinct_images"]),
        (0, &6.into(), &4.into())
    );
    assert_eq!(found["repeated"]["count"], 1, "{found}");
    assert_eq!(found["near_duplicates"]["count"], 1, "{found}");
    let (code, found) = report(place, &["train.csv", "--against", "test.csv"]);
    let overlap = &found["overlap"][0];
    assert_eq!(
        (
            code,
            &overlap["certain"]["count"],
            &overlap["similar"]["count"]
        ),
        (1, &1.into(), &1.into())
    );
    write(place, "list.txt", "p0.png\n");
    let arguments = ["data", "check", "train.csv", "--blocklist", "list.txt"];
    let ended = run(place, &arguments);
    assert!(
        ended.code == 1 && ended.out.contains("3 samples have an image of list.txt"),
        "{}",
        ended.out
    );
    write(place, "list.txt", "nothing known\n");
    let message = refused(place, &arguments, 1);
    assert!(message.contains("list.txt: line 1"), "{message}");
    let message = refused(
        place,
        &["data", "check", "train.csv", "--against", "tset.csv"],
        1,
    );
    assert!(message.contains("tset.csv"), "{message}");
}

#[test]
fn an_evaluation_of_training_data_is_told() {
    let place = workplace();
    let message = refused(place.path(), &["data", "check", "tiny.toml"], 1);
    assert!(message.contains("3 samples are also held out"), "{message}");
    good(
        place.path(),
        &["data", "check", "tiny.toml", "--no-overlap"],
    );
}

#[test]
fn a_column_of_images_that_nobody_reads_is_named() {
    let place = workplace();
    let place = place.path();
    write(
        place,
        "half.jsonl",
        "{\"image\": \"red.png\", \"caption\": \"a\"}\n{\"img_file\": \"green.png\", \"caption\": \"b\"}\n{\"caption\": \"c\"}\n",
    );
    let (_, found) = report(place, &["half.jsonl"]);
    assert_eq!(found["without_images"]["count"], 2, "{found}");
    assert_eq!(found["without_images"]["columns"]["img_file"], 1, "{found}");
    let text = run(place, &["data", "check", "half.jsonl"]).out;
    assert!(
        text.contains("`img_file` looks like an image's path"),
        "{text}"
    );
    write(
        place,
        "none.jsonl",
        "{\"link\": \"https://a.b/c.jpg\", \"caption\": \"a\"}\n",
    );
    let (_, found) = report(place, &["none.jsonl"]);
    assert_eq!(found["without_images"]["columns"]["link"], 1, "{found}");
}

#[test]
fn what_is_read_is_not_written_over() {
    let place = workplace();
    let place = place.path();
    let before = |name: &str| std::fs::read(place.join(name)).expect("readable");
    let (recipe, data) = (before("tiny.toml"), before("colors.jsonl"));
    for (arguments, option) in [
        (
            ["check", "colors.jsonl", "--skipped", "colors.jsonl"],
            "--skipped",
        ),
        (
            ["check", "tiny.toml", "--skipped", "tiny.toml"],
            "--skipped",
        ),
        (
            ["check", "tiny.toml", "--skipped", "colors.jsonl"],
            "--skipped",
        ),
        (["show", "colors.jsonl", "--html", "colors.jsonl"], "--html"),
        (["show", "tiny.toml", "--html", "./colors.jsonl"], "--html"),
    ] {
        let mut all = vec!["data"];
        all.extend(arguments);
        let message = refused(place, &all, 1);
        assert!(
            message.contains(option) && message.contains("is what is read"),
            "{message}"
        );
    }
    assert_eq!(
        (before("tiny.toml"), before("colors.jsonl")),
        (recipe, data)
    );
}

/// To open a pipe is to wait for whoever writes into it.
#[cfg(unix)]
#[test]
fn a_pipe_is_no_data_file() {
    let place = workplace();
    let place = place.path();
    let made = std::process::Command::new("mkfifo")
        .arg(place.join("pipe.jsonl"))
        .status();
    assert!(made.expect("mkfifo").success());
    let message = refused(place, &["data", "check", "pipe.jsonl"], 1);
    assert!(message.contains("is not a regular file"), "{message}");
    let train = ["train", "tiny.toml", "--set", "data.names.path=pipe.jsonl"];
    let message = refused(place, &train, 1);
    assert!(message.contains("is not a regular file"), "{message}");
}
