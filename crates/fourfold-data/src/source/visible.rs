//! Which samples the rows of a table are, once they are filtered and expanded.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde_json::Value;

use super::cache::Cache;
use super::table::merged;
use super::{Row, SourceConfig, Table};
use crate::DataError;

/// Where a sample is: the row of its table and, with `each`, the element of the row's lists.
pub(super) type Place = (usize, Option<u32>);

/// The samples of a table, by number.
pub(super) struct Visible {
    /// Of each block of the table, the first of its samples; and at the end how many there are.
    starts: Vec<usize>,
    /// Rows that are no sample since their lists are empty.
    without: usize,
    /// Whether every row is one sample.
    plain: bool,
    /// The samples of a block.
    places: Cache<Vec<Place>>,
}

/// Bytes of lists of places that are kept.
const KEPT: usize = 64 << 20;

/// The element of a row whose lists disagree: one sample, whose error tells of the row when it is drawn.
const BROKEN: u32 = u32::MAX;

impl Visible {
    /// Goes through the rows of `table`, unless each of them is a sample.
    ///
    /// # Errors
    /// When no sample is left.
    pub fn of(table: &Table, config: &SourceConfig) -> Result<Self, DataError> {
        let plain = config.filter.is_empty() && config.expansions().next().is_none();
        let rows = table.blocks().iter().map(|block| block.rows);
        let (starts, without) = match plain {
            true => (firsts(rows), 0),
            false => {
                let rows = firsts(rows);
                let count = |block| {
                    let (places, without) = expand(table, config, block, rows[block]);
                    (places.len(), without)
                };
                let blocks = (0..table.blocks().len()).into_par_iter();
                let counts: Vec<(usize, usize)> = blocks.map(count).collect();
                let without = counts.iter().map(|(_, without)| without).sum();
                (
                    firsts(counts.into_iter().map(|(places, _)| places)),
                    without,
                )
            }
        };
        let visible = Self {
            starts,
            without,
            plain,
            places: Cache::new(KEPT),
        };
        match visible.len() {
            0 => Err(nothing_left(table, config)),
            _ => Ok(visible),
        }
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.starts.last().copied().unwrap_or(0)
    }

    /// How many rows are no sample since their lists are empty.
    pub fn without(&self) -> usize {
        self.without
    }

    /// How many samples each block of the table has.
    pub fn of_blocks(&self) -> impl Iterator<Item = usize> {
        self.starts.windows(2).map(|pair| pair[1] - pair[0])
    }

    /// Where sample `sample` is, of the table and the configuration that these are the samples of.
    ///
    /// # Errors
    /// When the file is another than it was.
    pub fn place(
        &self,
        sample: usize,
        table: &Table,
        config: &SourceConfig,
    ) -> Result<Place, DataError> {
        if self.plain {
            return Ok((sample, None));
        }
        // Of blocks that begin with the same sample, all but the last are empty.
        let block = self.starts.partition_point(|first| *first <= sample) - 1;
        let count = self.starts[block + 1] - self.starts[block];
        let load = || {
            let blocks = table.blocks().iter();
            let first = blocks.take(block).map(|block| block.rows).sum();
            Ok(expand(table, config, block, first).0)
        };
        let places = self.places.get(block, size_of::<Place>() * count, load)?;
        places
            .get(sample - self.starts[block])
            .copied()
            .ok_or_else(|| DataError::file(table.path(), "changed while it was read"))
    }
}

