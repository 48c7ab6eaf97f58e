//! What a recipe may say, and what is said of one that may not.

use fourfold_tensor::Precision;

use super::*;

const RECIPE: &str = r#"
name = "tiny"
[model.vision]
from = "eyes"
[model.projector]
kind = "mlp"
[model.language]
from = "words"
[data.pictures]
path = "pictures.jsonl"
answer = "{{ name }}"
[[stage]]
name = "align"
train = ["projector"]
mixture = { pictures = 1 }
samples = 100
batch = 10
lr = 1e-3
"#;

fn refusal(from: &str, to: &str, overrides: &[&str]) -> String {
    let text = RECIPE.replacen(from, to, 1);
    let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
    format!(
        "{:#}",
        Recipe::parse("r.toml", &text, &overrides).expect_err("refused")
    )
}

#[test]
fn a_recipe_reads_and_reads_back() {
    let recipe = Recipe::parse("r.toml", RECIPE, &[]).expect("a valid recipe");
    assert_eq!(recipe.stage[0].train, [fourfold_model::Part::Projector]);
    let written = recipe.to_toml(Path::new("")).expect("written");
    let again = Recipe::parse("r.toml", &written, &[]).expect("read back");
    assert_eq!(again.stage, recipe.stage);
    assert_eq!(again.to_toml(Path::new("")).expect("written"), written);
}

#[test]
fn an_override_addresses_a_stage_by_its_name() {
    let recipe = Recipe::parse("r.toml", RECIPE, &["stage.align.lr=0.5".into()]).expect("valid");
    assert_eq!(
        recipe.stage[0].lr.of(fourfold_model::Part::Projector),
        Some(0.5)
    );
}

#[test]
fn a_stage_may_compute_otherwise_than_the_recipe() {
    let read = |overrides: &[&str]| {
        let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
        Recipe::parse("r.toml", RECIPE, &overrides).expect("valid")
    };
    let of = |overrides: &[&str]| {
        let recipe = read(overrides);
        recipe.precision_of(&recipe.stage[0]).resolve()
    };
    assert_eq!(of(&[]), Precision::fastest());
    assert_eq!(of(&["precision=fp16"]), Precision::F16);
    let own = ["precision=fp16", "stage.align.precision=f32"];
    assert_eq!(of(&own), Precision::F32);
    let mut recipe = read(&["precision=f32", "stage.align.precision=auto"]);
    recipe.settle_precision(&fourfold_tensor::Device::Cpu);
    assert_eq!(recipe.precision, PrecisionChoice::F32);
    let settled = recipe.stage[0].precision.expect("given");
    assert_ne!(settled, PrecisionChoice::Auto);
    assert_eq!(settled.resolve(), Precision::fastest());
    let mut recipe = read(&["precision=tf32"]);
    recipe.settle_precision(&fourfold_tensor::Device::Cpu);
    assert_eq!(recipe.precision, PrecisionChoice::Tf32);
    let scaled = read(&["precision=fp16", "stage.align.loss_scale.initial=1024"]);
    let written = scaled.to_toml(Path::new("")).expect("written");
    let again = Recipe::parse("r.toml", &written, &[]).expect("read back");
    let scale = again.stage[0].loss_scale.expect("given");
    assert_eq!((scale.initial, scale.growth_interval), (1024.0, 2000));
}

/// Runs that began before there were such keys go on.
#[test]
fn a_recipe_without_formats_of_stages_keeps_its_fingerprint() {
    let recipe = Recipe::parse("r.toml", RECIPE, &["precision=f32".into()]).expect("valid");
    let fingerprint = recipe.fingerprint(Path::new("")).expect("written");
    let new = |key: &&String| key.contains("loss_scale") || key.ends_with(".precision");
    assert_eq!(fingerprint.values.keys().find(new), None);
}

