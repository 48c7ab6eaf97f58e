//! What a model of the Hugging Face hub is called.

use std::fmt;
use std::str::FromStr;

/// A hub's longest name of a repository.
const LONGEST: usize = 96;

/// `OWNER/NAME` or `OWNER/NAME@REVISION`; the revision is a branch, a tag or a commit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HubId {
    /// `OWNER/NAME`.
    repository: String,
    revision: Option<String>,
}

impl HubId {
    /// `OWNER/NAME`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The revision; a hub's own default, `main`, where none is named.
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }

    /// `OWNER/NAME@COMMIT`.
    pub(crate) fn at(&self, commit: &str) -> Self {
        Self {
            repository: self.repository.clone(),
            revision: Some(commit.to_owned()),
        }
    }
}

impl fmt::Display for HubId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository)?;
        match &self.revision {
            Some(revision) => write!(f, "@{revision}"),
            None => Ok(()),
        }
    }
}

impl FromStr for HubId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (repository, revision) = match text.split_once('@') {
            Some((repository, revision)) => (repository, Some(revision)),
            None => (text, None),
        };
        let named = repository
            .split_once('/')
            .is_some_and(|(owner, name)| is_name(owner) && is_name(name) && !is_file(name));
        if !named || repository.len() > LONGEST || !revision.is_none_or(is_revision) {
            return Err(format!(
                "'{text}' is no hub id; expected OWNER/NAME or OWNER/NAME@REVISION, as in Qwen/Qwen2.5-0.5B@main"
            ));
        }
        Ok(Self {
            repository: repository.to_owned(),
            revision: revision.map(str::to_owned),
        })
    }
}

/// What the hub lets an owner or a repository be called.
fn is_name(name: &str) -> bool {
    let ends_plainly = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    name.chars()
        .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && ends_plainly(name.chars().next())
        && ends_plainly(name.chars().last())
        && !name.contains("--")
        && !name.contains("..")
}

/// A name that a person gives a file, not a model.
fn is_file(name: &str) -> bool {
    [".json", ".safetensors", ".toml", ".git"]
        .iter()
        .any(|ending| name.ends_with(ending))
}

/// A branch, tag or commit that is safe in a path and in an address.
fn is_revision(revision: &str) -> bool {
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains("..");
    revision.len() <= 255
        && revision
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
        && revision.split('/').all(part)
}

/// Whether a revision is a full commit hash.
pub(super) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.chars().all(|c| c.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_told_from_paths() {
        let id: HubId = "Qwen/Qwen2.5-0.5B".parse().unwrap();
        assert_eq!(
            (id.repository(), id.revision()),
            ("Qwen/Qwen2.5-0.5B", "main")
        );
        assert_eq!(id.to_string(), "Qwen/Qwen2.5-0.5B");
        let id: HubId = "google/siglip-base-patch16-224@refs/pr/3".parse().unwrap();
        assert_eq!(id.revision(), "refs/pr/3");
        assert_eq!(id.to_string(), "google/siglip-base-patch16-224@refs/pr/3");
        for path in [
            "gpt2",
            "../runs/model",
            "./model",
            "a/b/c",
            "/models/qwen",
            "models/tokenizer.json",
            "a b/c",
            "a/b@",
            "a/b@../x",
            "a/b@x y",
            "a--b/c",
            "a/..",
        ] {
            assert!(path.parse::<HubId>().is_err(), "{path}");
        }
    }
}
