//! The synonyms of a WordNet folder.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

const PARTS: [&str; 4] = ["noun", "verb", "adj", "adv"];

/// Why a WordNet folder was refused.
#[derive(Debug, Error)]
pub enum WordNetError {
    /// A file is missing or unreadable.
    #[error(
        "cannot read \"{}\": {source}; give the folder `dict` of WordNet 3.0, with index.noun, index.verb, index.adj, \
         index.adv and noun.exc, verb.exc, adj.exc, adv.exc in it",
        path.display()
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// A line is not as WordNet writes it. Lines count from 1.
    #[error("\"{}\", line {line}: expected {expected}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// What is expected there.
        expected: &'static str,
    },
}

/// The words of WordNet, each with its synsets, and its irregular forms.
///
/// A synset is known by its place in a file, and as in the reference program no matter in which of the four: seldom, a noun
/// and a verb at the same place pass for synonyms.
#[derive(Debug, Default)]
pub struct WordNet {
    synsets: HashMap<String, Vec<u32>>,
    irregular: HashMap<String, Vec<String>>,
}

impl WordNet {
    /// Reads a folder of WordNet 3.x, usually called `dict`: its `index` files and lists of exceptions.
    ///
    /// # Errors
    /// A file that is missing, or a line that is not as WordNet writes it.
    pub fn read(folder: &Path) -> Result<Self, WordNetError> {
        let mut wordnet = WordNet::default();
        for part in PARTS {
            each_line(&folder.join(format!("index.{part}")), |line| {
                wordnet.add_word(line)
            })?;
            each_line(&folder.join(format!("{part}.exc")), |line| {
                wordnet.add_irregular(line)
            })?;
        }
        Ok(wordnet)
    }

    /// The synsets of a word and of its base forms, in order.
    pub(super) fn synsets(&self, word: &str) -> Vec<u32> {
        let irregular = self.irregular.get(word);
        let bases = match irregular {
            Some(bases) => bases.clone(),
            None => self.regular(word).into_iter().collect(),
        };
        let words = bases.iter().map(String::as_str).chain([word]);
        let mut synsets: Vec<u32> = words
            .filter_map(|word| self.synsets.get(word))
            .flatten()
            .copied()
            .collect();
        synsets.sort_unstable();
        synsets.dedup();
        synsets
    }

    /// The base form by WordNet's endings: the first that is a word, whatever its part of speech.
    fn regular(&self, word: &str) -> Option<String> {
        const ENDINGS: [(&str, &str); 12] = [
            ("s", ""),
            ("ies", "y"),
            ("es", ""),
            ("men", "man"),
            ("ed", "e"),
            ("ed", ""),
            ("ing", "e"),
            ("ing", ""),
            ("er", ""),
            ("est", ""),
            ("er", "e"),
            ("est", "e"),
        ];
        if word.len() <= 2 || word.ends_with("ss") {
            return None;
        }
        ENDINGS.into_iter().find_map(|(ending, base)| {
            let base = word.strip_suffix(ending)?.to_owned() + base;
            self.synsets.contains_key(&base).then_some(base)
        })
    }

    /// Reads `lemma pos synset_cnt p_cnt [ptr_symbol...] sense_cnt tagsense_cnt synset_offset...`.
    fn add_word(&mut self, line: &str) -> Result<(), &'static str> {
        const EXPECTED: &str =
            "a word, its part of speech, the number of its synsets, and at the end their places";
        // The licence stands first, indented.
        if line.starts_with("  ") {
            return Ok(());
        }
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (word, count) = match fields[..] {
            [word, _, count, ..] => (word, count.parse::<usize>().map_err(|_| EXPECTED)?),
            _ => return Err(EXPECTED),
        };
        // Four fields stand before the pointers and two after them.
        let start = fields.len().checked_sub(count).filter(|&at| at >= 6);
        let places = start
            .and_then(|start| fields.get(start..))
            .ok_or(EXPECTED)?;
        // Phrases never stand in one token.
        if word.contains('_') {
            return Ok(());
        }
        let synsets = self.synsets.entry(word.to_owned()).or_default();
        for place in places {
            synsets.push(place.parse().map_err(|_| EXPECTED)?);
        }
        Ok(())
    }

    /// Reads a form and its base forms.
    fn add_irregular(&mut self, line: &str) -> Result<(), &'static str> {
        let mut words = line.split_whitespace().map(str::to_owned);
        let (form, bases) = (words.next(), words.collect::<Vec<_>>());
        match form {
            Some(form) if !bases.is_empty() => {
                self.irregular.entry(form).or_default().extend(bases);
                Ok(())
            }
            _ => Err("a word and the words that it is a form of"),
        }
    }
}

/// Hands every line to `read`, and names the one that it refuses.
fn each_line(
    path: &Path,
    mut read: impl FnMut(&str) -> Result<(), &'static str>,
) -> Result<(), WordNetError> {
    let bytes = fs::read(path).map_err(|source| WordNetError::Read {
        path: path.to_owned(),
        source,
    })?;
    // The few letters beyond ASCII are in no word.
    let text = String::from_utf8_lossy(&bytes);
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        read(line).map_err(|expected| WordNetError::Line {
            path: path.to_owned(),
            line: index + 1,
            expected,
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = "  1 The licence stands first.\n\
        dog n 2 1 @ 2 1 00000010 00000020\n\
        cross n 1 0 1 0 00000030\n\
        crosse n 1 0 1 0 00000040\n\
        make v 1 0 1 0 00000050\n\
        hot_dog n 1 0 1 0 00000060\n";

    fn folder(index: &str, exceptions: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for part in PARTS {
            let write = |name: String, text: &str| fs::write(folder.path().join(name), text);
            write(
                format!("index.{part}"),
                if part == "noun" { index } else { "" },
            )
            .unwrap();
            write(
                format!("{part}.exc"),
                if part == "verb" { exceptions } else { "" },
            )
            .unwrap();
        }
        folder
    }

    #[test]
    fn synsets_are_those_of_a_word_and_its_base_forms() {
        let folder = folder(INDEX, "made make\ndogged dog make\n");
        let wordnet = WordNet::read(folder.path()).unwrap();
        for (word, synsets) in [
            ("dog", vec![10, 20]),
            ("dogs", vec![10, 20]),
            ("made", vec![50]),
            ("making", vec![50]),
            ("maker", vec![50]),
            ("dogged", vec![10, 20, 50]),
            // The first ending that gives a word decides.
            ("crosses", vec![40]),
            ("dogss", vec![]),
            ("hot_dog", vec![]),
            ("cat", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(wordnet.synsets(word), synsets, "{word}");
        }
    }

    #[test]
    fn refusals_name_the_file_and_the_line() {
        let message = |index: &str, exceptions: &str| {
            let folder = folder(index, exceptions);
            WordNet::read(folder.path()).unwrap_err().to_string()
        };
        for line in [
            "dog n",
            "dog n 9 1 @ 1 1 00000010",
            "dog n x 1 @ 1 1 1",
            "dog n 1 0 1 0 x",
        ] {
            let message = message(&format!("{INDEX}{line}"), "");
            assert!(
                message.contains("index.noun\", line 7: expected a word, its part"),
                "{message}"
            );
        }
        let message = message(INDEX, "made make\nmade\n");
        assert!(
            message.contains("verb.exc\", line 2: expected a word and"),
            "{message}"
        );
        let missing = WordNet::read(Path::new("no/such/folder")).unwrap_err();
        assert!(
            missing.to_string().contains("index.noun")
                && missing.to_string().contains("WordNet 3.0")
        );
    }
}
