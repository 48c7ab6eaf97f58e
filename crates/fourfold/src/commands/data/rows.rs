//! Rows of a file as samples without turns: what can be said of a file before anything says what its answers are.

use std::sync::Arc;

use fourfold_data::source::{BlockSize, Table};
use fourfold_data::{DataError, Sample, SampleRng, Source};
use serde_json::{Map, Value};

/// A source of images alone.
pub struct Rows {
    name: String,
    table: Arc<Table>,
}

impl Rows {
    /// The rows of `table`, called `name`.
    pub fn new(name: String, table: Arc<Table>) -> Self {
        Self { name, table }
    }
}

impl Source for Rows {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> usize {
        self.table.len()
    }

    fn sample(&self, row: usize, _rng: &mut SampleRng) -> Result<Sample, DataError> {
        let row = self.table.row(row)?;
        Ok(Sample {
            origin: row.origin,
            images: row.images,
            turns: Vec::new(),
        })
    }

    fn origin(&self, row: usize) -> String {
        self.table.origin(row)
    }

    fn shows_images(&self) -> bool {
        self.table.has_images()
    }

    fn columns(&self, row: usize) -> Map<String, Value> {
        self.table
            .row(row)
            .map_or_else(|_| Map::new(), |row| row.columns)
    }

    fn blocks(&self) -> Vec<BlockSize> {
        self.table.blocks().to_vec()
    }
}
