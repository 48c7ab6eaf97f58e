//! Cutting JSON into records without reading what is in them: lines, or the elements of arrays.

use std::io::{self, BufRead, BufReader, Read};

/// A longer record is passed over: no caption is, and memory is bounded.
const LONGEST: usize = 64 << 20;
/// One of more values is passed over too: read, each takes up to a hundred times the bytes of its text.
const MOST_VALUES: usize = 1 << 20;

/// How a file holds its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum Shape {
    /// One a line.
    Lines,
    /// The elements of one array, or of the arrays that are members of one object.
    Document,
}

/// One record, still text.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::source) struct Text {
    /// The member of the object whose array it is an element of; none of a line, or where the array is all there is.
    pub key: Option<String>,
    /// Its number: of the line, or within its array, from 0.
    pub number: usize,
    /// Its first byte in the file.
    pub start: u64,
    /// The text; or what keeps it from being one.
    pub bytes: Result<Vec<u8>, String>,
}

/// Why a file cannot be cut into records any further.
#[derive(Debug)]
pub(in crate::source) enum Fault {
    /// It cannot be read.
    Io(io::Error),
    /// It is no JSON from here on.
    Syntax(String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The records of a stream, one after the other, in memory for one record.
pub(in crate::source) struct Walk<R> {
    stream: BufReader<R>,
    place: u64,
    shape: Shape,
    within: Within,
    number: usize,
    /// Whether a value or member has been read after which a comma has to follow.
    comma: bool,
    texts: Vec<(String, String)>,
}

/// Where in a document the walk is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Within {
    /// Before the first byte.
    Start,
    /// In an object, before a member.
    Object,
    /// In an array that is the member of this name, or all there is; before an element.
    Array(Option<String>),
    /// After the last byte.
    End,
}

impl<R: Read> Walk<R> {
    /// From the beginning of a file.
    pub fn new(stream: R, shape: Shape) -> Self {
        Self {
            stream: BufReader::with_capacity(1 << 18, stream),
            place: 0,
            shape,
            within: Within::Start,
            number: 0,
            comma: false,
            texts: Vec::new(),
        }
    }

    /// From record `number` on, which begins at `place` of the file and with the stream; it is a line or an element of
    /// the array called `key`.
    pub fn resume(stream: R, shape: Shape, key: Option<String>, number: usize, place: u64) -> Self {
        Self {
            place,
            within: Within::Array(key),
            number,
            ..Self::new(stream, shape)
        }
    }

    /// Where the next byte is.
    pub fn place(&self) -> u64 {
        self.place
    }

    /// The member called `name` of the object, if it is a text that was passed on the way.
    pub fn text(&self, name: &str) -> Option<&str> {
        let found = self.texts.iter().find(|(known, _)| known == name);
        found.map(|(_, text)| text.as_str())
    }

    /// The next record; none at the end.
    pub fn next(&mut self) -> Result<Option<Text>, Fault> {
        if self.within == Within::Start {
            self.begin()?;
        }
        match self.shape {
            Shape::Lines => self.line(),
            Shape::Document => self.element(),
        }
    }

    fn begin(&mut self) -> Result<(), Fault> {
        // The mark that some editors begin a file with.
        if self.stream.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
            self.take(3);
        }
        self.within = match self.shape {
            Shape::Lines => Within::Array(None),
            Shape::Document => match self.next_byte()? {
                Some(b'[') => Within::Array(None),
                Some(b'{') => Within::Object,
                Some(other) => return Err(self.expected("`[` or `{`", Some(other))),
                None => return Err(Fault::Syntax("the file is empty".into())),
            },
        };
        Ok(())
    }

