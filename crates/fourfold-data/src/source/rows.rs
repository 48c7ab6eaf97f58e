//! A table seen through a source's configuration: filtered, expanded, rendered.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rand::RngExt;
use rand::seq::SliceRandom;
use serde_json::{Map, Value};

use super::{Row, Source, SourceConfig, Table};
use crate::template::Templates;
use crate::{DataError, Sample, SampleRng, Turn};

/// A source over the rows of a table.
pub struct RowSource {
    name: String,
    table: Arc<Table>,
    config: SourceConfig,
    templates: Templates,
    /// Index into the table's rows and, with `each`, into the row's lists.
    visible: Vec<(u32, Option<u32>)>,
}

impl RowSource {
    /// Applies a configuration to a table's rows.
    ///
    /// A column that the configuration uses and the table lacks is an error, as is a configuration
    /// that leaves no sample.
    pub fn new(table: Arc<Table>, config: SourceConfig) -> Result<Self, DataError> {
        if table.rows.is_empty() {
            return Err(DataError::file(&table.path, "the file has no rows"));
        }
        let prompts = config.prompt.templates();
        if prompts.is_empty() {
            return Err(DataError::config(
                "prompt",
                "an empty list; leave the key out instead",
            ));
        }
        if !config.each.is_empty() && !config.turns.is_empty() {
            return Err(DataError::config(
                "each",
                "cannot be combined with `turns`; choose one",
            ));
        }
        let lists = || config.each.iter().chain(&config.turns);
        for (variable, column) in lists() {
            require(
                &table,
                &table.columns,
                &format!("`{variable} = \"{column}\"`"),
                column,
            )?;
        }
        let mut variables = table.columns.clone();
        variables.extend(lists().map(|(variable, _)| variable.clone()));
        for column in config.filter.keys() {
            require(&table, &variables, "`where`", column)?;
        }
        let texts: Vec<(&str, &str)> = prompts
            .iter()
            .map(|text| ("prompt", text.as_str()))
            .chain([("answer", config.answer.as_str())])
            .collect();
        let templates = Templates::compile(&table.path, &texts, &variables)?;
        let name = table
            .path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let mut source = Self {
            name,
            table,
            config,
            templates,
            visible: Vec::new(),
        };
        source.visible = source.expand();
        if source.visible.is_empty() {
            let message = format!(
                "none of its {} rows is left by `where`, `each` and `turns`",
                source.table.rows.len()
            );
            return Err(DataError::file(&source.table.path, message));
        }
        Ok(source)
    }

    /// The table's row behind sample `row`.
    pub fn row(&self, row: usize) -> &Row {
        &self.table.rows[self.visible[row].0 as usize]
    }

    fn expand(&self) -> Vec<(u32, Option<u32>)> {
        let mut visible = Vec::new();
        for (index, row) in self.table.rows.iter().enumerate() {
            let elements = if !self.config.each.is_empty() {
                match lengths(row, &self.config.each) {
                    Ok(n) => (0..n as u32).map(Some).collect(),
                    // Kept as one sample, whose error tells of the row when it is drawn.
                    Err(_) => vec![Some(u32::MAX)],
                }
            } else if !self.config.turns.is_empty() && lengths(row, &self.config.turns) == Ok(0) {
                Vec::new()
            } else {
                vec![None]
            };
            for element in elements {
                if self.passes(row, element) {
                    visible.push((index as u32, element));
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

    fn bind(row: &Row, lists: &BTreeMap<String, String>, element: usize) -> Map<String, Value> {
        let mut columns = row.columns.clone();
        for (variable, column) in lists {
            let value = row.columns.get(column).and_then(|list| list.get(element));
            columns.insert(variable.clone(), value.cloned().unwrap_or(Value::Null));
        }
        columns
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
        if answer.is_empty() {
            return Err(DataError::EmptyAnswer {
                origin: origin.into(),
            });
        }
        Ok(Turn { prompt, answer })
    }
}

impl Source for RowSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> usize {
        self.visible.len()
    }

    fn origin(&self, row: usize) -> String {
        let (index, element) = self.visible[row];
        let origin = self.table.origin(&self.table.rows[index as usize]);
        match element {
            None | Some(u32::MAX) => origin,
            Some(element) => format!("{origin} element {element}"),
        }
    }

    fn image_rows(&self) -> Option<(&Path, Vec<(u32, usize)>)> {
        if !self.config.images {
            return None;
        }
        // Elements of one row lie side by side.
        let mut rows: Vec<u32> = self.visible.iter().map(|(row, _)| *row).collect();
        rows.dedup();
        let images = |row: u32| self.table.rows[row as usize].images.len();
        let rows = rows.into_iter().map(|row| (row, images(row)));
        let shown: Vec<(u32, usize)> = rows.filter(|(_, images)| *images > 0).collect();
        (!shown.is_empty()).then_some((self.table.path.as_path(), shown))
    }

    fn columns(&self, row: usize) -> Map<String, Value> {
        let element = self.visible[row].1.unwrap_or(0) as usize;
        Self::bind(self.row(row), &self.config.each, element)
    }

    fn sample(&self, row: usize, rng: &mut SampleRng) -> Result<Sample, DataError> {
        let origin = self.origin(row);
        let source_row = self.row(row);
        let fail = |message| DataError::Row {
            origin: origin.clone(),
            message,
        };
        lengths(source_row, &self.config.each).map_err(fail)?;
        let turns = if self.config.turns.is_empty() {
            vec![self.turn(&self.columns(row), &origin, rng)?]
        } else {
            let count = lengths(source_row, &self.config.turns).map_err(fail)?;
            let mut order: Vec<usize> = (0..count).collect();
            order.shuffle(rng);
            order
                .into_iter()
                .map(|i| {
                    let columns = Self::bind(source_row, &self.config.turns, i);
                    self.turn(&columns, &origin, rng)
                })
                .collect::<Result<_, _>>()?
        };
        let images = match self.config.images {
            false => Vec::new(),
            true => source_row
                .images
                .iter()
                .enumerate()
                .map(|(index, image)| image.load(&origin, index))
                .collect::<Result<_, _>>()?,
        };
        Ok(Sample {
            origin,
            images,
            turns,
        })
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
        path: table.path.clone(),
        used_in: used_in.into(),
        column: column.into(),
        columns: columns.to_vec(),
    })
}
