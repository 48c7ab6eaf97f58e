//! The head of a language model, its loss, and the likeliest token.

use super::case::{Array, Case};
use super::numbers::{ids, numbers};
use super::recorded::{Given, recorded};
use super::{Bounds, Extent, Operation};
use crate::ops::{
    head_logits, head_loss, head_loss_rows, head_loss_rows_on_device, highest_logits,
};
use crate::{Parameters, Tape, Tensor};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new("head_loss", losses),
        Operation::new("head_logits", logits),
        Operation::new("highest_logits", highest).within(Bounds::ALWAYS_F32),
    ]
}

fn loss(tokens: usize, width: usize, vocabulary: usize, targets: usize, size: Option<f32>) -> Case {
    let given = [
        Given::activation(&[tokens, width], 1),
        Given::parameter(&[vocabulary, width], 2),
    ];
    let (given, large) = match size {
        None => (given, ""),
        Some(size) => (
            given.map(|given| given.of_size(size, 3)),
            ", logits beyond fp16",
        ),
    };
    let name = format!(
        "hidden [{tokens}, {width}], weight [{vocabulary}, {width}], {targets} targets{large}"
    );
    let (rows, wanted) = (ids(targets, tokens), ids(targets + 1, vocabulary));
    recorded(name, given.into(), move |tape, inputs| {
        let (hidden, weight) = (&inputs[0], &inputs[1]);
        head_loss(tape, hidden, weight, &rows, &wanted[1..], 1.0 / 16.0)
    })
}

fn losses(extent: Extent) -> Vec<Case> {
    // A vocabulary larger than a block of threads takes at once is among the first.
    let sizes = extent.pick(
        &[(1, 64, 3, 1), (9, 72, 130, 5), (7, 64, 9001, 6)],
        &[
            (1, 1, 1, 1),
            (3, 7, 2, 3),
            (65, 63, 257, 33),
            (64, 256, 1000, 64),
            (130, 80, 4099, 129),
        ],
    );
    let sizes = sizes.into_iter();
    let mut cases: Vec<Case> = sizes
        .map(|(tokens, width, vocabulary, targets)| loss(tokens, width, vocabulary, targets, None))
        .collect();
    // Logits of 64 · 256 · 256.
    cases.push(loss(9, 64, 11, 9, Some(256.0)));
    if extent == Extent::Whole {
        // So many targets that their logits are computed in several chunks, here and there.
        let chunk = head_loss_rows(7).max(head_loss_rows_on_device(7));
        cases.push(loss(97, 64, 7, chunk + 5, None));
    }
    cases
}

fn logits(extent: Extent) -> Vec<Case> {
    let sizes = extent.pick(
        &[[1, 64, 130]],
        &[[1, 7, 1], [3, 63, 65], [64, 72, 257], [130, 128, 1000]],
    );
    let sizes = sizes.into_iter();
    sizes
        .map(|[rows, width, vocabulary]| {
            let name = format!("hidden [{rows}, {width}], weight [{vocabulary}, {width}]");
            Case::new(name, move |device, precision| {
                let mut parameters = Parameters::new(precision);
                parameters.to_device(device)?;
                let tape = Tape::inference(&parameters);
                let there = |shape: &[usize], seed| {
                    let values = numbers(seed, shape.iter().product());
                    let tensor = Tensor::from_f32(shape, &values)?;
                    tensor.to_precision(precision).to_device(device)
                };
                let (hidden, weight) = (there(&[rows, width], 1)?, there(&[vocabulary, width], 2)?);
                let logits = head_logits(&tape, &hidden, &weight)?;
                Ok(vec![Array::output(
                    "logits",
                    logits.to_host()?.to_f32_vec(),
                )])
            })
        })
        .collect()
}

/// Each row has several highest logits, of which the first counts.
fn highest(extent: Extent) -> Vec<Case> {
    let sizes = extent.pick(
        &[[3, 1000], [2, 50_257]],
        &[[1, 1], [1, 7], [65, 64], [9, 257]],
    );
    let mut cases = Vec::new();
    for [rows, vocabulary] in sizes {
        for size in [1.0, 1_048_576.0] {
            let name = format!("logits [{rows}, {vocabulary}] of size {size}");
            cases.push(Case::new(name, move |device, _| {
                let values = numbers(1, rows * vocabulary);
                let values: Vec<f32> = values.into_iter().map(|value| value * size).collect();
                let logits = Tensor::from_f32(&[rows, vocabulary], &values)?;
                let found = highest_logits(&logits.to_device(device)?)?;
                let places = found.iter().map(|highest| highest.place as f32);
                Ok(vec![
                    Array::output("place", places.collect()),
                    Array::output("logit", found.iter().map(|h| h.logit).collect()),
                    Array::output("sum", found.iter().map(|h| h.log_sum).collect()),
                ])
            }));
        }
    }
    cases
}
