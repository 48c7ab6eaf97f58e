//! `environment.json`: on what and from what a run was made.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fourfold_data::hash::file_identity;
use fourfold_tensor::{Device, Isa, Precision};
use rayon::prelude::*;
use serde::Serialize;
use serde_json::Value;

use crate::hub::Pins;

/// What surrounds a run.
#[derive(Clone, Debug, Serialize)]
pub struct Environment {
    /// Fourfold's version.
    pub fourfold: &'static str,
    /// The commit of the repository that the recipe lies in, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Operating system and architecture.
    pub system: String,
    /// The processor's own name, where the system tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processor: Option<String>,
    /// The vector instructions that are used.
    pub instructions: String,
    /// Worker threads.
    pub threads: usize,
    /// What rank 0 computes on.
    pub device: String,
    /// How many ranks train together.
    pub ranks: usize,
    /// The number format of matrix products.
    pub precision: &'static str,
    /// What tells the content of each data file: see [`fourfold_data::hash::file_identity`]. SHA-256 of most; of a large
    /// one `sampled-sha256:`; of a URL the size and entity tag that its store gave.
    pub data: BTreeMap<String, String>,
    /// The commit of each model of the hub, by the id in the recipe.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub hub: Pins,
}

impl Environment {
    /// Looks around. `data` are the hashes of the data files, `hub` the commits of models of the hub, `place` a folder
    /// of the repository in question.
    pub fn observe(
        precision: Precision,
        device: &Device,
        ranks: usize,
        data: BTreeMap<String, String>,
        hub: Pins,
        place: &Path,
    ) -> Self {
        Self {
            fourfold: env!("CARGO_PKG_VERSION"),
            commit: commit(place),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            processor: processor(),
            instructions: format!("{:?}", Isa::current()),
            threads: rayon::current_num_threads(),
            device: match device.gpu() {
                None => device.to_string(),
                Some(gpu) => format!("{device} ({})", gpu.name()),
            },
            ranks,
            precision: precision.name(),
            data,
            hub,
        }
    }
}

/// The commits of the hub's models that a run began with, from its `environment.json`; none where there is no such
/// file.
///
/// # Errors
/// When the file is no JSON, or its commits are no texts.
pub fn commits(path: &Path) -> Result<Pins> {
    if !path.exists() {
        return Ok(Pins::new());
    }
    let within = || format!("in {}", path.display());
    let text = fs::read_to_string(path).with_context(within)?;
    let mut value: Value = serde_json::from_str(&text).with_context(within)?;
    match value.get_mut("hub").map(Value::take) {
        Some(hub) => serde_json::from_value(hub).with_context(within),
        None => Ok(Pins::new()),
    }
}

/// What tells the content of each of `files`, by the name it is given ([`fourfold_data::hash::file_identity`]).
///
/// # Errors
/// Names the first file that cannot be read.
pub fn hash_files(files: &BTreeMap<String, PathBuf>) -> Result<BTreeMap<String, String>> {
    let hash = |(name, path): (&String, &PathBuf)| Ok((name.clone(), file_identity(path)?));
    let hashes: Vec<Result<_>> = files.par_iter().map(hash).collect();
    hashes.into_iter().collect()
}

/// The processor's own name, where the system tells.
pub fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The commit that is checked out around `place`, read from the repository's files.
fn commit(place: &Path) -> Option<String> {
    let git = repository(place)?;
    // A second work tree has a HEAD of its own; its branches are those of the first.
    let common = match fs::read_to_string(git.join("commondir")) {
        Ok(common) => git.join(common.trim()),
        Err(_) => git.clone(),
    };
    let head = fs::read_to_string(git.join("HEAD")).ok()?;
    let Some(reference) = head.trim().strip_prefix("ref: ") else {
        return Some(head.trim().to_owned());
    };
    if let Ok(commit) = fs::read_to_string(common.join(reference)) {
        return Some(commit.trim().to_owned());
    }
    let packed = fs::read_to_string(common.join("packed-refs")).ok()?;
    let line = packed
        .lines()
        .find(|line| line.ends_with(&format!(" {reference}")))?;
    Some(line.split(' ').next()?.to_owned())
}

/// The folder of the nearest repository around `place`. The `.git` of a submodule or a second work tree is a file
/// that names it.
fn repository(place: &Path) -> Option<PathBuf> {
    let place = std::path::absolute(place).ok()?;
    let git = place
        .ancestors()
        .map(|folder| folder.join(".git"))
        .find(|git| git.exists())?;
    if git.is_dir() {
        return Some(git);
    }
    let text = fs::read_to_string(&git).ok()?;
    let named = text.trim().strip_prefix("gitdir: ")?;
    Some(git.parent()?.join(named))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::testing::Scratch;

    #[test]
    fn the_commit_is_found_loose_packed_and_detached() {
        let scratch = Scratch::new("commit");
        let git = scratch.path().join(".git");
        let inside = scratch.path().join("recipes");
        fs::create_dir_all(git.join("refs/heads")).unwrap();
        fs::create_dir_all(&inside).unwrap();
        fs::write(git.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        fs::write(
            git.join("packed-refs"),
            "# pack-refs\nabc1 refs/heads/main\n",
        )
        .unwrap();
        assert_eq!(commit(&inside).as_deref(), Some("abc1"));
        fs::write(git.join("refs/heads/main"), "abc2\n").unwrap();
        assert_eq!(commit(&inside).as_deref(), Some("abc2"));
        fs::write(git.join("HEAD"), "abc3\n").unwrap();
        assert_eq!(commit(&inside).as_deref(), Some("abc3"));
    }

    /// Neither a submodule nor a second work tree takes the commit of the repository around it.
    #[test]
    fn the_commit_behind_a_git_file_is_its_own() {
        let scratch = Scratch::new("worktree");
        let git = scratch.path().join(".git");
        let own = git.join("worktrees/side");
        fs::create_dir_all(git.join("refs/heads")).unwrap();
        fs::create_dir_all(&own).unwrap();
        fs::write(git.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        fs::write(git.join("refs/heads/main"), "abc1\n").unwrap();
        fs::write(git.join("refs/heads/side"), "abc2\n").unwrap();
        fs::write(own.join("HEAD"), "ref: refs/heads/side\n").unwrap();
        fs::write(own.join("commondir"), "../..\n").unwrap();
        let tree = scratch.path().join("side");
        fs::create_dir_all(&tree).unwrap();
        fs::write(tree.join(".git"), "gitdir: ../.git/worktrees/side\n").unwrap();
        assert_eq!(commit(&tree).as_deref(), Some("abc2"));
        fs::write(own.join("HEAD"), "abc3\n").unwrap();
        assert_eq!(commit(&tree).as_deref(), Some("abc3"));
        fs::write(tree.join(".git"), "nonsense\n").unwrap();
        assert_eq!(commit(&tree), None);
    }
}
