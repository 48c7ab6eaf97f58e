//! Values of metadata: how they are stored, checked and read.

use super::cursor::Cursor;

/// How deep arrays may lie within arrays. Files in use have none within another; the limit keeps a damaged file from
/// using up the stack.
const MOST_DEPTH: usize = 8;

/// The type of a value (`gguf_metadata_value_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    String,
    Array,
    U64,
    I64,
    F64,
}

/// By code.
const TYPES: [Type; 13] = [
    Type::U8,
    Type::I8,
    Type::U16,
    Type::I16,
    Type::U32,
    Type::I32,
    Type::F32,
    Type::Bool,
    Type::String,
    Type::Array,
    Type::U64,
    Type::I64,
    Type::F64,
];

impl Type {
    /// Reads the code of a type.
    pub fn read(cursor: &mut Cursor, what: &str) -> Result<Self, String> {
        let code = cursor.u32(what)?;
        TYPES.get(code as usize).copied().ok_or_else(|| {
            format!(
                "{what} has a value of unknown type {code}; expected 0 to {}: the file is damaged, copy it again",
                TYPES.len() - 1
            )
        })
    }

    /// Least bytes of a value.
    fn least(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            // A string has a length, an array the type and number of its elements.
            Self::String | Self::U64 | Self::I64 | Self::F64 => 8,
            Self::Array => 12,
        }
    }
}

/// A value; strings and arrays are lent from the file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    Text(&'a str),
    /// The type and number of elements, and their bytes.
    Array(Type, usize, &'a [u8]),
}

impl Value<'_> {
    /// What it is, for errors.
    pub fn describe(&self) -> &'static str {
        match self {
            Self::Unsigned(_) | Self::Signed(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Bool(_) => "a boolean",
            Self::Text(_) => "a string",
            Self::Array(Type::String, ..) => "an array of strings",
            Self::Array(Type::Bool, ..) => "an array of booleans",
            Self::Array(Type::F32 | Type::F64, ..) => "an array of floats",
            Self::Array(Type::Array, ..) => "an array of arrays",
            Self::Array(..) => "an array of integers",
        }
    }
}

/// Walks over a value and checks it, whatever lies within it.
pub(super) fn check(cursor: &mut Cursor, kind: Type, what: &str) -> Result<(), String> {
    check_at(cursor, kind, what, 0)
}

fn check_at(cursor: &mut Cursor, kind: Type, what: &str, depth: usize) -> Result<(), String> {
    match kind {
        Type::String => cursor.string(what).map(|_| ()),
        Type::Bool => match cursor.take(1, what)? {
            [0 | 1] => Ok(()),
            other => Err(format!(
                "{what} is a boolean of {}; expected 0 or 1: the file is damaged, copy it again",
                other[0]
            )),
        },
        Type::Array if depth == MOST_DEPTH => Err(format!(
            "{what} is an array within {MOST_DEPTH} arrays, more than are read; the file is damaged, copy it again"
        )),
        Type::Array => {
            let element = Type::read(cursor, what)?;
            let count = cursor.count(element.least(), what)?;
            match element {
                Type::String | Type::Bool | Type::Array => {
                    (0..count).try_for_each(|_| check_at(cursor, element, what, depth + 1))
                }
                number => cursor.take(count * number.least(), what).map(|_| ()),
            }
        }
        number => cursor.take(number.least(), what).map(|_| ()),
    }
}

/// Reads a value.
pub(super) fn read<'a>(
    cursor: &mut Cursor<'a>,
    kind: Type,
    what: &str,
) -> Result<Value<'a>, String> {
    Ok(match kind {
        Type::U8 => Value::Unsigned(u8::from_le_bytes(cursor.array(what)?).into()),
        Type::U16 => Value::Unsigned(u16::from_le_bytes(cursor.array(what)?).into()),
        Type::U32 => Value::Unsigned(cursor.u32(what)?.into()),
        Type::U64 => Value::Unsigned(cursor.u64(what)?),
        Type::I8 => Value::Signed(i8::from_le_bytes(cursor.array(what)?).into()),
        Type::I16 => Value::Signed(i16::from_le_bytes(cursor.array(what)?).into()),
        Type::I32 => Value::Signed(i32::from_le_bytes(cursor.array(what)?).into()),
        Type::I64 => Value::Signed(i64::from_le_bytes(cursor.array(what)?)),
        Type::F32 => Value::Float(f32::from_le_bytes(cursor.array(what)?).into()),
        Type::F64 => Value::Float(f64::from_le_bytes(cursor.array(what)?)),
        Type::Bool => Value::Bool(cursor.take(1, what)? == [1]),
        Type::String => Value::Text(cursor.string(what)?),
        Type::Array => {
            let element = Type::read(cursor, what)?;
            let count = cursor.count(element.least(), what)?;
            Value::Array(element, count, cursor.rest())
        }
    })
}
