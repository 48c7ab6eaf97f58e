//! Reading typed values out of TOML so that no key is ignored.
//!
//! serde tells a deserializer which fields a struct has; this one refuses every other key, in structs of any
//! crate, and knows the path of whatever it refuses.

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use toml::{Table, Value};

use super::key::{KeyError, KeyPath, unknown_word};

/// Reads a `T` from the value at `path`.
///
/// # Errors
/// When a key is unknown, missing or of another type; the error knows the path of it.
pub fn read<T: DeserializeOwned>(value: &Value, path: &KeyPath) -> Result<T, KeyError> {
    let node = Node {
        value,
        path: path.clone(),
        also: &[],
        not: &[],
    };
    T::deserialize(node).map_err(|error| error.placed(path))
}

/// Reads a `T` from a table whose other keys, `also`, were taken out of it before: they are proposed too when
/// a key is unknown.
///
/// # Errors
/// As [`read`].
pub fn read_rest<T: DeserializeOwned>(
    table: Table,
    path: &KeyPath,
    also: &[&str],
) -> Result<T, KeyError> {
    read_among(table, path, also, &[])
}

/// The same, but the keys `not` are never proposed.
///
/// # Errors
/// As [`read`].
pub fn read_among<T: DeserializeOwned>(
    table: Table,
    path: &KeyPath,
    also: &[&str],
    not: &[&str],
) -> Result<T, KeyError> {
    let value = Value::Table(table);
    let node = Node {
        value: &value,
        path: path.clone(),
        also,
        not,
    };
    T::deserialize(node).map_err(|error| error.placed(path))
}

struct Node<'v> {
    value: &'v Value,
    path: KeyPath,
    also: &'v [&'v str],
    not: &'v [&'v str],
}

impl<'v> Node<'v> {
    fn refuse_unknown(&self, fields: &[&str]) -> Result<(), KeyError> {
        let Value::Table(table) = self.value else {
            return Ok(());
        };
        match table.keys().find(|key| !fields.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => {
                let known = fields.iter().chain(self.also).copied();
                let known: Vec<&str> = known.filter(|key| !self.not.contains(key)).collect();
                Err(KeyError::at(
                    self.path.key(key),
                    unknown_word("key", key, &known),
                ))
            }
        }
    }

    fn child(path: KeyPath, value: &'v Value) -> Self {
        Self {
            value,
            path,
            also: &[],
            not: &[],
        }
    }
}

impl<'de, 'v> Deserializer<'de> for Node<'v> {
    type Error = KeyError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, KeyError> {
        let path = self.path.clone();
        match self.value {
            Value::String(text) => visitor.visit_str(text),
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Boolean(flag) => visitor.visit_bool(*flag),
            Value::Datetime(time) => visitor.visit_string(time.to_string()),
            Value::Array(list) => visitor.visit_seq(Elements {
                list,
                next: 0,
                path: self.path,
            }),
            Value::Table(table) => visitor.visit_map(Entries {
                entries: table.iter(),
                current: None,
                path: self.path,
            }),
        }
        .map_err(|error: KeyError| error.placed(&path))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, KeyError> {
        self.refuse_unknown(fields)?;
        self.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, KeyError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, KeyError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, KeyError> {
        let path = self.path.clone();
        let known = |word: &str| match variants.contains(&word) {
            true => Ok(()),
            false => Err(KeyError::unknown(path.clone(), "word", word, variants)),
        };
        match self.value {
            Value::String(word) => {
                known(word)?;
                let word: StrDeserializer<'_, KeyError> = word.as_str().into_deserializer();
                visitor.visit_enum(word)
            }
            Value::Table(table) if table.len() == 1 => {
                table.keys().try_for_each(|word| known(word))?;
                let entries = Entries {
                    entries: table.iter(),
                    current: None,
                    path: self.path,
                };
                visitor.visit_enum(de::value::MapAccessDeserializer::new(entries))
            }
            other => Err(KeyError::at(
                self.path,
                format!(
                    "expected one of: {}; found {}",
                    variants.join(", "),
                    other.type_str()
                ),
            )),
        }
        .map_err(|error| error.placed(&path))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

struct Elements<'v> {
    list: &'v [Value],
    next: usize,
    path: KeyPath,
}

impl<'de> de::SeqAccess<'de> for Elements<'_> {
    type Error = KeyError;

    fn next_element_seed<T: de::DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, KeyError> {
        let Some(value) = self.list.get(self.next) else {
            return Ok(None);
        };
        let path = self.path.index(self.next);
        self.next += 1;
        seed.deserialize(Node::child(path.clone(), value))
            .map(Some)
            .map_err(|error| error.placed(&path))
    }
}

struct Entries<'v> {
    entries: toml::map::Iter<'v, String, Value>,
    current: Option<(&'v String, &'v Value)>,
    path: KeyPath,
}

impl<'de> de::MapAccess<'de> for Entries<'_> {
    type Error = KeyError;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, KeyError> {
        self.current = self.entries.next();
        let Some((key, _)) = self.current else {
            return Ok(None);
        };
        let key: StrDeserializer<'_, KeyError> = key.as_str().into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<T: de::DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<T::Value, KeyError> {
        let Some((key, value)) = self.current else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        let path = self.path.key(key);
        seed.deserialize(Node::child(path.clone(), value))
            .map_err(|error| error.placed(&path))
    }
}
