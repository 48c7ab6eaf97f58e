//! Words whose final full stop belongs to the word.
//!
//! Observed one by one on the reference tokenizer (Stanford CoreNLP 3.4.1), in the middle and at
//! the end of a sentence; sorted, because they are searched by bisection.

/// Keep their full stop everywhere, in either case.
const ALWAYS: &[&str] = &[
    "adj", "adm", "adv", "al", "ala", "alex", "apr", "ariz", "assn", "assoc", "asst", "atty",
    "aug", "ave", "bancorp", "bhd", "bldg", "blvd", "brig", "bros", "calif", "capt", "cf", "cie",
    "cmdr", "co", "col", "colo", "comdr", "conn", "corp", "cos", "cpl", "ct", "dak", "dec", "dept",
    "det", "dr", "drs", "elec", "ens", "esq", "est", "etc", "ext", "feb", "fla", "fri", "ft", "ga",
    "gen", "gov", "hon", "inc", "ind", "intl", "jan", "jos", "jr", "jul", "jun", "kan", "ky",
    "lieut", "lt", "ltd", "maj", "mar", "md", "messrs", "mfg", "mich", "minn", "mme", "mo", "mon",
    "mont", "mr", "mrs", "ms", "msgr", "mt", "mtg", "natl", "neb", "nev", "nov", "oct", "okla",
    "p", "penn", "pfc", "ph", "ph.d", "plc", "pres", "prof", "profs", "pte", "pty", "pvt", "rd",
    "rep", "rev", "rt", "sen", "sep", "sept", "seq", "sfc", "sgt", "spc", "sq", "sr", "st", "ste",
    "supt", "sys", "tel", "tenn", "thu", "thurs", "treas", "tue", "tues", "univ", "v", "va", "vs",
    "vt", "wed", "wis", "wm", "wyo",
];

/// Keep it only when capitalised: in lower case these are words of their own.
const CAPITALIZED: &[&str] = &[
    "ark", "az", "del", "ill", "la", "mass", "miss", "ore", "pa", "tex", "wash",
];

/// Keep it only before a number ("no. 5").
const BEFORE_NUMBER: &[&str] = &["art", "ca", "fig", "figs", "no", "nos", "op", "pp"];

/// A single letter before one of these ends a sentence, so its full stop goes.
const STARTERS: &[&str] = &[
    "A",
    "About",
    "According",
    "Additionally",
    "After",
    "An",
    "As",
    "At",
    "But",
    "He",
    "Her",
    "Here",
    "However",
    "If",
    "In",
    "It",
    "Last",
    "Many",
    "More",
    "Now",
    "Once",
    "One",
    "Other",
    "Our",
    "She",
    "Since",
    "So",
    "Some",
    "Such",
    "That",
    "The",
    "Their",
    "Then",
    "There",
    "These",
    "They",
    "This",
    "We",
    "What",
    "When",
    "While",
    "Yet",
    "You",
];

/// Whether the full stop after `word` is part of it, given the text behind the full stop.
pub(crate) fn keeps_full_stop(word: &str, behind: impl Iterator<Item = char> + Clone) -> bool {
    let lower = word.to_lowercase();
    let listed = |list: &[&str]| list.binary_search(&lower.as_str()).is_ok();
    if word.chars().nth(1).is_none() && word.starts_with(char::is_alphabetic) {
        return !starts_a_sentence(behind);
    }
    is_initials(word)
        || listed(ALWAYS)
        || (word.starts_with(char::is_uppercase) && listed(CAPITALIZED))
        || (listed(BEFORE_NUMBER) && begins_with_number(behind))
}

/// Whether a word that begins a sentence comes next, and then a space.
fn starts_a_sentence(text: impl Iterator<Item = char>) -> bool {
    let mut text = text.peekable();
    if !text.peek().is_none_or(|c| c.is_whitespace()) {
        return false;
    }
    let word = text.skip_while(|c| c.is_whitespace());
    let word: String = word.take_while(|c| !c.is_whitespace()).collect();
    STARTERS.binary_search(&word.as_str()).is_ok()
}

/// Whether a digit comes next, or a space and then a digit.
fn begins_with_number(mut text: impl Iterator<Item = char>) -> bool {
    match text.next() {
        Some(c) if c.is_whitespace() => text.next().is_some_and(|c| c.is_ascii_digit()),
        c => c.is_some_and(|c| c.is_ascii_digit()),
    }
}

/// Single letters, alone or joined by full stops: "b", "u.s", "a.k.a".
pub(crate) fn is_initials(word: &str) -> bool {
    word.split('.').all(|part| {
        let mut chars = part.chars();
        chars.next().is_some_and(char::is_alphabetic) && chars.next().is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted_for_the_bisection() {
        for list in [ALWAYS, CAPITALIZED, BEFORE_NUMBER, STARTERS] {
            assert!(list.is_sorted());
        }
    }

    #[test]
    fn full_stops_stay_with_abbreviations_only() {
        let keeps = |word, behind: &str| keeps_full_stop(word, behind.chars());
        assert!(keeps("Mr", " Cat"));
        assert!(keeps("U.S", " The"));
        assert!(keeps("Wash", ""));
        assert!(!keeps("wash", ""));
        assert!(!keeps("cat", " 5"));
    }

    #[test]
    fn some_full_stops_depend_on_what_comes_next() {
        let keeps = |word, behind: &str| keeps_full_stop(word, behind.chars());
        assert!(keeps("no", " 5"));
        assert!(keeps("No", "5"));
        assert!(!keeps("no", "  5"));
        assert!(!keeps("no", " sir"));
        assert!(keeps("B", " next"));
        assert!(keeps("B", ""));
        assert!(!keeps("B", " \nThe end"));
        assert!(keeps("B", " The-end"));
        assert!(keeps("B", "The end"));
    }
}
