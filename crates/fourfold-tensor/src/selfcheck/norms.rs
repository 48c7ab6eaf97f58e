//! Norms of rows and of heads.

use super::case::Case;
use super::recorded::{Given, recorded};
use super::{Extent, Operation, WIDTHS};
use crate::ops::{Heads, head_norm, layer_norm, rms_norm};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new("layer_norm", layer_norms),
        Operation::new("rms_norm", rms_norms),
        Operation::new("head_norm", head_norms),
    ]
}

/// As models have it.
const EPSILON: f32 = 1e-5;

/// Rows and numbers a row, and by what these are multiplied: 2^14 squared is more than fp16 has.
fn sizes(extent: Extent) -> Vec<(usize, usize, f32)> {
    let mut sizes = vec![
        (1, 64, 1.0),
        (37, 72, 1.0),
        (3, 64, 16_384.0),
        // Wider than a block of threads takes at once.
        (3, 4096, 1.0),
    ];
    if extent == Extent::Whole {
        sizes.extend(WIDTHS.map(|width| (1, width, 1.0)));
        sizes.extend(WIDTHS.map(|width| (67, width, 1.0)));
        sizes.extend([(300, 131, 1.0), (5, 1025, 1.0), (0, 7, 1.0)]);
        sizes.extend([(9, 256, 16_384.0), (9, 64, 1.0 / 1024.0)]);
    }
    sizes
}

/// Of the residual stream, which is f32, and of an activation.
fn both(rows: usize, width: usize, factor: f32) -> [(Given, String); 2] {
    let shape = [rows, width];
    [
        (Given::stream(&shape, 1).times(factor), "stream"),
        (Given::activation(&shape, 1).times(factor), "activation"),
    ]
    .map(|(given, kind)| (given, format!("{kind} [{rows}, {width}] of size {factor}")))
}

fn layer_norms(extent: Extent) -> Vec<Case> {
    let mut cases = Vec::new();
    for (rows, width, factor) in sizes(extent) {
        for (x, name) in both(rows, width, factor) {
            let vector = |seed| Given::parameter(&[width], seed);
            cases.push(recorded(
                name,
                vec![x, vector(2), vector(3)],
                |tape, inputs| layer_norm(tape, &inputs[0], &inputs[1], &inputs[2], EPSILON),
            ));
        }
    }
    cases
}

fn rms_norms(extent: Extent) -> Vec<Case> {
    let mut cases = Vec::new();
    for (rows, width, factor) in sizes(extent) {
        for (x, name) in both(rows, width, factor) {
            let given = vec![x, Given::parameter(&[width], 2)];
            cases.push(recorded(name, given, |tape, inputs| {
                rms_norm(tape, &inputs[0], &inputs[1], EPSILON)
            }));
        }
    }
    cases
}

fn head_norms(extent: Extent) -> Vec<Case> {
    let mut all = vec![(9, 3, 1, 64, 1.0)];
    if extent == Extent::Whole {
        all.extend(WIDTHS.map(|width| (37, 2, 1, width, 1.0)));
        all.extend([
            (1, 1, 1, 64, 1.0),
            (5, 8, 1, 128, 1.0),
            (70, 4, 4, 72, 1.0),
            (300, 2, 2, 64, 1.0),
            (9, 2, 1, 64, 16_384.0),
        ]);
    }
    let all = all.into_iter();
    all.map(|(rows, query, key_value, width, factor)| {
        let heads = Heads {
            query,
            key_value,
            width,
        };
        let given = vec![
            Given::activation(&[rows, heads.columns()], 1).times(factor),
            Given::parameter(&[width], 2),
            Given::parameter(&[width], 3),
        ];
        let name = format!(
            "{rows} rows, {query} to {key_value} heads of width {width}, numbers of size {factor}"
        );
        recorded(name, given, move |tape, inputs| {
            head_norm(tape, &inputs[0], heads, [&inputs[1], &inputs[2]], EPSILON)
        })
    })
    .collect()
}
