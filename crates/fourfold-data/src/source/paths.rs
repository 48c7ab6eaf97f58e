//! Which files a source reads: one, several, or all that a pattern matches.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{location, remote};
use crate::DataError;

/// Paths as a recipe writes them: a text or a list of texts. `*`, `?` and `[…]` match as in a shell, `{00000..00331}`
/// counts. A URL of an object store (`s3://`, `gs://`) or a web server (`http://`, `https://`) is a path too; `*` is what
/// stores match, web servers do not list their files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a path, a pattern, or a list of them")]
pub enum Paths {
    /// One path or pattern.
    One(PathBuf),
    /// Several of them, read one after the other.
    Several(Vec<PathBuf>),
}

impl Default for Paths {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

impl From<PathBuf> for Paths {
    fn from(path: PathBuf) -> Self {
        Self::One(path)
    }
}

impl From<&Path> for Paths {
    fn from(path: &Path) -> Self {
        Self::One(path.into())
    }
}

impl Paths {
    /// The paths and patterns as written.
    pub fn written(&self) -> &[PathBuf] {
        match self {
            Self::One(path) => std::slice::from_ref(path),
            Self::Several(paths) => paths,
        }
    }

    /// The same, to change.
    pub fn written_mut(&mut self) -> &mut [PathBuf] {
        match self {
            Self::One(path) => std::slice::from_mut(path),
            Self::Several(paths) => paths,
        }
    }

    /// The files, patterns resolved: in the order written, those of a pattern by name.
    ///
    /// # Errors
    /// When there is no path, or a pattern matches nothing or is no pattern.
    pub fn files(&self) -> Result<Vec<PathBuf>, DataError> {
        self.check()?;
        let mut files = Vec::new();
        for written in self.written() {
            for path in counted(written)? {
                files.extend(matched(&path)?);
            }
        }
        Ok(files)
    }

    /// Demands that there is a path, and none is empty.
    ///
    /// # Errors
    /// When it is otherwise.
    pub(super) fn check(&self) -> Result<(), DataError> {
        let paths = self.written();
        let fail = |got: &str| {
            let message = format!("expected a file, got an empty {got}");
            Err(DataError::config("path", message))
        };
        if paths.is_empty() {
            return fail("list");
        }
        match paths.iter().any(|path| path.as_os_str().is_empty()) {
            true => fail("text"),
            false => Ok(()),
        }
    }
}

impl std::fmt::Display for Paths {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let paths = self.written().iter().map(|path| path.display().to_string());
        f.write_str(&paths.collect::<Vec<_>>().join(", "))
    }
}

/// The files that a path with `*`, `?` or `[…]` matches; the path itself where it has none of them, or is one that
/// exists.
fn matched(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    if location::is_url(path) {
        return remote::matched(path);
    }
    let text = path.to_string_lossy();
    if path.exists() || !text.contains(['*', '?', '[']) {
        return Ok(vec![path.into()]);
    }
    let as_a_shell = glob::MatchOptions {
        require_literal_leading_dot: true,
        ..glob::MatchOptions::new()
    };
    let found = glob::glob_with(&text, as_a_shell)
        .map_err(|error| DataError::file(path, format!("is no pattern of paths: {error}")))?;
    let found: Result<Vec<PathBuf>, _> = found.collect();
    let found = found.map_err(|error| DataError::Io {
        action: "look for",
        path: error.path().into(),
        source: error.into(),
    })?;
    match found.is_empty() {
        true => Err(DataError::file(path, "no file has a name of this pattern")),
        false => Ok(found),
    }
}

/// The paths that `{first..last}` counts, with leading zeros kept; only numbers are counted.
fn counted(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    const MOST: u64 = 1_000_000;
    if path.exists() {
        return Ok(vec![path.into()]);
    }
    let text = path.to_string_lossy();
    let braces = text.match_indices('{').find_map(|(open, _)| {
        let close = open + text[open..].find('}')?;
        let (first, last) = text[open + 1..close].split_once("..")?;
        let digits = |t: &str| (1..20).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_digit());
        (digits(first) && digits(last)).then_some((open, close, first, last))
    });
    let Some((open, close, first, last)) = braces else {
        return Ok(vec![path.into()]);
    };
    let range = first.parse::<u64>().ok().zip(last.parse::<u64>().ok());
    let range = range.filter(|(from, to)| from <= to && to - from < MOST);
    let (from, to) = range.ok_or_else(|| {
        let message =
            format!("{{{first}..{last}}}: expected two numbers that rise, fewer than {MOST}");
        DataError::file(path, message)
    })?;
    let width = first.len();
    let (before, after) = (&text[..open], &text[close + 1..]);
    let mut paths = Vec::new();
    for number in from..=to {
        paths.extend(counted(Path::new(&format!(
            "{before}{number:0width$}{after}"
        )))?);
        if paths.len() as u64 > MOST {
            let message = format!("counts more than {MOST} files");
            return Err(DataError::file(path, message));
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
        Paths::Several(paths.to_vec())
            .files()
            .map_err(|e| e.to_string())
    }

    #[test]
    fn braces_count_and_patterns_match() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        for name in ["b-1.jsonl", "b-0.jsonl", "c[1].jsonl"] {
            std::fs::write(place(name), "").unwrap();
        }
        assert_eq!(
            files(&[place("b-*.jsonl")]).unwrap(),
            [place("b-0.jsonl"), place("b-1.jsonl")]
        );
        // A name that exists is no pattern.
        assert_eq!(
            files(&[place("c[1].jsonl")]).unwrap(),
            [place("c[1].jsonl")]
        );
        assert_eq!(
            files(&[place("{8..10}.tar"), place("{08..09}-{1..2}.tar")]).unwrap(),
            [
                "8.tar", "9.tar", "10.tar", "08-1.tar", "08-2.tar", "09-1.tar", "09-2.tar"
            ]
            .map(place)
        );
        let error = files(&[place("d-*.jsonl")]).unwrap_err();
        assert!(
            error.contains("no file has a name of this pattern"),
            "{error}"
        );
        assert!(files(&[]).unwrap_err().contains("empty list"));
        let error = files(&[place("{9..1}.tar")]).unwrap_err();
        assert!(error.contains("{9..1}"), "{error}");
        let error = files(&[place("{0..9999}-{0..9999}.tar")]).unwrap_err();
        assert!(error.contains("more than 1000000 files"), "{error}");
        std::fs::write(place("{1..2}.tar"), "").unwrap();
        assert_eq!(
            files(&[place("{1..2}.tar")]).unwrap(),
            [place("{1..2}.tar")]
        );
    }

    #[test]
    fn one_path_is_written_as_a_text() {
        let one = Paths::from(Path::new("a.jsonl"));
        assert_eq!(serde_json::to_string(&one).unwrap(), "\"a.jsonl\"");
        let read: Paths = serde_json::from_str("[\"a\", \"b\"]").unwrap();
        assert_eq!(read.written().len(), 2);
    }
}
