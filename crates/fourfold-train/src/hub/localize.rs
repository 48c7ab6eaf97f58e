//! A recipe whose hub ids have become folders.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};

use super::{Hub, HubId, Need};
use crate::progress::Progress;
use crate::recipe::{Origin, Recipe};

/// The commit of each hub id, by the id as the recipe has it.
pub type Pins = BTreeMap<String, String>;

impl Recipe {
    /// This recipe with folders of the cache in the place of its hub ids, and the commits that they are of. With
    /// `most` only that much of each model is fetched: a plan takes no weights. An id in `pins` is taken at the commit
    /// there.
    ///
    /// # Errors
    /// Names the key and what [`Hub::fetch`] says.
    pub fn fetched(
        &self,
        hub: &Hub,
        most: Need,
        pins: &Pins,
        progress: &mut dyn Progress,
        stop: &AtomicBool,
    ) -> Result<(Self, Pins)> {
        let mut recipe = self.clone();
        let mut needs: BTreeMap<HubId, (String, Need)> = BTreeMap::new();
        recipe.for_each_origin(|key, origin| {
            if let Origin::Hub(id) = origin {
                let key = key.display(|_| None);
                let need = match key.as_str() {
                    "tokenizer.from" => Need::Tokenizer,
                    _ => Need::Weights,
                };
                let known = needs.entry(id.clone()).or_insert((key, need));
                known.1 = known.1.max(need);
            }
        });
        let mut folders = BTreeMap::new();
        let mut commits = Pins::new();
        for (id, (key, need)) in needs {
            let name = id.to_string();
            let pin = pins.get(&name).map(String::as_str);
            let fetched = hub
                .fetch(&id, need.min(most), pin, progress, stop)
                .with_context(|| {
                    format!(
                        "key '{key}': '{id}' is no path beside the recipe, so it is taken for a model of the hub"
                    )
                })?;
            commits.insert(name, fetched.commit);
            folders.insert(id, fetched.folder);
        }
        recipe.for_each_origin(|_, origin| {
            if let Origin::Hub(id) = origin
                && let Some(folder) = folders.get(id)
            {
                *origin = Origin::Local(folder.clone());
            }
        });
        Ok((recipe, commits))
    }
}
