//! VQA accuracy (Antol et al. 2015): an answer is right as far as the people asked gave it, three of them make it whole.
//!
//! As the evaluator of the VQA challenge does it, in the form that BLIP and LXMERT carry (`vqa_eval.py` of
//! `salesforce-lavis` 1.0.2, which the tests are held to): the answer is normalised, [`normalize`]; what people said only
//! where they did not all say the same, and of it only the marks, [`without_marks`], since published answers are in lower
//! case already. A later form of the evaluator leaves the answer as it is too where all people agree, and drops their
//! articles where they do not; scores differ by a few hundredths of a point.

mod contractions;

use contractions::CONTRACTIONS;

/// Number words and their digits.
const NUMBERS: [(&str, &str); 12] = [
    ("none", "0"),
    ("zero", "0"),
    ("one", "1"),
    ("two", "2"),
    ("three", "3"),
    ("four", "4"),
    ("five", "5"),
    ("six", "6"),
    ("seven", "7"),
    ("eight", "8"),
    ("nine", "9"),
    ("ten", "10"),
];

const ARTICLES: [&str; 3] = ["a", "an", "the"];

/// Marks that are dropped, in the order that the evaluator drops them.
const MARKS: [char; 21] = [
    ';', '/', '[', ']', '"', '{', '}', '(', ')', '=', '+', '\\', '_', '-', '>', '<', '@', '`', ',',
    '?', '!',
];

/// So many full stops are dropped and no more: the evaluator hands a flag where a count is meant.
const MOST_STOPS: usize = 32;

/// The accuracy of `answer` among what `people` said to the question, in `0..=1`: of each of them, whether at least three of
/// the others said the same, in thirds, on average. One person alone confirms nothing, and the accuracy is 0.
pub fn accuracy<S: AsRef<str>>(answer: &str, people: &[S]) -> f64 {
    let answer = normalize(&one_line(answer));
    let agree = people
        .windows(2)
        .all(|pair| pair[0].as_ref() == pair[1].as_ref());
    let same = |said: &S| match agree {
        true => said.as_ref() == answer,
        false => without_marks(said.as_ref()) == answer,
    };
    let same: Vec<bool> = people.iter().map(same).collect();
    let all = same.iter().filter(|same| **same).count();
    let sum: f64 = same
        .iter()
        .map(|same| (all - usize::from(*same)) as f64 / 3.0)
        .map(|part| part.min(1.0))
        .sum();
    sum / people.len().max(1) as f64
}

/// An answer as it is compared: without marks, in lower case, number words as digits, articles dropped, contractions with
/// their apostrophe, single spaces.
pub fn normalize(text: &str) -> String {
    let text = without_marks(text).to_lowercase();
    let words = text.split(is_space).filter(|word| !word.is_empty());
    let words = words.map(|word| {
        let number = NUMBERS.iter().find(|(name, _)| *name == word);
        number.map_or(word, |(_, digits)| digits)
    });
    let words = words.filter(|word| !ARTICLES.contains(word)).map(|word| {
        let whole = CONTRACTIONS.binary_search_by_key(&word, |(short, _)| short);
        whole.map_or(word, |at| CONTRACTIONS[at].1)
    });
    words.collect::<Vec<_>>().join(" ")
}

/// A text without its marks: one that stands beside a space anywhere in the text, and every one in a text with a comma
/// between digits, is dropped; another becomes a space. Full stops go where no digit follows.
pub fn without_marks(text: &str) -> String {
    let mut out = text.to_owned();
    let grouped = has_grouped_digits(text);
    for mark in MARKS {
        let beside_space = text.contains(&format!("{mark} ")) || text.contains(&format!(" {mark}"));
        out = match grouped || beside_space {
            true => out.replace(mark, ""),
            false => out.replace(mark, " "),
        };
    }
    let mut stops = 0;
    let mut rest = out.chars().peekable();
    let mut kept = String::with_capacity(out.len());
    while let Some(c) = rest.next() {
        let dropped =
            c == '.' && !rest.peek().is_some_and(char::is_ascii_digit) && stops < MOST_STOPS;
        stops += usize::from(dropped);
        if !dropped {
            kept.push(c);
        }
    }
    kept
}

/// Whether a comma stands between two digits: `1,000`.
fn has_grouped_digits(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes
        .windows(3)
        .any(|three| three[0].is_ascii_digit() && three[1] == b',' && three[2].is_ascii_digit())
}

/// Line ends and tabs as spaces, none at the ends.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\t'], " ")
        .trim_matches(is_space)
        .to_owned()
}

/// White space as Python has it, which counts the separators of ASCII too.
fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contractions_are_in_order() {
        assert!(CONTRACTIONS.is_sorted_by_key(|(short, _)| short));
    }

    #[test]
    fn three_others_make_an_answer_whole() {
        let people = |yes: usize| -> Vec<&str> {
            (0..10)
                .map(|n| if n < yes { "yes" } else { "no" })
                .collect()
        };
        assert_eq!(accuracy("Yes.", &people(10)), 1.0);
        assert_eq!(accuracy("yes", &people(4)), 1.0);
        // Of the three who said it, each finds two others; of the seven, each finds three.
        assert!((accuracy("yes", &people(3)) - 0.9).abs() < 1e-12);
        assert!((accuracy("yes", &people(1)) - 0.3).abs() < 1e-12);
        assert_eq!(accuracy("maybe", &people(3)), 0.0);
        assert_eq!(accuracy("yes", &["yes"]), 0.0);
        assert_eq!(accuracy::<&str>("yes", &[]), 0.0);
    }

    #[test]
    fn each_rule_of_writing() {
        for (text, expected) in [
            ("The two dogs", "2 dogs"),
            ("dont know", "don't know"),
            ("None", "0"),
            ("left/right", "left right"),
            ("left /right", "left right"),
            ("1,000", "1000"),
            ("3.5", "3.5"),
            ("p.m.", "pm"),
            ("t-shirt", "t shirt"),
            ("a", ""),
        ] {
            assert_eq!(normalize(text), expected, "{text}");
        }
    }
}