#[test]
fn refusals_name_file_key_and_the_way_out() {
    let message = refusal("batch = 10", "bacth = 10", &[]);
    for part in [
        "r.toml, line 17",
        "stage.align.bacth",
        "unknown key 'bacth'",
    ] {
        assert!(message.contains(part), "{part} is missing in: {message}");
    }
    let cases = [
        (message, "did you mean 'batch'?"),
        (
            refusal("pictures = 1 }", "picture = 1 }", &[]),
            "did you mean 'pictures'?",
        ),
        (
            refusal("\"projector\"]", "\"projectr\"]", &[]),
            "did you mean 'projector'?",
        ),
        (
            refusal("kind = \"mlp\"", "kind = \"mpl\"", &[]),
            "did you mean 'mlp'?",
        ),
        (
            refusal("", "", &["stage.algin.lr=1"]),
            "unknown stage 'algin'; did you mean 'align'?",
        ),
        (
            refusal("batch = 10", "batch = 0", &[]),
            "key 'stage.align.batch': expected at least 1",
        ),
        (
            refusal("batch = 10", "batch = 10\npack_images = 0", &[]),
            "key 'stage.align.pack_images': expected at least 1",
        ),
        (
            refusal("[\"projector\"]", "[\"projector\", \"projector\"]", &[]),
            "key 'stage.align.train[1]': `projector` is named twice",
        ),
        (
            refusal("name = \"tiny\"", "name = \" \"", &[]),
            "key 'name'",
        ),
        (refusal("name = \"align\"", "name = 3", &[]), "name"),
        (refusal("", "", &["precision=fp17"]), "did you mean 'fp16'?"),
        (refusal("", "", &["precision=FP16"]), "did you mean 'fp16'?"),
        (
            refusal("", "", &["precision=bf16", "stage.align.loss_scale={}"]),
            "stage.align.loss_scale': the stage computes in bf16",
        ),
        (
            refusal(
                "",
                "",
                &["precision=fp16", "stage.align.loss_scale.initial=0"],
            ),
            "loss_scale.initial': expected a number from 1 to",
        ),
        (
            refusal(
                "",
                "",
                &["precision=fp16", "stage.align.loss_scale.growth_interval=0"],
            ),
            "loss_scale.growth_interval': expected at least 1",
        ),
        (
            refusal("batch = 10", "batch = -1", &[]),
            "key 'stage.align.batch': expected a whole number of at least 0, found integer `-1`",
        ),
        (
            refusal("[model.vision]\nfrom = \"eyes\"", "", &[]),
            "give [model.vision]",
        ),
        (refusal("", "", &["stage.align.lr"]), "expected KEY=VALUE"),
        (
            refusal(
                "",
                "",
                &[
                    "stage.align.cache_features=true",
                    "stage.align.train=[\"vision\"]",
                ],
            ),
            "key 'stage.align.cache_features': the vision encoder trains",
        ),
        (
            refusal(
                "",
                "",
                &[
                    "stage.align.cache_features=true",
                    "stage.align.augment.noise=0.1",
                ],
            ),
            "key 'stage.align.augment': features are cached",
        ),
    ];
    for (message, expected) in cases {
        assert!(
            message.contains(expected),
            "'{message}' should say '{expected}'"
        );
    }
}

/// What is wrong with a source without looking at its file is told with its line.
#[test]
fn a_source_that_cannot_work_is_refused_with_its_key() {
    let (path, answer) = ("path = \"pictures.jsonl\"", "answer = \"{{ name }}\"");
    for (from, to, expected) in [
        (path, "path = []", "path': expected a file"),
        (path, "path = \"\"", "path': expected a file"),
        (answer, "answer = \"\"", "answer': an empty text"),
        (
            answer,
            "answer = \"{{ name\"",
            "answer': the template `{{ name` fails",
        ),
        (answer, "prompt = []", "prompt': an empty list"),
        (answer, "where = { name = [] }", "where': `name = []`"),
        (
            answer,
            "each = { a = \"b\" }\nturns = { c = \"d\" }",
            "each': cannot be combined with `turns`",
        ),
    ] {
        let message = refusal(from, to, &[]);
        assert!(
            message.starts_with("r.toml, line ")
                && message.contains(&format!("key 'data.pictures.{expected}")),
            "{to}: {message}"
        );
    }
}

#[test]
fn a_recipe_without_a_stage_is_refused() {
    let stage = RECIPE.find("[[stage]]").expect("there");
    let error = Recipe::parse("r.toml", &RECIPE[..stage], &[]).expect_err("refused");
    let message = format!("{error:#}");
    assert!(message.contains("at least one [[stage]]"), "{message}");
}

