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
