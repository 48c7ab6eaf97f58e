//! The rows of one or several files of one kind, by number, read in blocks as they are asked for.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use serde_json::{Map, Value};

use super::cache::Cache;
use super::layout::Layout;
use super::opened::Opened;
use super::reader::{Block, BlockSize, Record};
use super::sight::{self, Sight};
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
    cache: Cache<Loaded>,
}

/// So many rows are looked at to see what the others are.
const SPECIMENS: usize = 64;

/// Fills cells of `whole` that are empty or absent with those of `more`.
fn merge(whole: &mut Map<String, Value>, more: Map<String, Value>) {
    let says = |value: &Value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => true,
    };
    for (name, value) in more {
        if !whole.get(&name).is_some_and(says) {
            whole.insert(name, value);
        }
    }
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
            cache: Cache::new(2 * config.shuffle_bytes()),
            path,
        };
        let all: Vec<&Opened> = table.files.iter().collect();
        let first = table.first_records(0..rows)?;
        let whole = Sight::of(&all, &first, config.image_column.as_deref(), config.images)?;
        if table.files.len() > 1 {
            table.demand_one_layout(&whole, config)?;
        }
        (table.layout, table.columns) = whole.layout(&folder, &all);
        Ok(table)
    }

    /// Demands that all files are of one layout, that of `whole`. Only files whose columns are not those of one before
    /// are looked into.
    fn demand_one_layout(&self, whole: &Sight, config: &SourceConfig) -> Result<(), DataError> {
        let mut seen: Vec<&Opened> = Vec::new();
        let mut sights = Vec::new();
        let mut begin = 0;
        for file in &self.files {
            let rows = begin..begin + file.rows();
            begin = rows.end;
            if rows.is_empty() || seen.iter().any(|seen| seen.has_columns_of(file)) {
                continue;
            }
            seen.push(file);
            let has = |column: &&str| file.reader.columns().iter().any(|name| name == column);
            let wanted = config.image_column.as_deref().filter(has);
            let first = self.first_records(rows)?;
            let sight = Sight::of(&[file], &first, wanted, config.images)?;
            sights.push((&*file.path, sight));
        }
        sight::demand_one_layout(&sights, whole)
    }

    /// The first records that can be read as one, which shows what the others are: of each column the first cell that
    /// is not empty.
    fn first_records(&self, rows: Range<usize>) -> Result<Record, DataError> {
        let mut first = None;
        let mut whole: Option<Record> = None;
        for row in rows.clone() {
            let (block, index) = self.place(row)?;
            match (block.0.record(index), &mut whole) {
                (Ok(record), None) => whole = Some(record),
                (Ok(record), Some(whole)) => {
                    merge(&mut whole.columns, record.columns);
                    if whole.images.is_empty() {
                        whole.images = record.images;
                    }
                }
                (Err(message), _) => {
                    first.get_or_insert((block.0.origin(index), message));
                }
            }
            if row + 1 - rows.start >= SPECIMENS && whole.is_some() {
                break;
            }
        }
        if let Some(whole) = whole {
            return Ok(whole);
        }
        let (origin, message) = first.unwrap_or_default();
        let message = format!(
            "not one of its {} rows can be read; the first, {origin}: {message}",
            rows.len()
        );
        let (file, ..) = self.places[self.block_of(rows.start)];
        Err(DataError::file(&self.files[file].path, message))
    }

    /// The columns of the first rows as one row, of each the first cell that is not empty; none where no row can be read.
    pub(super) fn specimen(&self) -> Map<String, Value> {
        let mut specimen = Map::new();
        for number in 0..self.rows {
            if let Ok(row) = self.row(number) {
                merge(&mut specimen, row.columns);
            }
            if number + 1 >= SPECIMENS && !specimen.is_empty() {
                break;
            }
        }
        specimen
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
        let origin = block.0.origin(index);
        match block.0.record(index) {
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
