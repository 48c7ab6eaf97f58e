//! What a user does wrong, and where help is found.

use std::process::Command;

use crate::support::*;

#[test]
fn mistakes_are_told_with_the_way_out() {
    let place = workplace();
    let place = place.path();
    write(place, "typo.toml", &RECIPE.replace("batch = 4", "bach = 4"));
    let message = refused(place, &["train", "typo.toml"], 1);
    assert!(
        message.contains("typo.toml") && message.contains("batch"),
        "{message}"
    );
    let message = refused(
        place,
        &["train", "tiny.toml", "--set", "stage.algn.lr=1"],
        1,
    );
    assert!(message.contains("align"), "{message}");
    let message = refused(place, &["train", "nowhere.toml"], 1);
    assert!(message.contains("nowhere.toml"), "{message}");
    let message = refused(place, &["train", "tiny.toml", "--device", "gpu"], 2);
    assert!(message.contains("cuda:N"), "{message}");
    let message = refused(place, &["train", "tiny.toml", "--device", "cuda:4096"], 1);
    assert!(message.contains("cuda:4096: "), "{message}");
    let message = refused(place, &["caption", "--model", "runs/none", "red.png"], 1);
    assert!(message.contains("runs/none"), "{message}");
    let message = refused(place, &["data", "show", "red.png"], 1);
    assert!(
        message.contains("red.png") && message.contains("expected Parquet, JSON"),
        "{message}"
    );
    let message = refused(place, &["data", "check", "none.jsonl"], 1);
    assert!(message.contains("none.jsonl"), "{message}");
    let message = refused(
        place,
        &["eval", "--model", "m", "--data", "d", "--beams", "65"],
        2,
    );
    assert!(message.contains("1..=64"), "{message}");
    let ended = ended(
        &command(place, &["plan", "tiny.toml"])
            .env("FOURFOLD_ISA", "avx1024")
            .output()
            .expect("started"),
    );
    assert_eq!(ended.code, 1);
    assert!(
        ended.err.contains("FOURFOLD_ISA") && ended.err.contains("avx512bf16"),
        "{}",
        ended.err
    );
    refused(place, &["ask", "--model", "runs/none"], 2);
    refused(place, &["train", "--resume"], 1);
}

#[test]
fn every_help_has_an_example() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let commands: [&[&str]; 10] = [
        &[],
        &["quickstart"],
        &["plan"],
        &["train"],
        &["caption"],
        &["ask"],
        &["eval"],
        &["data"],
        &["data", "show"],
        &["data", "check"],
    ];
    for words in commands {
        let mut arguments = words.to_vec();
        arguments.push("--help");
        assert!(
            good(place.path(), &arguments).out.contains("Example"),
            "{words:?}"
        );
    }
}

/// As in `fourfold data show … | head -1`.
#[cfg(unix)]
#[test]
fn a_reader_may_leave() {
    let place = workplace();
    let line = format!(
        "{} data show colors.jsonl | head -n 1",
        env!("CARGO_BIN_EXE_fourfold")
    );
    let output = Command::new("sh")
        .args(["-c", &line])
        .current_dir(place.path())
        .output()
        .expect("started");
    assert_eq!(ended(&output).err, "");
}
