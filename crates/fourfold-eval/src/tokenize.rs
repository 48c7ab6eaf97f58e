//! Caption tokenisation in the way of `pycocoevalcap`'s `PTBTokenizer`.
//!
//! Penn Treebank splitting, lower case, then its punctuation list removed. The reference is a
//! generated Java lexer; this scanner was written from what it gives for plain sentences. Two of its
//! habits look odd and are kept on purpose, because published scores have them: brackets stay as the
//! words `-lrb-` and `-rrb-` (the punctuation list has them in capitals, the text is already in
//! lower case), and `!!` or `?!` stay as a word (the list has single marks).
//!
//! The reference reads all captions as one text; [`tokenize_before`] gives what it gives there. Every sentence of
//! 128,000 (captions of aac-metrics' examples, WordNet's glosses and examples, descriptions of emoji) comes out the same,
//! and 99.8 % of captions with marks put where no caption has them (`bench/results/eval.md`); of strings of random marks
//! one in four does not. `tests/fixtures/tokens.json` has what is the same.

mod apostrophe;
mod number;
mod whole;
mod word;

use crate::Case;

/// What joins a whole number with its fraction: `2 1/2` is one token, of which BLEU and CIDEr make two words.
pub(crate) const NO_BREAK_SPACE: char = '\u{a0}';
const SOFT_HYPHEN: char = '\u{ad}';

/// Splits a caption into the words that the caption metrics count.
///
/// Never fails; text without a word gives an empty list. No returned token is empty or has white space in it, but for
/// the no-break space between a whole number and its fraction.
pub fn tokenize(text: &str) -> Vec<String> {
    tokenize_before(text, "")
}

/// The same for a caption that `next` follows, in the order in which a metric takes captions.
///
/// The reference reads all of them as one text, so that whether `c.` at the end of a caption is one word depends on the
/// next caption's first. The words of `next` are not in the result.
pub fn tokenize_before(text: &str, next: &str) -> Vec<String> {
    let mut scanner = Scanner {
        // "R&amp;D" is "R&D".
        chars: match text.contains("&amp;") {
            true => text.replace("&amp;", "&").chars().collect(),
            false => text.chars().collect(),
        },
        at: 0,
        tokens: Vec::new(),
        unlisted: 0,
        next,
    };
    while scanner.at < scanner.chars.len() {
        scanner.step();
    }
    scanner.tokens
}

/// The words of case `index`'s candidate: metrics take all candidates one after another.
pub(crate) fn tokenize_candidate(cases: &[Case<'_>], index: usize) -> Vec<String> {
    let next = cases.get(index + 1).map_or("", |case| case.candidate);
    tokenize_before(cases[index].candidate, next)
}

/// The words of each of case `index`'s references: metrics take those of all cases one after another.
pub(crate) fn tokenize_references<'c>(
    cases: &'c [Case<'_>],
    index: usize,
) -> impl Iterator<Item = Vec<String>> + 'c {
    let own = cases[index].references;
    let later = cases[index + 1..].iter().flat_map(|case| case.references);
    let next = own.iter().skip(1).chain(later.take(1)).map(String::as_str);
    own.iter()
        .zip(next.chain([""]))
        .map(|(text, next)| tokenize_before(text, next))
}

struct Scanner<'n> {
    chars: Vec<char>,
    at: usize,
    tokens: Vec<String>,
    /// No word that begins before this place goes on behind a hyphen, as [`Scanner::listed_end`] has found.
    unlisted: usize,
    /// The text on the line behind this one.
    next: &'n str,
}

