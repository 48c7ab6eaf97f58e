//! AdamW (Loshchilov and Hutter, 2019): moments and weights in one pass.

use half::{bf16, f16};
use rayon::prelude::*;

use crate::device::steps::Trained;
use crate::isa::multiversion;
use crate::ops::formats::convert;
use crate::{Rounded, Tensor};

/// Keeps the denominator away from 0, as in the paper and every implementation since.
const EPSILON: f32 = 1e-8;
/// Numbers that one task updates.
const CHUNK: usize = 16 * 1024;

/// The numbers of one step for one parameter.
#[derive(Clone, Copy, Debug)]
pub struct AdamW {
    /// `1 - beta1` and `1 - beta2`, taken in f64: in f32 the second would lose four digits.
    rest: [f32; 2],
    /// `rate / (1 - beta1^t)`.
    rate: f32,
    /// `1 / sqrt(1 - beta2^t)`.
    unbias: f32,
    /// `1 - rate · decay`.
    keep: f32,
}

impl AdamW {
    /// Step `step`, counted from 1, with the learning rate `rate` and decoupled weight decay `decay`.
    pub fn new(betas: [f64; 2], step: u64, rate: f64, decay: f64) -> Self {
        let [beta1, beta2] = betas;
        let unseen = |beta: f64| 1.0 - beta.powf(step as f64);
        Self {
            rest: betas.map(|beta| (1.0 - beta) as f32),
            rate: (rate / unseen(beta1)) as f32,
            unbias: (1.0 / unseen(beta2).sqrt()) as f32,
            keep: (1.0 - rate * decay) as f32,
        }
    }

    /// Updates `weights` and both moments with `gradient · scale`, and writes the new weights to `rounded`, if there is
    /// such; all are of one length.
    pub fn apply(
        self,
        weights: &mut [f32],
        rounded: Option<Rounded<'_>>,
        gradient: &[f32],
        scale: f32,
        first: &mut [f32],
        second: &mut [f32],
    ) {
        let moments = first
            .par_chunks_mut(CHUNK)
            .zip(second.par_chunks_mut(CHUNK));
        let pieces = weights
            .par_chunks_mut(CHUNK)
            .zip(gradient.par_chunks(CHUNK))
            .zip(moments);
        match rounded {
            None => pieces.for_each(|piece| {
                self.piece(piece, scale);
            }),
            Some(Rounded::Bf16(rounded)) => pieces
                .zip(rounded.par_chunks_mut(CHUNK))
                .for_each(|(piece, out)| convert::<(f32, bf16)>(self.piece(piece, scale), out)),
            Some(Rounded::F16(rounded)) => pieces
                .zip(rounded.par_chunks_mut(CHUNK))
                .for_each(|(piece, out)| convert::<(f32, f16)>(self.piece(piece, scale), out)),
        }
    }

    /// The numbers of the step for a parameter that lies on a device.
    pub(crate) fn on_gpu(self, [weights, gradient, first, second]: [&Tensor; 4]) -> Trained {
        Trained {
            weights: weights.address(),
            rounded: 0,
            gradient: gradient.address(),
            first: first.address(),
            second: second.address(),
            count: weights.len() as u64,
            rest: self.rest,
            rate: self.rate,
            unbias: self.unbias,
            keep: self.keep,
            pad: 0,
        }
    }

    /// Updates one piece; its new weights.
    fn piece<'w>(
        self,
        ((weights, gradient), (first, second)): Piece<'w, '_>,
        scale: f32,
    ) -> &'w [f32] {
        update(self, weights, gradient, scale, first, second);
        weights
    }
}

/// Weights with their gradient, and both moments.
type Piece<'w, 'a> = ((&'w mut [f32], &'a [f32]), (&'a mut [f32], &'a mut [f32]));

multiversion! {
    fn update(step: AdamW, weights: &mut [f32], gradient: &[f32], scale: f32, first: &mut [f32], second: &mut [f32]) {
        let moments = first.iter_mut().zip(second);
        for ((weight, gradient), (first, second)) in weights.iter_mut().zip(gradient).zip(moments) {
            let gradient = gradient * scale;
            *first += step.rest[0] * (gradient - *first);
            *second += step.rest[1] * (gradient * gradient - *second);
            let size = second.sqrt() * step.unbias + EPSILON;
            *weight = *weight * step.keep - step.rate * *first / size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three steps against the formulas of the paper, in f64.
    #[test]
    fn steps_follow_the_paper() {
        let gradients = [[0.5, -2.0, 0.0], [-0.1, 1.0, 0.3], [0.7, 0.2, -4.0]];
        let (rate, decay, betas) = (0.01, 0.1, [0.9, 0.98]);
        let mut weights = [1.0f32, -0.5, 2.0];
        let (mut first, mut second) = ([0.0f32; 3], [0.0f32; 3]);
        let mut exact = weights.map(f64::from);
        let (mut m, mut v) = ([0.0f64; 3], [0.0f64; 3]);
        for (index, gradient) in gradients.iter().enumerate() {
            let t = index as u64 + 1;
            let scaled = gradient.map(|g: f64| (2.0 * g) as f32);
            let step = AdamW::new(betas, t, rate, decay);
            let (mut brain, mut half) = ([bf16::NAN; 3], [f16::NAN; 3]);
            let copy = match index {
                0 => Rounded::Bf16(&mut brain),
                _ => Rounded::F16(&mut half),
            };
            step.apply(
                &mut weights,
                Some(copy),
                &scaled,
                0.5,
                &mut first,
                &mut second,
            );
            match index {
                0 => assert_eq!(brain, weights.map(bf16::from_f32)),
                _ => assert_eq!(half, weights.map(f16::from_f32)),
            }
            for i in 0..3 {
                m[i] = betas[0] * m[i] + (1.0 - betas[0]) * gradient[i];
                v[i] = betas[1] * v[i] + (1.0 - betas[1]) * gradient[i].powi(2);
                let m_hat = m[i] / (1.0 - betas[0].powi(t as i32));
                let v_hat = v[i] / (1.0 - betas[1].powi(t as i32));
                exact[i] -= rate * (m_hat / (v_hat.sqrt() + 1e-8) + decay * exact[i]);
            }
        }
        for i in 0..3 {
            assert!(
                (f64::from(weights[i]) - exact[i]).abs() < 1e-6,
                "{} {}",
                weights[i],
                exact[i]
            );
        }
    }
}