    /// The next line that is not blank.
    fn line(&mut self) -> Result<Option<Text>, Fault> {
        loop {
            let start = self.place;
            let mut bytes = Vec::new();
            let mut dropped = 0;
            loop {
                let buffer = self.stream.fill_buf()?;
                let end = buffer.iter().position(|byte| *byte == b'\n');
                let part = &buffer[..end.unwrap_or(buffer.len())];
                if bytes.len() + part.len() <= LONGEST {
                    bytes.extend_from_slice(part);
                } else {
                    dropped += part.len();
                }
                let (taken, ended) = (part.len() + usize::from(end.is_some()), buffer.is_empty());
                self.take(taken);
                if end.is_some() || ended {
                    break;
                }
            }
            if self.place == start {
                return Ok(None);
            }
            let number = self.number;
            self.number += 1;
            if dropped > 0 || !bytes.trim_ascii().is_empty() {
                return Ok(Some(Text {
                    key: None,
                    number,
                    start,
                    bytes: bounded(bytes, dropped),
                }));
            }
        }
    }

    /// The next element of an array.
    fn element(&mut self) -> Result<Option<Text>, Fault> {
        loop {
            match self.within.clone() {
                Within::Array(key) => match self.after_comma(b']')? {
                    Some(b']') if key.is_some() => {
                        self.within = Within::Object;
                        self.comma = true;
                    }
                    Some(b']') => {
                        self.demand_end()?;
                        self.within = Within::End;
                    }
                    Some(first) => {
                        let start = self.place - 1;
                        let mut bytes = Vec::new();
                        let dropped = self.value(first, Some(&mut bytes))?;
                        self.comma = true;
                        let number = self.number;
                        self.number += 1;
                        return Ok(Some(Text {
                            key,
                            number,
                            start,
                            bytes: bounded(bytes, dropped),
                        }));
                    }
                    None => return Err(self.cut()),
                },
                Within::Object => self.member()?,
                Within::Start | Within::End => return Ok(None),
            }
        }
    }

    /// A member of the object: its array is walked next, any other value is passed over.
    fn member(&mut self) -> Result<(), Fault> {
        let mut name = Vec::new();
        match self.after_comma(b'}')? {
            Some(b'}') => {
                self.demand_end()?;
                self.within = Within::End;
                return Ok(());
            }
            Some(b'"') => self.value(b'"', Some(&mut name))?,
            other => return Err(self.expected("the name of a member", other)),
        };
        match self.next_byte()? {
            Some(b':') => {}
            other => return Err(self.expected("`:`", other)),
        }
        let name: String = serde_json::from_slice(&name).unwrap_or_default();
        match self.next_byte()? {
            Some(b'[') => {
                self.within = Within::Array(Some(name));
                self.number = 0;
                self.comma = false;
                return Ok(());
            }
            Some(b'"') => {
                let mut text = Vec::new();
                self.value(b'"', Some(&mut text))?;
                let text = serde_json::from_slice(&text).unwrap_or_default();
                self.texts.push((name, text));
            }
            Some(first) => {
                self.value(first, None)?;
            }
            None => return Err(self.cut()),
        }
        self.comma = true;
        Ok(())
    }

    /// The first byte of the next value or member, or `close`; between two of them there is a comma.
    fn after_comma(&mut self, close: u8) -> Result<Option<u8>, Fault> {
        match self.next_byte()? {
            Some(b',') if self.comma => self.next_byte(),
            Some(other) if self.comma && other != close => {
                let expected = format!("`,` or `{}`", char::from(close));
                Err(self.expected(&expected, Some(other)))
            }
            byte => Ok(byte),
        }
    }

    fn demand_end(&mut self) -> Result<(), Fault> {
        match self.next_byte()? {
            None => Ok(()),
            other => Err(self.expected("the end of the file", other)),
        }
    }

