//! A recipe file as text: its lines, and what the command line sets over it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::key::{KeyError, KeyPath, Step, unknown_word};

/// A parsed recipe file with overrides applied.
#[derive(Clone, Debug)]
pub struct RecipeText {
    file: PathBuf,
    text: String,
    /// The values, overrides included.
    pub root: Table,
    overrides: Vec<(KeyPath, String)>,
}

impl RecipeText {
    /// Reads `file` and applies `overrides`, each `key.path=value`.
    ///
    /// # Errors
    /// When the file cannot be read, is not TOML, or an override is malformed or names no such place.
    pub fn load(file: &Path, overrides: &[String]) -> Result<Self> {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read the recipe {}", file.display()))?;
        Self::parse(file, text, overrides)
    }

    /// As [`RecipeText::load`], for a text that is already there; `file` is only named in messages.
    ///
    /// # Errors
    /// As [`RecipeText::load`].
    pub fn parse(file: &Path, text: String, overrides: &[String]) -> Result<Self> {
        let root: Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map_or(1, |span| line_of(&text, span.start));
            let brackets = match text.lines().any(|line| line.trim() == "[stage]") {
                true => "; stages are a list, each begins with [[stage]]",
                false => "",
            };
            anyhow!(
                "{}, line {line}: not valid TOML: {}{brackets}",
                file.display(),
                error.message()
            )
        })?;
        let mut recipe = Self {
            file: file.to_owned(),
            text,
            root,
            overrides: Vec::new(),
        };
        for assignment in overrides {
            recipe
                .set(assignment)
                .with_context(|| format!("in `--set {assignment}`"))?;
        }
        Ok(recipe)
    }

    /// Names the place of `error` in the file, or the override that caused it.
    pub fn locate(&self, error: &KeyError) -> anyhow::Error {
        let root = KeyPath::root();
        let path = error.path.as_ref().unwrap_or(&root);
        let key = match path.display(|index| self.stage_name(index)) {
            key if key.is_empty() => String::new(),
            key => format!(", key '{key}'"),
        };
        let set = self
            .overrides
            .iter()
            .rfind(|(set, _)| path.0.starts_with(&set.0) || set.0.starts_with(&path.0));
        let place = match set {
            Some((_, assignment)) if !path.0.is_empty() => format!("--set {assignment}"),
            _ => format!("{}, line {}", self.file.display(), self.line(path)),
        };
        anyhow!("{place}{key}: {}", error.message)
    }

    fn stage_name(&self, index: usize) -> Option<String> {
        let stages = self.root.get("stage")?.as_array()?;
        Some(stages.get(index)?.get("name")?.as_str()?.to_owned())
    }

    /// The line of the deepest part of `path` that the file holds.
    fn line(&self, path: &KeyPath) -> usize {
        let Ok(root) = DeTable::parse(&self.text) else {
            return 1;
        };
        let mut start = 0;
        let mut place = Place::Table(root.get_ref());
        for step in &path.0 {
            let value: Option<(usize, &Spanned<DeValue<'_>>)> = match (&place, step) {
                (Place::Table(table), Step::Key(key)) => table
                    .iter()
                    .find(|(known, _)| known.get_ref().as_ref() == key)
                    .map(|(known, value)| (known.span().start, value)),
                (Place::List(list), Step::Index(index)) => {
                    list.get(*index).map(|value| (value.span().start, value))
                }
                _ => None,
            };
            let Some((at, value)) = value else { break };
            start = at;
            place = match value.get_ref() {
                DeValue::Table(table) => Place::Table(table),
                DeValue::Array(list) => Place::List(list),
                _ => Place::Leaf,
            };
        }
        line_of(&self.text, start)
    }

    fn set(&mut self, assignment: &str) -> Result<()> {
        let (key, value) = split_assignment(assignment)?;
        let mut path = KeyPath::root();
        let mut table = &mut self.root;
        let Some((last, parents)) = key.split_last() else {
            bail!("expected KEY=VALUE");
        };
        let mut parents = parents.iter();
        while let Some(parent) = parents.next() {
            path = path.key(parent);
            let entry = table
                .entry(parent.clone())
                .or_insert_with(|| Value::Table(Table::new()));
            table = match entry {
                Value::Table(table) => table,
                Value::Array(list) => {
                    let Some(name) = parents.next() else {
                        bail!("'{parent}' is a list: say which element, as in {parent}.NAME.KEY=…");
                    };
                    let names: Vec<String> = list.iter().map(element_name).collect();
                    let Some(index) = names.iter().position(|known| known == name) else {
                        bail!("{}", unknown_word(parent, name, &names));
                    };
                    path = path.index(index);
                    match &mut list[index] {
                        Value::Table(table) => table,
                        other => bail!("'{parent}.{name}' is a {}", other.type_str()),
                    }
                }
                other => bail!(
                    "'{parent}' is a {}, it has no '{last}' inside; set '{parent}' as a whole",
                    other.type_str()
                ),
            };
        }
        table.insert(last.clone(), value);
        self.overrides.push((path.key(last), assignment.to_owned()));
        Ok(())
    }
}

enum Place<'t, 'i> {
    Table(&'t DeTable<'i>),
    List(&'t toml::de::DeArray<'i>),
    Leaf,
}

/// The name by which an override calls a list element: its `name`, or nothing.
fn element_name(element: &Value) -> String {
    let name = element.get("name").and_then(Value::as_str);
    name.unwrap_or_default().to_owned()
}

/// `a.b.c=value` as the keys of its path and its value; a value that is no TOML is taken as text.
fn split_assignment(assignment: &str) -> Result<(Vec<String>, Value)> {
    let (key, value) = assignment
        .split_once('=')
        .context("expected KEY=VALUE, as in stage.align.lr=1e-3")?;
    let table: Table = format!("{key} = 0")
        .parse()
        .map_err(|_| anyhow!("'{key}' is no key path; expected something like stage.align.lr"))?;
    let mut keys = Vec::new();
    let mut place = Value::Table(table);
    while let Value::Table(table) = place {
        let Some((key, inner)) = table.into_iter().next() else {
            break;
        };
        keys.push(key);
        place = inner;
    }
    let value = match format!("value = {value}").parse::<Table>() {
        Ok(mut table) if table.len() == 1 => table.remove("value"),
        _ => None,
    }
    .unwrap_or_else(|| Value::String(value.to_owned()));
    Ok((keys, value))
}

fn line_of(text: &str, at: usize) -> usize {
    let before = text.as_bytes().iter().take(at);
    1 + before.filter(|byte| **byte == b'\n').count()
}
