//! `devices` and `selfcheck`.

use std::path::Path;

use serde_json::Value;

use crate::support::*;

/// Compiled kernels are kept beside those of the tests of `fourfold-tensor`.
fn selfcheck(arguments: &[&str]) -> Ended {
    let program = std::env::current_exe().expect("known");
    let place = std::env::temp_dir();
    let mut command = command(&place, &[&["selfcheck"], arguments].concat());
    command.env("FOURFOLD_CACHE", program.parent().unwrap_or(Path::new(".")));
    ended(&command.output().expect("started"))
}

#[test]
fn what_there_is_to_compute_on_is_listed() {
    let place = std::env::temp_dir();
    let text = good(&place, &["devices"]).out;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("device  "), "{text}");
    assert!(
        lines[1].starts_with("cpu  ") && lines[1].contains("threads"),
        "{text}"
    );
    assert!(lines[2].starts_with("cuda"), "{text}");
    assert!(text.contains("\nemulated  "), "{text}");
    assert!(text.contains("`--device auto` takes c"), "{text}");
    let json = good(&place, &["devices", "--json"]).out;
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["devices"][0]["device"], "cpu");
    for device in json["devices"].as_array().expect("a list") {
        assert_eq!(
            device["usable"].as_bool(),
            Some(device["problem"].is_null()),
            "{device}"
        );
    }
}

#[test]
fn kernels_for_gpus_are_right() {
    let found = selfcheck(&["--device", "emulated", "--quick", "--json"]);
    assert_eq!(found.code, 0, "{}{}", found.out, found.err);
    let lines = json_lines(&found.out);
    for line in &lines {
        assert_eq!(line["ok"], true, "{line}");
        assert_eq!(
            (&line["same_bits"], &line["bytes_left"]),
            (&true.into(), &0.into())
        );
        assert_eq!(line["device"], "emulated");
        let operation = line["operation"].as_str().expect("a name");
        let of_f32 = ["model, answer", "linear (TF32)"];
        let alone = of_f32.contains(&operation) || operation.starts_with("all digits");
        let errors = line["errors"].as_array().expect("a list");
        assert_eq!(errors.len(), if alone { 1 } else { 3 }, "{line}");
    }
    let names: Vec<&Value> = lines.iter().map(|line| &line["operation"]).collect();
    for name in [
        "linear",
        "attention, visibility",
        "attention_step",
        "head_loss",
        "model, loss",
    ] {
        assert!(names.iter().any(|found| *found == name), "{names:?}");
    }
}

#[test]
fn formats_of_this_processor_are_held_to_f32() {
    let found = selfcheck(&["--device", "cpu", "--quick"]);
    assert_eq!(found.code, 0, "{}{}", found.out, found.err);
    assert!(
        found.out.contains("operations are right on cpu"),
        "{}",
        found.out
    );
    assert!(!found.out.contains("WRONG"), "{}", found.out);
    assert!(found.out.contains("numbers are moved"), "{}", found.out);
}

/// A compiler that fails stands for kernels that do not compile on a GPU.
#[cfg(unix)]
#[test]
fn what_fails_is_told_of_each_operation() {
    use std::os::unix::fs::PermissionsExt;

    let place = tempfile::tempdir().expect("a temporary folder");
    let compiler = place.path().join("compiler");
    write(
        place.path(),
        "compiler",
        "#!/bin/sh\ntest \"$1\" = --version && exit\necho no such instruction >&2\nexit 1\n",
    );
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&compiler, executable).expect("ours");
    let arguments = ["selfcheck", "--device", "emulated", "--quick", "--json"];
    let mut command = command(place.path(), &arguments);
    command
        .env("CXX", &compiler)
        .env("FOURFOLD_CACHE", place.path());
    let found = ended(&command.output().expect("started"));
    assert_eq!(found.code, 1, "{}{}", found.out, found.err);
    assert!(found.err.contains("rope; "), "{}", found.err);
    let lines = json_lines(&found.out);
    assert!(lines.len() > 30, "{}", found.out);
    for line in lines {
        if line["operation"] == "head_logits" {
            // A product alone, which needs no kernel there: a device that failed before is opened anew.
            assert_eq!(line["ok"], true, "{line}");
            continue;
        }
        let problem = line["problems"][0].to_string();
        assert!(problem.contains("no such instruction"), "{line}");
        assert_eq!(line["bytes_left"], 0, "{line}");
    }
}

#[test]
fn a_device_that_is_not_there_is_refused() {
    let message = refused(
        &std::env::temp_dir(),
        &["selfcheck", "--device", "cuda:4096"],
        1,
    );
    assert!(message.contains("cuda:4096"), "{message}");
}
