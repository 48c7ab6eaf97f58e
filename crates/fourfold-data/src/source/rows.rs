//! A table seen through a source's configuration: filtered, expanded, rendered.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rand::RngExt;
use rand::seq::SliceRandom;
use rayon::prelude::*;
use serde_json::{Map, Value};

use super::cache::Cache;
use super::layout::complete;
use super::{BlockSize, Row, Source, SourceConfig, Table, TurnOrder};
use crate::pieces::demand_answer;
use crate::template::Templates;
use crate::{DataError, Sample, SampleRng, Turn};

/// A source over the rows of a table.
pub struct RowSource {
    name: String,
    table: Arc<Table>,
    config: SourceConfig,
    templates: Templates,
    /// Of each block of the table, the first of its samples; and at the end how many there are.
    starts: Vec<usize>,
    visible: Cache<Visible>,
    shows_images: bool,
}

/// The samples of a block: row within the table and, with `each`, element of the row's lists.
type Visible = Vec<(usize, Option<u32>)>;

/// Bytes of lists of visible samples that are kept.
const VISIBLE_BYTES: usize = 64 << 20;

/// Bytes of a sample's text. Tokenizing takes some hundred times as much memory, in each thread, and no context is as long.
const MOST_TEXT: usize = 1 << 20;

/// The element of a row whose lists disagree: one sample, whose error tells of the row when it is drawn.
const BROKEN: u32 = u32::MAX;

impl RowSource {
    /// Applies a configuration to a table's rows; templates that it leaves out are those that the table's layout
    /// proposes.
    ///
    /// # Errors
    /// When the configuration uses a column that the table lacks, nothing says what the answer is, or no sample is left.
    pub fn new(table: Arc<Table>, config: SourceConfig) -> Result<Self, DataError> {
        let columns = table.columns();
        let config = complete(&config, columns, &table.specimen())?;
        config.check()?;
        let prompts = config.prompt.templates();
        let lists = || config.each.iter().chain(&config.draw).chain(&config.turns);
        for (variable, column) in lists() {
            require(
                &table,
                columns,
                &format!("`{variable} = \"{column}\"`"),
                column,
            )?;
        }
        let mut variables = columns.to_vec();
        variables.extend(lists().map(|(variable, _)| variable.clone()));
        for column in config.filter.keys() {
            require(&table, &variables, "`where`", column)?;
        }
        let texts: Vec<(&str, &str)> = prompts
            .iter()
            .map(|text| ("prompt", text.as_str()))
            .chain(config.answer.iter().map(|text| ("answer", text.as_str())))
            .collect();
        let templates = Templates::compile(table.path(), &texts, &variables)?;
        let name = table.path().file_stem().unwrap_or_default();
        let mut source = Self {
            name: name.to_string_lossy().into_owned(),
            shows_images: config.images && table.has_images(),
            table,
            config,
            templates,
            starts: Vec::new(),
            visible: Cache::new(VISIBLE_BYTES),
        };
        source.starts = source.count();
        if source.is_empty() {
            let message = format!(
                "none of its {} rows is left by `where`, `each`, `draw` and `turns`{}",
                source.table.len(),
                source.unlike_kinds()
            );
            return Err(DataError::file(source.table.path(), message));
        }
        Ok(source)
    }

