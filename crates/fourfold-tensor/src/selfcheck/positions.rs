//! Rotary positions.

use super::case::Case;
use super::recorded::{Given, recorded};
use super::{Extent, Operation};
use crate::ops::{Heads, Rotary, rope};

pub(super) fn operations() -> Vec<Operation> {
    vec![Operation::new("rope", ropes)]
}

fn ropes(extent: Extent) -> Vec<Case> {
    let all = extent.pick(
        &[(40, 3, 1, 64, 0), (1, 1, 1, 64, 0)],
        &[
            (5, 2, 1, 2, 0),
            (31, 7, 1, 26, 0),
            (70, 8, 1, 72, 0),
            (65, 2, 2, 80, 0),
            (33, 2, 1, 128, 0),
            (9, 1, 1, 256, 0),
            // Far out, where an angle in f32 would be off.
            (40, 2, 1, 64, 131_072),
            (0, 2, 1, 64, 0),
        ],
    );
    let mut cases = Vec::new();
    for (rows, query, key_value, width, first) in all {
        let heads = Heads {
            query,
            key_value,
            width,
        };
        // Two documents: positions begin anew.
        let positions: Vec<u32> = (0..rows)
            .map(|row| first + if row < 30 { 3 * row } else { row - 30 })
            .collect();
        for amplitude in [1.0, 1.25] {
            let positions = positions.clone();
            let given = vec![Given::activation(&[rows as usize, heads.columns()], 1)];
            let name = format!(
                "{rows} rows from position {first}, {query} to {key_value} heads of width {width}, amplitude {amplitude}"
            );
            cases.push(recorded(name, given, move |tape, inputs| {
                let pairs = width / 2;
                let frequency = |pair: usize| 1e4f64.powf(-(pair as f64) / pairs as f64);
                let rotary = Rotary::new((0..pairs).map(frequency).collect(), amplitude)?;
                rope(tape, &inputs[0], heads, &positions, &rotary)
            }));
        }
    }
    cases
}
