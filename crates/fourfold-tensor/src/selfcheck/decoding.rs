//! Decoding over a cache of keys and values.

use std::ops::Range;

use super::case::{Array, Case, Failure};
use super::numbers::numbers;
use super::{Extent, Operation, WIDTHS};
use crate::ops::Heads;
use crate::ops::attention::{KeyValueCache, attention_step};
use crate::{Device, Precision, Tensor};

pub(super) fn operations() -> Vec<Operation> {
    vec![Operation::new("attention_step", steps)]
}

fn steps(extent: Extent) -> Vec<Case> {
    let heads = |query, key_value, width| Heads {
        query,
        key_value,
        width,
    };
    let mut all = vec![(heads(3, 1, 64), None, 3), (heads(2, 2, 64), Some(6), 1)];
    if extent == Extent::Whole {
        all.extend(WIDTHS.map(|width| (heads(2, 1, width), None, 2)));
        all.push((heads(8, 1, 64), Some(70), 1));
        all.push((heads(9, 3, 72), None, 40));
        all.push((heads(8, 1, 128), Some(1), 7));
    }
    let all = all.into_iter();
    all.map(|(heads, window, at_once)| {
        let Heads {
            query,
            key_value,
            width,
        } = heads;
        let name = format!(
            "{query} to {key_value} heads of width {width}, {at_once} rows a step, window {window:?}"
        );
        Case::new(name, move |device, precision| {
            decode(device, precision, heads, window, at_once)
        })
    })
    .collect()
}

/// Rows of the prompts of two sequences, and how many steps follow.
const PROMPTS: [usize; 2] = [61, 3];
const STEPS: usize = 5;

/// Two sequences begin with prompts, one is copied and goes on elsewhere, all are reordered, and two grow side by side.
fn decode(
    device: &Device,
    precision: Precision,
    heads: Heads,
    window: Option<usize>,
    at_once: usize,
) -> Result<Vec<Array>, Failure> {
    let rows = PROMPTS.iter().sum::<usize>() + 1 + 2 * STEPS * at_once;
    let columns = heads.columns();
    let all = numbers(1, rows * columns);
    let there = |rows: Range<usize>| {
        let part = &all[rows.start * columns..rows.end * columns];
        let part = Tensor::from_f32(&[rows.len(), columns], part)?;
        part.to_precision(precision).to_device(device)
    };
    let capacity = PROMPTS[0] + 1 + STEPS * at_once;
    let mut cache = KeyValueCache::new_on(device, 4, capacity, heads, precision)?;
    let prompts = there(0..PROMPTS[0] + PROMPTS[1])?;
    cache.write(0, &prompts, heads, 0..PROMPTS[0])?;
    cache.copy(0, 2, PROMPTS[0])?;
    cache.write(3, &prompts, heads, PROMPTS[0]..PROMPTS[0] + PROMPTS[1])?;
    let mut next = PROMPTS[0] + PROMPTS[1];
    let mut arrays = Vec::new();
    let mut step = |cache: &mut KeyValueCache, sequences: &[usize]| -> Result<(), Failure> {
        let rows = there(next..next + sequences.len())?;
        next += sequences.len();
        let output = attention_step(&rows, heads, cache, sequences, window)?;
        let name = format!("output of step {}", arrays.len());
        arrays.push(Array::output(name, output.to_host()?.to_f32_vec()));
        Ok(())
    };
    step(&mut cache, &[0])?;
    cache.reorder(&[0, 3, 2, 3])?;
    let sequences = [vec![2; at_once], vec![1; at_once]].concat();
    for _ in 0..STEPS {
        step(&mut cache, &sequences)?;
    }
    Ok(arrays)
}