impl Scanner<'_> {
    /// The character at `index`, or a space past either end.
    fn get(&self, index: usize) -> char {
        self.chars.get(index).copied().unwrap_or(' ')
    }

    fn before(&self) -> char {
        self.at.checked_sub(1).map_or(' ', |index| self.get(index))
    }

    fn slice(&self, start: usize, end: usize) -> String {
        self.chars[start..end].iter().collect()
    }

    /// Where the run of characters of this kind that starts at `start` ends; `start` where there
    /// is none.
    fn run(&self, start: usize, kind: impl Fn(char) -> bool) -> usize {
        let mut end = start;
        while self.chars.get(end).is_some_and(|&c| kind(c)) {
            end += 1;
        }
        end
    }

    /// Adds a token, less its soft hyphens.
    fn push(&mut self, token: &str) {
        let token = match token.contains(SOFT_HYPHEN) {
            true => token.replace(SOFT_HYPHEN, "").to_lowercase(),
            false => token.to_lowercase(),
        };
        if !token.is_empty() {
            self.tokens.push(token);
        }
    }

    /// Adds what is between here and `end` as a token, and moves there.
    fn push_to(&mut self, end: usize) {
        let chars = &self.chars[self.at..end];
        if chars.iter().all(char::is_ascii) {
            self.tokens
                .push(chars.iter().map(char::to_ascii_lowercase).collect());
        } else {
            self.push(&chars.iter().collect::<String>());
        }
        self.at = end;
    }

    /// Reads one token, or skips one mark, and moves past it.
    fn step(&mut self) {
        let (c, next) = (self.get(self.at), self.get(self.at + 1));
        if let Some(end) = self.whole(c) {
            // Mark-up may have spaces in it, which make words of it.
            for word in self.slice(self.at, end).split_whitespace() {
                self.push(word);
            }
            self.at = end;
            return;
        }
        match c {
            _ if is_word(c) => self.word(),
            // A number's own point, comma, colon or sign.
            '.' | ',' | ':' | '+' | '-'
                if next.is_ascii_digit()
                    && (matches!(c, ',' | ':' | '+') || self.before() != c) =>
            {
                let end = self.number_end(self.at + 1);
                self.push_to(end);
            }
            _ if let Some(end) = self.smiley() => {
                let smiley = self.slice(self.at, end);
                self.push(&smiley.replace('(', "-lrb-").replace(')', "-rrb-"));
                self.at = end;
            }
            '?' | '!' => {
                let end = self.run(self.at, |c| matches!(c, '?' | '!'));
                if end - self.at > 1 {
                    self.push(&self.slice(self.at, end));
                }
                self.at = end;
            }
            '*' | '#' | '@' if next == c => {
                let end = self.run(self.at, |other| other == c);
                self.push_to(end);
            }
            '<' | '>' if next == c => {
                self.push_to(self.at + 2);
            }
            '#' if next.is_alphabetic() => {
                let end = self.run(self.at + 1, char::is_alphabetic);
                self.push_to(end);
            }
            '@' if next.is_alphabetic() => {
                let end = self.run(self.at + 1, |c| is_word(c) || c == '_');
                self.push_to(end);
            }
            '(' if let Some(end) = self.telephone(self.at) => self.push_number(end),
            '_' => {
                let end = self.run(self.at, |c| c == '_');
                self.push_to(end);
            }
            '&' if let Some((length, mark)) = self.named_entity() => {
                self.at += length;
                if !is_dropped(mark) {
                    self.push(mark.encode_utf8(&mut [0; 4]));
                }
            }
            _ if is_apostrophe(c) => self.leading_apostrophe(),
            _ => {
                self.at += 1;
                if let Some(token) = symbol(c) {
                    self.push(token);
                } else if !is_dropped(c) {
                    self.push(c.encode_utf8(&mut [0; 4]));
                }
            }
        }
    }
}

/// Letters, digits, and what may stand behind a letter as a character of its own: accents, soft hyphens.
fn is_word(c: char) -> bool {
    (c.is_alphanumeric() || matches!(c, '\u{300}'..='\u{36f}' | SOFT_HYPHEN))
        && c <= '\u{ffff}'
        && !is_number_sign(c)
}

/// Digits above and below the line, fractions, numbers in circles: none is part of a word.
fn is_number_sign(c: char) -> bool {
    matches!(c, '¼' | '½' | '¾' | '¹' | '²' | '³' | '\u{2070}'..='\u{2089}' | '\u{2150}'..='\u{215f}' | '\u{2460}'..='\u{249b}')
}

fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '’')
}

/// Marks that the treebank writes in another way.
fn symbol(c: char) -> Option<&'static str> {
    Some(match c {
        '(' => "-lrb-",
        ')' => "-rrb-",
        '[' => "-lsb-",
        ']' => "-rsb-",
        '{' => "-lcb-",
        '}' => "-rcb-",
        '€' => "$",
        '£' => "#",
        '¢' => "cents",
        '¼' => "1/4",
        '½' => "1/2",
        '¾' => "3/4",
        '⅓' => "1/3",
        '⅔' => "2/3",
        _ => return None,
    })
}

/// Marks on the punctuation list, white space, and characters that are no token there: joiners,
/// variation selectors, and all beyond 16 bits (emoji), which the reference lexer cannot read.
fn is_dropped(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || c > '\u{ffff}'
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
        || matches!(c, '.' | ',' | ':' | ';' | '-' | '–' | '—' | '…' | '‐' | '‑')
        || matches!(c, '"' | '`' | '‘' | '“' | '”' | '«' | '»' | '‹' | '›')
}
