//! Lists of held-out images: Karpathy's splits, lists of images as COCO publishes them, and plain lists.

use std::fs;
use std::io::BufReader;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::HeldOut;
use super::identifiers::{number, of_file};
use crate::{DataError, PerceptualHash};

/// An image of a list, under the names that lists give its parts.
#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Text(String),
    Number(u64),
    Image(Box<Image>),
}

#[derive(Deserialize)]
struct Image {
    /// Karpathy's splits.
    split: Option<String>,
    cocoid: Option<u64>,
    filename: Option<String>,
    /// COCO's lists of images.
    id: Option<Value>,
    file_name: Option<String>,
    /// Ours.
    image_id: Option<u64>,
    sha256: Option<String>,
    #[serde(alias = "perceptual_hash")]
    phash: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum List {
    Entries(Vec<Entry>),
    Images { images: Vec<Entry> },
    Named(std::collections::BTreeMap<String, Vec<Entry>>),
}

const EXPECTED: &str = "expected a number (COCO's image id), a file name with its ending (Flickr30k's, COCO's), 64 \
                        hexadecimal digits (SHA-256 of the file) or 16 (perceptual hash)";

impl HeldOut {
    /// The images that a file lists, one a line or as JSON. Of Karpathy's split files (`dataset_coco.json`,
    /// `dataset_flickr30k.json`) these are the splits `test` and `val`.
    ///
    /// A line, and an element of a JSON list, is COCO's number of an image, the name of its file, or a hash of it: SHA-256
    /// (64 hexadecimal digits) or perceptual ([`PerceptualHash`], 16). What follows `#` is a comment. An element may be an
    /// object too, with `cocoid`, `image_id`, `filename`, `file_name`, `sha256` or `phash`.
    ///
    /// # Errors
    /// Names the file and the line that is none of these.
    pub fn blocklist(path: &Path) -> Result<Self, DataError> {
        let io = |source| DataError::Io {
            action: "read",
            path: path.into(),
            source,
        };
        let name = path.file_name().unwrap_or(path.as_os_str());
        let mut held = Self {
            name: name.to_string_lossy().into_owned(),
            ..Self::default()
        };
        let named = |ending| path.extension().is_some_and(|found| found == ending);
        if named("json") {
            let file = BufReader::new(fs::File::open(path).map_err(io)?);
            let list: List = serde_json::from_reader(file).map_err(|error| {
                let message = format!(
                    "cannot be read as a list of held-out images: {error}; expected a JSON list, or an object with `images`"
                );
                DataError::file(path, message)
            })?;
            let entries = match list {
                List::Entries(entries) | List::Images { images: entries } => entries,
                List::Named(lists) => lists.into_values().flatten().collect(),
            };
            for (number, entry) in entries.into_iter().enumerate() {
                held.entry(entry).map_err(|message| {
                    DataError::file(path, format!("element {number}: {message}"))
                })?;
            }
        } else {
            let text = fs::read_to_string(path).map_err(io)?;
            for (number, line) in text.lines().enumerate() {
                let word = line.split('#').next().unwrap_or_default().trim();
                if !word.is_empty() {
                    held.word(word).map_err(|message| {
                        DataError::file(path, format!("line {}: {message}", number + 1))
                    })?;
                }
            }
        }
        match held.is_empty() {
            true => Err(DataError::file(path, format!("lists no image; {EXPECTED}"))),
            false => Ok(held),
        }
    }

    fn entry(&mut self, entry: Entry) -> Result<(), String> {
        let image = match entry {
            Entry::Text(word) => return self.word(&word),
            Entry::Number(number) => {
                self.identifiers.insert(number.to_string());
                return Ok(());
            }
            Entry::Image(image) => image,
        };
        let trained = |split: &str| !["test", "val"].contains(&split);
        if image.split.as_deref().is_some_and(trained) {
            return Ok(());
        }
        let before = self.len();
        let numbers = [image.cocoid, image.image_id];
        let names = [&image.filename, &image.file_name];
        // COCO's lists have `id` beside `file_name`; elsewhere it is the row's.
        if let (Some(Value::Number(id)), Some(_)) = (&image.id, &image.file_name) {
            self.identifiers.insert(id.to_string());
        }
        for number in numbers.into_iter().flatten() {
            self.identifiers.insert(number.to_string());
        }
        for name in names.into_iter().flatten() {
            let name = of_file(name).unwrap_or_else(|| name.clone());
            self.identifiers.insert(name);
        }
        for hash in [&image.sha256, &image.phash].into_iter().flatten() {
            self.word(hash)?;
        }
        let listed = image.cocoid.is_some()
            || image.image_id.is_some()
            || names.iter().any(|name| name.is_some())
            || self.len() > before;
        listed.then_some(()).ok_or_else(|| EXPECTED.to_owned())
    }

    fn word(&mut self, word: &str) -> Result<(), String> {
        let place = self.origins.len() as u32;
        if word.len() == 64
            && let Some(digest) = digest(word)
        {
            self.digests.insert(digest, place);
            self.origins.push(String::new());
        } else if let Ok(hash) = word.parse::<PerceptualHash>() {
            self.hashes.insert(hash, place);
            self.origins.push(String::new());
        } else if let Some(identifier) = number(word).or_else(|| of_file(word)) {
            self.identifiers.insert(identifier);
        } else {
            return Err(format!("{word:?}: {EXPECTED}"));
        }
        Ok(())
    }
}

/// The bytes of 64 hexadecimal digits.
fn digest(word: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    for (byte, digits) in digest.iter_mut().zip(word.as_bytes().chunks_exact(2)) {
        let digits = std::str::from_utf8(digits).ok()?;
        let hexadecimal = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        *byte = hexadecimal.then(|| u8::from_str_radix(digits, 16).ok())??;
    }
    Some(digest)
}
