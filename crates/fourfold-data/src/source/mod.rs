//! Sources: files as random-access rows of samples.
//!
//! ```text
//! files ─► Blob ─► Reader, blocks of records ─► Layout ─► Table, rows ─► RowSource, samples
//!          bytes   json csv parquet tar         published     by number      templates
//! ```
//!
//! A file is gone through once when it is opened; what is kept of it is a few numbers a block. Rows are read again, a
//! block at a time, when samples are drawn.

pub mod blob;
mod cache;
mod config;
mod csv;
mod json;
mod layout;
pub mod location;
mod opened;
mod parquet;
mod paths;
mod reader;
#[cfg(feature = "remote")]
pub(crate) mod remote;
#[cfg(not(feature = "remote"))]
#[path = "without_remote.rs"]
pub(crate) mod remote;
mod row;
mod rows;
mod sight;
mod table;
mod tar;
mod visible;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};

pub use config::{Accepted, Prompts, SourceConfig, TurnOrder};
pub use paths::Paths;
pub use reader::BlockSize;
pub use row::{Row, RowImage};
pub use rows::RowSource;
pub use table::Table;

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

    /// How many rows are no sample since the lists that samples are made of are empty.
    fn rows_without_samples(&self) -> usize {
        0
    }

    /// Sample `row`, `0 ≤ row < len`; `rng` decides between prompt templates.
    fn sample(&self, row: usize, rng: &mut SampleRng) -> Result<Sample, DataError>;

    /// Where sample `row` comes from, as `file.parquet:row 12`.
    fn origin(&self, row: usize) -> String;

    /// Whether samples may show images.
    fn shows_images(&self) -> bool;

    /// The file and, of every row of it that samples show images of, its number and how many they are; `None` where
    /// samples show no image. Goes through all rows.
    fn image_rows(&self) -> Option<(&Path, Vec<(u32, usize)>)> {
        None
    }

    /// The columns and variables a template sees at sample `row`; for grouping and references.
    fn columns(&self, row: usize) -> Map<String, Value>;

    /// Stretches of samples that are read together, in their order: [`BlockSize::rows`] counts samples here.
    fn blocks(&self) -> Vec<BlockSize> {
        vec![BlockSize {
            rows: self.len(),
            bytes: 0,
        }]
    }

    /// Bytes of blocks that are shuffled among each other.
    fn shuffle_bytes(&self) -> usize {
        usize::MAX
    }
}

/// Opens sources; files that several of them use are gone through once.
#[derive(Default)]
pub struct Tables {
    opened: Mutex<HashMap<TableKey, Arc<Table>>>,
}

/// What makes two configurations read the same table.
#[derive(PartialEq, Eq, Hash)]
struct TableKey {
    paths: Vec<PathBuf>,
    folder: Option<PathBuf>,
    column: Option<String>,
    annotations: Option<PathBuf>,
    images: bool,
    shuffle: usize,
}

impl Tables {
    /// Nothing read yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The rows of the files of `config`.
    ///
    /// # Errors
    /// As [`Table::read`].
    pub fn table(&self, config: &SourceConfig) -> Result<Arc<Table>, DataError> {
        let key = TableKey {
            paths: config.path.written().to_vec(),
            folder: config.image_folder.clone(),
            column: config.image_column.clone(),
            annotations: config.annotations.clone(),
            images: config.images,
            shuffle: config.shuffle_bytes(),
        };
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = opened.get(&key) {
            return Ok(Arc::clone(table));
        }
        let table = Arc::new(Table::read(config)?);
        opened.insert(key, Arc::clone(&table));
        Ok(table)
    }

    /// Opens a source: its files, its templates, the columns they use. It is called as its first file is.
    ///
    /// # Errors
    /// As [`Table::read`] and [`RowSource::new`].
    pub fn open(&self, config: &SourceConfig) -> Result<Arc<dyn Source>, DataError> {
        Ok(Arc::new(RowSource::new(
            self.table(config)?,
            config.clone(),
        )?))
    }

    /// Opens a source and calls it `name`.
    ///
    /// # Errors
    /// As [`Tables::open`].
    pub fn open_as(&self, name: &str, config: &SourceConfig) -> Result<Arc<dyn Source>, DataError> {
        let source = RowSource::new(self.table(config)?, config.clone())?;
        Ok(Arc::new(source.called(name)))
    }
}

/// Opens one source on its own. Use [`Tables`] where several sources share a file.
///
/// # Errors
/// As [`Tables::open`].
pub fn open(config: &SourceConfig) -> Result<Arc<dyn Source>, DataError> {
    Tables::new().open(config)
}
