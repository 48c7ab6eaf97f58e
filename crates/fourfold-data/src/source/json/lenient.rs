//! JSON as Python writes it: with `NaN` and `Infinity`, which are no JSON.

use serde_json::Value;

/// Python's words for numbers that are none.
const WORDS: [&[u8]; 3] = [b"-Infinity", b"Infinity", b"NaN"];

/// A value; `NaN`, `Infinity` and `-Infinity`, which Python writes for the holes of a table, are null.
pub(in crate::source) fn parse(bytes: &[u8]) -> serde_json::Result<Value> {
    serde_json::from_slice(bytes).or_else(|error| match without_words(bytes) {
        Some(bytes) => serde_json::from_slice(&bytes),
        None => Err(error),
    })
}

/// The same text with `null` for each of the words outside of strings; none where there is none.
fn without_words(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut changed = Vec::with_capacity(bytes.len());
    let (mut text, mut escaped, mut found) = (false, false, false);
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let word = WORDS
            .iter()
            .find(|word| !text && bytes[at..].starts_with(word));
        if let Some(word) = word {
            changed.extend_from_slice(b"null");
            at += word.len();
            found = true;
            continue;
        }
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = text,
            b'"' => text = !text,
            _ => {}
        }
        changed.push(byte);
        at += 1;
    }
    found.then_some(changed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pythons_words_are_null_outside_of_strings() {
        let read = parse(br#"{"a": NaN, "NaN\"": [-Infinity, Infinity, 1], "b": "NaN"}"#).unwrap();
        assert_eq!(
            read,
            json!({"a": null, "NaN\"": [null, null, 1], "b": "NaN"})
        );
        assert!(parse(b"{\"a\": NaNs}").is_err() && parse(b"{\"a\": nan}").is_err());
    }
}
