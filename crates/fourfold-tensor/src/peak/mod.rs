//! What this machine could do at most: the roof that measured rates are held against.

#[cfg(target_arch = "x86_64")]
mod registers;

use std::time::Instant;

use rayon::prelude::*;

use crate::Precision;
use crate::isa::{fma, multiversion};

/// Runs of a measurement, of which the best counts: others that use the machine only slow it down.
const RUNS: usize = 12;
/// Bytes that a thread sums for the bandwidth: more than any cache of its own holds.
const BYTES: usize = 256 << 20;

/// Operations a second that all threads reach together in loops over registers alone, a multiplication and an addition
/// counted as two: the peak of products in `precision` with the instruction set in use.
pub fn operations_per_second(precision: Precision) -> f64 {
    best(|| {
        let begin = Instant::now();
        let operations: f64 = rayon::broadcast(|_| register_loop(precision)).iter().sum();
        operations / begin.elapsed().as_secs_f64()
    })
}

/// Bytes a second that all threads read from memory together.
pub fn bytes_per_second() -> f64 {
    let numbers = vec![1.0f32; BYTES / size_of::<f32>() * rayon::current_num_threads()];
    best(|| {
        let begin = Instant::now();
        let sum: f32 = numbers.par_chunks(1 << 20).map(sum).sum();
        std::hint::black_box(sum);
        size_of_val(&numbers[..]) as f64 / begin.elapsed().as_secs_f64()
    })
}

fn best(run: impl Fn() -> f64) -> f64 {
    (0..RUNS).map(|_| run()).fold(0.0, f64::max)
}

/// Computes for some ten milliseconds; the operations that it did.
fn register_loop(precision: Precision) -> f64 {
    #[cfg(target_arch = "x86_64")]
    if precision == Precision::Bf16
        && let Some(operations) = registers::products()
    {
        return operations;
    }
    // Where 16-bit products have no instructions of their own they are f32 ones.
    let _ = precision;
    const ROUNDS: usize = 200_000;
    std::hint::black_box(multiply_adds(ROUNDS, std::hint::black_box(0.5)));
    (2 * ROUNDS * SUMS * LANES) as f64
}

/// Independent sums, enough to hide the latency of an addition.
const SUMS: usize = 12;
const LANES: usize = 16;

multiversion! {
    fn multiply_adds(rounds: usize, factor: f32) -> f32 {
        let mut sums = [[0.0f32; LANES]; SUMS];
        for _ in 0..rounds {
            for sum in &mut sums {
                for lane in sum {
                    *lane = fma::<FMA>(*lane, factor, factor);
                }
            }
        }
        sums.as_flattened().iter().sum()
    }
}

multiversion! {
    fn sum(values: &[f32]) -> f32 {
        let mut lanes = [0.0f32; 64];
        for chunk in values.as_chunks::<64>().0 {
            lanes.iter_mut().zip(chunk).for_each(|(lane, value)| *lane += value);
        }
        lanes.iter().sum()
    }
}
