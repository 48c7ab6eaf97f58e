//! Numbers left out at random while a model trains (Srivastava et al., 2014).

mod gpu;
#[cfg(test)]
mod reference;

use super::formats::with_numbers;
use crate::device::common;
use crate::isa::multiversion;
use crate::parallel::for_rows;
use crate::tensor::Storable;
use crate::{Element, Result, Tape, Tensor, TensorError};

/// `x` with each number 0 with the chance `rate` and divided by `1 - rate` otherwise, in its shape and precision; `x`
/// itself on a tape without a seed ([`Tape::set_seed`]), as in use.
///
/// Which numbers are left out follows from the tape's seed, how often it was asked, and their place: a step repeats.
///
/// # Errors
/// When `rate` is not at least 0 and below 1.
pub fn dropout(tape: &Tape<'_>, x: &Tensor, rate: f32) -> Result<Tensor> {
    if !(0.0..1.0).contains(&rate) {
        let message = format!("a rate of {rate}; expected at least 0 and less than 1");
        return Err(TensorError::shape("dropout", message));
    }
    let Some(seed) = tape.next_seed().filter(|_| rate > 0.0) else {
        return Ok(x.clone());
    };
    let mask = Mask::new(seed, rate);
    if let Some(gpu) = common("dropout", [x])? {
        return gpu::dropout(gpu, tape, x, mask);
    }
    let y = with_numbers!(x, |numbers| masked(numbers, mask, x.shape()));
    let (node, precision) = (x.node, x.precision());
    Ok(tape.record(&[x], y, move |dy, flow| {
        let dy = dy.to_precision(precision);
        let dx = with_numbers!(dy, |numbers| masked(numbers, mask, dy.shape()));
        flow.add(node, dx)
    }))
}

/// Which numbers are left out, and what the others are multiplied by.
#[derive(Clone, Copy)]
struct Mask {
    seed: u64,
    /// Hashes below this leave their number out.
    below: u32,
    factor: f32,
}

impl Mask {
    fn new(seed: u64, rate: f32) -> Self {
        Self {
            seed,
            below: (f64::from(rate) * f64::from(u32::MAX)) as u32,
            factor: 1.0 / (1.0 - rate),
        }
    }

    /// What the number at `place` is multiplied by.
    #[inline(always)]
    fn at(self, place: u64) -> f32 {
        // The finalizer of SplitMix64 (Steele, Lea and Flood, 2014) over places one golden ratio apart.
        let mut hash = self
            .seed
            .wrapping_add(place.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        if ((hash ^ (hash >> 31)) >> 32) as u32 >= self.below {
            self.factor
        } else {
            0.0
        }
    }
}

fn masked<T: Storable>(x: &[T], mask: Mask, shape: &[usize]) -> Tensor {
    Tensor::build::<T>(shape, |out| {
        for_rows(out, 1, |first, out| {
            multiply(&x[first..][..out.len()], mask, first as u64, out);
        });
    })
}

multiversion! {
    fn multiply<T: Element>(x: &[T], mask: Mask, first: u64, out: &mut [T]) {
        for (place, (out, x)) in out.iter_mut().zip(x).enumerate() {
            *out = T::store(x.load() * mask.at(first + place as u64));
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
            testing::check_operation(
                &Case::new(&[&[rows, width]]),
                |tape, inputs| {
                    tape.set_seed(5);
                    dropout(tape, &inputs[0], 0.3)
                },
                &reference::Dropout {
                    factors: (0..(rows * width) as u64)
                        .map(|place| Mask::new(5, 0.3).at(place))
                        .collect(),
                },
            );
        }
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
