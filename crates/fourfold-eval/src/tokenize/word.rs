//! Words: where one ends, which marks are inside it, and whether a full stop behind it is its own.

use super::{SOFT_HYPHEN, Scanner, is_apostrophe, is_word};
use crate::abbreviations::{is_initials, keeps_full_stop};

/// Words that the treebank writes as two, with the place of the cut.
const SPLIT_WORDS: &[(&str, usize)] = &[
    ("cannot", 3),
    ("gonna", 3),
    ("gotta", 3),
    ("wanna", 3),
    ("lemme", 3),
    ("gimme", 3),
];

impl Scanner<'_> {
    /// Reads a word with its ending, splitting contractions.
    pub(super) fn word(&mut self) {
        let start = self.at;
        if let Some(end) = self.fraction(start) {
            return self.push_number(end);
        }
        let plain = self.word_end(start);
        if let Some(end) = self.telephone(start).filter(|end| *end > plain) {
            return self.push_number(end);
        }
        if let Some(end) = self.listed_end(start).filter(|end| *end > plain) {
            self.push_to(end);
            while self.suffix() {}
            return;
        }
        if is_apostrophe(self.get(plain)) || self.backtick_negates(plain) {
            self.at = plain;
            return self.contraction(start);
        }
        if let Some(cut) = self.split_place(plain) {
            self.push_to(start + cut);
            self.push_to(plain);
        } else if self.get(plain) == '.' && self.full_stop_is_its_own(plain) {
            self.push_to(plain + 1);
        } else {
            self.push_to(plain);
        }
    }

    /// Where the word from here to `end` is cut, if the treebank writes it as two.
    fn split_place(&self, end: usize) -> Option<usize> {
        let word = &self.chars[self.at..end];
        let found = SPLIT_WORDS.iter().find(|(whole, _)| {
            whole.len() == word.len()
                && whole
                    .chars()
                    .zip(word)
                    .all(|(a, b)| b.eq_ignore_ascii_case(&a))
        });
        found.map(|(_, cut)| *cut)
    }

    /// Whether the full stop at `end` is part of the word from here to it.
    fn full_stop_is_its_own(&self, end: usize) -> bool {
        if matches!(self.get(end + 1), ',' | ';' | ':' | '、') {
            return true; // A sentence goes on there, so that this is an abbreviation: "ibid.,".
        }
        let word = self.slice(self.at, end);
        // A word with hyphens is an abbreviation where its last part is initials: "un-U.S.".
        if let Some((_, last)) = word.rsplit_once('-') {
            return last.contains('.') && is_initials(last);
        }
        let behind = self.chars[end + 1..].iter().copied();
        keeps_full_stop(&word, behind.chain(['\n']).chain(self.next.chars()))
    }

    /// Where a word of ASCII letters, digits, full stops and commas ends that goes on behind a hyphen: "red,white-blue",
    /// "U.S.-based", "is...light-handed". None where it does not go on, or another letter follows.
    fn listed_end(&mut self, start: usize) -> Option<usize> {
        if start < self.unlisted {
            return None;
        }
        let letter = |c: char| c.is_ascii_alphanumeric() || c == SOFT_HYPHEN;
        let mut end = self.run(start, |c| letter(c) || matches!(c, '.' | ','));
        let mut found = None;
        while self.get(end) == '-' {
            let part = end + 1;
            end = self.run(part, letter);
            if end == part {
                break;
            }
            found = Some(end);
        }
        if found.is_none() {
            // So that a long list is not read to its end for each of its words.
            self.unlisted = end;
        }
        found
    }

    /// Where the word that starts at `start` ends, before any contraction. Marks that join parts
    /// of a word ("black-and-white", "and/or", "3.5", "u.s") are inside it.
    fn word_end(&self, start: usize) -> usize {
        let mut part = start;
        let (mut slashes, mut hyphens) = (0, 0);
        if self.get(start).is_ascii_digit() {
            let end = self.number_end(start);
            let number = &self.chars[start..end];
            let marked = !number.iter().all(char::is_ascii_digit);
            // Neither a unit nor, of a time, a range is part of it.
            if marked && (is_word(self.get(end)) || number.contains(&':')) {
                return end;
            }
        }
        let (mut dotted, mut exclaimed) = (false, false);
        loop {
            let end = self.run(part, is_word);
            let number = self.get(end + 1).is_ascii_digit();
            match self.get(end) {
                '/' if dotted => return end,
                // "two-1/2".
                '/' if hyphens > 0 && number && self.get(end - 1).is_ascii_digit() => return end,
                '/' => slashes += 1,
                '-' if exclaimed => return end,
                '-' => hyphens += 1,
                '_' if dotted => return end,
                '.' if slashes > 0 && !number => return end,
                '.' => dotted |= !number,
                '?' | '!' => exclaimed = true,
                // "M&Ms": capitals alone.
                '&' if self.joins(part, end, hyphens > 0, slashes > 0) => {
                    return self.run(end + 1, char::is_uppercase);
                }
                _ => {}
            }
            if slashes > 2 || !self.joins(part, end, hyphens > 0, slashes > 0) {
                return end;
            }
            part = end + 1;
        }
    }

    /// Whether the mark at `end` joins the part of a word from `part` with what follows.
    fn joins(&self, part: usize, end: usize, hyphenated: bool, slashed: bool) -> bool {
        let next = self.get(end + 1);
        let after = self
            .chars
            .get(end + 1..self.run(end + 1, is_word))
            .unwrap_or(&[]);
        let part = &self.chars[part..end];
        let digits = part.iter().all(char::is_ascii_digit) && next.is_ascii_digit();
        let number = digits && !hyphenated && !slashed;
        match self.get(end) {
            '-' | '‐' | '‑' | '/' | '_' | '@' => is_word(next),
            ',' | ':' => number,
            '.' if number => true,
            '.' | '?' | '!' => {
                part.first().is_some_and(|c| c.is_alphabetic())
                    && next.is_alphabetic()
                    && (!hyphenated || part.len() == 1)
            }
            '⁄' => digits,
            '&' => part.iter().all(|c| c.is_uppercase()) && next.is_uppercase(),
            c if is_apostrophe(c) || c == '‘' => {
                super::apostrophe::joins(part, after, hyphenated)
            }
            _ => false,
        }
    }
}
