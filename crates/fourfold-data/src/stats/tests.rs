//! The numbers of a source, and packs as the loader lays them.

use std::sync::Arc;

use super::*;
use crate::document::tests_support::{encoder, text_sample};
use crate::{DataError, Mixture, PackBudget, Sample, SampleRng, TooLong};

/// Texts of many lengths; one is empty.
struct Texts;

impl Source for Texts {
    fn name(&self) -> &str {
        "texts"
    }

    fn len(&self) -> usize {
        400
    }

    fn sample(&self, row: usize, _rng: &mut SampleRng) -> Result<Sample, DataError> {
        if row == 7 {
            return Err(DataError::EmptyAnswer {
                origin: self.origin(row),
            });
        }
        Ok(text_sample("say", &"ab ".repeat(1 + row % 29)))
    }

    fn origin(&self, row: usize) -> String {
        format!("texts:row {row}")
    }

    fn shows_images(&self) -> bool {
        false
    }

    fn columns(&self, _row: usize) -> serde_json::Map<String, serde_json::Value> {
        serde_json::Map::new()
    }
}

#[test]
fn lengths_and_prompts_are_counted() {
    let encoder = encoder(4, 1000);
    let read = statistics(&Texts, Some(&encoder), None, &|_| {}).unwrap();
    assert_eq!((read.samples, read.read, read.broken.count), (400, 400, 1));
    assert_eq!(read.prompts, [("say".to_owned(), 399)]);
    // begin, three of the prompt, the marker, and the answer's bytes.
    let tokens = read.tokens.as_ref().unwrap();
    assert_eq!((tokens.smallest(), tokens.largest()), (5 + 3, 5 + 3 * 29));
    assert_eq!(read.answer_words.largest(), 29);
    let few = statistics(&Texts, None, Some(10), &|_| {}).unwrap();
    assert_eq!((few.read, few.tokens), (10, None));
    assert_eq!(few.answer_words.total(), 10);
}

#[test]
fn packs_are_full_and_none_is_lost() {
    let mixture = Mixture::new(vec![(Arc::new(Texts) as Arc<dyn Source>, None)]).unwrap();
    let budget = PackBudget {
        tokens: 256,
        images: 8,
    };
    let encoder = encoder(4, 256);
    let fill = pack_fill(&mixture, 1, 400, &encoder, budget, TooLong::Cut, &|_| {}).unwrap();
    assert_eq!(
        (fill.drawn, fill.documents, fill.broken.count),
        (400, 399, 1)
    );
    let tokens: u64 = {
        let read = statistics(&Texts, Some(&encoder), None, &|_| {}).unwrap();
        read.tokens.unwrap().sum()
    };
    let expected = tokens as f64 / (fill.packs * 256) as f64;
    assert!((fill.fill - expected).abs() < 1e-12);
    assert!(fill.fill > 0.95 && fill.fill <= 1.0, "{fill:?}");
}
