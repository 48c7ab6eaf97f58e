//! What holds of the scores whatever the captions, on captions from a seeded generator.

use fourfold_eval::{Case, EvalError, Figure, Metric, measure, tokenize::tokenize};

/// A linear congruential generator (Knuth's MMIX constants); the high bits are used.
struct Random(u64);

impl Random {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % count
    }

    fn words(&mut self, vocabulary: usize, least: usize, most: usize) -> String {
        let count = least + self.below(most - least + 1);
        let words: Vec<_> = (0..count)
            .map(|_| format!("w{}", self.below(vocabulary)))
            .collect();
        words.join(" ")
    }
}

/// A case that owns its texts.
#[derive(Clone, Debug)]
struct Texts {
    id: String,
    candidate: String,
    references: Vec<String>,
}

fn case(id: usize, candidate: &str, references: Vec<String>) -> Texts {
    Texts {
        id: id.to_string(),
        candidate: candidate.into(),
        references,
    }
}

fn borrowed(cases: &[Texts]) -> Vec<Case<'_>> {
    let cases = cases.iter().map(|case| Case {
        id: &case.id,
        candidate: &case.candidate,
        references: &case.references,
    });
    cases.collect()
}

/// The figures of captions: exact match, CIDEr-D, CIDEr, BLEU-1 to BLEU-4, ROUGE-L.
fn scores(cases: &[Texts]) -> Result<Vec<Figure>, EvalError> {
    let metrics = [
        Metric::ExactMatch,
        Metric::CiderD,
        Metric::Cider,
        Metric::Bleu,
        Metric::RougeL,
        Metric::Meteor,
    ];
    measure(&borrowed(cases), &metrics)
}

/// The largest value of a figure.
fn most(figure: &Figure) -> f64 {
    match figure.name {
        "cider" | "cider_d" => 10.0,
        _ => 1.0,
    }
}

/// Candidates near their references, in `count` cases.
fn corpus(random: &mut Random, count: usize) -> Vec<Texts> {
    (0..count)
        .map(|id| {
            let references: Vec<_> = (0..1 + random.below(4))
                .map(|_| random.words(40, 4, 12))
                .collect();
            let words: Vec<_> = references[0].split(' ').collect();
            let kept: Vec<_> = words
                .iter()
                .filter(|_| random.below(5) > 0)
                .copied()
                .collect();
            case(id, &kept.join(" "), references)
        })
        .collect()
}

#[test]
fn order_of_cases_and_references_does_not_matter() {
    let mut random = Random(1);
    for _ in 0..10 {
        let mut cases = corpus(&mut random, 30);
        let first = scores(&cases).unwrap();
        let ids: Vec<String> = cases.iter().map(|case| case.id.clone()).collect();
        cases.reverse();
        let middle = random.below(cases.len());
        cases.rotate_left(middle);
        cases.iter_mut().for_each(|case| case.references.reverse());
        let again = scores(&cases).unwrap();
        let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
        for (one, other) in first.iter().zip(&again) {
            assert!(close(one.total(), other.total()), "{}", one.name);
            for (case, sample) in cases.iter().zip(&other.samples) {
                let place = ids.iter().position(|id| *id == case.id).unwrap();
                assert!(close(one.samples[place].unwrap(), sample.unwrap()));
            }
        }
    }
}

#[test]
fn a_caption_equal_to_its_only_reference_has_the_highest_scores() {
    let mut random = Random(2);
    let cases: Vec<_> = (0..40)
        .map(|id| {
            let text = format!("only{id} {}", random.words(40, 4, 12));
            case(id, &text, vec![text.clone()])
        })
        .collect();
    for figure in scores(&cases).unwrap() {
        assert!(
            (figure.total() - most(&figure)).abs() < 1e-6,
            "{} {}",
            figure.name,
            figure.total()
        );
    }
}

#[test]
fn captions_of_other_images_score_lower() {
    let mut random = Random(3);
    let mut cases = corpus(&mut random, 60);
    let own = scores(&cases).unwrap();
    let first = cases[0].candidate.clone();
    for i in 1..cases.len() {
        cases[i - 1].candidate = cases[i].candidate.clone();
    }
    cases.last_mut().unwrap().candidate = first;
    let shuffled = scores(&cases).unwrap();
    for (own, shuffled) in own.iter().zip(&shuffled).skip(1) {
        assert!(shuffled.total() < own.total(), "{}", own.name);
    }
    assert!(shuffled[1].total() < own[1].total() / 5.0);
}

