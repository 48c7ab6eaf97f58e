//! Yes-or-no questions about what an image shows, as POPE's `evaluate.py` (Li et al. 2023) scores them.
//!
//! An answer is "no" if its first sentence, commas left out, has the word `No`, `no` or `not`; else it is "yes", whatever it
//! says. A label is "no" if it is that word, else "yes".

use crate::figure::{Figure, Sums, quotient};
use crate::{Case, EvalError};

/// What one answer counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    TruePositive,
    FalsePositive,
    TrueNegative,
    FalseNegative,
}

/// Refuses cases whose label is neither yes nor no.
pub(crate) fn check(cases: &[Case<'_>]) -> Result<(), EvalError> {
    for (index, case) in cases.iter().enumerate() {
        let label = case.references.first().map_or("", String::as_str);
        if !["yes", "no"].contains(&label.trim().to_lowercase().as_str()) {
            return Err(EvalError::NotYesOrNo {
                id: case.id.to_owned(),
                position: index + 1,
                reference: label.to_owned(),
            });
        }
    }
    Ok(())
}

/// Accuracy, precision, recall and F1 of "yes", and the share of "yes", of answers and their labels.
pub fn figures<'a>(answers: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<Figure> {
    let outcomes: Vec<Outcome> = answers
        .map(|(answer, label)| match (says_yes(answer), label != "no") {
            (true, true) => Outcome::TruePositive,
            (true, false) => Outcome::FalsePositive,
            (false, false) => Outcome::TrueNegative,
            (false, true) => Outcome::FalseNegative,
        })
        .collect();
    let sums = Sums::new(outcomes.iter().map(|outcome| {
        let mut terms = [0.0; 4];
        terms[*outcome as usize] = 1.0;
        terms
    }));
    let right = |outcome: &Outcome| {
        let right = matches!(outcome, Outcome::TruePositive | Outcome::TrueNegative);
        Some(f64::from(right))
    };
    let yes = |outcome: &Outcome| {
        let yes = matches!(outcome, Outcome::TruePositive | Outcome::FalsePositive);
        Some(f64::from(yes))
    };
    let right: Vec<_> = outcomes.iter().map(right).collect();
    let yes: Vec<_> = outcomes.iter().map(yes).collect();
    let none = vec![None; outcomes.len()];
    let figure = |name, samples: &Vec<Option<f64>>, of| {
        Figure::of_sums(name, samples.clone(), sums.clone(), of)
    };
    vec![
        figure("yes_no_accuracy", &right, |s| {
            quotient(s[0] + s[2], s.iter().sum())
        }),
        figure("yes_precision", &none, precision),
        figure("yes_recall", &none, recall),
        figure("yes_f1", &none, |s| {
            let (precision, recall) = (precision(s), recall(s));
            quotient(2.0 * precision * recall, precision + recall)
        }),
        figure("yes_share", &yes, |s| quotient(s[0] + s[1], s.iter().sum())),
    ]
}

fn precision(sums: &[f64]) -> f64 {
    quotient(sums[0], sums[0] + sums[1])
}

fn recall(sums: &[f64]) -> f64 {
    quotient(sums[0], sums[0] + sums[3])
}

fn says_yes(answer: &str) -> bool {
    let sentence = answer.split('.').next().unwrap_or_default();
    let sentence = sentence.replace(',', "");
    let mut words = sentence.split(' ');
    !words.any(|word| matches!(word, "No" | "no" | "not"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_is_one_of_three_words_of_the_first_sentence() {
        for no in [
            "No",
            "no, there is none",
            "There is not.",
            "it is no dog. Yes",
        ] {
            assert!(!says_yes(no), "{no}");
        }
        for yes in ["Yes", "yes. No", "NO", "none", "", "nothing"] {
            assert!(says_yes(yes), "{yes}");
        }
    }

    #[test]
    fn figures_are_those_of_the_four_counts() {
        let pairs = [
            ("yes", "yes"),
            ("yes", "yes"),
            ("yes", "no"),
            ("no", "no"),
            ("no", "yes"),
        ];
        let totals: Vec<f64> = figures(pairs.into_iter())
            .iter()
            .map(Figure::total)
            .collect();
        let two_thirds = 2.0 / 3.0;
        for (found, expected) in totals
            .iter()
            .zip([0.6, two_thirds, two_thirds, two_thirds, 0.6])
        {
            assert!((found - expected).abs() < 1e-12, "{totals:?}");
        }
        let none = figures([("no", "no")].into_iter());
        assert_eq!(none[3].total(), 0.0, "no positives, no F1");
    }
}
