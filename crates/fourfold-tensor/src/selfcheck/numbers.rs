//! Numbers that every format has.

/// Parts of one that numbers are whole multiples of: with the sign, all that the mantissa of bf16 has room for.
const PARTS: u64 = 128;

/// `count` multiples of 1/128 from -1 to 1, as if drawn at random.
pub(super) fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        // Knuth's generator; only its upper bits are any good.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % (2 * PARTS + 1)) as f32 / PARTS as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// `count` numbers from -1 to 1 with all the digits of f32, which no other format has: one that computes in fewer digits
/// than it says, as TF32 does, is found by them.
pub(super) fn fine(seed: u64, count: usize) -> Vec<f32> {
    let (coarse, fine) = (numbers(seed, count), numbers(seed + 1000, count));
    let pairs = coarse.into_iter().zip(fine);
    pairs
        .map(|(coarse, fine)| coarse + fine * 0.7 / PARTS as f32)
        .collect()
}

/// `count` times `size` or its negative.
pub(super) fn signs(seed: u64, count: usize, size: f32) -> Vec<f32> {
    let numbers = numbers(seed, count).into_iter();
    numbers
        .map(|number| if number < 0.0 { -size } else { size })
        .collect()
}

/// `count` numbers from 0 to below `limit`, with many repetitions and not in order.
pub(super) fn ids(count: usize, limit: usize) -> Vec<u32> {
    (0..count)
        .map(|i| ((i * i * 7 + i) % limit.max(1)) as u32)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Precision, Tensor};

    #[test]
    fn every_format_has_them() {
        let numbers = [numbers(1, 5000), signs(2, 100, 256.0)].concat();
        let tensor = Tensor::from_f32(&[numbers.len()], &numbers).expect("as many");
        for precision in [Precision::Bf16, Precision::F16] {
            assert_eq!(tensor.to_precision(precision).to_f32_vec(), numbers);
        }
        let mean = numbers[..5000].iter().sum::<f32>() / 5000.0;
        assert!(mean.abs() < 0.05, "{mean}");
    }

    /// TF32 has ten digits behind the first.
    #[test]
    fn fewer_digits_than_those_of_f32_are_seen() {
        let short = |number: f32| f32::from_bits(number.to_bits() & !0x1fff);
        let numbers = fine(1, 1000);
        let lost = numbers.iter().map(|number| (number - short(*number)).abs());
        let lost = lost.fold(0.0, f32::max);
        assert!(lost > 3e-4, "{lost}");
    }
}
