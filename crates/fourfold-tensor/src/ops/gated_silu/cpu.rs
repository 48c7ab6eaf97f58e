//! Gated SiLU kernels over a piece of rows.

use crate::Element;
use crate::exp::exp_fused;
use crate::isa::{fma, multiversion};

multiversion! {
    /// `x: [rows, 2 · inner]` → `out: [rows, inner]`.
    pub(super) fn forward<T: Element>(x: &[T], inner: usize, out: &mut [T]) {
        for (x, out) in x.chunks_exact(2 * inner).zip(out.chunks_exact_mut(inner)) {
            let (gate, up) = x.split_at(inner);
            for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
                let gate = gate.load();
                *out = T::store(gate * sigmoid::<FMA>(gate) * up.load());
            }
        }
    }
}

multiversion! {
    /// `silu'(g) = s + g · s · (1 - s)` with `s` the logistic function of `g`.
    pub(super) fn backward<T: Element>(x: &[T], dy: &[T], inner: usize, dx: &mut [T]) {
        let rows = x.chunks_exact(2 * inner).zip(dy.chunks_exact(inner));
        for ((x, dy), dx) in rows.zip(dx.chunks_exact_mut(2 * inner)) {
            let (gate, up) = x.split_at(inner);
            let (dgate, dup) = dx.split_at_mut(inner);
            let outputs = dgate.iter_mut().zip(dup);
            for ((((dgate, dup), gate), up), dy) in outputs.zip(gate).zip(up).zip(dy) {
                let (gate, dy) = (gate.load(), dy.load());
                let s = sigmoid::<FMA>(gate);
                let silu = gate * s;
                *dup = T::store(dy * silu);
                *dgate = T::store(dy * up.load() * fma::<FMA>(silu, 1.0 - s, s));
            }
        }
    }
}

#[inline(always)]
fn sigmoid<const FMA: bool>(x: f32) -> f32 {
    1.0 / (1.0 + exp_fused::<FMA>(-x))
}
