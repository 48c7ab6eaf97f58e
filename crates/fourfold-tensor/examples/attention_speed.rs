//! Times attention, forward and forward with backward, for the shapes that training meets.
//!
//! `cargo run --release -p fourfold-tensor --example attention_speed`
//!
//! Rates count the products of visible pairs only (two forward, five more backward, 2 · width operations each). What
//! the scalar loss around the attention costs is timed by itself and taken off.

use std::time::Instant;

use fourfold_tensor::ops::{Heads, Visibility, attention, linear};
use fourfold_tensor::{Gradients, Parameters, Precision, Result, Tape, Tensor};

fn main() -> Result<()> {
    let causal = |documents: usize, rows: usize| {
        let first = move |row: u32| row / rows as u32 * rows as u32;
        let all = 0..(documents * rows) as u32;
        Visibility::new(
            all.clone().map(first).collect(),
            all.map(|row| row + 1).collect(),
        )
    };
    let heads = |query, key_value| Heads {
        query,
        key_value,
        width: 64,
    };
    let cases = [
        (
            "8 x 256 causal, 6 heads of 64",
            causal(8, 256)?,
            heads(6, 6),
        ),
        (
            "32 x 64 full, 4 heads of 64",
            Visibility::blocks(2048, 64),
            heads(4, 4),
        ),
        (
            "40 documents of 50 causal, 4/2 heads of 64",
            causal(40, 50)?,
            heads(4, 2),
        ),
        (
            "10 x 196 full, 6 heads of 64",
            Visibility::blocks(1960, 196),
            heads(6, 6),
        ),
        (
            "1 x 2048 causal, 6 heads of 64",
            causal(1, 2048)?,
            heads(6, 6),
        ),
    ];
    println!("{} threads", rayon::current_num_threads());
    for precision in [Precision::F32, Precision::Bf16] {
        for (name, visibility, heads) in &cases {
            measure(name, precision, visibility, *heads)?;
        }
    }
    Ok(())
}

fn measure(name: &str, precision: Precision, visibility: &Visibility, heads: Heads) -> Result<()> {
    let (rows, out) = (visibility.rows(), heads.query * heads.width);
    let numbers = |count: usize, scale: f32| -> Vec<f32> {
        (0..count)
            .map(|i| ((i * 7919 + 13) % 2003) as f32 * scale / 1001.0 - scale)
            .collect()
    };
    let mut parameters = Parameters::new(precision);
    let columns = heads.columns();
    let values = Tensor::from_f32(&[rows, columns], &numbers(rows * columns, 1.0))?;
    let qkv = parameters.add("qkv", values)?;
    let weight = Tensor::from_f32(&[1, rows * out], &numbers(rows * out, 0.01))?;
    let weight = parameters.add("weight", weight)?;
    let plain_weight = Tensor::from_f32(&[1, rows * columns], &numbers(rows * columns, 0.01))?;
    let plain_weight = parameters.add("plain weight", plain_weight)?;
    parameters.set_trainable(|name| name == "qkv");
    let mut gradients = Gradients::new(&parameters);

    let forward = best(|| {
        let tape = Tape::inference(&parameters);
        attention(&tape, &tape.parameter(qkv), heads, visibility).map(|_| ())
    })?;
    let around = best(|| {
        let tape = Tape::recording(&parameters);
        let y = tape.parameter(qkv).reshape(&[1, rows * columns])?;
        let loss = linear(&tape, &y, &tape.parameter(plain_weight), None)?;
        tape.backward(&loss, &mut gradients)
    })?;
    let both = best(|| {
        let tape = Tape::recording(&parameters);
        let y = attention(&tape, &tape.parameter(qkv), heads, visibility)?;
        let loss = linear(
            &tape,
            &y.reshape(&[1, rows * out])?,
            &tape.parameter(weight),
            None,
        )?;
        tape.backward(&loss, &mut gradients)
    })?;
    let both = (both - around * out as f64 / columns as f64).max(forward);

    let intervals = visibility.start().iter().zip(visibility.end());
    let pairs: f64 = intervals.map(|(start, end)| f64::from(end - start)).sum();
    let product = 2.0 * pairs * out as f64 / 1e9;
    println!(
        "{name:<44} {:<4} forward {:7.2} ms {:6.1} GFLOP/s   with backward {:7.2} ms {:6.1} GFLOP/s",
        precision.name(),
        forward * 1e3,
        2.0 * product / forward,
        both * 1e3,
        7.0 * product / both,
    );
    Ok(())
}

/// The shortest time of several, in seconds.
fn best(mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut shortest = f64::INFINITY;
    for _ in 0..25 {
        let start = Instant::now();
        work()?;
        shortest = shortest.min(start.elapsed().as_secs_f64());
    }
    Ok(shortest)
}
