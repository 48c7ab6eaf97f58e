//! What the model has to beat, and what it must fall to when it cannot see.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Result, ensure};
use fourfold_data::source::RowImage;
use fourfold_data::{EncodedImage, ImageTransform, Size, Source, sample_rng};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::Case;
use crate::answer::Question;

/// The same questions, each about another image: distinct images change places in one random cycle, so none
/// keeps its own.
///
/// # Errors
/// When there are fewer than two distinct images.
pub fn shuffled(cases: &[Case], seed: u64) -> Result<Vec<Question>> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut distinct: Vec<&[RowImage]> = Vec::new();
    for case in cases {
        if let Some(key) = &case.image_key {
            places.entry(key).or_insert_with(|| {
                distinct.push(&case.images);
                distinct.len() - 1
            });
        }
    }
    ensure!(
        distinct.len() > 1,
        "shuffled_images needs at least two different images, there are {}; remove the baseline",
        distinct.len()
    );
    // One cycle through all of them (Sattolo 1986) leaves nothing in its place.
    let mut order: Vec<usize> = (0..distinct.len()).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let mut next = vec![0; order.len()];
    for (place, image) in order.iter().enumerate() {
        next[*image] = order[(place + 1) % order.len()];
    }
    Ok(cases
        .iter()
        .map(|case| {
            let place = case.image_key.as_deref().and_then(|key| places.get(key));
            case.question(place.map(|place| distinct[next[*place]]))
        })
        .collect())
}

/// The same questions about a uniform image of the mean colour: there is nothing to see.
pub fn blind(cases: &[Case], transform: &ImageTransform) -> Vec<Question> {
    let level = |mean: f32| (mean.clamp(0.0, 1.0) * 255.0).round() as u8;
    let image = uniform_bmp(transform.size, transform.mean_color().map(level));
    let questions = cases.iter().map(|case| {
        let images = vec![RowImage::Bytes(image.clone()); case.images.len()];
        case.question(Some(&images))
    });
    questions.collect()
}

/// A BMP file of one colour.
fn uniform_bmp(size: Size, [red, green, blue]: [u8; 3]) -> EncodedImage {
    let row: Vec<u8> = [blue, green, red]
        .into_iter()
        .cycle()
        .take(3 * size.width)
        .collect();
    let padding = vec![0; row.len().next_multiple_of(4) - row.len()];
    let pixels = (row.len() + padding.len()) * size.height;
    let mut bytes = b"BM".to_vec();
    let numbers = [
        54 + pixels as u32,
        0,
        54,
        40,
        size.width as u32,
        size.height as u32,
        1 | 24 << 16,
        0,
    ];
    bytes.extend(numbers.iter().flat_map(|n| n.to_le_bytes()));
    bytes.extend((pixels as u32).to_le_bytes());
    bytes.resize(54, 0);
    for _ in 0..size.height {
        bytes.extend(&row);
        bytes.extend(&padding);
    }
    EncodedImage::new(bytes)
}

/// The most frequent answer to each case's prompt in the training data; to a prompt that never occurs there,
/// the most frequent answer of all. Of equally frequent ones, the first in the alphabet.
///
/// # Errors
/// When the training data holds no readable sample.
pub fn majority(cases: &[Case], training: &[&dyn Source]) -> Result<Vec<String>> {
    let mut by_prompt: HashMap<String, BTreeMap<String, usize>> = HashMap::new();
    let mut overall: BTreeMap<String, usize> = BTreeMap::new();
    for source in training {
        for row in 0..source.len() {
            let Ok(sample) = source.sample(row, &mut sample_rng(0, row as u64)) else {
                continue;
            };
            for turn in sample.turns {
                *overall.entry(turn.answer.clone()).or_default() += 1;
                *by_prompt
                    .entry(turn.prompt)
                    .or_default()
                    .entry(turn.answer)
                    .or_default() += 1;
            }
        }
    }
    let most = |counts: &BTreeMap<String, usize>| {
        let largest = counts.iter().rev().max_by_key(|(_, count)| **count);
        largest.map(|(answer, _)| answer.clone())
    };
    let Some(fallback) = most(&overall) else {
        anyhow::bail!("the baseline_data of majority holds no readable sample");
    };
    let answer = |case: &Case| {
        by_prompt
            .get(&case.prompt)
            .and_then(most)
            .unwrap_or_else(|| fallback.clone())
    };
    Ok(cases.iter().map(answer).collect())
}
