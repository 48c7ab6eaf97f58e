//! `recipes/README.md` names every key and word that a recipe may hold, and no other.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use fourfold_train::recipe::Recipe;
use toml::{Table, Value};

/// Each section once, and of each no more than it must have.
const RECIPE: &str = r#"
name = "all"
[model.vision]
hidden_size = 16
intermediate_size = 24
num_hidden_layers = 1
num_attention_heads = 2
image_size = 64
patch_size = 4
[model.projector]
[model.language]
model_type = "llama"
vocab_size = 300
hidden_size = 16
intermediate_size = 24
num_hidden_layers = 1
num_attention_heads = 2
num_key_value_heads = 1
max_position_embeddings = 64
[model.lora]
rank = 2
targets = ["q_proj"]
[tokenizer.train]
vocabulary = 300
on = ["d"]
[format]
[image]
[data.d]
path = "d.jsonl"
answer = "x"
[[stage]]
name = "s"
train = ["projector", "lora"]
mixture = ["d"]
samples = 8
batch = 8
lr = 1e-3
precision = "fp16"
[stage.loss_scale]
[stage.augment]
[training.samples]
data = "d"
count = 1
[evaluation.e]
path = "d.jsonl"
answer = "x"
metrics = ["accuracy"]
"#;

const LLAMA: &str = "model_type = \"llama\"\nvocab_size = 300\nhidden_size = 16\nintermediate_size = 24\nnum_hidden_layers = 1\n\
    num_attention_heads = 2\nnum_key_value_heads = 1\nmax_position_embeddings = 64\n";
const GPT2: &str =
    "model_type = \"gpt2\"\nn_embd = 16\nn_layer = 1\nn_head = 2\nn_positions = 64\n";

/// A key that no section has, and the heading that the section's keys stand under.
const SECTIONS: [(&str, &str); 18] = [
    ("unknown", "## The top"),
    ("model.unknown", "## `[model]`"),
    ("model.vision.unknown", "## `[model.vision]`"),
    ("model.projector.unknown", "## `[model.projector]`"),
    ("model.lora.unknown", "## `[model.lora]`"),
    (
        "model.language.unknown",
        "### A llama, qwen2, qwen3 or gemma3_text",
    ),
    ("tokenizer.unknown", "## `[tokenizer]`"),
    ("tokenizer.train.unknown", "## `[tokenizer.train]`"),
    ("format.unknown", "## `[format]`"),
    ("image.unknown", "## `[image]`"),
    ("data.d.unknown", "## `[data.NAME]`"),
    ("stage.s.unknown", "## `[[stage]]`"),
    ("stage.s.loss_scale.unknown", "## `[stage.loss_scale]`"),
    ("stage.s.augment.unknown", "## `[stage.augment]`"),
    ("training.unknown", "## `[training]`"),
    ("training.samples.unknown", "## `[training.samples]`"),
    ("evaluation.e.unknown", "## `[evaluation.NAME]`"),
    ("model.language.unknown", "### A gpt2"),
];

/// Keys with a word of a few, and the heading that these are explained under.
const WORDS: [(&str, &str); 14] = [
    ("precision=unknown", "## The top"),
    ("stage.s.precision=unknown", "## `[[stage]]`"),
    ("model.visibility=unknown", "## `[model]`"),
    ("model.projector.kind=unknown", "## `[model.projector]`"),
    ("model.language.model_type=unknown", "## `[model.language]`"),
    ("image.fit=unknown", "## `[image]`"),
    ("image.filter=unknown", "## `[image]`"),
    ("stage.s.train=[\"unknown\"]", "## `[[stage]]`"),
    ("stage.s.lr={ unknown = 1 }", "## `[[stage]]`"),
    ("stage.s.schedule=unknown", "## `[[stage]]`"),
    ("training.model_format=unknown", "## `[training]`"),
    ("training.parts_format=unknown", "## `[training]`"),
    (
        "evaluation.e.metrics=[\"unknown\"]",
        "## `[evaluation.NAME]`",
    ),
    (
        "evaluation.e.baselines=[\"unknown\"]",
        "## `[evaluation.NAME]`",
    ),
];

fn page() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes/README.md");
    fs::read_to_string(file).expect("readable")
}

/// The text under `heading`.
fn section<'p>(page: &'p str, heading: &str) -> &'p str {
    let begin = page.find(&format!("\n{heading}\n"));
    let rest = &page[begin.unwrap_or_else(|| panic!("no heading {heading}")) + 1..];
    rest[1..].find("\n#").map_or(rest, |end| &rest[..end + 1])
}

