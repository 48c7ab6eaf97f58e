//! The order of draws: deterministic, fair, and resumed exactly.

use serde_json::{Map, Value};

use super::*;
use crate::Sample;

struct Numbers(usize);

impl Source for Numbers {
    fn name(&self) -> &str {
        "numbers"
    }
    fn len(&self) -> usize {
        self.0
    }
    fn sample(&self, row: usize, _: &mut SampleRng) -> Result<Sample, DataError> {
        Ok(Sample {
            origin: self.origin(row),
            images: Vec::new(),
            turns: Vec::new(),
        })
    }
    fn origin(&self, row: usize) -> String {
        format!("numbers:row {row}")
    }
    fn shows_images(&self) -> bool {
        false
    }
    fn columns(&self, _: usize) -> Map<String, Value> {
        Map::new()
    }
}

fn mixture(parts: &[(usize, Option<f64>)]) -> Mixture {
    let source = |len: usize| -> Arc<dyn Source> { Arc::new(Numbers(len)) };
    Mixture::new(
        parts
            .iter()
            .map(|(len, weight)| (source(*len), *weight))
            .collect(),
    )
    .unwrap()
}

fn draws(sampler: &mut Sampler, count: usize) -> Vec<Draw> {
    (0..count).map(|_| sampler.draw()).collect()
}

#[test]
fn a_stop_anywhere_changes_nothing() {
    let mixture = mixture(&[(7, Some(1.0)), (13, Some(2.5)), (3, Some(0.2))]);
    let whole = draws(&mut Sampler::new(&mixture, 5), 100);
    for stop in 0..100 {
        let mut first = Sampler::new(&mixture, 5);
        let mut all = draws(&mut first, stop);
        let state = serde_json::to_string(first.state()).unwrap();
        let state = serde_json::from_str(&state).unwrap();
        all.extend(draws(
            &mut Sampler::resume(&mixture, state).unwrap(),
            100 - stop,
        ));
        assert_eq!(all, whole, "stopped after {stop}");
    }
}

#[test]
fn every_epoch_visits_every_row_once_in_another_order() {
    let mixture = mixture(&[(20, None)]);
    let mut sampler = Sampler::new(&mixture, 1);
    let (first, second) = (draws(&mut sampler, 20), draws(&mut sampler, 20));
    for (epoch, draws) in [&first, &second].into_iter().enumerate() {
        let mut rows: Vec<usize> = draws.iter().map(|draw| draw.row).collect();
        rows.sort_unstable();
        assert_eq!(rows, (0..20).collect::<Vec<_>>());
        assert!(draws.iter().all(|draw| draw.epoch == epoch as u64));
    }
    let rows = |draws: &[Draw]| draws.iter().map(|draw| draw.row).collect::<Vec<_>>();
    assert_ne!(rows(&first), rows(&second));
}

#[test]
fn shares_follow_the_weights_at_every_point() {
    let mixture = mixture(&[(50, Some(3.0)), (50, Some(1.0))]);
    let mut sampler = Sampler::new(&mixture, 1);
    let mut first = 0.0;
    for drawn in 1..=400 {
        first += f64::from(u8::from(sampler.draw().source == 0));
        assert!(
            (first - 0.75 * f64::from(drawn)).abs() <= 1.0,
            "after {drawn}"
        );
    }
}

#[test]
fn another_seed_gives_another_order_and_other_sources_are_refused() {
    let mixture_a = mixture(&[(30, None)]);
    let (mut a, mut b) = (Sampler::new(&mixture_a, 1), Sampler::new(&mixture_a, 2));
    assert_ne!(draws(&mut a, 30), draws(&mut b, 30));
    let error = Sampler::resume(&mixture(&[(31, None)]), a.state().clone())
        .map(|_| ())
        .unwrap_err();
    assert!(error.to_string().contains("31"), "{error}");
}
