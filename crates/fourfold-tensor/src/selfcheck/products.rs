//! Linear layers: the product forwards and the two of its gradients, which read their operands as they lie, the second
//! transposed and the first transposed.

use super::case::{Array, Case};
use super::numbers::numbers;
use super::recorded::{Given, Products, recorded, recorded_with};
use super::{Bounds, Extent, Operation};
use crate::ops::{Gelu, gelu, linear, linear_gelu, linear_residual};
use crate::{Parameters, Tape, Tensor};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new("linear", |extent| linears(extent, Products::Usual)),
        Operation::new("linear (own kernels)", |extent| {
            linears(extent, Products::Own)
        }),
        Operation::new("linear (TF32)", |extent| linears(extent, Products::Tf32))
            .in_f32_alone()
            .within(Bounds::TF32),
        Operation::new("linear_residual", residuals),
        Operation::new("linear_gelu", gelus),
        Operation::new("linear_gelu, linear", |extent| {
            feed_forwards(extent, Products::Usual)
        }),
        Operation::new("the same (own kernels)", |extent| {
            feed_forwards(extent, Products::Own)
        }),
    ]
}

/// Rows, and numbers of a row of the input and of the result: on both sides of the borders of tiles of 64 and 128, one
/// number alone, few rows against many columns, and nothing.
fn sizes(extent: Extent) -> Vec<[usize; 3]> {
    let more = [
        [1, 1, 1],
        [1, 128, 256],
        [2, 256, 1],
        [7, 63, 65],
        [63, 64, 127],
        [64, 64, 64],
        [65, 65, 63],
        [127, 72, 80],
        [128, 128, 128],
        [129, 33, 129],
        [257, 8, 255],
        [255, 520, 9],
        [97, 1, 5],
        [0, 5, 7],
        [5, 7, 0],
        [5, 0, 7],
    ];
    extent.pick(&[[1, 7, 9], [65, 72, 129]], &more)
}

fn linears(extent: Extent, products: Products) -> Vec<Case> {
    let case = |[rows, inner, outer]: [usize; 3], biased: bool| {
        let mut given = vec![
            Given::activation(&[rows, inner], 1),
            Given::parameter(&[outer, inner], 2),
        ];
        given.extend(biased.then(|| Given::parameter(&[outer], 3)));
        if products == Products::Tf32 {
            given = given
                .into_iter()
                .zip(1..)
                .map(|(given, seed)| given.fine(seed))
                .collect();
        }
        let bias = if biased { ", bias" } else { "" };
        let name = format!("x [{rows}, {inner}], weight [{outer}, {inner}]{bias}");
        recorded_with(products, name, given, |tape, inputs| {
            linear(tape, &inputs[0], &inputs[1], inputs.get(2))
        })
    };
    let sizes = sizes(extent).into_iter();
    let mut cases: Vec<Case> = sizes
        .flat_map(|size| [case(size, true), case(size, false)])
        .collect();
    // One of both is frozen.
    for frozen in ["x", "weight"] {
        let mut given = vec![
            Given::activation(&[33, 72], 1),
            Given::parameter(&[65, 72], 2),
        ];
        match frozen {
            "x" => given[0] = Given::constant(&[33, 72], 1),
            _ => given[1] = Given::constant(&[65, 72], 2),
        }
        let name = format!("x [33, 72], weight [65, 72], no gradient of {frozen}");
        cases.push(recorded_with(products, name, given, |tape, inputs| {
            linear(tape, &inputs[0], &inputs[1], None)
        }));
    }
    // Sums of numbers of size 512, none of which is more than fp16 has.
    let given = vec![
        Given::activation(&[9, 64], 4).of_size(256.0, 4),
        Given::parameter(&[10, 64], 5).of_size(2.0, 5),
    ];
    let name = "sums of 64 numbers of size 512: x [9, 64], weight [10, 64]";
    cases.push(recorded_with(products, name, given, |tape, inputs| {
        linear(tape, &inputs[0], &inputs[1], None)
    }));
    cases
}

