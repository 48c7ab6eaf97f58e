//! Rotary positions: queries and keys are turned by angles that grow with their position.

mod cpu;
mod gpu;
#[cfg(test)]
mod reference;
mod table;

use std::sync::Arc;

use super::Heads;
use super::formats::with_numbers;
use crate::device::common;
use crate::parallel::for_rows;
use crate::tensor::Storable;
use crate::{Precision, Result, Tape, Tensor, TensorError};
pub use table::Rotary;
use table::Table;

/// Positions must be below this (a million): it bounds the memory for sines and cosines.
const LIMIT: u32 = 1 << 20;

/// Rotates the query and key heads of `qkv: [tokens, (query + 2 · key_value) · width]`; values are copied.
///
/// Numbers *i* and *i + width/2* of a head form a pair, turned as `rotary` says: the half-split convention of Hugging
/// Face's Llama. The result has the shape and precision of `qkv`; the gradient turns back.
///
/// # Errors
/// When the heads do not fit the rows or `rotary`, there is not one position a row, or a position is a million (2^20)
/// or more.
pub fn rope(
    tape: &Tape<'_>,
    qkv: &Tensor,
    heads: Heads,
    positions: &[u32],
    rotary: &Rotary,
) -> Result<Tensor> {
    check(qkv, heads, positions, rotary)?;
    let highest = positions.iter().copied().max().unwrap_or(0);
    let turn = Turn {
        heads,
        table: rotary.table(highest),
        positions: positions.into(),
    };
    if let Some(gpu) = common("rope", [qkv])? {
        return gpu::rope(gpu, tape, qkv, turn);
    }
    let y = turn.turned(qkv, 1.0);
    let node = qkv.node;
    Ok(tape.record(&[qkv], y, move |mut dy, flow| {
        let in_place = match dy.precision() {
            Precision::F32 => dy.unique_mut::<f32>().map(|dy| turn.turn(dy, -1.0)),
            Precision::Bf16 => dy.unique_mut::<half::bf16>().map(|dy| turn.turn(dy, -1.0)),
            Precision::F16 => dy.unique_mut::<half::f16>().map(|dy| turn.turn(dy, -1.0)),
        };
        let dx = match in_place {
            Some(()) => dy,
            None => turn.turned(&dy, -1.0),
        };
        flow.add(node, dx)
    }))
}

fn check(qkv: &Tensor, heads: Heads, positions: &[u32], rotary: &Rotary) -> Result<()> {
    heads.check("rope", qkv.width())?;
    let problem = if heads.width != rotary.width() {
        let (width, turned) = (heads.width, rotary.width());
        format!("heads of width {width} for angles of width {turned}")
    } else if positions.len() != qkv.rows() {
        format!("{} positions for {} rows", positions.len(), qkv.rows())
    } else if let Some(row) = positions.iter().position(|position| *position >= LIMIT) {
        format!(
            "position {} of row {row}; expected positions below {LIMIT}",
            positions[row]
        )
    } else {
        return Ok(());
    };
    Err(TensorError::shape("rope", problem))
}

struct Turn {
    heads: Heads,
    table: Arc<Table>,
    positions: Arc<[u32]>,
}

impl Turn {
    /// A turned copy of `x`.
    fn turned(&self, x: &Tensor, direction: f32) -> Tensor {
        with_numbers!(x, |numbers| self.copy(numbers, x.shape(), direction))
    }

    fn copy<T: Storable>(&self, x: &[T], shape: &[usize], direction: f32) -> Tensor {
        let columns = self.heads.columns();
        Tensor::build::<T>(shape, |out| {
            for_rows(out, columns, |first, out| {
                out.copy_from_slice(&x[first * columns..][..out.len()]);
                self.rows(first, out, direction);
            });
        })
    }

    /// Turns `x` itself.
    fn turn<T: Storable>(&self, x: &mut [T], direction: f32) {
        for_rows(x, self.heads.columns(), |first, x| {
            self.rows(first, x, direction);
        });
    }