/// Each of them would end in an overflow or without memory.
#[test]
fn absurd_numbers_are_refused_by_their_key() {
    let held_out =
        "[evaluation.held-out]\npath = \"p.jsonl\"\nanswer = \"x\"\nmetrics = [\"accuracy\"]\n";
    let more = |key: &str| refusal("[[stage]]", &format!("{held_out}{key}\n[[stage]]"), &[]);
    let samples = "[training]\nsamples = { data = \"held-out\", count = 1, max_new_tokens = ";
    let cases = [
        (
            refusal("batch = 10", "batch = 1000001", &[]),
            "stage.align.batch': expected at most 1000000",
        ),
        (
            refusal("batch = 10", "batch = 10\npack_tokens = 16777217", &[]),
            "stage.align.pack_tokens': expected at most 16777216",
        ),
        (
            refusal("samples = 100", "samples = 9000000000000000000", &[]),
            "stage.align.samples': expected at most 1000000000000",
        ),
        (
            refusal("samples = 100", "epochs = 1e300", &[]),
            "stage.align.epochs': expected at most 1000000",
        ),
        (
            more("beams = 65"),
            "evaluation.held-out.beams': expected at most 64",
        ),
        (
            more("max_new_tokens = 65537"),
            "evaluation.held-out.max_new_tokens': expected at most 65536",
        ),
        (
            refusal("", "", &["threads=1025"]),
            "threads': expected at most 1024",
        ),
        (
            refusal("", "", &["training.feature_cache_mib=16777217"]),
            "training.feature_cache_mib': expected at most 16777216",
        ),
        (
            refusal("", "", &["training.feature_cache_disk_mib=16777217"]),
            "training.feature_cache_disk_mib': expected at most 16777216",
        ),
        (
            refusal(
                "",
                "",
                &["stage.align.augment={ noise = 0.1, views = 10001 }"],
            ),
            "stage.align.augment.views': expected at most 10000",
        ),
        // Whether the data is an evaluation's or not.
        (
            more(&format!("{samples}0 }}")),
            "training.samples.max_new_tokens': expected at least 1",
        ),
        (
            more(&format!("{samples}65537 }}")),
            "training.samples.max_new_tokens': expected at most 65536",
        ),
    ];
    for (message, expected) in cases {
        assert!(
            message.contains(expected),
            "'{message}' should say '{expected}'"
        );
    }
}

/// The predictions of a baseline go to a file of their own.
#[test]
fn evaluations_write_to_different_files() {
    let sections: String = ["held-out", "held-out.blind"]
        .map(|name| {
            format!(
                "[evaluation.\"{name}\"]\npath = \"p.jsonl\"\nanswer = \"x\"\nmetrics = [\"accuracy\"]\n"
            )
        })
        .concat();
    let message = refusal("[[stage]]", &format!("{sections}[[stage]]"), &[]);
    assert!(
        message.contains("predictions/held-out.blind.jsonl"),
        "{message}"
    );
}

#[test]
fn an_evaluation_is_called_as_a_file_can_be() {
    for name in ["../up", "a b", ".hidden", "a/b", ""] {
        let section = format!(
            "[evaluation.\"{name}\"]\npath = \"p.jsonl\"\nanswer = \"x\"\nmetrics = [\"accuracy\"]\n[[stage]]"
        );
        let message = refusal("[[stage]]", &section, &[]);
        assert!(message.contains("predictions/NAME.jsonl"), "{message}");
    }
}

/// A URL is no path to make absolute, to look for, or to see from a run's folder.
#[test]
fn urls_of_data_stay_as_they_are_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("r.toml");
    let urls = "[\"s3://box/a/{0..1}.tar\", \"https://host/b.jsonl?key=//1\"]\nimage_folder = \"gs://box/images\"";
    let text = RECIPE.replacen("\"pictures.jsonl\"", urls, 1);
    std::fs::write(&file, text).expect("written");
    for model in ["eyes", "words"] {
        std::fs::create_dir(folder.path().join(model)).expect("made");
    }
    let recipe = Recipe::read(&file).expect("read");
    let written = recipe
        .to_toml(&folder.path().join("runs/one"))
        .expect("written");
    for url in [
        "\"s3://box/a/{0..1}.tar\"",
        "\"https://host/b.jsonl?key=//1\"",
        "\"gs://box/images\"",
    ] {
        assert!(written.contains(url), "{url} in {written}");
    }
    recipe
        .demand_outside(folder.path().join("runs").as_path())
        .expect("no path of this machine");
    match (
        Recipe::load(&file, &[]),
        fourfold_data::source::location::REMOTE,
    ) {
        (Ok(recipe), true) => {
            let files = recipe
                .data_files(folder.path())
                .expect("nothing is asked of a store");
            let names: Vec<&str> = files.keys().map(String::as_str).collect();
            let expected = [
                "https://host/b.jsonl?key=//1",
                "s3://box/a/0.tar",
                "s3://box/a/1.tar",
            ];
            assert_eq!(names, expected);
        }
        (Err(error), false) => {
            let message = format!("{error:#}");
            for part in [
                "r.toml, line 10",
                "data.pictures.path",
                "s3://box/a",
                "--features remote",
            ] {
                assert!(message.contains(part), "{part} in {message}");
            }
        }
        (loaded, built) => panic!("{built}: {loaded:?}"),
    }
}