    /// What `where` asks of a column that holds values of another kind, such as "1" where there are numbers.
    fn unlike_kinds(&self) -> String {
        let specimen = self.table.specimen();
        let kind = |value: &Value| match value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "numbers",
            Value::String(_) => "texts",
            Value::Array(_) | Value::Object(_) => "lists or objects",
        };
        for (name, accepted) in &self.config.filter {
            let column = self.config.each.get(name).unwrap_or(name);
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

    /// The same under another name.
    pub fn called(self, name: &str) -> Self {
        Self {
            name: name.into(),
            ..self
        }
    }

    /// Whether every row is one sample.
    fn is_plain(&self) -> bool {
        let config = &self.config;
        config.each.is_empty()
            && config.draw.is_empty()
            && config.turns.is_empty()
            && config.filter.is_empty()
    }

    /// The first sample of each block, and their number.
    fn count(&self) -> Vec<usize> {
        let blocks = self.table.blocks();
        let counts: Vec<usize> = match self.is_plain() {
            true => blocks.iter().map(|block| block.rows).collect(),
            false => {
                let firsts = firsts(blocks.iter().map(|block| block.rows));
                let count = |block: usize| self.expand(firsts[block]..firsts[block + 1]).len();
                (0..blocks.len()).into_par_iter().map(count).collect()
            }
        };
        firsts(counts.into_iter())
    }

    fn expand(&self, rows: std::ops::Range<usize>) -> Visible {
        let mut visible = Vec::new();
        for number in rows {
            let Ok(row) = self.table.row(number) else {
                // One sample, whose error tells of the row when it is drawn.
                visible.push((number, None));
                continue;
            };
            let empty = |lists: &BTreeMap<String, String>| {
                !lists.is_empty() && lengths(&row, lists) == Ok(0)
            };
            let elements = if !self.config.each.is_empty() {
                match lengths(&row, &self.config.each) {
                    Ok(n) => (0..n as u32).map(Some).collect(),
                    Err(_) => vec![Some(BROKEN)],
                }
            } else if empty(&self.config.draw) || empty(&self.config.turns) {
                Vec::new()
            } else {
                vec![None]
            };
            for element in elements {
                if self.passes(&row, element) {
                    visible.push((number, element));
                }
            }
        }
        visible
    }

    fn passes(&self, row: &Row, element: Option<u32>) -> bool {
        self.config.filter.iter().all(|(name, accepted)| {
            let list = self
                .config
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

    /// The row of the table and the element of its lists that are sample `sample`.
    fn place(&self, sample: usize) -> Result<(usize, Option<u32>), DataError> {
        if self.is_plain() {
            return Ok((sample, None));
        }
        // Of blocks that begin with the same sample, all but the last are empty.
        let block = self.starts.partition_point(|first| *first <= sample) - 1;
        let count = self.starts[block + 1] - self.starts[block];
        let load = || {
            let blocks = self.table.blocks().iter();
            let first = blocks.take(block).map(|block| block.rows).sum();
            Ok(self.expand(first..first + self.table.blocks()[block].rows))
        };
        let visible = self.visible.get(block, 24 * count, load)?;
        let index = sample - self.starts[block];
        visible
            .get(index)
            .copied()
            .ok_or_else(|| DataError::file(self.table.path(), "changed while it was read"))
    }

    fn bind(row: &Row, lists: &BTreeMap<String, String>, element: usize) -> Map<String, Value> {
        let mut columns = row.columns.clone();
        Self::set(&mut columns, row, lists, element);
        columns
    }

    /// Gives each variable of `lists` its list's element.
    fn set(
        columns: &mut Map<String, Value>,
        row: &Row,
        lists: &BTreeMap<String, String>,
        element: usize,
    ) {
        for (variable, column) in lists {
            let value = row.columns.get(column).and_then(|list| list.get(element));
            columns.insert(variable.clone(), value.cloned().unwrap_or(Value::Null));
        }
    }

    fn turn(
        &self,
        columns: &Map<String, Value>,
        origin: &str,
        rng: &mut SampleRng,
    ) -> Result<Turn, DataError> {
        let prompts = self.config.prompt.templates().len();
        // Drawn even where there is one prompt only, so that adding a second changes nothing else.
        let chosen = rng.random_range(0..prompts as u32) as usize;
        let prompt = self.templates.render(chosen, columns, origin)?;
        let answer = self.templates.render(prompts, columns, origin)?;
        demand_answer(origin, &answer)?;
        Ok(Turn { prompt, answer })
    }

    /// The turns of a row whose lists are `turns`.
    fn turns(&self, row: &Row, rng: &mut SampleRng) -> Result<Vec<Turn>, DataError> {
        let count =
            lengths(row, &self.config.turns).map_err(|message| broken(&row.origin, message))?;
        let mut order: Vec<usize> = (0..count).collect();
        if self.config.turn_order == TurnOrder::Random {
            order.shuffle(rng);
        }
        // Cloned once for all turns: a row of many has long lists.
        let mut columns = row.columns.clone();
        let turn = |index| {
            Self::set(&mut columns, row, &self.config.turns, index);
            self.turn(&columns, &row.origin, rng)
        };
        order.into_iter().map(turn).collect()
    }
}

impl Source for RowSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> usize {
        self.starts.last().copied().unwrap_or(0)
    }

    fn origin(&self, sample: usize) -> String {
        match self.place(sample) {
            Ok((row, element)) => with_element(self.table.origin(row), element),
            Err(_) => format!("{}:sample {sample}", self.name),
        }
    }

    fn shows_images(&self) -> bool {
        self.shows_images
    }

    fn image_rows(&self) -> Option<(&Path, Vec<(u32, usize)>)> {
        if !self.shows_images {
            return None;
        }
        // Elements of one row lie side by side.
        let mut rows: Vec<usize> = (0..self.len())
            .filter_map(|sample| Some(self.place(sample).ok()?.0))
            .collect();
        rows.dedup();
        let images = |row: usize| self.table.row(row).map_or(0, |row| row.images.len());
        let rows = rows.into_iter().map(|row| (row as u32, images(row)));
        let shown: Vec<(u32, usize)> = rows.filter(|(_, images)| *images > 0).collect();
        (!shown.is_empty()).then_some((self.table.path(), shown))
    }

    fn columns(&self, sample: usize) -> Map<String, Value> {
        let read = || {
            let (row, element) = self.place(sample)?;
            let row = self.table.row(row)?;
            Ok(Self::bind(
                &row,
                &self.config.each,
                element.unwrap_or(0) as usize,
            ))
        };
        read().unwrap_or_else(|_: DataError| Map::new())
    }

    fn sample(&self, sample: usize, rng: &mut SampleRng) -> Result<Sample, DataError> {
        let (number, element) = self.place(sample)?;
        let row = self.table.row(number)?;
        let origin = with_element(row.origin.clone(), element);
        let fail = |message| broken(&origin, message);
        let turns = if !self.config.turns.is_empty() {
            self.turns(&row, rng)?
        } else if !self.config.draw.is_empty() {
            let count = lengths(&row, &self.config.draw).map_err(fail)?;
            let drawn = rng.random_range(0..count.max(1) as u32) as usize;
            vec![self.turn(&Self::bind(&row, &self.config.draw, drawn), &origin, rng)?]
        } else {
            lengths(&row, &self.config.each).map_err(fail)?;
            let columns = Self::bind(&row, &self.config.each, element.unwrap_or(0) as usize);
            vec![self.turn(&columns, &origin, rng)?]
        };
        let text: usize = turns.iter().map(|t| t.prompt.len() + t.answer.len()).sum();
        if text > MOST_TEXT {
            let message = format!(
                "has {text} bytes of text; expected at most {MOST_TEXT}: cut it in several samples"
            );
            return Err(fail(message));
        }
        let (images, turns) = match self.config.images {
            true => (row.images, turns),
            false => (
                Vec::new(),
                turns.into_iter().map(Turn::without_images).collect(),
            ),
        };
        Ok(Sample {
            origin,
            images,
            turns,
        })
    }

    fn blocks(&self) -> Vec<BlockSize> {
        let blocks = self.table.blocks().iter();
        let samples = self.starts.windows(2).map(|pair| pair[1] - pair[0]);
        let size = |(block, rows): (&BlockSize, usize)| BlockSize {
            rows,
            bytes: block.bytes,
        };
        blocks.zip(samples).map(size).collect()
    }

    fn shuffle_bytes(&self) -> usize {
        self.config.shuffle_bytes()
    }
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

fn with_element(origin: String, element: Option<u32>) -> String {
    match element {
        None | Some(BROKEN) => origin,
        Some(element) => format!("{origin} element {element}"),
    }
}

fn broken(origin: &str, message: String) -> DataError {
    DataError::Row {
        origin: origin.into(),
        message,
    }
}

/// The common length of a row's lists; 0 without lists.
fn lengths(row: &Row, lists: &BTreeMap<String, String>) -> Result<usize, String> {
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

fn require(
    table: &Table,
    columns: &[String],
    used_in: &str,
    column: &str,
) -> Result<(), DataError> {
    if columns.iter().any(|name| name == column) {
        return Ok(());
    }
    Err(DataError::NoColumn {
        path: table.path().into(),
        used_in: used_in.into(),
        column: column.into(),
        columns: columns.to_vec(),
    })
}
