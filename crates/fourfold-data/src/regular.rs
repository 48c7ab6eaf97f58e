//! Files of others, where there may be what is none.

use std::path::Path;
use std::{fs, io};

use crate::DataError;

/// What the system knows of a file of samples. Called before the file is opened: to open a pipe is to wait for whoever
/// writes into it.
///
/// # Errors
/// When there is none, or what is there is no file.
pub(crate) fn demand_file(path: &Path) -> Result<fs::Metadata, DataError> {
    let about = fs::metadata(path).map_err(|source| DataError::Io {
        action: "read",
        path: path.into(),
        source,
    })?;
    if about.is_dir() {
        let message = format!(
            "is a folder; name the files in it, as \"{}/*.parquet\"",
            path.display()
        );
        return Err(DataError::file(path, message));
    }
    match about.is_file() {
        true => Ok(about),
        false => Err(DataError::file(path, "is not a regular file")),
    }
}

/// The text of a file. A folder may hold a pipe or a device under a file's name, whose reading would never end.
pub(crate) fn read_text(path: &Path) -> Result<String, DataError> {
    let read = || {
        if fs::metadata(path)?.is_file() {
            return fs::read_to_string(path);
        }
        let message = "is not a regular file";
        Err(io::Error::new(io::ErrorKind::InvalidInput, message))
    };
    read().map_err(|source| DataError::Io {
        action: "read",
        path: path.into(),
        source,
    })
}

/// The same, and none where there is no file.
pub(crate) fn read_text_if_any(path: &Path) -> Result<Option<String>, DataError> {
    match read_text(path) {
        Err(DataError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        assert!(read_text_if_any(&file).unwrap().is_none());
        fs::write(&file, "{}").unwrap();
        assert_eq!(read_text(&file).unwrap(), "{}");
        let error = read_text_if_any(folder.path()).unwrap_err().to_string();
        assert!(error.contains("is not a regular file"), "{error}");
    }

    /// It would wait for somebody who writes to it.
    #[cfg(unix)]
    #[test]
    fn a_pipe_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("tokenizer.json");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let error = crate::Tokenizer::from_file(&pipe).unwrap_err().to_string();
        assert!(
            error.contains("tokenizer.json: is not a regular file"),
            "{error}"
        );
    }
}
