//! What every format gives: rows in blocks, each block read when it is needed.

use serde_json::{Map, Value};

use super::RowImage;
use crate::DataError;

/// A stretch of rows that is read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSize {
    /// Its rows.
    pub rows: usize,
    /// Bytes of memory that it takes while it is kept.
    pub bytes: usize,
}

/// A file, or some of one kind, as rows in blocks. What it keeps itself is a few numbers a block, not a row.
pub(super) trait Reader: Send + Sync {
    /// The blocks, in the order of their rows.
    fn blocks(&self) -> &[BlockSize];

    /// The columns of any row, those of images excepted, in the file's order.
    fn columns(&self) -> &[String];

    /// Columns that hold images.
    fn image_columns(&self) -> &[String];

    /// Reads a block.
    fn load(&self, block: usize) -> Result<Box<dyn Block>, DataError>;

    /// The same without its images where those would be read, too: for who goes through all rows.
    fn load_texts(&self, block: usize) -> Result<Box<dyn Block>, DataError> {
        self.load(block)
    }
}

/// The rows of a block, in memory.
pub(super) trait Block: Send + Sync {
    /// Where row `index` is.
    fn origin(&self, index: usize) -> String;

    /// Row `index`, `0 ≤ index < rows`; an error concerns this row alone.
    fn record(&self, index: usize) -> Result<Record, String>;
}

/// A row as its file has it.
pub(super) struct Record {
    /// The images of image columns whose cells hold bytes; those of formats where a column's cell is a path are still
    /// among the columns.
    pub images: Vec<RowImage>,
    /// How many cells of image columns hold none.
    pub empty: usize,
    /// The cells.
    pub columns: Map<String, Value>,
}
