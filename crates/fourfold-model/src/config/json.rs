//! Reading typed values out of JSON so that an error names the key: `image_size[1]: is 2.5; expected a whole number`.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeOwned, Deserializer, Expected, IntoDeserializer, Unexpected};
use serde_json::{Map, Value};

/// What is wrong with a value, and the key that it stands under.
#[derive(Debug)]
pub(crate) struct KeyFault {
    /// Keys and places in lists, the innermost last; empty where the whole is meant.
    path: String,
    message: String,
}

/// Reads a `T`.
///
/// # Errors
/// Names the key that is missing or holds something else than was expected.
pub(crate) fn from_json<T: DeserializeOwned>(value: Value) -> Result<T, KeyFault> {
    T::deserialize(Node(value))
}

impl KeyFault {
    /// The same fault of a value that stands under `step`: a key, or a place in a list such as `[1]`.
    pub(crate) fn under(mut self, step: &str) -> Self {
        let rest = &self.path;
        self.path = match rest.is_empty() || rest.starts_with('[') || step.is_empty() {
            true => format!("{step}{rest}"),
            false => format!("{step}.{rest}"),
        };
        self
    }
}

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.message),
            path => write!(f, "{path}: {}", self.message),
        }
    }
}

impl std::error::Error for KeyFault {}

impl de::Error for KeyFault {
    /// A message that begins with a key, as those of configurations do, is a fault of that key: serde hands on no more
    /// of an error than its text.
    fn custom<T: fmt::Display>(message: T) -> Self {
        let message = message.to_string();
        let of_key = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_.[]".contains(c);
        match message.split_once(": ") {
            Some((key, rest)) if !key.is_empty() && key.chars().all(of_key) => Self {
                path: key.to_owned(),
                message: rest.to_owned(),
            },
            _ => Self {
                path: String::new(),
                message,
            },
        }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(format!(
            "is {}; expected {}",
            in_words(found),
            type_in_words(expected)
        ))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::custom("is missing").under(field)
    }
}

/// A value as its file has it, or what kind of value it is.
fn in_words(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(flag) => flag.to_string(),
        Unexpected::Unsigned(number) => number.to_string(),
        Unexpected::Signed(number) => number.to_string(),
        Unexpected::Float(number) => format!("{number:?}"),
        Unexpected::Str(text) => format!("{text:?}"),
        Unexpected::Unit => "null".into(),
        Unexpected::Seq => "a list".into(),
        Unexpected::Map => "a table".into(),
        other => other.to_string(),
    }
}

/// What serde calls a type, in the words of a reader who knows no Rust: for errors of whatever format of files.
pub fn type_in_words(expected: &dyn Expected) -> String {
    let expected = expected.to_string();
    let plain = match expected.as_str() {
        "usize" | "u64" => "a whole number of at least 0",
        "u32" => "a whole number from 0 to 4294967295",
        "i64" | "i32" => "a whole number",
        "f64" | "f32" => "a number",
        "a boolean" => "true or false",
        "a string" => "a text",
        "a sequence" => "a list",
        "a map" => "a table",
        other => other.strip_prefix("struct ").map_or(other, |_| "a table"),
    };
    plain.to_owned()
}

struct Node(Value);

impl<'de> Deserializer<'de> for Node {
    type Error = KeyFault;

    fn deserialize_any<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, KeyFault> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(flag) => visitor.visit_bool(flag),
            Value::String(text) => visitor.visit_string(text),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => visitor.visit_u64(number),
                (None, Some(number)) => visitor.visit_i64(number),
                (None, None) => visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::Array(list) => visitor.visit_seq(Elements {
                list: list.into_iter().enumerate(),
            }),
            Value::Object(table) => visitor.visit_map(Entries {
                entries: table.into_iter(),
                current: None,
            }),
        }
    }

    fn deserialize_option<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, KeyFault> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: de::Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, KeyFault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: de::Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, KeyFault> {
        match &self.0 {
            Value::String(word) if variants.contains(&word.as_str()) => {
                let word: StrDeserializer<'_, KeyFault> = word.as_str().into_deserializer();
                visitor.visit_enum(word)
            }
            other => Err(de::Error::custom(format!(
                "is {other}; expected {}",
                variants.join(", ")
            ))),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

struct Elements {
    list: std::iter::Enumerate<std::vec::IntoIter<Value>>,
}

impl<'de> de::SeqAccess<'de> for Elements {
    type Error = KeyFault;

    fn next_element_seed<T: de::DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, KeyFault> {
        let Some((place, value)) = self.list.next() else {
            return Ok(None);
        };
        let element = seed.deserialize(Node(value));
        element
            .map(Some)
            .map_err(|fault| fault.under(&format!("[{place}]")))
    }
}

struct Entries {
    entries: <Map<String, Value> as IntoIterator>::IntoIter,
    current: Option<(String, Value)>,
}

impl<'de> de::MapAccess<'de> for Entries {
    type Error = KeyFault;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, KeyFault> {
        self.current = self.entries.next();
        let Some((key, _)) = &self.current else {
            return Ok(None);
        };
        let key: StrDeserializer<'_, KeyFault> = key.as_str().into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<T: de::DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<T::Value, KeyFault> {
        let (key, value) = self
            .current
            .take()
            .ok_or_else(|| de::Error::custom("a value was asked for before its key"))?;
        seed.deserialize(Node(value))
            .map_err(|fault| fault.under(&key))
    }
}
