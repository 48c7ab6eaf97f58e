//! Models out to other programs and in from them, by `export` and `import`.

use std::fs;
use std::path::Path;

use crate::support::*;

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("listed").file_name();
    let mut names: Vec<String> = entries
        .map(|entry| name(entry).to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_model_of_any_kind_is_exported_whole_or_in_parts() {
    let (place, out) = (trained(), tempfile::tempdir().expect("a folder"));
    let target = |name: &str| out.path().join(name).display().to_string();
    good(
        place,
        &[
            "export",
            "--format",
            "native",
            "runs/tiny",
            &target("native"),
        ],
    );
    assert_eq!(
        names(&out.path().join("native")),
        [
            "chat_template.jinja",
            "config.json",
            "configuration_fourfold.py",
            "format.json",
            "generation_config.json",
            "image_processing_fourfold.py",
            "model.safetensors",
            "modeling_fourfold.py",
            "preprocessor_config.json",
            "processor_config.json",
            "tokenizer.json",
            "tokenizer_config.json",
        ]
    );
    let asked = |model: &str| {
        let arguments = [
            "caption",
            "--model",
            model,
            "--prompt",
            "What colour?",
            "red.png",
        ];
        good(place, &arguments).out
    };
    assert_eq!(asked(&target("native")), "red\n");
    for (part, file) in [
        ("vision", "preprocessor_config.json"),
        ("language", "tokenizer_config.json"),
    ] {
        let arguments = [
            "export",
            "--part",
            part,
            "--dtype",
            "bf16",
            "runs/tiny",
            &target(part),
        ];
        good(place, &arguments);
        let files = names(&out.path().join(part));
        assert!(files.iter().any(|name| name == file), "{files:?}");
    }
    let native = out.path().join("native/model.safetensors");
    let language = out.path().join("language/model.safetensors");
    let size = |path: &Path| fs::metadata(path).expect("there").len();
    assert!(
        2 * size(&language) < size(&native),
        "16 bits, and no encoder"
    );
}

#[test]
fn an_export_replaces_a_model_when_forced_and_nothing_else_ever() {
    let (place, out) = (trained(), tempfile::tempdir().expect("a folder"));
    let target = out.path().join("model");
    let native = target.display().to_string();
    let export = ["export", "--format", "native", "runs/tiny", &native];
    let forced = [&export[..], &["--force"]].concat();
    good(place, &export);
    let message = refused(place, &export, 1);
    assert!(message.contains("--force"), "{message}");
    good(place, &forced);
    write(&target, "letter.txt", "dear");
    let message = refused(place, &forced, 1);
    assert!(message.contains("letter.txt"), "{message}");
    assert!(target.join("letter.txt").exists());
    let elsewhere = out.path().join("other").display().to_string();
    let message = refused(
        place,
        &["export", "--format", "llava", "runs/tiny", &elsewhere],
        1,
    );
    assert!(
        message.contains("final_norm") && message.contains("causal") && message.contains("native"),
        "{message}"
    );
    assert!(!Path::new(&elsewhere).exists());
    refused(
        place,
        &["export", "--format", "gguf", "runs/tiny", &elsewhere],
        2,
    );
    refused(
        place,
        &["export", "--part", "projector", "runs/tiny", &elsewhere],
        2,
    );
    refused(place, &["export", "runs/tiny", &elsewhere], 2);
    let message = refused(place, &["import", &native, &elsewhere], 1);
    assert!(message.contains("model_type is fourfold"), "{message}");
}

#[test]
fn a_llava_comes_back_and_says_the_same() {
    let place = workplace();
    let place = place.path();
    let recipe = RECIPE
        .replacen(
            "[model.vision]",
            "[model]\nvisibility = \"causal\"\n[model.vision]\nfinal_norm = false",
            1,
        )
        .replace("samples = 480", "samples = 64")
        .replace("size = 16\n[data", "size = 16\nfit = \"stretch\"\n[data");
    write(place, "llava.toml", &recipe);
    good(place, &["train", "llava.toml", "--run", "run", "--no-eval"]);
    let exported = good(place, &["export", "--format", "llava", "run", "llava"]);
    assert!(!exported.err.contains("note"), "{}", exported.err);
    good(place, &["import", "llava", "back"]);
    let asked = |model: &str| {
        let images = ["red.png", "green.png", "blue.png"];
        let arguments = [
            "caption",
            "--model",
            model,
            "--prompt",
            "What colour?",
            "--json",
        ];
        good(place, &[&arguments[..], &images].concat()).out
    };
    // A model in a run is computed in the run's precision, one by itself in the machine's.
    fs::rename(place.join("run/model"), place.join("plain")).expect("there");
    assert_eq!(asked("back"), asked("plain"));
    // Without Fourfold's own file the chat template says the layout; without that it is a guess, which is told.
    fs::remove_file(place.join("llava/format.json")).expect("there");
    let imported = good(place, &["import", "--force", "llava", "back"]);
    assert!(!imported.err.contains("note"), "{}", imported.err);
    assert_eq!(asked("back"), asked("plain"));
    fs::remove_file(place.join("llava/chat_template.jinja")).expect("there");
    let imported = good(place, &["import", "--force", "llava", "back"]);
    assert!(imported.err.contains("'<|end|>'"), "{}", imported.err);
    for command in [
        &["import", "back", "other"][..],
        &["ask", "--model", "llava", "red.png", "What colour?"],
    ] {
        let message = refused(place, command, 1);
        assert!(message.contains("model_type is"), "{message}");
    }
    fs::remove_file(place.join("llava/tokenizer.json")).expect("there");
    let message = refused(place, &["import", "--force", "llava", "back"], 1);
    assert!(
        message.contains("tokenizer.json") && message.contains("save_pretrained"),
        "{message}"
    );
}
