//! Telling two recipes apart by what decides the weights.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fourfold_data::source::location::is_url;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Recipe;

/// The keys that may change between a stop and a resume: they decide nothing about the weights.
const FREE: [&str; 4] = ["name", "threads", "training", "evaluation"];

/// Every value that decides the weights, by key, and the hash of them all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// SHA-256, hexadecimal.
    pub hash: String,
    /// Dotted key to JSON text.
    pub values: BTreeMap<String, String>,
}

impl Recipe {
    /// What decides the weights of a run in `folder`; paths count as seen from there.
    ///
    /// # Errors
    /// When a value has no JSON form, which is a defect of this crate.
    pub fn fingerprint(&self, folder: &Path) -> Result<Fingerprint> {
        let mut recipe = self.clone();
        recipe.for_each_path(|_, path| *path = super::paths::relative(path, folder));
        recipe.as_it_is(&FREE)
    }

    /// What has to be the same on all ranks of a run: all but threads and the places of local files, which may differ
    /// between machines.
    ///
    /// # Errors
    /// As [`Recipe::fingerprint`].
    pub(crate) fn fingerprint_of_rank(&self) -> Result<Fingerprint> {
        let mut recipe = self.clone();
        recipe.for_each_path(|_, path| {
            if !is_url(path) {
                *path = PathBuf::new();
            }
        });
        recipe.as_it_is(&["threads"])
    }

    /// Every value as it is, but for those under the keys `free`.
    fn as_it_is(&self, free: &[&str]) -> Result<Fingerprint> {
        let json = serde_json::to_value(self).context("cannot write the recipe as JSON")?;
        let mut values = BTreeMap::new();
        if let Value::Object(sections) = json {
            for (key, value) in sections {
                if !free.contains(&key.as_str()) {
                    flatten(key, value, &mut values);
                }
            }
        }
        let text: String = values.iter().map(|(k, v)| format!("{k}={v}\n")).collect();
        Ok(Fingerprint {
            hash: fourfold_data::hash::sha256(text.as_bytes()),
            values,
        })
    }
}

fn flatten(path: String, value: Value, out: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(table) if !table.is_empty() => {
            for (key, value) in table {
                flatten(format!("{path}.{key}"), value, out);
            }
        }
        Value::Array(list) if list.iter().any(Value::is_object) => {
            for (index, value) in list.into_iter().enumerate() {
                let name = value.get("name").and_then(Value::as_str);
                let step = name.map_or(index.to_string(), str::to_owned);
                // The place counts as well as the name: the order of stages decides the weights.
                out.insert(format!("{path}.{step}.place"), index.to_string());
                flatten(format!("{path}.{step}"), value, out);
            }
        }
        value => {
            out.insert(path, value.to_string());
        }
    }
}

/// The keys whose values differ, each as `key: this here, that there`.
pub fn differing_keys(here: &Fingerprint, there: &Fingerprint) -> Vec<String> {
    let mut keys: Vec<&String> = here.values.keys().chain(there.values.keys()).collect();
    keys.sort();
    keys.dedup();
    let say = |value: Option<&String>| value.map_or("absent", String::as_str).to_owned();
    keys.into_iter()
        .map(|key| (key, here.values.get(key), there.values.get(key)))
        .filter(|(_, here, there)| here != there)
        .map(|(key, here, there)| format!("{key}: {} here, {} there", say(here), say(there)))
        .collect()
}
