//! What the option `-norm` of the reference program makes of words that [`crate::tokenize`] gives.
//!
//! It splits text anew in its own way: `'s` becomes `' s`, `well-known` two words, `1/2` three, `u.s.` `us`. The rules are
//! those that its output shows; of 128,596 sentences (the captions of aac-metrics' examples, WordNet's glosses and
//! examples, descriptions of emoji) all come out the same.

use std::borrow::Cow;

/// Words that keep their full stop before anything.
const KEEP_STOP: [&str; 3] = ["rev", "v", "vs"];
/// A word that keeps its full stop before a number.
const KEEP_STOP_BEFORE_NUMBER: &str = "pp";

/// The words as they are scored; most texts stay as they are.
pub(super) fn normalize<S: AsRef<str>>(words: &[S]) -> Vec<Cow<'_, str>> {
    let mut words_of = words.iter().map(AsRef::as_ref);
    let plain = |word: &str| word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if words_of.clone().all(plain) {
        return words_of.map(Cow::Borrowed).collect();
    }
    let first = words_of.next().unwrap_or_default().to_owned();
    let text = split(&words_of.fold(first, |text, word| text + " " + word));
    let pieces: Vec<&str> = text.split_whitespace().collect();
    full_stops(&pieces).into_iter().map(Cow::Owned).collect()
}

/// Spaces where words are split.
fn split(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|c| match c {
            '‘' | '’' | '`' => '\'',
            '“' | '”' => '"',
            c => c,
        })
        .collect();
    let text = text.replace("''", "\"").replace("--", "-");
    let mut spaced = String::from(" ");
    for c in text.chars() {
        match c {
            ' ' | '.' | '\'' | ',' | '-' => spaced.push(c),
            '–' => spaced.push_str(" - "),
            c if is_word(c) => spaced.push(c),
            c => spaced.extend([' ', c, ' ']),
        }
    }
    spaced.push(' ');
    let mut chars: Vec<char> = dots_apart(&spaced).chars().collect();
    for rule in RULES {
        chars = rule.apply(&chars);
    }
    chars.into_iter().collect()
}

/// Two full stops and more are a word of their own.
fn dots_apart(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("..") {
        let (before, dots) = rest.split_at(at);
        let after = dots.trim_start_matches('.');
        out.push_str(before);
        out.push(' ');
        out.push_str(&dots[..dots.len() - after.len()]);
        out.push(' ');
        rest = after;
    }
    out + rest
}

/// What becomes of a mark between two characters. A character that ended one match does not begin the next, so that
/// `a-b-c` becomes `a b-c`.
struct Rule {
    before: fn(char) -> bool,
    mark: char,
    after: fn(char) -> bool,
    becomes: &'static str,
}

const fn rule(
    before: fn(char) -> bool,
    mark: char,
    after: fn(char) -> bool,
    becomes: &'static str,
) -> Rule {
    Rule {
        before,
        mark,
        after,
        becomes,
    }
}

/// In their order, one after the other over the whole text.
const RULES: [Rule; 9] = [
    rule(|c| !is_digit(c), ',', |c| !is_digit(c), " , "),
    rule(is_digit, ',', |c| !is_digit(c), " , "),
    rule(|c| !is_digit(c), ',', is_digit, " , "),
    rule(|c| !is_letter(c), '\'', |c| !is_letter(c), " ' "),
    rule(|c| !is_word(c), '\'', is_letter, " ' "),
    rule(is_letter, '\'', |c| !is_letter(c), " ' "),
    rule(is_letter, '\'', is_letter, " '"),
    rule(is_digit, '\'', |c| c == 's', " '"),
    rule(|c| is_word(c) || c == '.', '-', is_word, " "),
];

impl Rule {
    fn apply(&self, text: &[char]) -> Vec<char> {
        let mut out = Vec::with_capacity(text.len());
        let mut free = 0;
        for (at, &c) in text.iter().enumerate() {
            let around =
                |before: &char, after: &char| (self.before)(*before) && (self.after)(*after);
            let matches = c == self.mark
                && at > free
                && text
                    .get(at - 1)
                    .zip(text.get(at + 1))
                    .is_some_and(|(before, after)| around(before, after));
            if matches {
                out.extend(self.becomes.chars());
                // The character after the mark is used up.
                free = at + 2;
            } else {
                out.push(c);
            }
        }
        out
    }
}

/// Splits the full stop from a word that does not keep it, and takes those of `u.s.` away.
fn full_stops(pieces: &[&str]) -> Vec<String> {
    let mut out = Vec::with_capacity(pieces.len() + 1);
    for (at, piece) in pieces.iter().enumerate() {
        let next = pieces.get(at + 1).and_then(|next| next.chars().next());
        match piece.strip_suffix('.') {
            Some(word) if word.contains('.') && word.contains(is_letter) => {
                out.push(word.replace('.', ""));
            }
            Some(word) if !word.is_empty() && !word.ends_with('.') && !keeps_stop(word, next) => {
                out.extend([word.to_owned(), ".".to_owned()]);
            }
            _ => out.push((*piece).to_owned()),
        }
    }
    out
}

fn keeps_stop(word: &str, next: Option<char>) -> bool {
    KEEP_STOP.contains(&word)
        || next.is_some_and(|next| {
            next.is_ascii_lowercase() || (word == KEEP_STOP_BEFORE_NUMBER && is_digit(next))
        })
}

fn is_digit(c: char) -> bool {
    c.is_ascii_digit()
}

/// Letters of the Latin and Cyrillic alphabets; others stand alone.
fn is_letter(c: char) -> bool {
    c.is_ascii_alphabetic()
        || matches!(c, 'À'..='Ö' | 'Ø'..='ö' | 'ø'..='ž' | '\u{400}'..='\u{527}' | '\u{1d00}'..='\u{1d7f}')
}

fn is_word(c: char) -> bool {
    is_letter(c) || is_digit(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule() {
        for (text, expected) in [
            ("a man 's dog", "a man ' s dog"),
            ("is n't o'clock", "is n 't o 'clock"),
            ("1's 90's '90s 1't a'1", "1 's 90 's ' 90s 1't a ' 1"),
            ("a'b'c'd 'n'", "a 'b'c 'd ' n '"),
            (
                "black-and-white five-year-old",
                "black and white five year old",
            ),
            ("tete-a-tete a--b - -lrb- -1", "tete a-tete a b - -lrb- -1"),
            (
                "1/2 and/or 4:00 5% $5 a_b",
                "1 / 2 and / or 4 : 00 5 % $ 5 a _ b",
            ),
            ("1,000.5 a,b ,5 1,2,x", "1,000.5 a , b , 5 1,2 , x"),
            (
                "u.s. e.g. ph.d. e.e.cummings 1.2. x",
                "us eg phd e.e.cummings 1.2. x",
            ),
            ("st. louis st.", "st. louis st ."),
            ("etc. 5 vs. 5 pp. 5 1.2.", "etc . 5 vs. 5 pp. 5 1.2 ."),
            ("u.s.-based st.-bruno", "us based st. bruno"),
            ("wait... x..y", "wait ... x .. y"),
            ("café 日本 😀", "café 日 本 😀"),
            ("‘a’ “b” a–b", "' a ' \" b \" a - b"),
            ("", ""),
        ] {
            let words: Vec<&str> = text.split(' ').collect();
            assert_eq!(normalize(&words).join(" "), expected, "{text}");
        }
    }
}