/// The rows of the tables in `section`: key and default.
fn rows(section: &str) -> Vec<(&str, &str)> {
    let lines = section.lines().filter_map(|line| line.strip_prefix("| `"));
    lines
        .map(|line| {
            let (key, rest) = line.split_once("` | ").expect("a key and more");
            let default = rest.split(" | ").nth(1).expect("a default");
            (key, default)
        })
        .collect()
}

/// What the strict reader says that it would have taken in place of an unknown key or word.
fn known(text: &str, assignment: &str) -> BTreeSet<String> {
    let error = Recipe::parse("all.toml", text, &[assignment.to_owned()]).expect_err("unknown");
    let message = format!("{error:#}");
    let (_, list) = message.split_once("(expected one of: ").expect(&message);
    let list = list.trim_end_matches(')').split(", ");
    list.map(str::to_owned).collect()
}

#[test]
fn every_key_is_in_the_page_and_none_that_is_unknown() {
    let page = page();
    for (key, heading) in SECTIONS {
        let text = match heading {
            "### A gpt2" => RECIPE.replace(LLAMA, GPT2),
            _ => RECIPE.to_owned(),
        };
        let mut named: BTreeSet<String> = BTreeSet::new();
        let mut add = |heading: &str| {
            named.extend(
                rows(section(&page, heading))
                    .iter()
                    .map(|(k, _)| (*k).to_owned()),
            );
        };
        add(heading);
        let mut known = known(&text, &format!("{key}=1"));
        match key {
            // Taken out before the rest is read as a configuration.
            "model.vision.unknown" => known.extend(["from".into(), "layer".into()]),
            "model.language.unknown" => add("## `[model.language]`"),
            "evaluation.e.unknown" => add("## `[data.NAME]`"),
            _ => {}
        }
        assert_eq!(named, known, "{heading}: the page, and what is read");
    }
}

#[test]
fn every_word_is_in_the_page() {
    let page = page();
    for (assignment, heading) in WORDS {
        for word in known(RECIPE, assignment) {
            assert!(
                section(&page, heading).contains(&format!("`{word}`")),
                "{heading} does not explain '{word}'"
            );
        }
    }
}

/// Where a recipe that says nothing is written out with a value, that value is the default.
#[test]
fn defaults_in_the_page_are_those_of_the_code() {
    let page = page();
    let recipe = Recipe::parse("all.toml", RECIPE, &[]).expect("valid");
    let written: Table = recipe
        .to_toml(Path::new(""))
        .expect("written")
        .parse()
        .expect("TOML");
    let given: Table = RECIPE.parse().expect("TOML");
    let mut compared = 0;
    for (key, heading) in SECTIONS
        .iter()
        .filter(|(_, heading)| *heading != "### A gpt2")
    {
        let of = |root: &Table| -> Option<Table> {
            let mut place = Value::Table(root.clone());
            for step in key.split('.').filter(|step| *step != "unknown") {
                place = match place {
                    Value::Array(list) => list.first()?.clone(),
                    Value::Table(table) => table.get(step)?.clone(),
                    _ => return None,
                };
            }
            place.as_table().cloned()
        };
        let (written, given) = (
            of(&written).unwrap_or_default(),
            of(&given).unwrap_or_default(),
        );
        for (key, default) in rows(section(&page, heading)) {
            let Some(value) = written.get(key).filter(|_| !given.contains_key(key)) else {
                continue;
            };
            let default = default.trim_matches('`').replace("\\|", "|");
            let stated = format!("value = {default}").parse::<Table>();
            let stated = stated.ok().and_then(|table| table.get("value").cloned());
            assert!(
                stated.as_ref().is_some_and(|stated| same(stated, value)),
                "{heading}, `{key}`: {default} in the page, {value} in the code"
            );
            compared += 1;
        }
    }
    assert!(compared > 40, "{compared}");
}

/// Equal up to the rounding of a number to f32, which some keys are.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => (*a as f32) == (*b as f32),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (a, b) => a == b,
    }
}

/// What a reader copies from the page has to work.
#[test]
fn the_example_is_a_recipe() {
    let page = page();
    let (_, rest) = page.split_once("```toml\n").expect("an example");
    let (example, _) = rest.split_once("```").expect("its end");
    Recipe::parse("README.md", example, &[]).unwrap_or_else(|error| panic!("{error:#}"));
}
