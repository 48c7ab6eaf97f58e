//! Attention over packed documents.

use super::case::Case;
use super::recorded::{Given, recorded};
use super::sight::Rule;
use super::{Extent, Operation, WIDTHS};
use crate::ops::{Heads, Visibility, attention};
use crate::{Result, Tape, Tensor};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new("attention, widths", widths),
        Operation::new("attention, shared keys", shared),
        Operation::new("attention, visibility", visibilities),
        Operation::new("attention, long", long),
        Operation::new("attention, large", large),
    ]
}

fn heads(query: usize, key_value: usize, width: usize) -> Heads {
    Heads {
        query,
        key_value,
        width,
    }
}

/// Documents that lie end to end, of one row and of more and less than a tile of keys.
const DOCUMENTS: [usize; 6] = [1, 17, 64, 1, 65, 5];

/// What rows see is compiled anew for each run, so that nothing of it stays on the device.
fn case(
    heads: Heads,
    rows: usize,
    seen: String,
    given: impl Fn(&[usize]) -> Given,
    sight: impl Fn() -> Result<Visibility> + 'static,
) -> Case {
    let Heads {
        query,
        key_value,
        width,
    } = heads;
    let name = format!("{query} to {key_value} heads of width {width}, {seen}");
    let given = vec![given(&[rows, heads.columns()])];
    recorded(name, given, move |tape: &Tape<'_>, inputs: &[Tensor]| {
        attention(tape, &inputs[0], heads, &sight()?)
    })
}

fn over(heads: Heads, rule: Rule, lengths: &[usize], alone: usize, window: Option<usize>) -> Case {
    let lengths = lengths.to_vec();
    let rows = lengths.iter().sum::<usize>() + alone;
    let mut seen = format!("{rule:?} over documents of {lengths:?}");
    if let Some(window) = window {
        seen += &format!(" with a window of {window}");
    }
    if alone > 0 {
        seen += &format!(" and {alone} rows alone");
    }
    let activation = |shape: &[usize]| Given::activation(shape, 1);
    case(heads, rows, seen, activation, move || {
        rule.compile(&lengths, alone, window)
    })
}

fn widths(extent: Extent) -> Vec<Case> {
    let widths = match extent {
        Extent::Quick => vec![64],
        Extent::Whole => WIDTHS.to_vec(),
    };
    let widths = widths.into_iter();
    widths
        .flat_map(|width| {
            let heads = heads(2, 2, width);
            [
                over(heads, Rule::Causal, &[1], 0, None),
                over(heads, Rule::Causal, &[1, 17, 66], 0, None),
            ]
        })
        .collect()
}

fn shared(extent: Extent) -> Vec<Case> {
    let ratios = extent.pick(&[(3, 1)], &[(1, 1), (8, 1), (4, 2), (9, 3), (16, 2)]);
    let ratios = ratios.into_iter();
    ratios
        .map(|(query, key_value)| {
            let heads = heads(query, key_value, 64);
            over(heads, Rule::Causal, &[31, 1, 65, 2], 0, None)
        })
        .collect()
}

fn visibilities(extent: Extent) -> Vec<Case> {
    let windows = extent.pick(&[None], &[Some(1), Some(6), Some(70)]);
    let documents: &[usize] = match extent {
        Extent::Quick => &[1, 30],
        Extent::Whole => &DOCUMENTS,
    };
    let heads = heads(3, 1, 64);
    let every = windows.into_iter().flat_map(|window| {
        Rule::ALL
            .into_iter()
            .map(move |rule| over(heads, rule, documents, 3, window))
    });
    let mut cases: Vec<Case> = every.collect();
    if extent == Extent::Whole {
        cases.push(over(heads, Rule::Causal, &[1; 67], 0, None));
        cases.push(over(heads, Rule::Causal, &[], 0, None));
    }
    cases
}

/// One document that fills nearly all of a pack.
fn long(extent: Extent) -> Vec<Case> {
    let length = match extent {
        Extent::Quick => 150,
        Extent::Whole => 777,
    };
    let heads = heads(2, 1, 64);
    let mut cases = vec![over(heads, Rule::Causal, &[1, length, 2], 0, None)];
    if extent == Extent::Whole {
        cases.push(over(heads, Rule::Causal, &[1500], 0, Some(100)));
    }
    cases
}

/// Scores of up to 64 · 128 · 128 / 8, more than fp16 has and exact in f32: one key or several alike take all. Gradients
/// are still numbers of fp16.
fn large(extent: Extent) -> Vec<Case> {
    let rules = extent.pick(&[Rule::Causal], &[Rule::Everything]);
    let rules = rules.into_iter();
    rules
        .map(|rule| {
            let large = |shape: &[usize]| Given::activation(shape, 1).of_size(128.0, 3);
            let seen = format!("{rule:?}, scores beyond fp16");
            case(heads(2, 1, 64), 70, seen, large, move || {
                rule.compile(&[1, 69], 0, None)
            })
        })
        .collect()
}
