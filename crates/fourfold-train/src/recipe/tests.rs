//! What a recipe may say, and what is said of one that may not.

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
        (refusal("name = \"align\"", "name = 3", &[]), "name"),
        (
            refusal("[model.vision]\nfrom = \"eyes\"", "", &[]),
            "give [model.vision]",
        ),
        (refusal("", "", &["stage.align.lr"]), "expected KEY=VALUE"),
    ];
    for (message, expected) in cases {
        assert!(
            message.contains(expected),
            "'{message}' should say '{expected}'"
        );
    }
}