fn residuals(extent: Extent) -> Vec<Case> {
    let case = |[rows, inner, outer]: [usize; 3], factor: f32| {
        let given = vec![
            Given::activation(&[rows, inner], 1),
            Given::parameter(&[outer, inner], 2),
            Given::parameter(&[outer], 3),
            Given::stream(&[rows, outer], 4).times(factor),
        ];
        let name =
            format!("x [{rows}, {inner}], weight [{outer}, {inner}], residual of size {factor}");
        recorded(name, given, |tape, inputs| {
            linear_residual(tape, &inputs[0], &inputs[1], Some(&inputs[2]), &inputs[3])
        })
    };
    let sizes = sizes(extent).into_iter();
    let mut cases: Vec<Case> = sizes.map(|size| case(size, 1.0)).collect();
    // The stream is f32, and may be larger than fp16 has numbers.
    cases.push(case([9, 64, 80], 1_048_576.0));
    cases
}

/// As in use, where nothing is recorded; and recorded. Libraries take rows of whole packs alone.
fn gelus(extent: Extent) -> Vec<Case> {
    let kinds = extent.pick(&[Gelu::Tanh], &[Gelu::Erf, Gelu::Quick]);
    let sizes = extent.pick(&[[33, 72, 64]], &[[33, 72, 65], [1, 64, 136]]);
    let pairs = kinds
        .iter()
        .flat_map(|kind| sizes.iter().map(move |size| (*kind, *size)));
    let mut cases = Vec::new();
    for (kind, [rows, inner, outer]) in pairs {
        let given = vec![
            Given::activation(&[rows, inner], 1),
            Given::parameter(&[outer, inner], 2),
            Given::parameter(&[outer], 3),
        ];
        let name = format!("{kind:?}, x [{rows}, {inner}], weight [{outer}, {inner}]");
        cases.push(recorded(name.clone(), given, move |tape, inputs| {
            linear_gelu(tape, &inputs[0], &inputs[1], Some(&inputs[2]), kind)
        }));
        cases.push(Case::new(
            format!("{name}, not recorded"),
            move |device, precision| {
                let mut parameters = Parameters::new(precision);
                parameters.to_device(device)?;
                let tape = Tape::inference(&parameters);
                let there = |shape: &[usize], seed| {
                    let values = numbers(seed, shape.iter().product());
                    Tensor::from_f32(shape, &values)?.to_device(device)
                };
                let x = there(&[rows, inner], 1)?.to_precision(precision);
                let weight = there(&[outer, inner], 2)?.to_precision(precision);
                let bias = there(&[outer], 3)?;
                let y = linear_gelu(&tape, &x, &weight, Some(&bias), kind)?;
                Ok(vec![Array::output("output", y.to_host()?.to_f32_vec())])
            },
        ));
    }
    cases
}

/// The two layers behind an attention, and what else may read what is between them: gradients pass GELU in the products
/// that make them, and beside those.
fn feed_forwards(extent: Extent, products: Products) -> Vec<Case> {
    let case = |kind: Gelu, [rows, width, inner]: [usize; 3], twice: bool| {
        let given = vec![
            Given::activation(&[rows, width], 1),
            Given::parameter(&[inner, width], 2),
            Given::parameter(&[inner], 3),
            Given::parameter(&[width, inner], 4),
            Given::stream(&[rows, width], 5),
        ];
        let twice_too = if twice { ", read twice" } else { "" };
        let name = format!("{kind:?}, x [{rows}, {width}], inner {inner}{twice_too}");
        recorded_with(products, name, given, move |tape, inputs| {
            let [x, first, bias, second, stream] = inputs else {
                unreachable!("five are given");
            };
            let between = linear_gelu(tape, x, first, Some(bias), kind)?;
            let stream = linear_residual(tape, &between, second, None, stream)?;
            match twice {
                false => Ok(stream),
                true => linear_residual(tape, &gelu(tape, &between, kind)?, second, None, &stream),
            }
        })
    };
    let sizes = extent.pick(&[[33, 72, 64]], &[[1, 8, 136], [130, 64, 260], [7, 16, 9]]);
    let mut cases = Vec::new();
    for size in sizes {
        cases.push(case(Gelu::Tanh, size, false));
        cases.push(case(Gelu::Tanh, size, true));
    }
    cases.push(case(Gelu::Erf, [33, 72, 64], false));
    cases
}
