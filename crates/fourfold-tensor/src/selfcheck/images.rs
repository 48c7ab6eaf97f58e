//! What is done with images and their patches.

use super::case::{Array, Case};
use super::numbers::numbers;
use super::recorded::{Given, recorded};
use super::{Bounds, Extent, Operation};
use crate::Tensor;
use crate::ops::{average, patchify, pixel_shuffle};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new("patchify", patches).within(Bounds::MOVED),
        Operation::new("pixel_shuffle", shuffles).within(Bounds::MOVED),
        Operation::new("average", averages),
    ]
}

fn patches(extent: Extent) -> Vec<Case> {
    // Pixels at the right and at the bottom that make no whole patch are left out.
    let all = extent.pick(
        &[([2, 3, 10, 12], 4)],
        &[
            ([1, 1, 1, 1], 1),
            ([2, 3, 48, 64], 16),
            ([1, 3, 30, 45], 14),
            ([5, 2, 28, 7], 7),
            ([0, 3, 8, 8], 4),
        ],
    );
    let all = all.into_iter();
    all.map(|(shape, patch): ([usize; 4], usize)| {
        let name = format!("images {shape:?}, patches of {patch} pixels");
        Case::new(name, move |device, precision| {
            let images = Tensor::from_f32(&shape, &numbers(1, shape.iter().product()))?;
            let rows = patchify(&images.to_device(device)?, patch, precision)?;
            Ok(vec![Array::output("output", rows.to_host()?.to_f32_vec())])
        })
    })
    .collect()
}

fn shuffles(extent: Extent) -> Vec<Case> {
    let all = extent.pick(
        &[(2, (4, 2), 2, 64)],
        &[
            (1, (1, 1), 1, 1),
            (3, (6, 9), 3, 7),
            (2, (14, 14), 2, 65),
            (1, (7, 14), 7, 31),
            (0, (4, 2), 2, 5),
        ],
    );
    let all = all.into_iter();
    all.map(|(images, grid, factor, width)| {
        let rows = images * grid.0 * grid.1;
        let name = format!("{images} grids {grid:?} of width {width}, factor {factor}");
        let given = vec![Given::activation(&[rows, width], 1)];
        recorded(name, given, move |tape, inputs| {
            pixel_shuffle(tape, &inputs[0], grid, factor)
        })
    })
    .collect()
}

fn averages(extent: Extent) -> Vec<Case> {
    let all = extent.pick(
        &[(9, 4, 72, 1.0), (3, 16, 64, 32_768.0)],
        &[
            (1, 1, 1, 1.0),
            (65, 4, 63, 1.0),
            (33, 9, 128, 1.0),
            (5, 16, 7, 1.0),
            (0, 4, 7, 1.0),
        ],
    );
    let all = all.into_iter();
    all.map(|(rows, parts, width, factor)| {
        let name = format!(
            "{parts} parts of [{rows}, {}], size {factor}",
            parts * width
        );
        let given = vec![Given::activation(&[rows, parts * width], 1).times(factor)];
        recorded(name, given, move |tape, inputs| {
            average(tape, &inputs[0], parts)
        })
    })
    .collect()
}