    /// Reads the value that `first` begins into `bytes`, as far as it is no longer than allowed; gives how many bytes
    /// were dropped.
    fn value(&mut self, first: u8, mut bytes: Option<&mut Vec<u8>>) -> Result<usize, Fault> {
        let mut dropped = 0;
        let mut keep = |part: &[u8]| match &mut bytes {
            Some(bytes) if bytes.len() + part.len() <= LONGEST => bytes.extend_from_slice(part),
            Some(_) => dropped += part.len(),
            None => {}
        };
        keep(&[first]);
        let (mut depth, mut text, mut escaped) = (0usize, false, false);
        match first {
            b'{' | b'[' => depth = 1,
            b'"' => text = true,
            b'}' | b']' | b',' | b':' => return Err(self.expected("a value", Some(first))),
            _ => {}
        }
        let scalar = depth == 0 && !text;
        loop {
            let buffer = self.stream.fill_buf()?;
            if buffer.is_empty() {
                return match scalar {
                    true => Ok(dropped),
                    false => Err(self.cut()),
                };
            }
            let mut taken = 0;
            let mut done = false;
            for &byte in buffer {
                if scalar {
                    // The byte after a number or a word is not its own.
                    if matches!(byte, b',' | b']' | b'}') || byte.is_ascii_whitespace() {
                        done = true;
                        break;
                    }
                    taken += 1;
                    continue;
                }
                taken += 1;
                if text {
                    match byte {
                        _ if escaped => escaped = false,
                        b'\\' => escaped = true,
                        b'"' => text = false,
                        _ => {}
                    }
                } else {
                    match byte {
                        b'"' => text = true,
                        b'{' | b'[' => depth += 1,
                        b'}' | b']' => depth -= 1,
                        _ => {}
                    }
                }
                if depth == 0 && !text {
                    done = true;
                    break;
                }
            }
            keep(&buffer[..taken]);
            self.take(taken);
            if done {
                return Ok(dropped);
            }
        }
    }

    /// The next byte that is no white space.
    fn next_byte(&mut self) -> Result<Option<u8>, Fault> {
        loop {
            let buffer = self.stream.fill_buf()?;
            if buffer.is_empty() {
                return Ok(None);
            }
            let found = buffer.iter().position(|byte| !byte.is_ascii_whitespace());
            let byte = found.map(|at| buffer[at]);
            let taken = found.map_or(buffer.len(), |at| at + 1);
            self.take(taken);
            if byte.is_some() {
                return Ok(byte);
            }
        }
    }

    fn take(&mut self, count: usize) {
        self.stream.consume(count);
        self.place += count as u64;
    }

    fn cut(&self) -> Fault {
        let place = match &self.within {
            Within::Array(Some(key)) => format!(" in element {} of `{key}`", self.number),
            Within::Array(None) => format!(" in element {}", self.number),
            _ => String::new(),
        };
        Fault::Syntax(format!(
            "it ends{place}, before its JSON does: it was cut short; fetch or write it anew"
        ))
    }

    fn expected(&self, what: &str, found: Option<u8>) -> Fault {
        match found {
            None => self.cut(),
            Some(byte) => Fault::Syntax(format!(
                "byte {}: expected {what}, got `{}`",
                self.place.saturating_sub(1),
                byte.escape_ascii()
            )),
        }
    }
}

