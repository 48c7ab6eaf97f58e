//! Operations on each number by itself.

use super::case::Case;
use super::recorded::{Given, recorded};
use super::{Bounds, Extent, Operation, WIDTHS};
use crate::Precision;
use crate::ops::{Gate, Gelu, add_columns, cast, dropout, gated, gelu, residual, scale};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new("gelu", gelus),
        Operation::new("gated", gates),
        Operation::new("dropout", dropouts),
        Operation::new("scale", scales),
        Operation::new("residual", residuals),
        Operation::new("add_columns", columns),
        Operation::new("cast", casts).within(Bounds::MOVED),
    ]
}

fn shapes(extent: Extent) -> Vec<[usize; 2]> {
    let mut shapes = vec![[1, 64], [37, 72]];
    if extent == Extent::Whole {
        shapes.extend(WIDTHS.map(|width| [1, width]));
        shapes.extend(WIDTHS.map(|width| [35, width]));
        shapes.extend([[300, 131], [0, 7]]);
    }
    shapes
}

/// Far out on both sides, where powers of `x` and `e^x` are more than fp16 has, or f32.
const LARGE: f32 = 16_384.0;

fn gelus(extent: Extent) -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in [Gelu::Tanh, Gelu::Erf, Gelu::Quick] {
        let large = [([9, 64], LARGE), ([9, 64], 8.0)];
        let shapes = shapes(extent).into_iter().map(|shape| (shape, 1.0));
        for (shape, factor) in shapes.chain(large) {
            let name = format!("{kind:?}, x {shape:?} of size {factor}");
            let given = vec![Given::activation(&shape, 1).times(factor)];
            cases.push(recorded(name, given, move |tape, inputs| {
                gelu(tape, &inputs[0], kind)
            }));
        }
    }
    cases
}

fn gates(extent: Extent) -> Vec<Case> {
    let mut cases = Vec::new();
    for gate in [Gate::Silu, Gate::GeluTanh] {
        // Squared, 128 is still a number of fp16.
        let large = [([9, 64], 128.0), ([9, 64], 8.0)];
        let shapes = shapes(extent).into_iter().map(|shape| (shape, 1.0));
        for ([rows, width], factor) in shapes.chain(large) {
            let shape = [rows, 2 * width];
            let name = format!("{gate:?}, gate and value {shape:?} of size {factor}");
            let given = vec![Given::activation(&shape, 1).times(factor)];
            cases.push(recorded(name, given, move |tape, inputs| {
                gated(tape, &inputs[0], gate)
            }));
        }
    }
    cases
}

fn dropouts(extent: Extent) -> Vec<Case> {
    let mut cases = Vec::new();
    for shape in shapes(extent) {
        for rate in [0.0, 0.3, 0.9] {
            let given = vec![Given::activation(&shape, 1)];
            let name = format!("rate {rate}, x {shape:?}");
            cases.push(recorded(name, given, move |tape, inputs| {
                tape.set_seed(5);
                let once = dropout(tape, &inputs[0], rate)?;
                // Other numbers the second time.
                dropout(tape, &scale(tape, &once, 0.5)?, rate)
            }));
        }
    }
    cases
}

fn scales(extent: Extent) -> Vec<Case> {
    let shapes = shapes(extent).into_iter();
    shapes
        .map(|shape| {
            let given = vec![Given::activation(&shape, 1)];
            recorded(format!("25.3 · x {shape:?}"), given, |tape, inputs| {
                scale(tape, &inputs[0], 25.3)
            })
        })
        .collect()
}

fn residuals(extent: Extent) -> Vec<Case> {
    let mut cases = Vec::new();
    for shape in shapes(extent) {
        for (scaled, factor) in [(false, 1.0), (true, 1.0), (true, 1_048_576.0)] {
            let mut given = vec![
                Given::stream(&shape, 1).times(factor),
                Given::activation(&shape, 2),
            ];
            given.extend(scaled.then(|| Given::parameter(&shape[1..], 3)));
            let name = format!("{shape:?}, a stream of size {factor}, scaled: {scaled}");
            cases.push(recorded(name, given, |tape, inputs| {
                residual(tape, &inputs[0], &inputs[1], inputs.get(2))
            }));
        }
    }
    cases
}

fn columns(extent: Extent) -> Vec<Case> {
    let mut cases = Vec::new();
    let sizes = extent.pick(
        &[(9, 72, 8, 63), (1, 7, 0, 7)],
        &[(1, 1, 0, 1), (70, 131, 100, 31), (65, 256, 64, 128)],
    );
    for (rows, width, first, columns) in sizes {
        let name = format!("delta [{rows}, {columns}] at {first} of [{rows}, {width}]");
        for stream in [false, true] {
            let y = match stream {
                false => Given::activation(&[rows, width], 1),
                true => Given::stream(&[rows, width], 1),
            };
            let given = vec![y, Given::activation(&[rows, columns], 2)];
            cases.push(recorded(name.clone(), given, move |tape, inputs| {
                add_columns(tape, &inputs[0], &inputs[1], first, 0.75)
            }));
        }
    }
    cases
}

fn casts(extent: Extent) -> Vec<Case> {
    let mut cases = Vec::new();
    for shape in shapes(extent) {
        let given = vec![Given::activation(&shape, 1)];
        let name = format!("activation {shape:?} to f32");
        cases.push(recorded(name, given, |tape, inputs| {
            cast(tape, &inputs[0], Precision::F32)
        }));
        let given = vec![Given::stream(&shape, 1)];
        let name = format!("stream {shape:?} to the precision of products");
        cases.push(recorded(name, given, |tape, inputs| {
            cast(tape, &inputs[0], tape.precision())
        }));
    }
    cases
}