    fn rows<T: Storable>(&self, first: usize, x: &mut [T], direction: f32) {
        let turned = (self.heads.query + self.heads.key_value) * self.heads.width;
        for (x, position) in x
            .chunks_exact_mut(self.heads.columns())
            .zip(&self.positions[first..])
        {
            let (cosines, sines) = self.table.row(*position as usize);
            cpu::turn(&mut x[..turned], cosines, sines, direction);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Parameters;
    use crate::testing::{self, Case};

    #[test]
    fn agrees_with_its_reference() {
        for (tokens, query, key_value, width, theta) in [
            (1, 1, 1, 2, 10_000.0),
            (5, 3, 1, 6, 100.0),
            (40, 4, 2, 64, 10_000.0),
            (70, 6, 2, 22, 100_000.0),
            (31, 7, 1, 26, 10_000.0),
            (0, 2, 1, 8, 10_000.0),
        ] {
            let heads = Heads {
                query,
                key_value,
                width,
            };
            // Two documents: positions restart.
            let positions: Vec<u32> = (0..tokens as u32)
                .map(|i| if i < 30 { 3 * i } else { i - 30 })
                .collect();
            let plain: Vec<f64> = (0..width / 2)
                .map(|i| f64::from(theta).powf(-2.0 * i as f64 / width as f64))
                .collect();
            let other: Vec<f64> = plain.iter().map(|f| 0.125 * f + 0.01).collect();
            for (rotary, frequencies, amplitude) in [
                (Rotary::plain(theta, width), plain, 1.0),
                (Rotary::new(other.clone(), 1.25), other, 1.25),
            ] {
                let rotary = rotary.expect("an even width");
                testing::check_operation(
                    &Case::new(&[&[tokens, heads.columns()]]),
                    |tape, inputs| rope(tape, &inputs[0], heads, &positions, &rotary),
                    &reference::Rope {
                        heads,
                        positions: positions.clone(),
                        frequencies,
                        amplitude,
                    },
                );
            }
        }
    }

    /// A query-key product depends on the distance alone, also far out.
    #[test]
    fn products_depend_on_the_distance() {
        let parameters = Parameters::new(Precision::F32);
        let tape = Tape::inference(&parameters);
        let heads = Heads {
            query: 1,
            key_value: 1,
            width: 16,
        };
        let mut random = testing::Random(3);
        let row: Vec<f32> = (0..48).map(|_| random.next() as f32).collect();
        let x = Tensor::from_f32(&[2, 48], &[row.clone(), row].concat()).expect("two rows");
        let rotary = Rotary::plain(10_000.0, 16).expect("an even width");
        let product = |positions: [u32; 2]| -> f32 {
            let y = rope(&tape, &x, heads, &positions, &rotary).expect("fits");
            let y = y.f32().expect("f32");
            (0..16).map(|i| y[i] * y[48 + 16 + i]).sum()
        };
        let near = product([7, 2]);
        for start in [0, 1000, 131_072] {
            let far = product([start + 5, start]);
            assert!((near - far).abs() < 1e-5, "{near} and {far} at {start}");
        }
        assert!((near - product([7, 3])).abs() > 1e-3);
    }

    #[test]
    fn says_what_does_not_fit() {
        let parameters = Parameters::new(Precision::F32);
        let tape = Tape::inference(&parameters);
        let heads = |width| Heads {
            query: 1,
            key_value: 1,
            width,
        };
        let rotary = Rotary::plain(1e4, 4).expect("an even width");
        let error = |width: usize, positions: &[u32]| {
            let qkv = Tensor::zeros(&[2, 3 * width]);
            rope(&tape, &qkv, heads(width), positions, &rotary)
                .expect_err("does not fit")
                .to_string()
        };
        assert!(error(6, &[0, 1]).contains("width 6 for angles of width 4"));
        assert!(error(4, &[0]).contains("1 positions for 2 rows"));
        assert!(error(4, &[0, u32::MAX]).contains("4294967295 of row 1"));
        for (rotary, expected) in [
            (Rotary::plain(1e4, 3), "even"),
            (Rotary::plain(f32::NAN, 4), "theta"),
            (Rotary::plain(1e4, 0), "no pair"),
            (Rotary::new(vec![1.0, f64::INFINITY], 1.0), "pair 1"),
            (Rotary::new(vec![1.0], 0.0), "amplitude"),
        ] {
            let message = rotary.expect_err(expected).to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
