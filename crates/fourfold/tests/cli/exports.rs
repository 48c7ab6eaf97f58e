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
fn what_is_read_is_never_replaced_and_a_link_neither() {
    let out = tempfile::tempdir().expect("a folder");
    let place = out.path();
    good(
        trained(),
        &[
            "export",
            "--format",
            "native",
            "runs/tiny",
            &place.join("model").display().to_string(),
        ],
    );
    let weights = place.join("model/model.safetensors");
    let before = fs::read(&weights).expect("there");
    fs::create_dir(place.join("sub")).expect("a folder");
    for (source, target, how) in [
        ("model", "model", "is the folder that is read"),
        ("model", "sub/../model", "is the folder"),
        ("model", "model/again", "lies within"),
        ("model", ".", "holds"),
    ] {
        let export = ["export", "--format", "native", source, target, "--force"];
        for command in [&export[..], &["import", source, target, "--force"]] {
            let message = refused(place, command, 1);
            assert!(
                message.contains(how) && message.contains("name another folder"),
                "{target}: {message}"
            );
        }
    }
    assert_eq!(fs::read(&weights).expect("there"), before);
    #[cfg(unix)]
    for (number, place_of_link) in ["sub", "nowhere"].into_iter().enumerate() {
        let link = format!("link{number}");
        std::os::unix::fs::symlink(place_of_link, place.join(&link)).expect("a link");
        let message = refused(place, &["export", "--format", "native", "model", &link], 1);
        assert!(
            message.contains(&format!("is a link to {place_of_link}")),
            "{message}"
        );
        assert!(place.join(&link).is_symlink());
    }
}

/// What `transformers` is told of images, by the fit of a run and the format.
#[test]
fn images_go_out_with_what_prepares_them_and_what_differs_is_told() {
    let out = tempfile::tempdir().expect("a folder");
    let place = out.path();
    let arguments = ["export", "--format", "native", "runs/tiny"];
    let model = place.join("model").display().to_string();
    good(trained(), &[&arguments[..], &[&model]].concat());
    let file = place.join("model/preprocessor_config.json");
    let text = fs::read_to_string(&file).expect("there");
    let plain: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let ours = "FourfoldImageProcessor";
    for (fit, background, class, told) in [
        (
            "pad",
            "white",
            "LlavaImageProcessor",
            "padded with white here",
        ),
        (
            "pad",
            "mean",
            "LlavaImageProcessor",
            "after they are resized here",
        ),
        (
            "square",
            "white",
            "LlavaImageProcessor",
            "padded with white here",
        ),
        (
            "stretch",
            "white",
            "SiglipImageProcessor",
            "`fit = \"stretch\"`",
        ),
        ("crop", "white", "CLIPImageProcessor", "`fit = \"crop\"`"),
    ] {
        let mut config = plain.clone();
        config["image_processor_type"] = ours.into();
        config["fourfold_fit"] = fit.into();
        config["fourfold_background"] = background.into();
        config["size"] = serde_json::json!({ "height": 16, "width": 16 });
        config["crop_size"] = config["size"].clone();
        fs::write(&file, config.to_string()).expect("written");
        let written = |folder: &str| {
            let path = place.join(folder).join("preprocessor_config.json");
            let text = fs::read_to_string(path).expect("there");
            serde_json::from_str::<serde_json::Value>(&text).expect("JSON")
        };
        let native = ["export", "--force", "--format", "native", "model", "native"];
        let exported = good(place, &native);
        assert!(!exported.err.contains("note"), "{fit}: {}", exported.err);
        let config = written("native");
        assert_eq!(config["image_processor_type"], ours, "{fit}");
        assert_eq!(config["fourfold_background"], background, "{fit}");
        assert!(
            config["auto_map"]["AutoImageProcessor"].is_string(),
            "{config}"
        );
        let vision = ["export", "--force", "--part", "vision", "model", "vision"];
        let exported = good(place, &vision);
        assert!(exported.err.contains(told), "{fit}: {}", exported.err);
        assert_eq!(written("vision")["image_processor_type"], class, "{fit}");
    }
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
    assert!(
        exported
            .err
            .contains("note: images are resized as `fit = \"stretch\"`")
            && exported.err.contains("`resize = [16, 16]`"),
        "{}",
        exported.err
    );
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
