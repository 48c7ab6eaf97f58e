//! A table seen through a source's configuration: filtered, expanded, rendered.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rand::RngExt;
use rand::seq::SliceRandom;
use serde_json::{Map, Value};

use super::layout::complete;
use super::table::{FileKind, merged};
use super::visible::{Place, Visible, lengths, with_element};
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
    visible: Visible,
    shows_images: bool,
}

/// Bytes of a sample's text. Tokenizing takes some hundred times as much memory, in each thread, and no context is as long.
const MOST_TEXT: usize = 1 << 20;

impl RowSource {
    /// Applies a configuration to a table's rows; templates that it leaves out are those that the table's layout
    /// proposes.
    ///
    /// # Errors
    /// When the configuration uses a column that the table lacks, nothing says what the answer is, or no sample is left.
    pub fn new(table: Arc<Table>, config: SourceConfig) -> Result<Self, DataError> {
        let columns = table.columns();
        let written = config;
        let kinds = table.kinds();
        let config = complete(&written, columns, &merged(&kinds))?;
        config.check()?;
        demand_alike(table.name(), &kinds, &written, &config)?;
        let prompts = config.prompt.templates();
        let lists = || config.expansions().flat_map(|(_, lists)| lists);
        for (variable, column) in lists() {
            require(
                table.path(),
                columns,
                &format!("`{variable} = \"{column}\"`"),
                column,
            )?;
        }
        let mut variables = columns.to_vec();
        variables.extend(lists().map(|(variable, _)| variable.clone()));
        for column in config.filter.keys() {
            require(table.path(), &variables, "`where`", column)?;
        }
        let texts: Vec<(&str, &str)> = prompts
            .iter()
            .map(|text| ("prompt", text.as_str()))
            .chain(config.answer.iter().map(|text| ("answer", text.as_str())))
            .collect();
        let templates = Templates::compile(table.path(), &texts, &variables)?;
        let name = table.path().file_stem().unwrap_or_default();
        Ok(Self {
            name: name.to_string_lossy().into_owned(),
            shows_images: config.images && table.has_images(),
            visible: Visible::of(&table, &config)?,
            table,
            config,
            templates,
        })
    }

    /// The same under another name.
    pub fn called(self, name: &str) -> Self {
        Self {
            name: name.into(),
            ..self
        }
    }

    fn place(&self, sample: usize) -> Result<Place, DataError> {
        self.visible.place(sample, &self.table, &self.config)
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
        self.visible.len()
    }

    fn rows_without_samples(&self) -> usize {
        self.visible.without()
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
        let size = |(block, rows): (&BlockSize, usize)| BlockSize {
            rows,
            bytes: block.bytes,
        };
        blocks.zip(self.visible.of_blocks()).map(size).collect()
    }

    fn shuffle_bytes(&self) -> usize {
        self.config.shuffle_bytes()
    }
}

fn broken(origin: &str, message: String) -> DataError {
    DataError::Row {
        origin: origin.into(),
        message,
    }
}

fn require(path: &Path, columns: &[String], used_in: &str, column: &str) -> Result<(), DataError> {
    if columns.iter().any(|name| name == column) {
        return Ok(());
    }
    Err(DataError::NoColumn {
        path: path.into(),
        used_in: used_in.into(),
        column: column.into(),
        columns: columns.to_vec(),
    })
}

/// Demands that what is read of the rows of every file is `whole`, what is read of all: else the rows of a file whose
/// captions are texts would be none where those of another are lists. `written` is what the recipe says; `name` is what all
/// files are called.
fn demand_alike(
    name: &str,
    kinds: &[FileKind<'_>],
    written: &SourceConfig,
    whole: &SourceConfig,
) -> Result<(), DataError> {
    if kinds.len() < 2 {
        return Ok(());
    }
    let reading = |config: &SourceConfig| {
        let lists: Vec<String> = config
            .expansions()
            .map(|(key, lists)| {
                let columns: Vec<&str> = lists.values().map(String::as_str).collect();
                format!(" with `{key}` over `{}`", columns.join("`, `"))
            })
            .collect();
        let answer = config.answer.as_deref().unwrap_or_default();
        format!("the answer `{answer}`{}", lists.concat())
    };
    let expected = reading(whole);
    let mut own = Vec::with_capacity(kinds.len());
    for kind in kinds {
        for column in written.expansions().flat_map(|(_, lists)| lists.values()) {
            require(
                kind.path,
                &kind.columns,
                &format!("the list `{column}`"),
                column,
            )?;
        }
        let reads = match complete(written, &kind.columns, &kind.specimen) {
            Ok(config) => reading(&config),
            Err(_) => "no answer".into(),
        };
        own.push((kind.path, reads));
    }
    let Some((path, reads)) = own.iter().find(|(_, reads)| *reads != expected) else {
        return Ok(());
    };
    let other = own.iter().find(|(_, other)| other != reads);
    let (other, theirs) = other.map_or((name.into(), &expected), |(path, theirs)| {
        (path.display().to_string(), theirs)
    });
    let message = format!(
        "its columns speak for {reads}, and those of {other} for {theirs}: files of one `path` are alike; make this one \
         data of its own"
    );
    Err(DataError::file(*path, message))
}
