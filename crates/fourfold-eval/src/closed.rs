//! Questions of which some are answered by yes or no and others are open, as those of PathVQA (He et al. 2020) and
//! VQA-RAD: the figures that papers give of each kind.
//!
//! A question is closed if its reference, normalised, is `yes` or `no`. Answers are compared once both are normalised
//! ([`crate::vqa::normalize`]): a closed one is right if it is the reference, and so no longer sentence that holds the word;
//! an open one likewise (exact match), and gets F1 and recall of words ([`crate::overlap`]) and BLEU-1 by itself, the mean
//! of which is given. There is no official evaluator; published scripts differ in what they strip and whether a closed
//! answer may hold more words.

use crate::figure::Figure;
use crate::overlap::overlap;
use crate::vqa::normalize;

/// The figures of answers, each with its reference; of a kind of question that does not occur there are none.
pub fn figures<'a>(answers: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<Figure> {
    let mut overall = Vec::new();
    let mut closed = Vec::new();
    let mut open: [Vec<Option<f64>>; 4] = Default::default();
    for (answer, reference) in answers {
        let (said, wanted) = (normalize(answer), normalize(reference));
        let right = f64::from(said == wanted && !said.is_empty());
        overall.push(right);
        let is_closed = matches!(wanted.as_str(), "yes" | "no");
        closed.push(is_closed.then_some(right));
        let common = overlap(answer, reference);
        let values = [right, common.f1, common.recall, bleu1(&said, &wanted)];
        for (column, value) in open.iter_mut().zip(values) {
            column.push((!is_closed).then_some(value));
        }
    }
    let [exact, f1, recall, bleu1] = open;
    let some = [
        ("closed_accuracy", closed),
        ("open_exact_match", exact),
        ("open_f1", f1),
        ("open_recall", recall),
        ("open_bleu1", bleu1),
    ];
    let mut figures = vec![Figure::mean("overall_accuracy", overall)];
    for (name, samples) in some {
        if samples.iter().any(Option::is_some) {
            figures.push(Figure::mean_of_some(name, samples));
        }
    }
    figures
}

/// BLEU-1 of one normalised answer: the share of its words that are in the reference, clipped, with the penalty on answers
/// that are shorter (Papineni et al. 2002).
fn bleu1(said: &str, wanted: &str) -> f64 {
    let words = |text: &str| text.split_whitespace().count() as f64;
    let (said_words, wanted_words) = (words(said), words(wanted));
    if said_words == 0.0 {
        return 0.0;
    }
    let brevity = (1.0 - wanted_words / said_words).min(0.0).exp();
    overlap(said, wanted).precision * brevity
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_figures() {
        let answers = [
            ("Yes.", "yes"),
            ("yes it is", "yes"),
            ("the liver", "liver"),
            ("red", "red blood cell"),
        ];
        let found = figures(answers.into_iter());
        let total = |name: &str| {
            let figure = found.iter().find(|figure| figure.name == name);
            figure.map(Figure::total)
        };
        assert_eq!(total("overall_accuracy"), Some(0.5));
        assert_eq!(total("closed_accuracy"), Some(0.5));
        assert_eq!(total("open_exact_match"), Some(0.5));
        assert_eq!(total("open_f1"), Some(0.75));
        assert_eq!(total("open_recall"), Some((1.0 + 1.0 / 3.0) / 2.0));
        let brief = (1.0f64 - 3.0).exp();
        assert!((total("open_bleu1").unwrap() - (1.0 + brief) / 2.0).abs() < 1e-12);
        let open = figures([("a b", "c")].into_iter());
        assert!(open.iter().all(|figure| figure.name != "closed_accuracy"));
    }
}
