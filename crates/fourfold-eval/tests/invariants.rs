//! What holds of the scores whatever the captions, on captions from a seeded generator.

use fourfold_eval::{
    AnswerCase, CaptionCase, EvalError, TokenizedCase, meteor::Meteor, score_answers,
    score_captions, tokenize::tokenize,
};

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

fn case(id: usize, candidate: &str, references: Vec<String>) -> CaptionCase {
    CaptionCase {
        id: id.to_string(),
        candidate: candidate.into(),
        references,
    }
}

/// Candidates near their references, in `count` cases.
fn corpus(random: &mut Random, count: usize) -> Vec<CaptionCase> {
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
        let (scores, mut samples) = score_captions(&cases).unwrap();
        cases.reverse();
        let middle = random.below(cases.len());
        cases.rotate_left(middle);
        cases.iter_mut().for_each(|case| case.references.reverse());
        let (again, mut others) = score_captions(&cases).unwrap();
        let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
        assert!(close(scores.cider_d, again.cider_d) && close(scores.rouge_l, again.rouge_l));
        assert_eq!(
            (scores.bleu, scores.exact_match),
            (again.bleu, again.exact_match)
        );
        samples.sort_by(|a, b| a.id.cmp(&b.id));
        others.sort_by(|a, b| a.id.cmp(&b.id));
        for (one, other) in samples.iter().zip(&others) {
            assert_eq!(
                (&one.id, one.bleu, one.rouge_l),
                (&other.id, other.bleu, other.rouge_l)
            );
            assert!(close(one.cider_d, other.cider_d));
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
    let (scores, samples) = score_captions(&cases).unwrap();
    assert!((scores.cider_d - 10.0).abs() < 1e-9, "{scores:?}");
    assert!((scores.rouge_l - 1.0).abs() < 1e-9);
    assert!(scores.bleu.iter().all(|bleu| (bleu - 1.0).abs() < 1e-6));
    assert_eq!(scores.exact_match, 1.0);
    assert!(samples.iter().all(|sample| sample.exact_match));
}

#[test]
fn captions_of_other_images_score_lower() {
    let mut random = Random(3);
    let mut cases = corpus(&mut random, 60);
    let (scores, _) = score_captions(&cases).unwrap();
    let first = cases[0].candidate.clone();
    for i in 1..cases.len() {
        cases[i - 1].candidate = cases[i].candidate.clone();
    }
    cases.last_mut().unwrap().candidate = first;
    let (shuffled, _) = score_captions(&cases).unwrap();
    assert!(
        shuffled.cider_d < scores.cider_d / 5.0,
        "{shuffled:?} {scores:?}"
    );
    assert!(shuffled.bleu[3] < scores.bleu[3] && shuffled.rouge_l < scores.rouge_l);
}

#[test]
fn candidates_without_words_score_zero() {
    let reference = vec!["a cat sits on a mat".to_owned()];
    for candidate in ["", "  \n", "...", "😀", "?"] {
        let cases = [
            case(0, candidate, reference.clone()),
            case(1, "a dog", vec!["dog".into()]),
        ];
        let (_, samples) = score_captions(&cases).unwrap();
        assert_eq!(samples[0].bleu, [0.0; 4], "{candidate:?}");
        assert_eq!((samples[0].cider_d, samples[0].rouge_l), (0.0, 0.0));
        assert!(!samples[0].exact_match);
    }
    let (scores, _) = score_captions(&[case(0, "", vec!["!".into()])]).unwrap();
    assert_eq!(
        (scores.cider_d, scores.bleu, scores.rouge_l),
        (0.0, [0.0; 4], 0.0)
    );
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
                assert!(
                    !word.is_empty() && !word.contains(char::is_whitespace),
                    "{text:?}"
                );
            }
        }
        let tokenized: Vec<_> = cases.iter().map(TokenizedCase::new).collect();
        for segment in Meteor::new(None).segments(&tokenized) {
            assert!((0.0..=1.0).contains(&segment.score()), "{cases:?}");
        }
        let (scores, samples) = score_captions(&cases).unwrap();
        for (cider, bleu, rouge) in samples
            .iter()
            .map(|s| (s.cider_d, s.bleu, s.rouge_l))
            .chain([(scores.cider_d, scores.bleu, scores.rouge_l)])
        {
            assert!((0.0..=10.0 + 1e-9).contains(&cider), "{cases:?}");
            assert!(
                bleu.iter()
                    .chain([&rouge])
                    .all(|x| (0.0..=1.0 + 1e-9).contains(x)),
                "{cases:?}"
            );
        }
    }
}

#[test]
fn answers_are_right_when_one_accepted_answer_is_given() {
    let cases: Vec<_> = [("Yes.", true), ("no", false), (" TRUE ", true), ("", false)]
        .into_iter()
        .enumerate()
        .map(|(id, (text, right))| {
            let accepted = vec!["yes".to_owned(), "true".to_owned()];
            (
                AnswerCase {
                    id: id.to_string(),
                    candidate: text.into(),
                    accepted,
                },
                right,
            )
        })
        .collect();
    let list: Vec<_> = cases.iter().map(|(case, _)| case.clone()).collect();
    let (scores, samples) = score_answers(&list).unwrap();
    assert_eq!((scores.samples, scores.accuracy), (4, 0.5));
    for (sample, (case, right)) in samples.iter().zip(&cases) {
        assert_eq!((&sample.id, sample.correct), (&case.id, *right));
    }
}

#[test]
fn lists_that_cannot_be_scored_are_refused_by_name() {
    assert_eq!(score_captions(&[]).unwrap_err(), EvalError::Empty);
    assert_eq!(score_answers(&[]).unwrap_err(), EvalError::Empty);
    let good = case(7, "a", vec!["a".into()]);
    let error = score_captions(&[good.clone(), case(8, "a", vec!["b".into()]), good]).unwrap_err();
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
        let error = score_captions(&[case(9, "a", references)]).unwrap_err();
        assert_eq!(
            error,
            EvalError::NoReferences {
                id: "9".into(),
                position: 1
            }
        );
        assert!(error.to_string().contains("\"9\""), "{error}");
    }
    let bare = AnswerCase {
        id: "q".into(),
        candidate: "a".into(),
        accepted: vec![],
    };
    assert!(matches!(
        score_answers(&[bare]),
        Err(EvalError::NoReferences { .. })
    ));
}

#[test]
fn scores_serialize_under_their_names() {
    let (scores, samples) = score_captions(&[case(1, "a", vec!["a".into()])]).unwrap();
    let json = serde_json::to_value(&scores).unwrap();
    assert_eq!(json["samples"], 1);
    assert_eq!(json["exact_match"], 1.0);
    assert_eq!(json["bleu"].as_array().unwrap().len(), 4);
    assert_eq!(
        serde_json::to_value(&samples[0]).unwrap()["exact_match"],
        true
    );
}