fn bounded(bytes: Vec<u8>, dropped: usize) -> Result<Vec<u8>, String> {
    match dropped {
        0 if bytes.iter().filter(|byte| **byte == b',').count() >= MOST_VALUES => {
            Err(format!("has more than {MOST_VALUES} values"))
        }
        0 => Ok(bytes),
        more => Err(format!(
            "has {} bytes; expected at most {LONGEST}",
            bytes.len() + more
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_very_many_values_is_passed_over() {
        for (values, fine) in [(MOST_VALUES, true), (MOST_VALUES + 1, false)] {
            let line = format!("[{}0]\n[1]\n", "0,".repeat(values - 1));
            let mut walk = Walk::new(line.as_bytes(), Shape::Lines);
            let first = walk.next().unwrap().unwrap();
            assert_eq!(first.bytes.is_ok(), fine);
            let second = walk.next().unwrap().unwrap();
            assert_eq!(second.bytes.unwrap(), b"[1]");
        }
    }

    fn texts(json: &str, shape: Shape) -> Result<Vec<(Option<String>, usize, String)>, String> {
        let mut walk = Walk::new(json.as_bytes(), shape);
        let mut texts = Vec::new();
        loop {
            match walk.next() {
                Ok(None) => return Ok(texts),
                Ok(Some(text)) => {
                    let bytes = text.bytes.unwrap();
                    let start = text.start as usize;
                    assert_eq!(
                        &json.as_bytes()[start..start + bytes.len()],
                        bytes,
                        "{json}"
                    );
                    texts.push((text.key, text.number, String::from_utf8(bytes).unwrap()));
                }
                Err(Fault::Syntax(message)) => return Err(message),
                Err(Fault::Io(error)) => return Err(error.to_string()),
            }
        }
    }

    fn plain(json: &str, shape: Shape) -> Vec<String> {
        texts(json, shape)
            .unwrap()
            .into_iter()
            .map(|(_, _, text)| text)
            .collect()
    }

    #[test]
    fn elements_of_an_array_are_found_whatever_is_in_them() {
        let json = r#" [ {"a": "]},\"\\"}, [1, [2]] ,3,"x" , null,{}] "#;
        let expected = [
            r#"{"a": "]},\"\\"}"#,
            "[1, [2]]",
            "3",
            "\"x\"",
            "null",
            "{}",
        ];
        assert_eq!(plain(json, Shape::Document), expected);
        assert!(plain("[]", Shape::Document).is_empty());
    }

    #[test]
    fn arrays_that_are_members_are_walked_and_told_apart() {
        let json =
            r#"{"info": {"images": [9]}, "images": [{"id": 1}], "n": 3, "annotations": [{}, {}]}"#;
        let found = texts(json, Shape::Document).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|(k, n, t)| (k.as_deref(), *n, &**t))
            .collect();
        let expected = [
            (Some("images"), 0, r#"{"id": 1}"#),
            (Some("annotations"), 0, "{}"),
            (Some("annotations"), 1, "{}"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn lines_keep_their_numbers_when_some_are_blank() {
        let found = texts("{\"a\":1}\r\n\n  \n{}", Shape::Lines).unwrap();
        let found: Vec<_> = found.iter().map(|(_, n, t)| (*n, t.trim())).collect();
        assert_eq!(found, [(0, "{\"a\":1}"), (3, "{}")]);
    }

    #[test]
    fn what_is_cut_or_no_json_is_told_with_its_place() {
        for (json, part) in [
            ("[{\"a\": 1}, {\"b\"", "in element 1"),
            ("[1, 2", "in element 2"),
            ("{\"images\": [{}", "in element 1 of `images`"),
            ("[1] 2", "byte 4: expected the end of the file"),
            ("<html>", "byte 0: expected `[` or `{`, got `<`"),
            ("{\"a\" 1}", "expected `:`"),
            ("[1 2]", "byte 3: expected `,` or `]`, got `2`"),
            ("{\"a\": [1] \"b\": []}", "expected `,` or `}`"),
            ("", "empty"),
        ] {
            let error = texts(json, Shape::Document).unwrap_err();
            assert!(error.contains(part), "{json}: {error}");
        }
    }

    #[test]
    fn a_walk_resumes_at_any_record() {
        let json = r#"[{"a": 1}, {"b": 2}, {"c": 3}]"#;
        let mut walk = Walk::resume(&json.as_bytes()[11..], Shape::Document, None, 1, 11);
        let text = walk.next().unwrap().unwrap();
        assert_eq!((text.number, text.start), (1, 11));
        assert_eq!(text.bytes.unwrap(), br#"{"b": 2}"#);
        assert_eq!(walk.next().unwrap().unwrap().number, 2);
    }
}
