//! `bench`.

use std::io::Write;
use std::process::Stdio;

use crate::support::*;

#[test]
fn a_work_is_timed_in_turns_of_lines() {
    let mut command = command(
        &std::env::temp_dir(),
        &["bench", "gpt", "--precision", "f32", "--turns"],
    );
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(b"\n\n").expect("it listens");
    drop(input);
    let done = child.wait_with_output().expect("it ends");
    assert!(done.status.success());
    let out = String::from_utf8(done.stdout).expect("text");
    assert_eq!(out.lines().count(), 2, "one line a turn: {out}");
    for line in out.lines() {
        let turn: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert!(
            turn["seconds"]
                .as_f64()
                .is_some_and(|seconds| seconds > 0.0)
        );
    }
}

#[test]
fn what_cannot_be_timed_is_refused() {
    let here = std::env::temp_dir();
    let unknown = refused(&here, &["bench", "vlm"], 2);
    assert!(unknown.contains("vlm-projector"), "{unknown}");
    let none = refused(&here, &["bench", "gpt", "--rounds", "0"], 2);
    assert!(none.contains("rounds"), "{none}");
    let two = refused(&here, &["bench", "gpt", "vit-b-16", "--turns"], 1);
    assert!(two.contains("--turns takes one work"), "{two}");
    let model = refused(&here, &["bench", "gpt", "--model", "0.9b"], 1);
    assert!(model.contains("gpt has a model of its own"), "{model}");
    let batch = refused(&here, &["bench", "caption-1", "--batch", "4"], 1);
    assert!(
        batch.contains("caption-1 has a batch of its own"),
        "{batch}"
    );
}
