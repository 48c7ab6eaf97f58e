//! Operations that look up, move and add whole rows.

use super::case::Case;
use super::numbers::ids;
use super::recorded::{Given, recorded};
use super::{Extent, Operation, WIDTHS};
use crate::ops::{add_rows, embedding, place, take_rows};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new("embedding", embeddings),
        Operation::new("add_rows", additions),
        Operation::new("take_rows", choices),
        Operation::new("place", places),
    ]
}

/// Rows of a table, their width, and how many are looked up: each once, many times or never.
fn lookups(extent: Extent) -> Vec<[usize; 3]> {
    let mut sizes = vec![[5, 64, 9], [40, 72, 7]];
    if extent == Extent::Whole {
        sizes.extend(WIDTHS.map(|width| [1, width, 101]));
        sizes.extend(WIDTHS.map(|width| [33, width, 70]));
        sizes.extend([[700, 64, 300], [131, 31, 1], [5, 7, 0]]);
    }
    sizes
}

fn embeddings(extent: Extent) -> Vec<Case> {
    let sizes = lookups(extent).into_iter();
    sizes
        .map(|[rows, width, count]| {
            let ids = ids(count, rows);
            let given = vec![Given::parameter(&[rows, width], 1)];
            let name = format!("{count} rows of a table [{rows}, {width}]");
            recorded(name, given, move |tape, inputs| {
                embedding(tape, &inputs[0], &ids)
            })
        })
        .collect()
}

fn additions(extent: Extent) -> Vec<Case> {
    let mut cases = Vec::new();
    for [rows, width, count] in lookups(extent) {
        let x = [count, width];
        for given in [Given::activation(&x, 1), Given::stream(&x, 1)] {
            let ids = ids(count, rows);
            let given = vec![given, Given::parameter(&[rows, width], 2)];
            let name = format!("rows of a table [{rows}, {width}] to x {x:?}");
            cases.push(recorded(name, given, move |tape, inputs| {
                add_rows(tape, &inputs[0], &inputs[1], &ids)
            }));
        }
    }
    cases
}

fn choices(extent: Extent) -> Vec<Case> {
    let mut cases = Vec::new();
    for [rows, width, count] in lookups(extent) {
        let x = [rows, width];
        for given in [Given::activation(&x, 1), Given::stream(&x, 1)] {
            let ids = ids(count, rows);
            let name = format!("{count} rows of x {x:?}");
            cases.push(recorded(name, vec![given], move |tape, inputs| {
                take_rows(tape, &inputs[0], &ids)
            }));
        }
    }
    cases
}

fn places(extent: Extent) -> Vec<Case> {
    let mut sizes = vec![(6, 64, vec![4, 1, 2])];
    if extent == Extent::Whole {
        sizes.extend(WIDTHS.map(|width| (67, width, (3..60).step_by(3).collect())));
        sizes.extend([
            (1, 1, vec![0]),
            (131, 37, vec![130]),
            (5, 7, vec![4, 3, 2, 1, 0]),
            (5, 7, vec![]),
        ]);
    }
    let sizes = sizes.into_iter();
    sizes
        .map(|(tokens, width, at): (usize, usize, Vec<u32>)| {
            let given = vec![
                Given::stream(&[tokens, width], 1),
                Given::activation(&[at.len(), width], 2),
            ];
            let name = format!("{} rows among [{tokens}, {width}]", at.len());
            recorded(name, given, move |tape, inputs| {
                place(tape, &inputs[0], &inputs[1], &at)
            })
        })
        .collect()
}
