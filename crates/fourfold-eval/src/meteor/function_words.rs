//! Words that carry grammar rather than content, which count less.

/// Words of a relative frequency above one in a thousand, the rule of Denkowski and Lavie: in English as the package
/// `wordfreq` 3 has it, as far as the reference program, asked for each word alone, says that it takes it so. Its text was
/// news, where `my`, `like` or `then` are rarer, and `last`, `year` and `years`, which are here too, more frequent.
const WORDS: [&str; 73] = [
    "a", "about", "after", "all", "also", "an", "and", "are", "as", "at", "be", "been", "but",
    "by", "can", "could", "first", "for", "from", "had", "has", "have", "he", "her", "his", "i",
    "if", "in", "into", "is", "it", "its", "last", "more", "new", "no", "not", "of", "on", "one",
    "or", "other", "out", "over", "people", "said", "she", "so", "some", "than", "that", "the",
    "their", "there", "they", "this", "time", "to", "two", "up", "was", "we", "were", "what",
    "when", "which", "who", "will", "with", "would", "year", "years", "you",
];

/// Marks of the same frequency in news, and what `-norm` leaves of `'s` and `n't`.
const MARKS: [&str; 15] = [
    "\"", "$", "'", "'s", "'t", "(", ")", ",", "-", "-lrb-", "-rrb-", ".", ":", "?", "s",
];

/// Whether a word is one of them.
pub(super) fn contains(word: &str) -> bool {
    WORDS.binary_search(&word).is_ok() || MARKS.binary_search(&word).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_in_order() {
        assert!(WORDS.is_sorted() && MARKS.is_sorted());
        assert!(contains("the") && contains("'") && !contains("cat"));
    }
}
