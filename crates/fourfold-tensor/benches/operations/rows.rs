//! Operations that go through rows once, and the head with its loss.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use fourfold_tensor::ops::{
    Gate, Gelu, Heads, Rotary, add_rows, embedding, gated, gelu, head_loss, layer_norm, rms_norm,
    rope,
};
use fourfold_tensor::{Precision, Tape, Tensor};

use super::support::{PRECISIONS, forward_and_back, group, numbers, parameters};

const ROWS: usize = 2048;
const WIDTH: usize = 768;

pub fn all(criterion: &mut Criterion) {
    for precision in PRECISIONS {
        let mut group = group(criterion, "rows");
        norms(&mut group, precision);
        activations(&mut group, precision);
        positions(&mut group, precision);
        tables(&mut group, precision);
        group.finish();
        loss(criterion, precision);
    }
}

/// Bytes that an operation moves which turns `x` into `y`; back it reads the input and the gradient of the result and
/// writes the gradient of the input.
fn moved(x: &Tensor, y_columns: usize, y_precision: Precision) -> [Throughput; 2] {
    let x_bytes = x.len() * x.precision().bytes();
    let y_bytes = x.rows() * y_columns * y_precision.bytes();
    [x_bytes + y_bytes, 3 * x_bytes + 2 * y_bytes].map(|bytes| Throughput::Bytes(bytes as u64))
}

/// Norms read the residual stream, which is f32.
fn norms(group: &mut BenchmarkGroup<'_, WallTime>, precision: Precision) {
    let (parameters, ids) = parameters(precision, &[&[WIDTH], &[WIDTH]]);
    let x = numbers(&[ROWS, WIDTH], Precision::F32);
    let work = moved(&x, WIDTH, precision);
    forward_and_back(
        group,
        "layer norm",
        work.clone(),
        &parameters,
        &x,
        |tape, x| {
            layer_norm(
                tape,
                x,
                &tape.parameter(ids[0]),
                &tape.parameter(ids[1]),
                1e-5,
            )
        },
    );
    forward_and_back(group, "rms norm", work, &parameters, &x, |tape, x| {
        rms_norm(tape, x, &tape.parameter(ids[0]), 1e-5)
    });
}

fn activations(group: &mut BenchmarkGroup<'_, WallTime>, precision: Precision) {
    let (parameters, _) = parameters(precision, &[]);
    let x = numbers(&[ROWS, 4 * WIDTH], precision);
    let work = moved(&x, x.width(), precision);
    for (name, kind) in [("gelu by tanh", Gelu::Tanh), ("gelu by erf", Gelu::Erf)] {
        forward_and_back(group, name, work.clone(), &parameters, &x, |tape, x| {
            gelu(tape, x, kind)
        });
    }
    let x = numbers(&[ROWS, 2 * 2048], precision);
    let work = moved(&x, 2048, precision);
    forward_and_back(group, "gated silu", work, &parameters, &x, |tape, x| {
        gated(tape, x, Gate::Silu)
    });
}

fn positions(group: &mut BenchmarkGroup<'_, WallTime>, precision: Precision) {
    let (parameters, _) = parameters(precision, &[]);
    let heads = Heads {
        query: 12,
        key_value: 4,
        width: 64,
    };
    let positions: Vec<u32> = (0..ROWS as u32).map(|row| row % 256).collect();
    let x = numbers(&[ROWS, heads.columns()], precision);
    let work = moved(&x, x.width(), precision);
    let rotary = Rotary::plain(1e4, heads.width).expect("an even width");
    forward_and_back(group, "rope", work, &parameters, &x, |tape, x| {
        rope(tape, x, heads, &positions, &rotary)
    });
}

fn tables(group: &mut BenchmarkGroup<'_, WallTime>, precision: Precision) {
    let n = 8192;
    let (parameters, ids) = parameters(precision, &[&[n, WIDTH]]);
    let rows: Vec<u32> = (0..ROWS).map(|row| (row * row * 7 % n) as u32).collect();
    let x = numbers(&[ROWS, WIDTH], Precision::F32);
    // A row of the table is read in its format and written in f32; back, one of the gradient is read and added to.
    let work = |per_number: [usize; 2]| {
        per_number.map(|bytes| Throughput::Bytes((ROWS * WIDTH * bytes) as u64))
    };
    let stored = precision.bytes();
    forward_and_back(
        group,
        "embedding",
        work([stored + 4, stored + 4 + 12]),
        &parameters,
        &x,
        |tape, _| embedding(tape, &tape.parameter(ids[0]), &rows),
    );
    let work = work([stored + 8, stored + 8 + 12]);
    forward_and_back(group, "added rows", work, &parameters, &x, |tape, x| {
        add_rows(tape, x, &tape.parameter(ids[0]), &rows)
    });
}

fn loss(criterion: &mut Criterion, precision: Precision) {
    let (rows, width, vocabulary) = (1024, 512, 4096);
    let mut group = group(criterion, "head and loss");
    let (parameters, ids) = parameters(precision, &[&[vocabulary, width]]);
    let x = numbers(&[rows, width], precision);
    let every: Vec<u32> = (0..rows as u32).collect();
    let targets: Vec<u32> = every
        .iter()
        .map(|row| row * 3 % vocabulary as u32)
        .collect();
    // One product forward, two more for the gradients.
    let product = 2 * rows * width * vocabulary;
    let work = [1, 3].map(|products| Throughput::Elements((products * product) as u64));
    let operation = |tape: &Tape<'_>, x: &Tensor| {
        head_loss(tape, x, &tape.parameter(ids[0]), &every, &targets, 1e-3)
    };
    forward_and_back(
        &mut group,
        "1024 x 512 x 4096",
        work,
        &parameters,
        &x,
        operation,
    );
}
