//! Rows that are joined from several places of a file, kept as JSON lines in a temporary file until they are asked for.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::super::blob::{Blob, Spool};
use super::super::location;
use crate::DataError;

/// Where a joined row comes from.
pub(super) const ORIGIN: &str = "$origin";
/// Why it is none.
pub(super) const BROKEN: &str = "$broken";

/// Writes joined rows.
pub(super) struct Joined<'p> {
    path: &'p Path,
    spool: Spool,
}

impl<'p> Joined<'p> {
    pub fn new(path: &'p Path) -> Result<Self, DataError> {
        let spool = Spool::new().map_err(|error| unwritten(path, error))?;
        Ok(Self { path, spool })
    }

    /// Keeps a row; `place` says where in the file it is.
    pub fn row(&mut self, place: &str, mut columns: Map<String, Value>) -> Result<(), DataError> {
        let origin = format!("{}:{place}", location::name(self.path));
        columns.insert(ORIGIN.into(), origin.into());
        let mut line = Value::Object(columns).to_string();
        line.push('\n');
        self.spool
            .write_all(line.as_bytes())
            .map_err(|error| unwritten(self.path, error))
    }

    /// Keeps that there should be a row and why there is none.
    pub fn broken(&mut self, place: &str, message: String) -> Result<(), DataError> {
        self.row(place, Map::from_iter([(BROKEN.into(), message.into())]))
    }

    pub fn finish(self) -> Result<Arc<dyn Blob>, DataError> {
        let path = self.path;
        self.spool
            .into_blob(&location::name(path))
            .map_err(|error| unwritten(path, error))
    }
}

fn unwritten(path: &Path, error: std::io::Error) -> DataError {
    let folder = std::env::temp_dir();
    let message = format!(
        "its rows cannot be kept in {}: {error}; name a folder with room in TMPDIR",
        folder.display()
    );
    DataError::file(path, message)
}

/// Where a joined row comes from, and why it is none if it is broken; both are taken out of it.
pub(super) fn restored(columns: &mut Map<String, Value>) -> (Option<String>, Option<String>) {
    let mut text = |key: &str| match columns.shift_remove(key) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    (text(ORIGIN), text(BROKEN))
}
