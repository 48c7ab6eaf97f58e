//! Text files of a model's folder.

use std::path::Path;
use std::{fs, io};

use crate::{ModelError, Result};

/// The text of a file. A folder may hold a pipe or a device under a file's name, whose reading would never end.
pub(super) fn read_text(path: &Path) -> Result<String> {
    let read = || {
        if fs::metadata(path)?.is_file() {
            return fs::read_to_string(path);
        }
        let message = "is not a regular file";
        Err(io::Error::new(io::ErrorKind::InvalidInput, message))
    };
    read().map_err(ModelError::io(path))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// It would wait for somebody who writes to it.
    #[test]
    fn a_pipe_is_refused_at_once() {
        let name = format!("fourfold-config-pipe-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        let error = read_text(&path).unwrap_err().to_string();
        fs::remove_file(&path).unwrap();
        assert!(error.contains("is not a regular file"), "{error}");
    }
}
