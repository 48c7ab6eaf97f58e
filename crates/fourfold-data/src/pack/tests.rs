//! Packing loses nothing, doubles nothing and keeps its budgets.

use rand::RngExt;

use super::*;
use crate::{PixelArray, sample_rng};

/// A document of `len` rows that all say which document it is, with `images` images of one visual token each.
fn document(number: u32, len: usize, images: usize) -> Document {
    Document {
        origin: format!("test:row {number}"),
        tokens: vec![number; len],
        targets: (0..len).map(|row| (row > 0).then_some(number)).collect(),
        prompt_end: 1,
        visual: (0..images)
            .map(|image| VisualSpan {
                start: image,
                len: 1,
                image,
            })
            .collect(),
        images: vec![
            DocumentImage::Pixels(
                PixelArray {
                    height: 2,
                    width: 2,
                    data: vec![number as f32; 12]
                },
                None
            );
            images
        ],
        truncated: false,
        key: u64::from(number),
    }
}

#[test]
fn random_documents_are_all_there_once_within_budget() {
    let mut rng = sample_rng(7, 0);
    for round in 0..200 {
        let budget = PackBudget {
            tokens: rng.random_range(20..200),
            images: rng.random_range(2..9),
        };
        let count = rng.random_range(1..60);
        let documents: Vec<Document> = (0..count)
            .map(|n| document(n, rng.random_range(2..=20), rng.random_range(0..=2)))
            .collect();
        let mut left: Vec<Option<Document>> = documents.iter().cloned().map(Some).collect();
        for pack in pack(documents, budget).unwrap() {
            assert!(pack.tokens.len() <= budget.tokens && pack.images.len() <= budget.images);
            assert_eq!(pack.tokens.len(), pack.targets.len());
            let mut row = 0;
            for placed in &pack.documents {
                assert_eq!(placed.start, row, "round {round}: documents lie end to end");
                row = placed.end;
                let number = pack.tokens[placed.start];
                let whole = left[number as usize]
                    .take()
                    .expect("no document comes twice");
                assert_eq!(pack.tokens[placed.start..placed.end], whole.tokens);
                assert_eq!(pack.targets[placed.start..placed.end], whole.targets);
                assert_eq!(placed.prompt_end, placed.start + whole.prompt_end);
                let positions: Vec<u32> = (0..whole.tokens.len() as u32).collect();
                assert_eq!(pack.positions[placed.start..placed.end], positions);
                for (span, from) in placed.visual.iter().zip(&whole.visual) {
                    assert_eq!(span.start, placed.start + from.start);
                    let pixels = pack.images[span.image].pixels().expect("made");
                    assert_eq!(pixels.data[0], number as f32);
                }
            }
            assert_eq!(row, pack.tokens.len());
        }
        assert!(
            left.iter().all(Option::is_none),
            "round {round}: no document is lost"
        );
    }
}

#[test]
fn a_document_over_the_budget_is_refused_by_name() {
    let budget = PackBudget {
        tokens: 10,
        images: 1,
    };
    for documents in [vec![document(3, 11, 0)], vec![document(3, 5, 2)]] {
        let error = pack(documents, budget).unwrap_err();
        assert!(error.to_string().contains("test:row 3"), "{error}");
    }
}

#[test]
fn packs_of_many_short_documents_are_nearly_full() {
    let mut rng = sample_rng(1, 1);
    let documents: Vec<Document> = (0..2000)
        .map(|n| document(n, rng.random_range(20..=90), 0))
        .collect();
    let rows: usize = documents.iter().map(|d| d.tokens.len()).sum();
    let packs = pack(
        documents,
        PackBudget {
            tokens: 1024,
            images: 1,
        },
    )
    .unwrap();
    assert!(rows as f64 / (packs.len() * 1024) as f64 > 0.97);
}

/// Packs of a budget by one of two algorithms.
type Lay = fn(&[Extent], PackBudget) -> Vec<Vec<usize>>;

