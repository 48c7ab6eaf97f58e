//! What a file says of its model: values by key.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::cursor::Cursor;
use super::value::{self, Type, Value};
use crate::{ModelError, Result};

/// What tensors begin at a multiple of, in bytes, where a file does not say.
const ALIGNMENT: usize = 32;

/// Least bytes of a pair: an empty key's length, the type, a byte.
const LEAST_PAIR: usize = 8 + 4 + 1;

/// Where values lie in the file. They stay there until they are asked for: a vocabulary is large.
#[derive(Debug)]
pub(super) struct Metadata {
    path: PathBuf,
    entries: Entries,
}

/// Type and place in the file of each value, by key.
type Entries = HashMap<String, (Type, Range<usize>)>;

/// Reads `count` pairs of a string key, a u32 type and a value.
pub(super) fn read(cursor: &mut Cursor, count: u64) -> Result<Entries, String> {
    let count = cursor.check_count(count, LEAST_PAIR, "the number of metadata pairs")?;
    let mut entries = Entries::new();
    for index in 0..count {
        let key = cursor.string(&format!("key {index} of the metadata"))?;
        let what = format!("the metadata key '{key}'");
        let kind = Type::read(cursor, &what)?;
        let start = cursor.position();
        value::check(cursor, kind, &what)?;
        let place = (kind, start..cursor.position());
        if entries.insert(key.to_owned(), place).is_some() {
            return Err(format!(
                "{what} is there twice; the file is damaged, copy it again"
            ));
        }
    }
    Ok(entries)
}

impl Metadata {
    pub(super) fn new(path: PathBuf, entries: Entries) -> Self {
        Self { path, entries }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn reader<'a>(&'a self, bytes: &'a [u8]) -> Reader<'a> {
        Reader {
            metadata: self,
            bytes,
        }
    }

    /// What tensors begin at a multiple of.
    pub(super) fn alignment(&self, bytes: &[u8]) -> Result<usize> {
        const KEY: &str = "general.alignment";
        let reader = self.reader(bytes);
        let alignment = reader.integer(KEY)?.unwrap_or(ALIGNMENT);
        match alignment.is_power_of_two() {
            true => Ok(alignment),
            false => Err(reader.fault(
                KEY,
                format!(
                    "is {alignment}; expected a power of two: the file is damaged, copy it again"
                ),
            )),
        }
    }
}

/// Typed access to the metadata of an open file.
///
/// Each getter gives `None` where the file does not have the key, and an error that names the key where its value is of
/// another type than was asked for.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    metadata: &'a Metadata,
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// All keys, sorted.
    pub fn keys(&self) -> Vec<&'a str> {
        let mut keys: Vec<&str> = self.metadata.entries.keys().map(String::as_str).collect();
        keys.sort_unstable();
        keys
    }

    /// Whether the file has this key.
    pub fn has(&self, key: &str) -> bool {
        self.metadata.entries.contains_key(key)
    }

    /// The value of a key that has to be there: `metadata.demand("general.architecture", Reader::text)`.
    ///
    /// # Errors
    /// Names the key where it is missing or of another type.
    pub fn demand<T>(
        &self,
        key: &str,
        get: impl FnOnce(&Self, &str) -> Result<Option<T>>,
    ) -> Result<T> {
        get(self, key)?.ok_or_else(|| {
            self.fault(
                key,
                "is missing; convert the model again with a current llama.cpp",
            )
        })
    }

    /// An integer of any width that is not negative.
    pub fn integer(&self, key: &str) -> Result<Option<usize>> {
        self.get(
            key,
            "an integer that is not negative",
            |value| match value {
                Value::Unsigned(number) => usize::try_from(number).ok(),
                Value::Signed(number) => usize::try_from(number).ok(),
                _ => None,
            },
        )
    }

    /// A float of either width.
    pub fn float(&self, key: &str) -> Result<Option<f32>> {
        self.get(key, "a finite float", |value| match value {
            Value::Float(number) => Some(number as f32).filter(|number| number.is_finite()),
            _ => None,
        })
    }

    /// A boolean.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>> {
        self.get(key, "a boolean", |value| match value {
            Value::Bool(truth) => Some(truth),
            _ => None,
        })
    }

    /// A string.
    pub fn text(&self, key: &str) -> Result<Option<&'a str>> {
        self.get(key, "a string", |value| match value {
            Value::Text(text) => Some(text),
            _ => None,
        })
    }

    /// An array of strings.
    pub fn texts(&self, key: &str) -> Result<Option<Vec<&'a str>>> {
        self.array(key, "an array of strings", |value| match value {
            Value::Text(text) => Some(text),
            _ => None,
        })
    }

    /// An array of integers of any width.
    pub fn integers(&self, key: &str) -> Result<Option<Vec<i64>>> {
        self.array(key, "an array of integers", |value| match value {
            Value::Unsigned(number) => i64::try_from(number).ok(),
            Value::Signed(number) => Some(number),
            _ => None,
        })
    }

    /// An array of floats of either width.
    pub fn floats(&self, key: &str) -> Result<Option<Vec<f32>>> {
        self.array(key, "an array of floats", |value| match value {
            Value::Float(number) => Some(number as f32),
            _ => None,
        })
    }

    /// An array of booleans.
    pub fn booleans(&self, key: &str) -> Result<Option<Vec<bool>>> {
        self.array(key, "an array of booleans", |value| match value {
            Value::Bool(truth) => Some(truth),
            _ => None,
        })
    }

    fn get<T>(
        &self,
        key: &str,
        expected: &str,
        convert: impl FnOnce(Value<'a>) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some((kind, place)) = self.metadata.entries.get(key) else {
            return Ok(None);
        };
        let mut cursor = Cursor::new(&self.bytes[place.clone()]);
        let value = value::read(&mut cursor, *kind, "its value").map_err(|e| self.fault(key, e))?;
        let found = match value {
            Value::Unsigned(number) => number.to_string(),
            Value::Signed(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            other => other.describe().to_owned(),
        };
        convert(value).map(Some).ok_or_else(|| {
            self.fault(
                key,
                format!("is {found}; expected {expected}: convert the model again"),
            )
        })
    }

    fn array<T>(
        &self,
        key: &str,
        expected: &str,
        convert: impl Fn(Value<'a>) -> Option<T>,
    ) -> Result<Option<Vec<T>>> {
        self.get(key, expected, |value| {
            let Value::Array(kind, count, bytes) = value else {
                return None;
            };
            let mut cursor = Cursor::new(bytes);
            let mut next = || convert(value::read(&mut cursor, kind, "an element").ok()?);
            (0..count).map(|_| next()).collect()
        })
    }

    /// An error that names a key.
    pub(super) fn fault(&self, key: &str, message: impl std::fmt::Display) -> ModelError {
        ModelError::weights(
            &self.metadata.path,
            format!("the metadata key '{key}' {message}"),
        )
    }
}
