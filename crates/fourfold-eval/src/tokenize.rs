//! Caption tokenisation in the way of `pycocoevalcap`'s `PTBTokenizer`.
//!
//! Penn Treebank splitting, lower case, then its punctuation list removed. The reference is a
//! generated Java lexer; this scanner was written from what it gives for plain sentences. Two of its
//! habits look odd and are kept on purpose, because published scores have them: brackets stay as the
//! words `-lrb-` and `-rrb-` (the punctuation list has them in capitals, the text is already in
//! lower case), and `!!` or `?!` stay as a word (the list has single marks).
//!
//! Of 128,000 sentences (the captions of aac-metrics' examples, WordNet's glosses and examples, descriptions of emoji) 16
//! come out otherwise (`bench/results/eval.md` lists them), half of them since the reference reads all captions as one
//! text: there the last full stop of a caption may hang on the first word of the next, here it does not. Known to differ
//! beside: `2 1/2`, one word with a no-break space in it there, of which BLEU and CIDEr make two; `is...light-handed`, one
//! word there; a full stop followed by a colon; curly apostrophes in words that are no contraction; and single-character
//! fractions other than ¼ ½ ¾ ⅓ ⅔. `tests/fixtures/tokens.json` has what is the same.

mod whole;

use crate::abbreviations::keeps_full_stop;

/// Endings that are split from their word.
const SUFFIXES: &[&str] = &["s", "m", "d", "re", "ve", "ll"];

/// Words that the treebank writes as two, with the place of the cut.
const SPLIT_WORDS: &[(&str, usize)] = &[
    ("cannot", 3),
    ("gonna", 3),
    ("gotta", 3),
    ("wanna", 3),
    ("lemme", 3),
    ("gimme", 3),
];

/// Splits a caption into the words that the caption metrics count.
///
/// Never fails; text without a word gives an empty list. No returned token is empty or has white
/// space in it.
pub fn tokenize(text: &str) -> Vec<String> {
    let mut scanner = Scanner {
        chars: text.chars().collect(),
        at: 0,
        tokens: Vec::new(),
    };
    while scanner.at < scanner.chars.len() {
        scanner.step();
    }
    scanner.tokens
}

struct Scanner {
    chars: Vec<char>,
    at: usize,
    tokens: Vec<String>,
}

impl Scanner {
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