fn documents_are_placed_once_within_budget(lay: Lay, joins: bool) {
    let mut rng = sample_rng(9, 0);
    for round in 0..300 {
        let budget = PackBudget {
            tokens: rng.random_range(8..300),
            images: rng.random_range(1..6),
        };
        // Some are larger than a pack, some have no image and some more than a pack may.
        let documents: Vec<Extent> = (0..rng.random_range(0..120))
            .map(|_| Extent {
                tokens: rng.random_range(1..=budget.tokens + 20),
                images: rng.random_range(0..=budget.images + 1),
            })
            .collect();
        let packs = lay(&documents, budget);
        let mut placed: Vec<usize> = packs.iter().flatten().copied().collect();
        placed.sort_unstable();
        let all: Vec<usize> = (0..documents.len()).collect();
        assert_eq!(placed, all, "round {round}: none is lost, none comes twice");
        for pack in &packs {
            let sum =
                |of: fn(&Extent) -> usize| pack.iter().map(|&i| of(&documents[i])).sum::<usize>();
            let (tokens, images) = (sum(|d| d.tokens), sum(|d| d.images));
            let within = tokens <= budget.tokens && images <= budget.images;
            assert!(
                within || pack.len() == 1,
                "round {round}: {pack:?} has {tokens} rows"
            );
        }
        // No two packs could be one: the later would have gone into the earlier.
        if !joins {
            continue;
        }
        for (index, later) in packs.iter().enumerate() {
            let tokens = |pack: &[usize]| pack.iter().map(|&i| documents[i].tokens).sum::<usize>();
            let images = |pack: &[usize]| pack.iter().map(|&i| documents[i].images).sum::<usize>();
            for earlier in &packs[..index] {
                let joined = tokens(earlier) + tokens(later) <= budget.tokens
                    && images(earlier) + images(later) <= budget.images;
                assert!(!joined, "round {round}");
            }
        }
    }
}

#[test]
fn best_fit_places_every_document_once_within_budget() {
    let lay: Lay = |documents, budget| best_fit(documents, longest_first(documents), budget);
    documents_are_placed_once_within_budget(lay, true);
}

#[test]
fn the_fullest_packs_have_every_document_once_within_budget() {
    documents_are_placed_once_within_budget(fullest, false);
    let alike = [Extent {
        tokens: 3,
        images: 0,
    }; 5];
    assert_eq!(fullest(&alike, PackBudget::UNLIMITED), [[0, 1, 2, 3, 4]]);
    let budget = PackBudget {
        tokens: 6,
        images: 1,
    };
    assert_eq!(fullest(&alike, budget), [vec![0, 1], vec![2, 3], vec![4]]);
}

/// Two of 4 leave a gap in a pack of 10; one of 4 and two of 3 do not.
#[test]
fn the_fullest_packs_leave_no_gap_that_a_shorter_document_fills() {
    let extent = |tokens| Extent { tokens, images: 0 };
    let budget = PackBudget {
        tokens: 10,
        images: 1,
    };
    let documents = [4, 4, 4, 3, 3, 3, 3, 3, 3].map(extent);
    let longest = best_fit(&documents, longest_first(&documents), budget);
    assert_eq!(longest.len(), 4);
    let packs = fullest(&documents, budget);
    let rows = |pack: &Vec<usize>| {
        pack.iter()
            .map(|&place| documents[place].tokens)
            .sum::<usize>()
    };
    assert_eq!(packs.iter().map(rows).collect::<Vec<_>>(), [10, 10, 10]);
}

#[test]
fn longest_first_keeps_the_order_of_equals() {
    let extent = |tokens| Extent { tokens, images: 0 };
    let documents = [3, 5, 3, 9, 5].map(extent);
    assert_eq!(longest_first(&documents), [3, 1, 4, 0, 2]);
}

/// A window as the loader takes it, of so many documents as fill 64 packs, with captions as long as COCO's: 10 to 13 words
/// mostly, some of 50, behind the rows of an image; and with a third of them text or conversations.
#[test]
fn a_window_of_captions_fills_its_packs() {
    let mut rng = sample_rng(3, 0);
    for (visual, budget) in [(16, 512), (64, 2048), (256, 8192)] {
        for mixed in [false, true] {
            let budget = PackBudget {
                tokens: budget,
                images: 64,
            };
            let mut documents: Vec<Extent> = Vec::new();
            let mut rows = 0;
            while rows / 64 < budget.tokens {
                // The sum of some dice is as skewed as lengths of captions are.
                let words = 8 + (0..4).map(|_| rng.random_range(0..4)).sum::<usize>();
                let tail = match rng.random_range(0..20) {
                    0 => rng.random_range(0..40),
                    _ => 0,
                };
                let (images, text) = match mixed && rng.random_range(0..3) == 0 {
                    true => (0, rng.random_range(30..500)),
                    false => (1, (words + tail) * 5 / 4 + 6),
                };
                let tokens = images * visual + text;
                rows += tokens;
                documents.push(Extent { tokens, images });
            }
            let packs = fullest(&documents, budget).len();
            let fill = rows as f64 / (packs * budget.tokens) as f64;
            let place = format!("{visual} rows an image, {budget:?}, mixed {mixed}: {fill:.4}");
            assert!(fill > 0.97, "{place}");
        }
    }
}
