//! What this machine could do at most: the roof that measured rates are held against.

use std::time::Instant;

use rayon::prelude::*;

use crate::Precision;
use crate::isa::multiversion;

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

/// Computes for some milliseconds; the operations that it did.
fn register_loop(precision: Precision) -> f64 {
    #[cfg(target_arch = "x86_64")]
    if let Some(operations) = crate::gemm::register_loop(precision) {
        return operations;
    }
    // Where 16-bit products have no instructions of their own they are f32 ones.
    let _ = precision;
    let mut sums = [0.5f32; LANES];
    for _ in 0..ROUNDS {
        for sum in &mut sums {
            *sum = *sum * 0.5 + 0.5;
        }
        std::hint::black_box(&mut sums);
    }
    (2 * ROUNDS * LANES) as f64
}

const ROUNDS: usize = 1_000_000;
const LANES: usize = 64;

multiversion! {
    fn sum(values: &[f32]) -> f32 {
        let mut lanes = [0.0f32; 64];
        for chunk in values.as_chunks::<64>().0 {
            lanes.iter_mut().zip(chunk).for_each(|(lane, value)| *lane += value);
        }
        lanes.iter().sum()
    }
}