    fn push(&mut self, token: &str) {
        self.tokens.push(token.to_lowercase());
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
                self.push(&self.slice(self.at, end));
                self.at = end;
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
            '*' | '<' | '>' if next == c => {
                self.push(&self.slice(self.at, self.at + 2));
                self.at += 2;
            }
            '#' | '@' if next.is_alphabetic() => {
                let end = self.run(self.at + 1, |c| is_word(c) || c == '_');
                self.push(&self.slice(self.at, end));
                self.at = end;
            }
            '_' => {
                let end = self.run(self.at, |c| c == '_');
                self.push(&self.slice(self.at, end));
                self.at = end;
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

    /// End of the digits from `start`, with the marks that numbers have inside.
    fn number_end(&self, start: usize) -> usize {
        let mut end = self.run(start, |c| c.is_ascii_digit());
        while matches!(self.get(end), '.' | ',' | ':') && self.get(end + 1).is_ascii_digit() {
            end = self.run(end + 1, |c| c.is_ascii_digit());
        }
        end
    }

    /// Reads a word with its ending, splitting contractions.
    fn word(&mut self) {
        let start = self.at;
        let end = self.word_end(start);
        let word = self.slice(start, end);
        self.at = end;
        if is_apostrophe(self.get(end)) {
            let letters = self.run(end + 1, is_word);
            let tail = self.slice(end + 1, letters).to_lowercase();
            let negated = tail == "t" && matches!(self.get(end - 1), 'n' | 'N');
            if negated {
                if end - 1 > start {
                    self.push(&self.slice(start, end - 1));
                }
                self.push("n't");
                self.at = letters;
            } else if (matches!(tail.as_str(), "all" | "know") && word.eq_ignore_ascii_case("y"))
                || self.keeps_apostrophe(&word, &tail)
            {
                self.push(&(word + "'"));
                self.at = end + 1;
            } else {
                self.push(&word);
            }
            while self.suffix() {}
            return;
        }
        let lower = word.to_lowercase();
        if let Some(&(whole, cut)) = SPLIT_WORDS.iter().find(|(whole, _)| *whole == lower) {
            self.push(&whole[..cut]);
            self.push(&whole[cut..]);
            return;
        }
        if self.get(end) == '.' {
            let start = self.run(end + 1, char::is_whitespace);
            // What follows without a space is no next word, but it may be a number: "No.5".
            let stop = match start > end + 1 || self.get(start).is_ascii_digit() {
                true => self.run(start, is_word),
                false => start,
            };
            let last = word.rsplit('-').next().unwrap_or(&word);
            let initial = last.chars().count() == 1 && last.len() < word.len();
            // "U.S.-based", "No.-5": the word goes on, and nothing is asked of its end.
            if !initial
                && self.get(end + 1) == '-'
                && is_word(self.get(end + 2))
                && keeps_full_stop(last, "5")
            {
                self.at = self.word_end(end + 2);
                self.push(&(word + "." + &self.slice(end + 1, self.at)));
                while self.suffix() {}
                return;
            }
            if !initial && keeps_full_stop(last, &self.slice(start, stop)) {
                self.push(&(word + "."));
                self.at = end + 1;
                return;
            }
        }
        self.push(&word);
    }

    /// Whether the apostrophe after `word`, before `tail`, is its own: of `l'`, `d'` and `j'`, `ol'`, `somethin'`, `dunkin'`.
    fn keeps_apostrophe(&self, word: &str, tail: &str) -> bool {
        let alone = SUFFIXES.contains(&tail);
        match word.to_lowercase().as_str() {
            "l" | "d" | "j" => !alone && self.get(self.at) == '\'',
            "ol" | "somethin" | "dunkin" => tail.is_empty(),
            _ => false,
        }
    }

    /// Reads `'s`, `'re` and their like where the scanner stands; false when there is none.
    fn suffix(&mut self) -> bool {
        if !is_apostrophe(self.get(self.at)) {
            return false;
        }
        let end = self.run(self.at + 1, is_word);
        let tail = self.slice(self.at + 1, end).to_lowercase();
        if !SUFFIXES.contains(&tail.as_str()) {
            return false;
        }
        self.push(&format!("'{tail}"));
        self.at = end;
        true
    }

    /// An apostrophe that no word precedes: a shortened word, or a quotation mark to drop.
    fn leading_apostrophe(&mut self) {
        let end = self.run(self.at + 1, is_word);
        let tail = self.slice(self.at + 1, end).to_lowercase();
        match tail.as_str() {
            "tis" | "twas" => {
                self.push("'t");
                self.push(&tail[1..]);
                self.at = end;
            }
            "em" | "til" | "till" => {
                self.push(&format!("'{tail}"));
                self.at = end;
            }
            "n" if is_apostrophe(self.get(end)) => {
                self.push("'n'");
                self.at = end + 1;
            }
            year if is_year(year, self.get(end)) && !is_word(self.before()) => {
                self.push(&format!("'{tail}"));
                self.at = end;
            }
            _ if self.suffix() => {}
            _ => self.at += 1,
        }
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
        let mut dotted = false;
        loop {
            let end = self.run(part, is_word);
            match self.get(end) {
                '/' => slashes += 1,
                '-' => hyphens += 1,
                '_' if dotted => return end,
                '.' => dotted = true,
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
        let is = |text: &str| part.iter().collect::<String>().eq_ignore_ascii_case(text);
        match self.get(end) {
            '-' | '‐' | '/' | '_' | '@' => is_word(next),
            ',' | ':' => number,
            '.' if number => true,
            '.' | '?' | '!' => {
                part.last().is_some_and(|c| c.is_alphabetic())
                    && next.is_alphabetic()
                    && (!hyphenated || part.len() == 1)
            }
            '&' => {
                let capitals = |part: &[char]| part.iter().all(|c| c.is_uppercase());
                !after.is_empty() && capitals(part) && capitals(after)
            }
            // "o'clock", "d'Artagnan", "l'eau", "cap'n", "c'mon".
            c if is_apostrophe(c) => {
                (after.len() > 1 && (is("o") || is("d") || is("l")))
                    || (is("cap") && after == ['n'])
                    || (is("c") && after == ['m', 'o', 'n'])
                    || (!hyphenated && !is("y") && joins_syllables(part, after))
            }
            _ => false,
        }
    }
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

/// Letters, digits and the accents that may follow a letter as characters of their own.
fn is_word(c: char) -> bool {
    (c.is_alphanumeric() || matches!(c, '\u{300}'..='\u{36f}'))
        && c <= '\u{ffff}'
        && !is_fraction(c)
        && !matches!(c, '¹' | '²' | '³')
}

fn is_fraction(c: char) -> bool {
    matches!(c, '¼' | '½' | '¾' | '⅓' | '⅔')
}

fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '’' | '‘')
}

/// A year in two digits before a space ("'87 "), or a decade ("'90s").
fn is_year(word: &str, after: char) -> bool {
    match word.as_bytes() {
        [tens, ones] => tens.is_ascii_digit() && ones.is_ascii_digit() && after.is_whitespace(),
        [tens, b'0', b's'] => tens.is_ascii_digit(),
        _ => false,
    }
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
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ad}')
        || matches!(c, '.' | ',' | ':' | ';' | '-' | '–' | '—' | '…' | '‐')
        || matches!(c, '"' | '`' | '“' | '”' | '«' | '»' | '‹' | '›')
}
