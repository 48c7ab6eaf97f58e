//! GELU as plain loops.

use num_traits::Float;

use super::Gelu;
use crate::testing::Reference;

/// Input `x` of any shape.
pub(in crate::ops) struct Activation {
    pub kind: Gelu,
}

impl Activation {
    /// Value and slope at `x`.
    pub fn at<F: Float>(&self, x: F) -> (F, F) {
        let number = |value: f64| F::from(value).expect("a float");
        let (one, half) = (F::one(), number(0.5));
        match self.kind {
            Gelu::Tanh => {
                let root = number((2.0 / std::f64::consts::PI).sqrt());
                let cubic = number(0.044_715);
                let tanh = (root * (x + cubic * x.powi(3))).tanh();
                let inner = root * (one + number(3.0) * cubic * x.powi(2));
                let slope = half * (one + tanh) + half * x * (one - tanh * tanh) * inner;
                (half * x * (one + tanh), slope)
            }
            Gelu::Erf => {
                let below = half * (one + erf(x / number(2.0).sqrt()));
                let density = (-half * x * x).exp() / number((2.0 * std::f64::consts::PI).sqrt());
                (x * below, below + x * density)
            }
            Gelu::Quick => {
                let factor = number(1.702);
                let gate = (one + (-factor * x).exp()).recip();
                (x * gate, gate * (one + factor * x * (one - gate)))
            }
        }
    }
}

/// The Taylor series `2/√π Σ (-1)^n x^(2n+1) / (n! (2n+1))`: exact for the numbers below 1 that tests use.
fn erf<F: Float>(x: F) -> F {
    let number = |value: f64| F::from(value).expect("a float");
    let (mut power, mut sum) = (x, x);
    for n in 1..40 {
        power = -power * x * x / number(f64::from(n));
        sum = sum + power / number(f64::from(2 * n + 1));
    }
    sum * number(2.0 / std::f64::consts::PI.sqrt())
}

impl Reference for Activation {
    fn forward<F: Float>(&self, inputs: &[Vec<F>]) -> Vec<F> {
        inputs[0].iter().map(|x| self.at(*x).0).collect()
    }

    fn backward<F: Float>(&self, inputs: &[Vec<F>], dy: &[F]) -> Vec<Vec<F>> {
        let pairs = inputs[0].iter().zip(dy);
        vec![pairs.map(|(x, dy)| *dy * self.at(*x).1).collect()]
    }
}
