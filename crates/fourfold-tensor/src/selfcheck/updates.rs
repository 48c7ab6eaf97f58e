//! What follows the gradients: their norm, and the step of AdamW.

use super::case::{Array, Case, Failure};
use super::numbers::numbers;
use super::{Bounds, Extent, Operation};
use crate::{AdamW, Device, Gradients, ParameterId, Parameters, Precision, Tape, Tensor, Update};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new("gradient norm", norms).within(Bounds::ALWAYS_F32),
        Operation::new("AdamW, masters", |extent| steps(extent, false)).within(Bounds::ALWAYS_F32),
        Operation::new("AdamW, rounded", |extent| steps(extent, true)),
    ]
}

/// Parameters of some shapes on a device, and gradients for them.
fn parameters(
    device: &Device,
    precision: Precision,
    shapes: &[Vec<usize>],
    size: f32,
) -> Result<(Parameters, Vec<ParameterId>, Gradients), Failure> {
    let mut parameters = Parameters::new(precision);
    parameters.to_device(device)?;
    let mut ids = Vec::new();
    for (seed, shape) in (1..).zip(shapes) {
        let values = numbers(seed, shape.iter().product());
        ids.push(parameters.add(format!("{seed}"), Tensor::from_f32(shape, &values)?)?);
    }
    parameters.set_trainable(|_| true);
    let mut gradients = Gradients::new(&parameters);
    for (seed, id) in (11..).zip(&ids) {
        let values = numbers(seed, parameters.get(*id).master().len());
        let values: Vec<f32> = values.into_iter().map(|value| value * size).collect();
        gradients.put(*id, &values)?;
    }
    Ok((parameters, ids, gradients))
}

fn shapes(extent: Extent) -> Vec<Vec<Vec<usize>>> {
    extent.pick(
        &[vec![vec![65, 130], vec![65]]],
        &[
            vec![vec![1]],
            vec![vec![7], vec![1, 1], vec![129, 257]],
            vec![vec![3]; 70],
        ],
    )
}

/// The squares of large gradients are more than f32 has; sums are f64.
fn norms(extent: Extent) -> Vec<Case> {
    let mut cases = Vec::new();
    for shapes in shapes(extent) {
        for size in [1.0, 1e-3, 1e25] {
            let name = format!("gradients {shapes:?} of size {size:e}");
            let shapes = shapes.clone();
            cases.push(Case::new(name, move |device, precision| {
                let (_, _, gradients) = parameters(device, precision, &shapes, size)?;
                let norm = gradients.norm() as f32;
                Ok(vec![Array::output("norm", vec![norm])])
            }));
        }
    }
    cases
}

/// Three steps, of all numbers and of a part that begins where no vector does.
fn steps(extent: Extent, rounded: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    for shapes in shapes(extent) {
        for first in [0, 3] {
            let name = format!("parameters {shapes:?}, from number {first} on");
            let shapes = shapes.clone();
            cases.push(Case::new(name, move |device, precision| {
                let kept = stepped(device, precision, &shapes, first)?;
                let part = |array: &Array| (array.name.starts_with("rounded")) == rounded;
                Ok(kept.into_iter().filter(part).collect())
            }));
        }
    }
    cases
}

fn stepped(
    device: &Device,
    precision: Precision,
    shapes: &[Vec<usize>],
    first: usize,
) -> Result<Vec<Array>, Failure> {
    let (mut parameters, ids, gradients) = parameters(device, precision, shapes, 1.0)?;
    let mut places = Vec::new();
    let mut moments = Vec::new();
    for id in &ids {
        let len = parameters.get(*id).master().len();
        let place = first.min(len)..len;
        let zeros = || Tensor::zeros(&[place.len()]).to_device(device);
        moments.push([zeros()?, zeros()?]);
        places.push(place);
    }
    for step in 1..=3 {
        let mut updates = Vec::new();
        for ((id, place), [first, second]) in ids.iter().zip(&places).zip(&mut moments) {
            updates.push(Update {
                id: *id,
                place: place.clone(),
                step: AdamW::new([0.9, 0.98], step, 0.01, 0.1),
                gradient: gradients.get(*id).ok_or("a gradient is missing")?,
                first,
                second,
            });
        }
        parameters.step(&mut updates, 0.5)?;
    }
    let tape = Tape::inference(&parameters);
    let mut arrays = Vec::new();
    for (id, [first, second]) in ids.iter().zip(&moments) {
        let name = parameters.get(*id).name();
        let working = tape.parameter(*id);
        for (kind, tensor) in [
            ("master", parameters.get(*id).master()),
            ("rounded", &working),
            ("first moment", first),
            ("second moment", second),
        ] {
            let values = tensor.to_host()?.to_f32_vec();
            arrays.push(Array::output(format!("{kind} of parameter {name}"), values));
        }
    }
    Ok(arrays)
}
