//! Exact match and answer accuracy: is the text the expected one, small differences in writing
//! aside?

/// Marks that may end an answer without changing it.
const FINAL_MARKS: &[char] = &['.', '!', '?', ',', ';', ':', '…', '。', '！', '？'];

/// The form in which answers are compared: lower case, white space trimmed and collapsed, final
/// punctuation stripped. Text of nothing but final punctuation stays, or `?` would equal `!`.
pub fn normalize(text: &str) -> String {
    let text = text
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .to_lowercase();
    match text.trim_end_matches(|c: char| FINAL_MARKS.contains(&c) || c == ' ') {
        "" => text,
        stripped => stripped.to_owned(),
    }
}

/// Whether `candidate` is one of `accepted` once both are normalised. A blank candidate never is.
pub fn matches<S: AsRef<str>>(candidate: &str, accepted: &[S]) -> bool {
    let candidate = normalize(candidate);
    !candidate.is_empty()
        && accepted
            .iter()
            .any(|text| normalize(text.as_ref()) == candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_does_not_matter_and_words_do() {
        assert!(matches("  Grinning   FACE. ", &["grinning face"]));
        assert!(matches("Ärger!", &["joy", "ärger"]));
        assert!(matches("yes . ", &["Yes"]));
        assert!(!matches("grinning", &["grinning face"]));
        assert!(!matches("50", &["50 %"]));
        assert!(!matches("-5", &["5"]));
    }

    #[test]
    fn blank_matches_nothing_and_marks_match_themselves() {
        assert!(!matches("", &[""]));
        assert!(!matches(" \n", &[" "]));
        assert!(matches("?", &["?"]));
        assert!(!matches("?", &["!"]));
        assert!(!matches::<&str>("yes", &[]));
    }
}
