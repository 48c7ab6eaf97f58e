//! Caption and answer metrics: text in, numbers out.
//!
//! [`measure`] gives the figures of [`Metric`]s over a list of cases: each over the list and, where it speaks of them, a
//! sample at a time. What the field has a tool for is computed as the tool does: captions as `pycocoevalcap` with its
//! tokenizer (METEOR without its paraphrases), answers of the VQA challenge as its evaluator. [`resample`] says how sure a
//! figure is, and whether two systems differ. Scores are finite whatever the text: a candidate without words scores 0.
//!
//! ```
//! use fourfold_eval::{Case, Metric, measure};
//!
//! let (cat, dogs) = (["A grey cat sleeps.".to_owned()], ["two dogs run on grass".to_owned()]);
//! let cases = [
//!     Case { id: "a", candidate: "a grey cat sleeps", references: &cat },
//!     Case { id: "b", candidate: "a dog", references: &dogs },
//! ];
//! let figures = measure(&cases, &[Metric::ExactMatch, Metric::CiderD])?;
//! assert_eq!((figures[0].name, figures[0].total()), ("exact_match", 0.5));
//! assert!(figures[1].samples[0] > figures[1].samples[1]);
//! # Ok::<(), fourfold_eval::EvalError>(())
//! ```

use std::collections::HashMap;

use rayon::prelude::*;

mod abbreviations;

pub mod answers;
pub mod bleu;
pub mod cider;
pub mod closed;
pub mod error;
pub mod figure;
pub mod meteor;
pub mod metric;
pub mod ngrams;
pub mod overlap;
pub mod relaxed;
pub mod resample;
pub mod rouge;
pub mod tokenize;
pub mod vqa;
pub mod yes_no;

pub use error::EvalError;
pub use figure::Figure;
pub use meteor::{Meteor, WordNet};
pub use metric::{Metric, TITLES};
pub use resample::{Difference, Interval};

/// A generated text and what it is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case<'a> {
    /// Name of the sample, once in a list.
    pub id: &'a str,
    /// The generated caption or answer.
    pub candidate: &'a str,
    /// What people said; at least one text is not blank.
    pub references: &'a [String],
}

/// The figures of `metrics` over `cases`, in the order of [`Metric::ALL`].
///
/// CIDEr takes its document frequencies from the references of this very list. [`Metric::YesNo`] and
/// [`Metric::OpenClosed`] compare with the first reference.
///
/// # Errors
/// An empty list, an id that comes twice, a case without a reference that has text, or, where yes and no are counted, with
/// one that is neither.
pub fn measure(cases: &[Case<'_>], metrics: &[Metric]) -> Result<Vec<Figure>, EvalError> {
    measure_with(cases, metrics, &Meteor::default())
}

/// The same with a METEOR that may know synonyms.
///
/// # Errors
/// As [`measure`].
pub fn measure_with(
    cases: &[Case<'_>],
    metrics: &[Metric],
    meteor: &Meteor,
) -> Result<Vec<Figure>, EvalError> {
    check(cases)?;
    if metrics.contains(&Metric::YesNo) {
        yes_no::check(cases)?;
    }
    let numbered = match metrics.iter().any(|metric| metric.reads_captions()) {
        true => ngrams::numbered(cases),
        false => Vec::new(),
    };
    let each = |name, score: fn(&Case<'_>) -> f64| {
        Figure::mean(name, cases.par_iter().map(score).collect())
    };
    let first = || {
        cases.iter().map(|case| {
            let first = case.references.first().map_or("", String::as_str);
            (case.candidate, first)
        })
    };
    let variants = [
        (Metric::CiderD, cider::Variant::D),
        (Metric::Cider, cider::Variant::Plain),
    ];
    let variants = variants
        .into_iter()
        .filter(|(metric, _)| metrics.contains(metric));
    let variants: Vec<cider::Variant> = variants.map(|(_, variant)| variant).collect();
    let mut figures = Vec::new();
    for metric in Metric::ALL {
        if !metrics.contains(&metric) {
            continue;
        }
        match metric {
            Metric::ExactMatch | Metric::Accuracy => figures.push(each(metric.name(), |case| {
                f64::from(answers::matches(case.candidate, case.references))
            })),
            Metric::VqaAccuracy => figures.push(each(metric.name(), |case| {
                vqa::accuracy(case.candidate, case.references)
            })),
            Metric::RelaxedAccuracy => figures.push(each(metric.name(), |case| {
                let mut references = case.references.iter();
                f64::from(references.any(|reference| relaxed::matches(case.candidate, reference)))
            })),
            Metric::YesNo => figures.extend(yes_no::figures(first())),
            Metric::OpenClosed => figures.extend(closed::figures(first())),
            Metric::TokenF1 => figures.extend(overlap::figures(cases)),
            // Both weigh words alike, and are computed together.
            Metric::Cider if metrics.contains(&Metric::CiderD) => {}
            Metric::CiderD | Metric::Cider => {
                figures.extend(cider::figures(&numbered, &variants));
            }
            Metric::Bleu => figures.extend(bleu::figures(&numbered)),
            Metric::RougeL => figures.push(rouge::figure(&numbered)),
            Metric::Meteor => figures.push(meteor.figure(cases)),
        }
    }
    Ok(figures)
}

/// Refuses lists that have no score.
fn check(cases: &[Case<'_>]) -> Result<(), EvalError> {
    let mut positions = HashMap::new();
    for (index, case) in cases.iter().enumerate() {
        let position = index + 1;
        if let Some(first) = positions.insert(case.id, position) {
            return Err(EvalError::DuplicateId {
                id: case.id.to_owned(),
                first,
                second: position,
            });
        }
        if case.references.iter().all(|text| text.trim().is_empty()) {
            return Err(EvalError::NoReferences {
                id: case.id.to_owned(),
                position,
            });
        }
    }
    match cases {
        [] => Err(EvalError::Empty),
        _ => Ok(()),
    }
}
