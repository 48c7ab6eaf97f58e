//! One step of AdamW over the weights of a layer.

use criterion::{Criterion, Throughput};
use fourfold_tensor::{AdamW, Precision, Rounded};
use half::bf16;

use super::support::{group, numbers};

const WEIGHTS: usize = 4 << 20;

pub fn all(criterion: &mut Criterion) {
    let mut group = group(criterion, "AdamW");
    let gradient = numbers(&[WEIGHTS], Precision::F32).to_f32_vec();
    let mut weights = gradient.clone();
    let (mut first, mut second) = (vec![0.0; WEIGHTS], vec![0.0; WEIGHTS]);
    let mut rounded = vec![bf16::ZERO; WEIGHTS];
    let step = AdamW::new([0.9, 0.95], 10, 1e-4, 0.1);
    // Weights and moments are read and written, the gradient is read.
    group.throughput(Throughput::Bytes((7 * 4 * WEIGHTS) as u64));
    group.bench_function("f32", |b| {
        b.iter(|| step.apply(&mut weights, None, &gradient, 0.5, &mut first, &mut second));
    });
    group.throughput(Throughput::Bytes(((7 * 4 + 2) * WEIGHTS) as u64));
    group.bench_function("with a bf16 copy", |b| {
        b.iter(|| {
            let copy = Some(Rounded::Bf16(&mut rounded));
            step.apply(&mut weights, copy, &gradient, 0.5, &mut first, &mut second);
        });
    });
}
