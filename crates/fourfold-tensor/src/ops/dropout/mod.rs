//! Numbers left out at random while a model trains (Srivastava et al., 2014).

mod gpu;
#[cfg(test)]
mod reference;

use std::sync::Arc;

use super::formats::with_numbers;
use crate::device::common;
use crate::draws::{Draw, mixed};
use crate::isa::multiversion;
use crate::parallel::for_rows;
use crate::tensor::Storable;
use crate::{Element, Result, Tape, Tensor, TensorError};

/// `x` with each number 0 with the chance `rate` and divided by `1 - rate` otherwise, in its shape and precision; `x`
/// itself on a tape without a seed ([`Tape::set_seed`]), as in use.
///
/// Which numbers are left out follows from the tape's seed, how often it was asked, and their place in a row that is told by
/// its own place or by its key ([`Tape::draw_by`]): a step repeats.
///
/// # Errors
/// When `rate` is not at least 0 and below 1, or not as many rows belong to each key.
pub fn dropout(tape: &Tape<'_>, x: &Tensor, rate: f32) -> Result<Tensor> {
    if !(0.0..1.0).contains(&rate) {
        let message = format!("a rate of {rate}; expected at least 0 and less than 1");
        return Err(TensorError::shape("dropout", message));
    }
    let Some(draw) = tape.draw().filter(|_| rate > 0.0) else {
        return Ok(x.clone());
    };
    let mask = Mask::new(draw, rate, x.rows())?;
    if let Some(gpu) = common("dropout", [x])? {
        return gpu::dropout(gpu, tape, x, mask);
    }
    let y = with_numbers!(x, |numbers| masked(numbers, &mask, x.shape()));
    let (node, precision) = (x.node, x.precision());
    Ok(tape.record(&[x], y, move |dy, flow| {
        let dy = dy.to_precision(precision);
        let dx = with_numbers!(dy, |numbers| masked(numbers, &mask, dy.shape()));
        flow.add(node, dx)
    }))
}

/// Which numbers are left out, and what the others are multiplied by.
#[derive(Clone)]
struct Mask {
    seed: u64,
    keys: Option<Arc<[u64]>>,
    /// Rows of each key.
    rows: usize,
    /// Hashes below this leave their number out.
    below: u32,
    factor: f32,
}

impl Mask {
    fn new(draw: Draw, rate: f32, rows: usize) -> Result<Self> {
        let count = draw.keys.as_ref().map_or(rows, |keys| keys.len());
        if rows > 0 && (count == 0 || !rows.is_multiple_of(count)) {
            let message = format!("{rows} rows, and {count} keys to tell them apart");
            return Err(TensorError::shape("dropout", message));
        }
        Ok(Self {
            seed: draw.seed,
            keys: draw.keys,
            rows: rows / count.max(1),
            below: (f64::from(rate) * f64::from(u32::MAX)) as u32,
            factor: 1.0 / (1.0 - rate),
        })
    }

    /// What the hashes of row `row` begin from.
    fn of_row(&self, row: usize) -> u64 {
        match &self.keys {
            None => mixed(self.seed, row as u64),
            Some(keys) => mixed(
                mixed(self.seed, keys[row / self.rows]),
                (row % self.rows) as u64,
            ),
        }
    }

    /// What number `column` of a row is multiplied by.
    #[inline(always)]
    fn at(&self, of_row: u64, column: usize) -> f32 {
        if (mixed(of_row, column as u64) >> 32) as u32 >= self.below {
            self.factor
        } else {
            0.0
        }
    }
}

fn masked<T: Storable>(x: &[T], mask: &Mask, shape: &[usize]) -> Tensor {
    let width = shape.last().copied().unwrap_or(1).max(1);
    Tensor::build::<T>(shape, |out| {
        for_rows(out, width, |first, out| {
            let rows = out
                .chunks_exact_mut(width)
                .zip(x[first * width..].chunks_exact(width));
            for (row, (out, x)) in rows.enumerate() {
                multiply(x, mask, mask.of_row(first + row), out);
            }
        });
    })
}