/// The samples of a block, the first of whose rows is `first`, and how many of its rows are none since their lists are
/// empty.
fn expand(table: &Table, config: &SourceConfig, block: usize, first: usize) -> (Vec<Place>, usize) {
    let mut visible = Vec::new();
    let mut without = 0;
    // A row that cannot be read is one sample, whose error tells of the row when it is drawn.
    let Ok(rows) = table.texts(block) else {
        let rows = first..first + table.blocks()[block].rows;
        return (rows.map(|number| (number, None)).collect(), 0);
    };
    for (number, row) in (first..).zip(rows) {
        let Ok(row) = row else {
            visible.push((number, None));
            continue;
        };
        let empty =
            |lists: &BTreeMap<String, String>| !lists.is_empty() && lengths(&row, lists) == Ok(0);
        let elements = if !config.each.is_empty() {
            match lengths(&row, &config.each) {
                Ok(n) => (0..n as u32).map(Some).collect(),
                Err(_) => vec![Some(BROKEN)],
            }
        } else if empty(&config.draw) || empty(&config.turns) {
            Vec::new()
        } else {
            vec![None]
        };
        without += usize::from(elements.is_empty());
        let kept = elements
            .into_iter()
            .filter(|element| passes(config, &row, *element));
        visible.extend(kept.map(|element| (number, element)));
    }
    (visible, without)
}

/// Whether `where` keeps a row, or an element of it.
fn passes(config: &SourceConfig, row: &Row, element: Option<u32>) -> bool {
    config.filter.iter().all(|(name, accepted)| {
        let list = config
            .each
            .get(name)
            .and_then(|column| row.columns.get(column));
        match (list, element) {
            (Some(list), Some(i)) => list
                .get(i as usize)
                .is_none_or(|value| accepted.accepts(value)),
            _ => row
                .columns
                .get(name)
                .is_some_and(|value| accepted.accepts(value)),
        }
    })
}

/// That no sample is left, and why it may be so.
fn nothing_left(table: &Table, config: &SourceConfig) -> DataError {
    let filtered = (!config.filter.is_empty()).then_some("where");
    let given = filtered
        .into_iter()
        .chain(config.expansions().map(|(key, _)| key));
    let keys: Vec<String> = given.map(|key| format!("`{key}`")).collect();
    let message = format!(
        "none of its {} rows is left by {}{}",
        table.len(),
        keys.join(" and "),
        unlike_kinds(table, config)
    );
    DataError::file(table.path(), message)
}

/// What `where` asks of a column that holds values of another kind, such as "1" where there are numbers.
fn unlike_kinds(table: &Table, config: &SourceConfig) -> String {
    let specimen = merged(&table.kinds());
    let kind = |value: &Value| match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "numbers",
        Value::String(_) => "texts",
        Value::Array(_) | Value::Object(_) => "lists or objects",
    };
    for (name, accepted) in &config.filter {
        let column = config.each.get(name).unwrap_or(name);
        let value = match specimen.get(column) {
            Some(Value::Array(list)) => list.first(),
            value => value,
        };
        let asked = accepted.values().first();
        if let (Some(value), Some(asked)) = (value, asked)
            && kind(value) != kind(asked)
        {
            return format!(
                "; `{name}` holds {}, such as {value}, and `where` asks for {asked}",
                kind(value)
            );
        }
    }
    String::new()
}

/// The first of each of some stretches, and one after the last of all.
fn firsts(lengths: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut firsts = vec![0];
    let mut total = 0;
    for length in lengths {
        total += length;
        firsts.push(total);
    }
    firsts
}

/// A row's origin, with the element that a sample is of.
pub(super) fn with_element(origin: String, element: Option<u32>) -> String {
    match element {
        None | Some(BROKEN) => origin,
        Some(element) => format!("{origin} element {element}"),
    }
}

/// The common length of a row's lists; 0 without lists.
pub(super) fn lengths(row: &Row, lists: &BTreeMap<String, String>) -> Result<usize, String> {
    let mut common: Option<(usize, &str)> = None;
    for column in lists.values() {
        let length = match row.columns.get(column) {
            Some(Value::Array(list)) => list.len(),
            Some(Value::Null) | None => 0,
            Some(_) => return Err(format!("the column `{column}` should be a list and is not")),
        };
        match common {
            Some((other, name)) if other != length => {
                return Err(format!(
                    "`{name}` has {other} elements and `{column}` has {length}; they must agree"
                ));
            }
            _ => common = Some((length, column)),
        }
    }
    Ok(common.map_or(0, |(length, _)| length))
}
