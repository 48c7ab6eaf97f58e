//! The table of tensors.

use std::collections::HashMap;

use super::GgufTensor;
use super::cursor::Cursor;
use super::kind::Kind;

/// Most dimensions a tensor may have (`GGML_MAX_DIMS`).
const MOST_DIMENSIONS: u32 = 4;

/// Least bytes of an entry: an empty name's length, the number of dimensions, one of them, the format, the offset.
const LEAST_ENTRY: usize = 8 + 4 + 8 + 4 + 8;

/// Reads `count` entries and checks where their tensors lie. An entry is: string name, u32 dimensions, as many u64 of
/// shape (the innermost first), u32 format, u64 offset into the data, which begins behind the table at a multiple of
/// `alignment`.
pub(super) fn read(
    cursor: &mut Cursor,
    count: u64,
    alignment: usize,
) -> Result<HashMap<String, GgufTensor>, String> {
    let count = cursor.check_count(count, LEAST_ENTRY, "the number of tensors")?;
    let mut tensors = HashMap::new();
    for index in 0..count {
        let (name, tensor) = entry(cursor, index)?;
        let fault = |message: &str| Err(format!("tensor '{name}' {message}"));
        if tensor.start % alignment != 0 {
            return fault(&format!(
                "begins at {}, which is no multiple of the alignment {alignment}; the file is damaged, copy it again",
                tensor.start
            ));
        }
        if tensors.insert(name.to_owned(), tensor).is_some() {
            return fault("is there twice; the file is damaged, copy it again");
        }
    }
    // Offsets count from here on.
    let begin = cursor.position().checked_next_multiple_of(alignment);
    let end = cursor.file_length();
    for (name, tensor) in &mut tensors {
        let start = begin.and_then(|begin| begin.checked_add(tensor.start));
        let Some(start) = start.filter(|start| {
            start
                .checked_add(tensor.length)
                .is_some_and(|stop| stop <= end)
        }) else {
            return Err(format!(
                "tensor '{name}' has {} bytes at {} of the data, past the end of the file; \
                 the file is cut short or damaged, copy it again",
                tensor.length, tensor.start
            ));
        };
        tensor.start = start;
    }
    Ok(tensors)
}

/// An entry of the table; `start` is still an offset into the data.
fn entry<'a>(cursor: &mut Cursor<'a>, index: usize) -> Result<(&'a str, GgufTensor), String> {
    let name = cursor.string(&format!("the name of tensor {index}"))?;
    let what = format!("the entry of tensor '{name}'");
    let fault = |message: String| format!("tensor '{name}' {message}");
    let dimensions = cursor.u32(&what)?;
    if !(1..=MOST_DIMENSIONS).contains(&dimensions) {
        return Err(fault(format!(
            "has {dimensions} dimensions; expected 1 to {MOST_DIMENSIONS}: the file is damaged, copy it again"
        )));
    }
    let mut shape = Vec::new();
    for _ in 0..dimensions {
        let size = usize::try_from(cursor.u64(&what)?).unwrap_or(usize::MAX);
        shape.push(size);
    }
    let innermost = shape[0];
    shape.reverse();
    let kind = Kind::from_code(cursor.u32(&what)?).map_err(fault)?;
    let elements = shape
        .iter()
        .try_fold(1, |product: usize, size| product.checked_mul(*size));
    let elements = elements.filter(|elements| *elements > 0).ok_or_else(|| {
        fault(format!(
            "has the shape {shape:?}, which no memory holds; the file is damaged, copy it again"
        ))
    })?;
    if innermost % kind.elements() != 0 {
        return Err(fault(format!(
            "has rows of {innermost} numbers, which are no whole {} blocks of {}; the file is damaged, copy it again",
            kind.name(),
            kind.elements()
        )));
    }
    // A tensor whose bytes overflow a word is larger than any file.
    let length = (elements / kind.elements()).saturating_mul(kind.bytes());
    let start = usize::try_from(cursor.u64(&what)?).unwrap_or(usize::MAX);
    Ok((
        name,
        GgufTensor {
            shape,
            kind,
            start,
            length,
        },
    ))
}
