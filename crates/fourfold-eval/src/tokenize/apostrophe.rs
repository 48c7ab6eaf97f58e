//! Apostrophes: of contractions, of shortened words, of spelling; the rest are quotation marks.

use super::{Scanner, is_apostrophe, is_word};

/// Endings that are split from their word.
const SUFFIXES: &[&str] = &["s", "m", "d", "re", "ve", "ll"];

impl Scanner<'_> {
    /// Reads the word from `start` up to the apostrophe where the scanner stands, and what the apostrophe is part of.
    pub(super) fn contraction(&mut self, start: usize) {
        let end = self.at;
        let word = self.slice(start, end);
        let letters = self.run(end + 1, is_word);
        let tail = self.slice(end + 1, letters).to_lowercase();
        if tail.starts_with('t') && word.ends_with(['n', 'N']) && !word.contains('-') {
            if end - 1 > start {
                self.push(&self.slice(start, end - 1));
            }
            match (tail.as_str(), self.get(end)) {
                ("t", '‘' | '`') => self.push("n`t"),
                ("t", _) => self.push("n't"),
                _ => self.push(&self.slice(end - 1, letters)),
            }
            self.at = letters;
        } else if self.keeps_apostrophe(&word, &tail) {
            self.push(&self.slice(start, end + 1));
            self.at = end + 1;
        } else {
            self.push(&word);
        }
        while self.suffix() {}
    }

    /// Whether the opening quotation mark or backtick at `end` is taken for the apostrophe of `don‘t`, the only one that it
    /// may be.
    pub(super) fn backtick_negates(&self, end: usize) -> bool {
        matches!(self.get(end), '‘' | '`')
            && matches!(self.get(end - 1), 'n' | 'N')
            && matches!(self.get(end + 1), 't' | 'T')
            && !is_word(self.get(end + 2))
    }

    /// Whether the apostrophe after `word`, before `tail`, is its own: of `y'all`, `l'`, `d'` and `j'`, `ol'`, `somethin'`,
    /// `dunkin'`.
    fn keeps_apostrophe(&self, word: &str, tail: &str) -> bool {
        let alone = SUFFIXES.contains(&tail);
        match word.to_lowercase().as_str() {
            "y" => matches!(tail, "all" | "know"),
            "l" | "d" | "j" => !alone && self.get(self.at) == '\'',
            "ol" | "somethin" | "dunkin" => tail.is_empty(),
            _ => false,
        }
    }

    /// Reads `'s`, `'re` and their like where the scanner stands; false when there is none. A curly apostrophe splits them
    /// from letters behind them too, and an `n`.
    pub(super) fn suffix(&mut self) -> bool {
        let mark = self.get(self.at);
        if !is_apostrophe(mark) || is_apostrophe(self.before()) {
            return false;
        }
        let letters = self.run(self.at + 1, char::is_alphabetic);
        let tail = self.slice(self.at + 1, letters).to_lowercase();
        let curly = mark == '’';
        let found = SUFFIXES.iter().find(|suffix| match curly {
            true => tail.starts_with(**suffix),
            false => tail == **suffix,
        });
        match found {
            Some(suffix) => {
                self.push(&format!("'{suffix}"));
                self.at += 1 + suffix.len();
            }
            None if curly && tail.starts_with('n') => self.shortened(self.at + 2),
            None => return false,
        }
        true
    }

    /// An apostrophe that no word precedes: a shortened word, or a quotation mark to drop.
    pub(super) fn leading_apostrophe(&mut self) {
        let end = self.run(self.at + 1, is_word);
        let tail = self.slice(self.at + 1, end).to_lowercase();
        let straight = self.get(self.at) == '\'';
        match tail.as_str() {
            _ if is_apostrophe(self.before()) => self.at += 1,
            "tis" | "twas" if straight => {
                self.push("'t");
                self.push(&tail[1..]);
                self.at = end;
            }
            "em" | "til" | "till" | "cause" => self.shortened(end),
            "n" => self.shortened(end + usize::from(is_apostrophe(self.get(end)))),
            year if is_year(year, self.get(end)) => self.shortened(end),
            _ if self.suffix() => {}
            _ => self.at += 1,
        }
    }

    /// A word with the apostrophe before it, up to `end`.
    fn shortened(&mut self, end: usize) {
        self.push(&self.slice(self.at, end));
        self.at = end;
    }
}

/// A year in two digits before a space ("'87 "), or a decade ("'90s").
fn is_year(word: &str, after: char) -> bool {
    match word.as_bytes() {
        [tens, ones] => tens.is_ascii_digit() && ones.is_ascii_digit() && after.is_whitespace(),
        [tens, b'0', b's'] => tens.is_ascii_digit(),
        _ => false,
    }
}

/// Whether an apostrophe between these letters is one of their spelling: "o'clock", "d'Artagnan", "l'eau", "cap'n", "li'l",
/// "c'est", "c'mon".
pub(super) fn joins(before: &[char], after: &[char], hyphenated: bool) -> bool {
    let is = |text: &str| before.iter().collect::<String>().eq_ignore_ascii_case(text);
    (after.len() > 1 && (is("o") || is("d") || is("l")))
        || (is("cap") && after == ['n'])
        || (is("li") && after == ['l'])
        || (is("c") && after == ['e', 's', 't'])
        || (is("c") && after == ['m', 'o', 'n'])
        || (!hyphenated && !is("y") && joins_syllables(before, after))
}

/// Whether an apostrophe between these letters is one of their spelling: "Hawai'i", "o'er", "de'Medici", "N'Djamena"; not
/// that of "we're" or "she's".
fn joins_syllables(before: &[char], after: &[char]) -> bool {
    let ([.., last], [next, ..]) = (before, after) else {
        return false;
    };
    let letters = |text: &[char]| text.iter().all(|c| c.is_alphabetic());
    let ending: String = after.iter().collect::<String>().to_lowercase();
    if !letters(before) || !letters(after) || SUFFIXES.contains(&ending.as_str()) {
        return false;
    }
    let vowels =
        "aeiouyAEIOUY".contains(*last) && ("aeiou".contains(*next) || next.is_ascii_uppercase());
    let initial = before.len() == 1
        && after.len() > 1
        && (*last == 'n' || (last.is_ascii_uppercase() && !matches!(last, 'I' | 'Y' | 'Z')));
    vowels || initial
}
