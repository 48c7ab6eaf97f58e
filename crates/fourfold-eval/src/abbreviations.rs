//! Words whose final full stop belongs to the word.
//!
//! Observed one by one on the reference tokenizer (Stanford CoreNLP 3.4.1), in the middle and at
//! the end of a sentence; sorted, because they are searched by bisection.

/// Keep their full stop everywhere, in either case.
const ALWAYS: &[&str] = &[
    "adm", "al", "apr", "ariz", "assn", "atty", "aug", "ave", "bancorp", "bhd", "bldg", "blvd",
    "brig", "bros", "calif", "capt", "cf", "cmdr", "co", "col", "colo", "comdr", "conn", "corp",
    "cos", "cpl", "ct", "dec", "dept", "det", "dr", "drs", "elec", "esq", "est", "etc", "ext",
    "feb", "fla", "fri", "ft", "ga", "gen", "gov", "hon", "inc", "ind", "intl", "jan", "jr", "jul",
    "jun", "kan", "ky", "lieut", "lt", "ltd", "maj", "mar", "md", "messrs", "mfg", "mich", "minn",
    "mo", "mon", "mont", "mr", "mrs", "ms", "mt", "mtg", "natl", "neb", "nev", "nov", "oct",
    "okla", "p", "penn", "pfc", "ph", "ph.d", "plc", "pres", "prof", "profs", "pvt", "rd", "rep",
    "rev", "rt", "sen", "sep", "sept", "seq", "sgt", "sq", "sr", "st", "ste", "supt", "sys", "tel",
    "tenn", "thu", "thurs", "tue", "tues", "univ", "v", "va", "vs", "vt", "wed", "wis", "wyo",
];

/// Keep it only when capitalised: in lower case these are words of their own.
const CAPITALIZED: &[&str] = &[
    "ala", "ark", "del", "ill", "la", "mass", "miss", "ore", "pa", "tex", "wash",
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

/// Whether the full stop after `word` is part of it, given the word that follows (empty at the end
/// of the text).
pub(crate) fn keeps_full_stop(word: &str, next: &str) -> bool {
    if STARTERS.binary_search(&next).is_ok() && word.chars().nth(1).is_none() {
        return false;
    }
    let number_follows = next.starts_with(|c: char| c.is_ascii_digit());
    let lower = word.to_lowercase();
    let listed = |list: &[&str]| list.binary_search(&lower.as_str()).is_ok();
    is_acronym(word)
        || listed(ALWAYS)
        || (word.starts_with(char::is_uppercase) && listed(CAPITALIZED))
        || (number_follows && listed(BEFORE_NUMBER))
}

/// Single letters, alone or joined by full stops: "b", "u.s", "a.k.a".
fn is_acronym(word: &str) -> bool {
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
        assert!(keeps_full_stop("Mr", "Cat"));
        assert!(keeps_full_stop("U.S", "The"));
        assert!(keeps_full_stop("no", "5"));
        assert!(!keeps_full_stop("no", "sir"));
        assert!(keeps_full_stop("Wash", ""));
        assert!(!keeps_full_stop("wash", ""));
        assert!(!keeps_full_stop("cat", "5"));
        assert!(keeps_full_stop("B", "next"));
        assert!(!keeps_full_stop("B", "The"));
    }
}
