//! Words: where one ends, which marks are inside it, and whether a full stop behind it is its own.

use super::{NO_BREAK_SPACE, SOFT_HYPHEN, Scanner, is_apostrophe, is_word};
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
            let spaceless = |c| if c == ' ' { NO_BREAK_SPACE } else { c };
            let token: String = self.chars[start..end]
                .iter()
                .copied()
                .map(spaceless)
                .collect();
            self.push(&token);
            self.at = end;
            return;
        }
        let plain = self.word_end(start);
        if let Some(end) = self.listed_end(start).filter(|end| *end > plain) {
            self.push(&self.slice(start, end));
            self.at = end;
            while self.suffix() {}
            return;
        }
        self.at = plain;
        if is_apostrophe(self.get(plain)) || self.backtick_negates(plain) {
            return self.contraction(start);
        }
        let word = self.slice(start, plain);
        let lower = word.to_lowercase();
        if let Some(&(whole, cut)) = SPLIT_WORDS.iter().find(|(whole, _)| *whole == lower) {
            self.push(&whole[..cut]);
            self.push(&whole[cut..]);
        } else if self.full_stop_is_its_own(&word) {
            self.push(&(word + "."));
            self.at += 1;
        } else {
            self.push(&word);
        }
    }

    /// Whether the scanner stands at a full stop that is part of `word`, which it has just read.
    fn full_stop_is_its_own(&self, word: &str) -> bool {
        if self.get(self.at) != '.' {
            return false;
        }
        if matches!(self.get(self.at + 1), ',' | ';' | ':' | '、') {
            return true; // A sentence goes on there, so that this is an abbreviation: "ibid.,".
        }
        // A word with hyphens is an abbreviation where its last part is initials: "un-U.S.".
        if let Some((_, last)) = word.rsplit_once('-') {
            return last.contains('.') && is_initials(last);
        }
        let behind = self.chars[self.at + 1..].iter().copied();
        keeps_full_stop(word, behind.chain(['\n']).chain(self.next.chars()))
    }

    /// End of the digits from `start`, with the marks that numbers have inside.
    pub(super) fn number_end(&self, start: usize) -> usize {
        let mut end = self.run(start, |c| c.is_ascii_digit());
        while matches!(self.get(end), '.' | ',' | ':') && self.get(end + 1).is_ascii_digit() {
            end = self.run(end + 1, |c| c.is_ascii_digit());
        }
        end
    }

    /// Where a whole number and its fraction end that begin at `start`, `2 1/2` or `2-1/2`; a number has up to four digits.
    fn fraction(&self, start: usize) -> Option<usize> {
        let number = |start: usize| {
            let digits = self.run(start, |c| c.is_ascii_digit()) - start;
            (digits > 0).then_some(start + digits.min(4))
        };
        let whole = number(start)?;
        let above = match self.get(whole) {
            ' ' | '-' | NO_BREAK_SPACE => number(whole + 1)?,
            _ => return None,
        };
        match self.get(above) {
            '/' | '⁄' => number(above + 1),
            _ => None,
        }
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
            match self.get(end) {
                '/' => slashes += 1,
                '_' if dotted => return end,
                '-' if exclaimed => return end,
                '-' => hyphens += 1,
                '.' => dotted = true,
                '?' | '!' => exclaimed = true,
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
            '&' => {
                let capitals = |part: &[char]| part.iter().all(|c| c.is_uppercase());
                !after.is_empty() && capitals(part) && capitals(after)
            }
            c if is_apostrophe(c) || c == '‘' => {
                super::apostrophe::joins(part, after, hyphenated)
            }
            _ => false,
        }
    }
}
