//! The rows of one or several files of one kind, by number, read in blocks as they are asked for.

mod specimens;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use serde_json::Value;

pub(super) use specimens::{FileKind, Group, merged};

use super::cache::Cache;
use super::layout::Layout;
use super::opened::Opened;
use super::reader::{Block, BlockSize};
use super::sight::Sight;
use super::{Row, SourceConfig, location};
use crate::DataError;

/// The rows of a source's files, before templates.
pub struct Table {
    /// The files, as they were written.
    name: String,
    /// The first file: what messages about the whole table name.
    path: PathBuf,
    files: Vec<Opened>,
    /// Of each block its file, its number there, and the first of its rows here.
    places: Vec<(usize, usize, usize)>,
    sizes: Vec<BlockSize>,
    rows: usize,
    columns: Vec<String>,
    layout: Layout,
    groups: Vec<Group>,
    cache: Cache<Loaded>,
}

/// A block in memory.
struct Loaded(Box<dyn Block>);

impl Table {
    /// Opens a file without a recipe.
    ///
    /// # Errors
    /// As [`Table::read`].
    pub fn open(path: &Path) -> Result<Self, DataError> {
        Self::read(&SourceConfig {
            path: path.into(),
            images: true,
            ..SourceConfig::default()
        })
    }

    /// Opens the files of `config` and learns where their rows are; what they are is found by looking at them.
    ///
    /// # Errors
    /// Names the file that cannot be read, or is of no known kind, or has no row that can be read.
    pub fn read(config: &SourceConfig) -> Result<Self, DataError> {
        let files = config.path.files()?;
        let path = files[0].clone();
        let own = || location::folder(&path);
        let folder = config.image_folder.clone().unwrap_or_else(own);
        let opened: Vec<Opened> = files
            .par_iter()
            .map(|file| Opened::read(file, &folder, config))
            .collect::<Vec<_>>()
            .into_iter()
            .collect::<Result<_, _>>()?;
        let (mut places, mut sizes, mut rows) = (Vec::new(), Vec::new(), 0);
        for (number, file) in opened.iter().enumerate() {
            for (block, size) in file.reader.blocks().iter().enumerate() {
                places.push((number, block, rows));
                sizes.push(*size);
                rows += size.rows;
            }
        }
        if rows == 0 {
            return Err(DataError::file(&path, "the file has no rows"));
        }
        let mut table = Self {
            name: config.path.to_string(),
            files: opened,
            places,
            sizes,
            rows,
            columns: Vec::new(),
            layout: Layout::default(),
            groups: Vec::new(),
            cache: Cache::new(2 * config.shuffle_bytes()),
            path,
        };
        let firsts = table.first_of_groups()?;
        let sight = Sight::of_all(&table, &firsts, config)?;
        table.groups = firsts.into_iter().map(|(group, _)| group).collect();
        (table.layout, table.columns) = sight.layout(&folder, &table.files);
        Ok(table)
    }

    /// The files, as they were written.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The columns of any row, those of images alone excepted, in the file's order.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The blocks that rows are read in, in the order of their rows.
    pub fn blocks(&self) -> &[BlockSize] {
        &self.sizes
    }

    /// Whether rows may have images.
    pub fn has_images(&self) -> bool {
        let embedded = |file: &Opened| !file.reader.image_columns().is_empty();
        self.files.iter().any(embedded) || !self.layout.images.columns.is_empty()
    }

    /// Row `row`, `0 ≤ row < len`; columns that it lacks are null.
    ///
    /// # Errors
    /// When the row is broken, or its block cannot be read any more.
    pub fn row(&self, row: usize) -> Result<Row, DataError> {
        let (block, index) = self.place(row)?;
        self.row_of(&*block.0, index)
    }

    /// The rows of block `number`, for who goes through all of them: without images that the file holds itself where
    /// those would be read.
    ///
    /// # Errors
    /// When the block cannot be read.
    pub(super) fn texts(&self, number: usize) -> Result<Vec<Result<Row, DataError>>, DataError> {
        let (file, block, first) = self.places[number];
        let rows = self.sizes[number].rows;
        let reader = &self.files[file].reader;
        if reader.image_columns().is_empty() {
            return Ok((first..first + rows).map(|row| self.row(row)).collect());
        }
        let block = reader.load_texts(block)?;
        Ok((0..rows).map(|index| self.row_of(&*block, index)).collect())
    }

    fn row_of(&self, block: &dyn Block, index: usize) -> Result<Row, DataError> {
        let origin = block.origin(index);
        match block.record(index) {
            Err(message) => Err(DataError::Row { origin, message }),
            Ok(record) => {
                let mut row = self.layout.row(origin, record)?;
                for column in &self.columns {
                    if !row.columns.contains_key(column) {
                        row.columns.insert(column.clone(), Value::Null);
                    }
                }
                Ok(row)
            }
        }
    }

    /// Where row `row` is, as `train.parquet:row 12`.
    pub fn origin(&self, row: usize) -> String {
        match self.row(row) {
            Ok(row) => row.origin,
            Err(DataError::Row { origin, .. }) => origin,
            Err(_) => format!("{}:row {row}", self.name),
        }
    }

    fn place(&self, row: usize) -> Result<(Arc<Loaded>, usize), DataError> {
        let number = self.block_of(row);
        let (file, block, first) = self.places[number];
        let load = || self.files[file].reader.load(block).map(Loaded);
        let loaded = self.cache.get(number, self.sizes[number].bytes, load)?;
        Ok((loaded, row - first))
    }

    fn block_of(&self, row: usize) -> usize {
        self.places.partition_point(|(_, _, first)| *first <= row) - 1
    }
}
