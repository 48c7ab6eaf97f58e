//! How fast matrix products run here, against the machine's peak.
//!
//! `cargo run --release -p fourfold-tensor --example product_speed [seconds a shape] [part of a line's beginning]`

use std::hint::black_box;
use std::time::{Duration, Instant};

use fourfold_tensor::gemm::{Matrix, Output, product};
use fourfold_tensor::{Isa, Precision, Tensor, peak};

/// Names of the operands' roles in a linear layer.
#[derive(Clone, Copy)]
enum Role {
    /// `x · Wᵀ`.
    Forward,
    /// `dy · W`.
    Input,
    /// `dyᵀ · x`.
    Weight,
}

const SHAPES: [(&str, Role, [usize; 3]); 15] = [
    ("x Wt", Role::Forward, [2048, 768, 768]),
    ("x Wt", Role::Forward, [2048, 768, 3072]),
    ("x Wt", Role::Forward, [2048, 3072, 768]),
    ("x Wt", Role::Forward, [512, 512, 512]),
    ("x Wt", Role::Forward, [2048, 256, 256]),
    ("x Wt", Role::Forward, [2048, 256, 1024]),
    ("x Wt (head)", Role::Forward, [256, 512, 4096]),
    ("dy W", Role::Input, [2048, 768, 768]),
    ("dy W", Role::Input, [2048, 2048, 512]),
    ("dyt x", Role::Weight, [768, 2048, 768]),
    ("dyt x", Role::Weight, [256, 4000, 256]),
    ("decode", Role::Forward, [1, 768, 768]),
    ("decode", Role::Forward, [4, 768, 3072]),
    ("decode", Role::Forward, [8, 768, 3072]),
    ("decode", Role::Forward, [16, 768, 3072]),
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seconds = match std::env::args().nth(1) {
        Some(seconds) => seconds.parse()?,
        None => 0.5,
    };
    let wanted = std::env::args().nth(2).unwrap_or_default();
    println!("instruction set {:?}", Isa::current());
    for precision in [Precision::Bf16, Precision::F32] {
        let peak = peak::operations_per_second(precision) / 1e9;
        println!("peak of {} products: {peak:.0} GFLOP/s", precision.name());
    }
    println!("GFLOP/s            [m, k, n]              f32: median, best    bf16: median, best");
    for (name, role, size) in SHAPES {
        let mut line = format!("{name:<12} {:<26}", format!("{size:?}"));
        if !line.contains(&wanted) {
            continue;
        }
        for precision in [Precision::F32, Precision::Bf16] {
            let (median, best) = measure(role, size, precision, Duration::from_secs_f64(seconds))?;
            line += &format!("{median:>14.1} {best:>8.1}");
        }
        println!("{line}");
    }
    Ok(())
}

/// Median and best rate of one product, in GFLOP/s.
fn measure(
    role: Role,
    [m, k, n]: [usize; 3],
    precision: Precision,
    time: Duration,
) -> fourfold_tensor::Result<(f64, f64)> {
    let numbers = |shape: [usize; 2]| {
        let values: Vec<f32> = (0..shape[0] * shape[1])
            .map(|i| (i % 97) as f32 / 97.0 - 0.5)
            .collect();
        Tensor::from_f32(&shape, &values).map(|tensor| tensor.to_precision(precision))
    };
    let (a, b) = match role {
        Role::Forward => (numbers([m, k])?, numbers([n, k])?),
        Role::Input => (numbers([m, k])?, numbers([k, n])?),
        Role::Weight => (numbers([k, m])?, numbers([k, n])?),
    };
    let (a, b) = match role {
        Role::Forward => (Matrix::new(&a), Matrix::new(&b).t()),
        Role::Input => (Matrix::new(&a), Matrix::new(&b)),
        Role::Weight => (Matrix::new(&a).t(), Matrix::new(&b)),
    };
    let mut sums = vec![0.0f32; m * n];
    let mut rounded = vec![half::bf16::ZERO; m * n];
    let mut rates = Vec::new();
    let start = Instant::now();
    while start.elapsed() < time || rates.len() < 10 {
        // A layer's output is in the precision of its operands; a weight's gradient is always a sum in f32.
        let output = match (role, precision) {
            (Role::Weight, _) | (_, Precision::F32) => Output::F32 {
                out: &mut sums,
                accumulate: false,
            },
            _ => Output::Bf16(&mut rounded),
        };
        let before = Instant::now();
        product(a, b, None, precision, output)?;
        rates.push(2e-9 * (m * k * n) as f64 / before.elapsed().as_secs_f64());
        black_box((&sums, &rounded));
    }
    rates.sort_by(f64::total_cmp);
    Ok((rates[rates.len() / 2], rates[rates.len() - 1]))
}
