//! Ranks have to begin alike and stay alike: what differs would be averaged into weights that nobody asked for.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use fourfold_tensor::Parameters;
use serde::{Deserialize, Serialize};

use crate::checkpoint::{Checkpoint, Outline};
use crate::checks::checksums;
use crate::parallel::Team;
use crate::recipe::{Fingerprint, differing_keys};

/// What has to be the same on every rank before the first update.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Beginning {
    pub recipe: Fingerprint,
    /// Name and SHA-256 of the data files of each key, in the order in which they are read; where they lie may differ
    /// between machines.
    pub data: BTreeMap<String, Vec<(String, String)>>,
    /// What the folders of pretrained parts make of model and data, as JSON, by what it is.
    pub made: BTreeMap<String, String>,
    /// SHA-256 of the tokenizer.
    pub tokenizer: String,
    /// Checksums of all parameters.
    pub weights: BTreeMap<String, u64>,
}

impl Beginning {
    /// Demands that all ranks begin like rank 0, before any of them goes on.
    ///
    /// # Errors
    /// Names the rank and what differs.
    pub fn demand_alike(self, team: &Team) -> Result<()> {
        let first: Self = team.from_leader(Some(self.clone()))?;
        let complaints = team.hear(self.complaint(&first, team.rank()))?;
        match complaints.into_iter().flatten().next() {
            Some(complaint) => bail!(complaint),
            None => Ok(()),
        }
    }

    /// What this rank, number `rank`, has otherwise than the `first`.
    fn complaint(&self, first: &Self, rank: usize) -> Option<String> {
        let keys = differing_keys(&self.recipe, &first.recipe);
        if !keys.is_empty() {
            return Some(format!(
                "rank {rank} has another recipe than rank 0 (here is what rank {rank} has, there what rank 0 has):\n  {}\n\
                 give all ranks the same file and the same --set; where machines differ, write the precision instead of \
                 \"auto\"",
                keys.join("\n  ")
            ));
        }
        let none = Vec::new();
        for (key, there) in &first.data {
            let here = self.data.get(key).unwrap_or(&none);
            let most = here.len().max(there.len());
            if let Some(place) = (0..most).find(|place| here.get(*place) != there.get(*place)) {
                let say = |files: &[(String, String)]| match files.get(place) {
                    Some((name, hash)) => format!("{name} with SHA-256 {hash}"),
                    None => "none".to_owned(),
                };
                return Some(format!(
                    "file {} of {key} is not the same on all ranks: rank {rank} has {}, rank 0 {}; give all machines the \
                     same files under the same names",
                    place + 1,
                    say(here),
                    say(there)
                ));
            }
        }
        let differs = |(what, there): &(&String, &String)| self.made.get(*what) != Some(*there);
        if let Some((what, _)) = first.made.iter().find(differs) {
            return Some(format!(
                "rank {rank} has another {what} than rank 0: give all machines the same folders of pretrained weights"
            ));
        }
        if self.tokenizer != first.tokenizer {
            return Some(format!(
                "rank {rank} has another tokenizer than rank 0 (SHA-256 {} here, {} there): give all machines the same \
                 files",
                self.tokenizer, first.tokenizer
            ));
        }
        let differs = |name: &&String| self.weights.get(*name) != first.weights.get(*name);
        let mut names = self.weights.keys().chain(first.weights.keys());
        let name = names.find(differs)?;
        Some(format!(
            "'{name}' begins with other numbers on rank {rank} than on rank 0: give all machines the same folders of \
             pretrained weights"
        ))
    }
}

/// Demands that what trains has the same numbers on all ranks.
///
/// # Errors
/// Names the first parameter that has not, and the rank.
pub(super) fn demand_same_weights(team: &Team, parameters: &Parameters) -> Result<()> {
    if team.is_alone() {
        return Ok(());
    }
    let sums = checksums(parameters, |_, trainable| trainable)?;
    let own: Vec<u64> = sums.values().copied().collect();
    let all = team.hear(own)?;
    for (rank, other) in all.iter().enumerate() {
        let pairs = sums.keys().zip(all[0].iter().zip(other));
        if let Some((name, _)) = pairs.into_iter().find(|(_, (first, sum))| first != sum) {
            bail!(
                "'{name}' has other numbers on rank {rank} than on rank 0, though both made the same steps: its memory, \
                 processor or network is faulty, or this is a defect of Fourfold. Nothing of this is saved; go on from \
                 the last checkpoint with --resume"
            );
        }
    }
    Ok(())
}

/// The checkpoint that rank 0 read, on every rank.
///
/// # Errors
/// When a rank is gone.
pub(super) fn share_checkpoint(team: &Team, own: Option<Checkpoint>) -> Result<Option<Checkpoint>> {
    if team.is_alone() {
        return Ok(own);
    }
    let outline = own.as_ref().map(Checkpoint::outline);
    let heard = team.hear::<Option<Outline>>(outline)?;
    let Some(outline) = heard.into_iter().next().flatten() else {
        return Ok(None);
    };
    let mut checkpoint = match own {
        Some(own) => own,
        None => Checkpoint::blank(outline),
    };
    for values in checkpoint.values_mut() {
        team.collective().broadcast(values)?;
    }
    Ok(Some(checkpoint))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beginning() -> Beginning {
        let text = |text: &str| text.to_owned();
        let files = ["x.jsonl", "y.jsonl"].map(|name| (text(name), format!("hash of {name}")));
        Beginning {
            recipe: Fingerprint {
                hash: text("of the recipe"),
                values: [(text("seed"), text("1"))].into(),
            },
            data: [(text("data.a"), files.to_vec())].into(),
            made: [(text("configuration"), text("{}"))].into(),
            tokenizer: text("of the tokenizer"),
            weights: [(text("vision.a"), 1), (text("vision.b"), 2)].into(),
        }
    }

    #[test]
    fn whatever_differs_is_named() {
        let first = beginning();
        assert_eq!(first.complaint(&first, 1), None);
        type Change = fn(&mut Beginning);
        let cases: [(Change, &str); 8] = [
            (
                |b| drop(b.recipe.values.insert("seed".into(), "2".into())),
                "seed: 2 here, 1 there",
            ),
            (
                |b| b.data.values_mut().for_each(|files| files.reverse()),
                "file 1 of data.a",
            ),
            (
                |b| b.data.values_mut().for_each(|files| drop(files.pop())),
                "rank 1 has none, rank 0 y.jsonl",
            ),
            (|b| b.data.clear(), "file 1 of data.a"),
            (
                |b| b.made.values_mut().for_each(|json| json.push(' ')),
                "another configuration",
            ),
            (|b| b.tokenizer.clear(), "another tokenizer"),
            (|b| b.weights.extend([("vision.b".into(), 3)]), "'vision.b'"),
            (
                |b| b.weights.retain(|name, _| name != "vision.a"),
                "'vision.a'",
            ),
        ];
        for (change, named) in cases {
            let mut other = beginning();
            change(&mut other);
            let complaint = other.complaint(&first, 1).expect(named);
            assert!(complaint.contains(named), "{complaint}");
        }
    }
}
