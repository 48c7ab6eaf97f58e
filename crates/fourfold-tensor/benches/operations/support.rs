//! Operands, and one operation forward and back.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput};
use fourfold_tensor::{Gradients, ParameterId, Parameters, Precision, Result, Tape, Tensor};

pub const PRECISIONS: [Precision; 2] = [Precision::F32, Precision::Bf16];

/// A group of measurements that each run equally often: some take so long that a growing number would not end.
pub fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sampling_mode(SamplingMode::Flat);
    group
}

/// A tensor of random numbers in [-1, 1).
pub fn numbers(shape: &[usize], precision: Precision) -> Tensor {
    within(1.0, shape, precision)
}

fn within(bound: f64, shape: &[usize], precision: Precision) -> Tensor {
    let mut random = 1u64;
    let mut next = |_| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (((random >> 11) as f64 / (1u64 << 52) as f64 - 1.0) * bound) as f32
    };
    let values: Vec<f32> = (0..shape.iter().product()).map(&mut next).collect();
    let tensor = Tensor::from_f32(shape, &values).expect("as many numbers as the shape says");
    tensor.to_precision(precision)
}

/// Trainable parameters, called by their places in `shapes`; small ones as in a network, or the probabilities of a loss
/// would be so small that processors take long for them.
pub fn parameters(precision: Precision, shapes: &[&[usize]]) -> (Parameters, Vec<ParameterId>) {
    let mut parameters = Parameters::new(precision);
    let mut ids = Vec::new();
    for (place, shape) in shapes.iter().enumerate() {
        let values = within(0.05, shape, Precision::F32);
        let id = parameters.add(place.to_string(), values);
        ids.push(id.expect("a new name"));
    }
    parameters.set_trainable(|_| true);
    (parameters, ids)
}

/// Times `operation` of `x`, forward alone and with the gradients of `x` and of the parameters that it uses. `work` is
/// what either does, for rates.
pub fn forward_and_back(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    work: [Throughput; 2],
    parameters: &Parameters,
    x: &Tensor,
    operation: impl Fn(&Tape<'_>, &Tensor) -> Result<Tensor>,
) {
    let precision = parameters.precision().name();
    let [forward, both] = work;
    group.throughput(forward);
    group.bench_function(
        BenchmarkId::new(format!("{name}, forward"), precision),
        |b| {
            b.iter(|| operation(&Tape::inference(parameters), x).expect("it fits"));
        },
    );
    let y = operation(&Tape::inference(parameters), x).expect("it fits");
    let dy = numbers(y.shape(), y.precision());
    let mut gradients = Gradients::new(parameters);
    group.throughput(both);
    group.bench_function(
        BenchmarkId::new(format!("{name}, forward and back"), precision),
        |b| {
            b.iter(|| {
                let tape = Tape::recording(parameters);
                let y = operation(&tape, &tape.variable(x)).expect("it fits");
                tape.backward_from(&y, dy.clone(), &mut gradients)
                    .expect("recorded");
            });
        },
    );
}
