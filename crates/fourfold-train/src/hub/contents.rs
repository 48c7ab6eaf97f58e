//! Which files of a repository a run needs.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// One file with all weights.
const WHOLE: &str = "model.safetensors";
/// The list of several.
pub(super) const INDEX: &str = "model.safetensors.index.json";

/// Files that say how text becomes tokens.
const TEXT: [&str; 8] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
    "format.json",
];
/// Files that say what the model is, and how images become pixels.
const DESCRIPTION: [&str; 3] = [
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
];

/// What is asked of a repository; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Its tokenizer.
    Tokenizer,
    /// What kind of model it is.
    Description,
    /// Its weights.
    Weights,
}

impl Need {
    /// The file that has to be there.
    fn required(self) -> &'static str {
        match self {
            Self::Tokenizer => "tokenizer.json",
            Self::Description | Self::Weights => "config.json",
        }
    }

    /// The small files to fetch, of those that a repository has.
    pub(super) fn descriptions(self, listing: &BTreeSet<String>) -> Result<Vec<String>> {
        let required = self.required();
        if !listing.contains(required) {
            let way_out = match self {
                Self::Tokenizer => {
                    "make one with Python's AutoTokenizer.from_pretrained(ID).save_pretrained(FOLDER) and give FOLDER"
                }
                _ => "expected a model that Python's transformers loads",
            };
            bail!("it holds no {required} ({}); {way_out}", some(listing));
        }
        let description: &[&str] = match self {
            Self::Tokenizer => &[],
            Self::Description | Self::Weights => &DESCRIPTION,
        };
        let names = TEXT.iter().chain(description);
        let there = names.filter(|name| listing.contains(**name));
        Ok(there.map(ToString::to_string).collect())
    }

    /// Whether a folder of the cache surely holds all files of its commit that are wanted, so that the hub need not be
    /// asked. Python's classes bring what each of them reads: one with weights and neither tokenizer nor image processor
    /// may lack those.
    pub(super) fn surely_in(self, folder: &Path) -> bool {
        const READING: [&str; 3] = [
            "tokenizer.json",
            "preprocessor_config.json",
            "processor_config.json",
        ];
        let reads = |name: &&str| folder.join(name).exists();
        self.missing(folder).is_none() && READING.iter().any(reads)
    }

    /// What a folder of the cache lacks for it; nothing if it is complete.
    pub(super) fn missing(self, folder: &Path) -> Option<String> {
        let required = self.required();
        if !folder.join(required).exists() {
            return Some(required.into());
        }
        if self < Self::Weights || folder.join(WHOLE).exists() {
            return None;
        }
        let index = folder.join(INDEX);
        if !index.exists() {
            return Some(WHOLE.into());
        }
        match shards(&index) {
            Ok(shards) => shards.into_iter().find(|name| !folder.join(name).exists()),
            Err(_) => Some(format!("a whole {INDEX}")),
        }
    }
}

/// Which files hold the weights.
pub(super) enum Weights {
    Whole(String),
    /// The list of the files.
    Shards(String),
}

impl Weights {
    pub fn of(listing: &BTreeSet<String>, repository: &str) -> Result<Self> {
        if listing.contains(WHOLE) {
            return Ok(Self::Whole(WHOLE.into()));
        }
        if listing.contains(INDEX) {
            return Ok(Self::Shards(INDEX.into()));
        }
        let pickled = |name: &String| name.starts_with("pytorch_model") && name.ends_with(".bin");
        if listing.iter().any(pickled) {
            bail!(
                "its weights are there as pytorch_model.bin only, not as {WHOLE}; convert them once with Python: \
                 AutoModel.from_pretrained(\"{repository}\").save_pretrained(\"FOLDER\"), and the tokenizer with \
                 AutoTokenizer in the same way, then give `from = \"FOLDER\"`; or look for a revision of the \
                 repository that holds {WHOLE} (the hub's converter opens a pull request: @refs/pr/NUMBER)"
            );
        }
        bail!(
            "it holds no {WHOLE} ({}); expected a model whose weights were saved by Python's transformers",
            some(listing)
        );
    }
}

/// The files that an index names. They are plain names: an index is somebody else's and must not lead out of the
/// folder.
pub(super) fn shards(index: &Path) -> Result<BTreeSet<String>> {
    let within = || format!("in {}", index.display());
    let text = std::fs::read_to_string(index).with_context(within)?;
    let value: Value = serde_json::from_str(&text).with_context(within)?;
    let map = value["weight_map"].as_object();
    let map = map.with_context(|| format!("{}: expected a `weight_map`", index.display()))?;
    let mut names = BTreeSet::new();
    for (tensor, file) in map {
        let name = file.as_str().unwrap_or_default();
        let plain = name.ends_with(".safetensors")
            && !name.starts_with('.')
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        if !plain {
            bail!(
                "{}: '{tensor}' is said to lie in {file}; expected the name of a .safetensors file beside it",
                index.display()
            );
        }
        names.insert(name.to_owned());
    }
    Ok(names)
}

/// A few names of what is there instead.
fn some(listing: &BTreeSet<String>) -> String {
    if listing.is_empty() {
        return "it is empty".into();
    }
    let mut names: Vec<&str> = listing.iter().take(8).map(String::as_str).collect();
    if listing.len() > names.len() {
        names.push("…");
    }
    format!("it holds {}", names.join(", "))
}
