//! The keys of a configuration, each with an error that names it.

use std::path::Path;

use serde_json::{Map, Value};

use crate::DataError;

/// Where transformers 5 keeps the image processor within `processor_config.json`.
const NEST: &str = "image_processor";

/// Whether the text has an image processor under [`NEST`].
pub(super) fn nests(path: &Path, text: &str) -> Result<bool, DataError> {
    Ok(parse(path, text)?.contains_key(NEST))
}

fn parse(path: &Path, text: &str) -> Result<Map<String, Value>, DataError> {
    serde_json::from_str(text).map_err(|error| DataError::file(path, error.to_string()))
}

/// A configuration and what errors call it.
pub(super) struct Fields<'a> {
    path: &'a Path,
    /// `image_processor.` where the keys lie under that.
    prefix: &'static str,
    map: Map<String, Value>,
}

impl<'a> Fields<'a> {
    pub(super) fn read(path: &'a Path, text: &str) -> Result<Self, DataError> {
        let mut map = parse(path, text)?;
        let mut prefix = "";
        if let Some(nested) = map.remove(NEST) {
            let Value::Object(nested) = nested else {
                let message = format!("`{NEST}`: expected an object, got {nested}");
                return Err(DataError::file(path, message));
            };
            (map, prefix) = (nested, "image_processor.");
        }
        Ok(Self { path, prefix, map })
    }

    /// The error that `key` is wrong.
    pub(super) fn fail(&self, key: &str, message: impl std::fmt::Display) -> DataError {
        DataError::file(self.path, format!("`{}{key}`: {message}", self.prefix))
    }

    /// What stands there, if it is not `null`.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    fn is_null(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(Value::is_null)
    }

    /// The value of a key, or what its absence means. A `null` is neither: transformers refuses it where the value is
    /// needed.
    pub(super) fn or_default<T>(
        &self,
        key: &str,
        value: Option<T>,
        default: Option<T>,
    ) -> Option<T> {
        value.or(default.filter(|_| !self.is_null(key)))
    }

    /// The error that a key has no value although `need` needs it.
    pub(super) fn lacking(&self, key: &str, need: &str) -> DataError {
        let state = if self.is_null(key) { "null" } else { "missing" };
        self.fail(key, format_args!("is {state}, and `{need}` needs it"))
    }

    /// What `read` makes of the value, which otherwise is to be `expected`.
    pub(super) fn of<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, DataError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let read = read(value);
        let wrong = || self.fail(key, format_args!("expected {expected}, got {value}"));
        read.map(Some).ok_or_else(wrong)
    }

    /// A `null` is false, as transformers takes it, and no default.
    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, DataError> {
        if self.is_null(key) {
            return Ok(Some(false));
        }
        self.of(key, "true or false", Value::as_bool)
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<String>, DataError> {
        self.of(key, "a text", |value| value.as_str().map(str::to_owned))
    }

    /// A number of pixels from 1 to `most` under `edge` of the object at `key`.
    pub(super) fn edge(
        &self,
        key: &str,
        edge: &str,
        value: &Value,
        most: usize,
    ) -> Result<usize, DataError> {
        let number = value.as_u64().and_then(|n| usize::try_from(n).ok());
        number.filter(|n| (1..=most).contains(n)).ok_or_else(|| {
            let place = if edge.is_empty() {
                String::new()
            } else {
                format!(" in \"{edge}\"")
            };
            let message = format!("expected 1 to {most} pixels{place}, got {value}");
            self.fail(key, message)
        })
    }

    /// A number of each channel, or one for all, that `holds`.
    pub(super) fn channels(
        &self,
        key: &str,
        expected: &str,
        holds: impl Fn(f32) -> bool,
    ) -> Result<Option<[f32; 3]>, DataError> {
        self.of(key, expected, |value| {
            let number = |value: &Value| {
                let number = value.as_f64()? as f32;
                holds(number).then_some(number)
            };
            match value.as_array().map(Vec::as_slice) {
                Some([red, green, blue]) => Some([number(red)?, number(green)?, number(blue)?]),
                Some(_) => None,
                None => Some([number(value)?; 3]),
            }
        })
    }
}
