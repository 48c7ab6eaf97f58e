//! Whether f32 is computed with all its digits. The other cases have numbers of 16 bits, whose products a device would get
//! right in TF32 as well.

use super::case::Case;
use super::numbers::ids;
use super::recorded::{Given, Products, recorded_with};
use super::{Extent, Operation};
use crate::ops::{Heads, Visibility, attention, head_loss, linear_residual};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new("all digits of f32", |extent| {
            digits(extent, Products::Usual)
        })
        .in_f32_alone(),
        Operation::new("all digits (own kernels)", |extent| {
            digits(extent, Products::Own)
        })
        .in_f32_alone(),
    ]
}

fn digits(extent: Extent, products: Products) -> Vec<Case> {
    let mut cases = Vec::new();
    for [rows, inner, outer] in extent.pick(&[[33, 72, 65]], &[[1, 256, 7], [130, 520, 127]]) {
        let given = vec![
            Given::activation(&[rows, inner], 1).fine(1),
            Given::parameter(&[outer, inner], 2).fine(2),
            Given::parameter(&[outer], 3).fine(3),
            Given::stream(&[rows, outer], 4).fine(4),
        ];
        let name = format!("linear_residual, x [{rows}, {inner}], weight [{outer}, {inner}]");
        cases.push(recorded_with(products, name, given, |tape, inputs| {
            linear_residual(tape, &inputs[0], &inputs[1], Some(&inputs[2]), &inputs[3])
        }));
        let (targets, wanted) = (ids(rows, rows), ids(rows, outer));
        let given = vec![
            Given::activation(&[rows, inner], 5).fine(5),
            Given::parameter(&[outer, inner], 6).fine(6),
        ];
        let name = format!("head_loss, hidden [{rows}, {inner}], weight [{outer}, {inner}]");
        cases.push(recorded_with(products, name, given, move |tape, inputs| {
            head_loss(tape, &inputs[0], &inputs[1], &targets, &wanted, 1.0 / 16.0)
        }));
    }
    let heads = Heads {
        query: 2,
        key_value: 1,
        width: 64,
    };
    let given = vec![Given::activation(&[65, heads.columns()], 7).fine(7)];
    let name = "attention of 65 rows, 2 to 1 heads of width 64";
    cases.push(recorded_with(products, name, given, move |tape, inputs| {
        attention(tape, &inputs[0], heads, &Visibility::blocks(65, 65))
    }));
    cases
}