#[test]
fn candidates_without_words_score_zero() {
    let reference = vec!["a cat sits on a mat".to_owned()];
    for candidate in ["", "  \n", "...", "😀", "?"] {
        let cases = [
            case(0, candidate, reference.clone()),
            case(1, "a dog", vec!["dog".into()]),
        ];
        for figure in scores(&cases).unwrap() {
            assert_eq!(
                figure.samples[0],
                Some(0.0),
                "{candidate:?} {}",
                figure.name
            );
        }
    }
    for figure in scores(&[case(0, "", vec!["!".into()])]).unwrap() {
        assert_eq!(figure.total(), 0.0);
    }
}

/// Texts of the characters that the tokenizer has rules for, in every order.
#[test]
fn any_text_gives_words_without_spaces_and_finite_scores() {
    const PIECES: &[&str] = &[
        "a", "B", "n't", "n", "t", "'", "’", ".", ",", "-", "/", "&", "_", "@", "#", "5", "90s",
        "+", "!", "?", "(", "]", " ", "\n", "\u{a0}", "\u{200d}", "😀", "é", "e\u{301}", "日", "½",
        "…", "—", "*", "<", ">", "$", "%", ":", "ll", "all", "y", "o", "mr", "no", "cannot", "tis",
        "İ",
    ];
    let mut random = Random(4);
    for _ in 0..300 {
        let cases: Vec<_> = (0..6)
            .map(|id| {
                let mut text = || -> String {
                    (0..random.below(14))
                        .map(|_| PIECES[random.below(PIECES.len())])
                        .collect()
                };
                case(id, &text(), vec![text(), text() + "x"])
            })
            .collect();
        for text in cases.iter().flat_map(|case| &case.references) {
            for word in tokenize(text) {
                let space = |c: char| c.is_whitespace() && c != '\u{a0}';
                assert!(!word.is_empty() && !word.contains(space), "{text:?}");
            }
        }
        for figure in scores(&cases).unwrap() {
            let values = figure.samples.iter().copied().flatten();
            for value in values.chain([figure.total()]) {
                assert!((0.0..=most(&figure) + 1e-9).contains(&value), "{cases:?}");
            }
        }
    }
}

#[test]
fn answers_are_right_when_one_accepted_answer_is_given() {
    let accepted = vec!["yes".to_owned(), "true".to_owned()];
    let answers = [("Yes.", 1.0), ("no", 0.0), (" TRUE ", 1.0), ("", 0.0)];
    let cases: Vec<Texts> = answers
        .iter()
        .enumerate()
        .map(|(id, (text, _))| case(id, text, accepted.clone()))
        .collect();
    let figures = measure(&borrowed(&cases), &[Metric::Accuracy]).unwrap();
    assert_eq!(figures[0].total(), 0.5);
    for (sample, (_, right)) in figures[0].samples.iter().zip(answers) {
        assert_eq!(*sample, Some(right));
    }
}

#[test]
fn every_metric_gives_figures_that_have_titles() {
    let cases = [
        case(0, "yes", vec!["yes".into()]),
        case(1, "a red cell", vec!["red cells".into()]),
    ];
    let error = measure(&borrowed(&cases), &[Metric::YesNo]).unwrap_err();
    assert!(error.to_string().contains("red cells"), "{error}");
    for metric in Metric::ALL {
        let cases = match metric {
            Metric::YesNo => &cases[..1],
            _ => &cases[..],
        };
        let figures = measure(&borrowed(cases), &[metric]).unwrap();
        let names: Vec<&str> = figures.iter().map(|figure| figure.name).collect();
        let mut expected = metric.figures().to_vec();
        expected.retain(|name| *name != "meteor_wordnet");
        assert_eq!(names, expected);
        for figure in figures {
            let titles = fourfold_eval::TITLES;
            assert!(
                titles.iter().any(|title| title.0 == figure.name),
                "{}",
                figure.name
            );
            assert!(figure.total().is_finite());
        }
    }
}

#[test]
fn lists_that_cannot_be_scored_are_refused_by_name() {
    assert_eq!(scores(&[]).unwrap_err(), EvalError::Empty);
    let good = case(7, "a", vec!["a".into()]);
    let error = scores(&[good.clone(), case(8, "a", vec!["b".into()]), good]).unwrap_err();
    assert_eq!(
        error,
        EvalError::DuplicateId {
            id: "7".into(),
            first: 1,
            second: 3
        }
    );
    assert!(error.to_string().contains("\"7\""), "{error}");
    for references in [vec![], vec![String::new(), " ".into()]] {
        let error = scores(&[case(9, "a", references)]).unwrap_err();
        assert_eq!(
            error,
            EvalError::NoReferences {
                id: "9".into(),
                position: 1
            }
        );
        assert!(error.to_string().contains("\"9\""), "{error}");
    }
}
