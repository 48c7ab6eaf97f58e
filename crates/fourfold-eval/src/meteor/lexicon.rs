//! Every word of the texts once, with what its matches are found by.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use rayon::prelude::*;
use rust_stemmers::{Algorithm, Stemmer};

use super::WordNet;
use super::function_words;

/// A word as it is matched.
#[derive(Debug, Clone, Default)]
pub(super) struct Word {
    /// Equal for equal words.
    pub number: u32,
    /// Equal for words of one stem.
    pub stem: u32,
    /// The synsets it is in, in order.
    pub synsets: Vec<u32>,
    /// Whether it counts little.
    pub function: bool,
}

/// The words by their spelling.
pub(super) struct Lexicon<'a>(HashMap<&'a str, Word>);

impl<'a> Lexicon<'a> {
    pub fn of(words: impl Iterator<Item = &'a str>, wordnet: Option<&WordNet>) -> Self {
        let words: HashSet<&str> = words.collect();
        let words: Vec<&str> = words.into_iter().collect();
        let stemmer = Stemmer::create(Algorithm::English);
        let known: Vec<_> = words
            .par_iter()
            .map(|word| {
                let synsets = wordnet.map(|wordnet| wordnet.synsets(word));
                (stemmer.stem(word), synsets.unwrap_or_default())
            })
            .collect();
        let mut stems: HashMap<&str, u32> = HashMap::new();
        let mut lexicon = HashMap::with_capacity(words.len());
        for ((number, word), (stem, synsets)) in (0..).zip(&words).zip(&known) {
            let next = stems.len() as u32;
            let word_of = Word {
                number,
                stem: *stems.entry(stem).or_insert(next),
                synsets: synsets.clone(),
                function: function_words::contains(word),
            };
            lexicon.insert(*word, word_of);
        }
        Lexicon(lexicon)
    }

    /// The words of a text; one that is not in the lexicon is left out.
    pub fn look_up(&self, text: &[Cow<str>]) -> Vec<&Word> {
        text.iter()
            .filter_map(|word| self.0.get(word.as_ref()))
            .collect()
    }
}
