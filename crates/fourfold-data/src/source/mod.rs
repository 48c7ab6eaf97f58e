//! Sources: files as random-access rows of samples.

mod config;
mod jsonl;
mod parquet;
mod rows;
mod table;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};

pub use config::{Accepted, Prompts, SourceConfig};
pub use rows::RowSource;
pub use table::{Row, RowImage, Table};

use crate::{DataError, Sample, SampleRng};

/// Samples by number.
pub trait Source: Send + Sync {
    /// A short name for messages, such as the file's.
    fn name(&self) -> &str;

    /// How many samples there are, after filtering and expansion.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sample `row`, `0 ≤ row < len`; `rng` decides between prompt templates.
    fn sample(&self, row: usize, rng: &mut SampleRng) -> Result<Sample, DataError>;

    /// Where sample `row` comes from, as `file.parquet:row 12`.
    fn origin(&self, row: usize) -> String;

    /// The file and, of every row of it that samples show images of, its number and how many they are; `None` where
    /// samples show no image.
    fn image_rows(&self) -> Option<(&Path, Vec<(u32, usize)>)> {
        None
    }

    /// The columns and variables a template sees at sample `row`; for grouping and references.
    fn columns(&self, row: usize) -> Map<String, Value>;
}

/// Opens sources; a file that several of them use is read once.
#[derive(Default)]
pub struct Tables {
    loaded: Mutex<HashMap<PathBuf, Arc<Table>>>,
}

impl Tables {
    /// Nothing read yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The rows of a `.parquet` or `.jsonl` file.
    pub fn table(&self, path: &Path) -> Result<Arc<Table>, DataError> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = loaded.get(path) {
            return Ok(table.clone());
        }
        let table = Arc::new(Table::read(path)?);
        loaded.insert(path.into(), table.clone());
        Ok(table)
    }

    /// Opens a source: reads its file, compiles its templates, checks the columns they use.
    pub fn open(&self, config: &SourceConfig) -> Result<Arc<dyn Source>, DataError> {
        Ok(Arc::new(RowSource::new(
            self.table(&config.path)?,
            config.clone(),
        )?))
    }
}

/// Opens one source on its own. Use [`Tables`] where several sources share a file.
pub fn open(config: &SourceConfig) -> Result<Arc<dyn Source>, DataError> {
    Tables::new().open(config)
}