multiversion! {
    fn multiply<T: Element>(x: &[T], mask: &Mask, of_row: u64, out: &mut [T]) {
        for (column, (out, x)) in out.iter_mut().zip(x).enumerate() {
            *out = T::store(x.load() * mask.at(of_row, column));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Case};
    use crate::{Parameters, Precision};

    #[test]
    fn agrees_with_its_reference() {
        for (rows, width) in [(1, 1), (9, 7), (300, 131), (0, 7)] {
            for per_key in [None, Some(1), Some(3)] {
                if per_key.is_some_and(|per_key| rows % per_key != 0) {
                    continue;
                }
                let keys = per_key.map(|per_key| {
                    let keys = (0..rows / per_key).map(|key| (key * 77 % 5) as u64);
                    keys.collect::<Arc<[u64]>>()
                });
                let draw = Draw {
                    seed: match &keys {
                        Some(_) => mixed(5, 2),
                        None => 5,
                    },
                    keys: keys.clone(),
                };
                let mask = Mask::new(draw, 0.3, rows).expect("fits");
                let row = |row| {
                    let of_row = mask.of_row(row);
                    let mask = &mask;
                    (0..width).map(move |column| mask.at(of_row, column))
                };
                testing::check_operation(
                    &Case::new(&[&[rows, width]]),
                    |tape, inputs| {
                        tape.set_seed(5);
                        if let Some(keys) = &keys {
                            tape.draw_by(2, || Arc::clone(keys));
                        }
                        dropout(tape, &inputs[0], 0.3)
                    },
                    &reference::Dropout {
                        factors: (0..rows).flat_map(row).collect(),
                    },
                );
            }
        }
    }

    /// What a row loses does not depend on what it is computed with, nor on the draws of other parts.
    #[test]
    fn rows_are_told_by_their_keys() {
        let parameters = Parameters::new(Precision::F32);
        let draw = |keys: &[u64], rows: usize, before: bool| {
            let tape = Tape::inference(&parameters);
            tape.set_seed(3);
            let x = Tensor::from_f32(&[rows, 50], &vec![1.0; rows * 50]).expect("as many");
            if before {
                tape.draw_by(1, || keys.into());
                dropout(&tape, &x, 0.5).expect("a rate");
            }
            tape.draw_by(2, || keys.into());
            let y = dropout(&tape, &x, 0.5).expect("a rate").to_f32_vec();
            y.chunks(100).map(<[f32]>::to_vec).collect::<Vec<_>>()
        };
        let together = draw(&[7, 8, 9], 6, true);
        assert_ne!(together[0], together[1]);
        assert_ne!(together[0][..50], together[0][50..]);
        assert_eq!(
            draw(&[9, 7], 4, false),
            [together[2].clone(), together[0].clone()]
        );
        let tape = Tape::inference(&parameters);
        tape.set_seed(3);
        tape.draw_by(1, || Arc::new([1, 2]));
        let message = dropout(&tape, &Tensor::zeros(&[3, 2]), 0.5).expect_err("an odd row");
        assert!(
            message.to_string().contains("3 rows, and 2 keys"),
            "{message}"
        );
    }

    #[test]
    fn as_many_are_left_out_as_asked_for_and_others_each_time() {
        let parameters = Parameters::new(Precision::F32);
        let tape = Tape::inference(&parameters);
        let x = Tensor::from_f32(&[100, 100], &[1.0; 10_000]).expect("as many");
        let same = dropout(&tape, &x, 0.25).expect("a rate").to_f32_vec();
        assert_eq!(same, [1.0; 10_000]);
        tape.set_seed(1);
        let draw = || dropout(&tape, &x, 0.25).expect("a rate").to_f32_vec();
        let (first, second) = (draw(), draw());
        assert_ne!(first, second);
        for drawn in [&first, &second] {
            let out = drawn.iter().filter(|number| **number == 0.0).count();
            assert!((2300..2700).contains(&out), "{out} of 10000 left out");
            assert!(
                drawn
                    .iter()
                    .all(|n| *n == 0.0 || (n - 4.0 / 3.0).abs() < 1e-6)
            );
        }
        tape.set_seed(1);
        assert_eq!(draw(), first);
        assert!(dropout(&tape, &x, 1.0).is_err());
    }
}
