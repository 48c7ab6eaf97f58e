//! Gated activation kernels over a piece of rows.

use super::Gate;
use crate::Element;
use crate::isa::{fma, multiversion};
use crate::ops::Gelu;
use crate::ops::gelu::{gelu_at, sigmoid, tanh_slope};

multiversion! {
    /// `x: [rows, 2 · inner]` → `out: [rows, inner]`.
    pub(super) fn forward<T: Element>(gate: Gate, x: &[T], inner: usize, out: &mut [T]) {
        for (x, out) in x.chunks_exact(2 * inner).zip(out.chunks_exact_mut(inner)) {
            let (gates, ups) = x.split_at(inner);
            let rows = out.iter_mut().zip(gates).zip(ups);
            match gate {
                Gate::Silu => {
                    for ((out, x), up) in rows {
                        let x = x.load();
                        *out = T::store(x * sigmoid::<FMA>(x) * up.load());
                    }
                }
                Gate::GeluTanh => {
                    for ((out, x), up) in rows {
                        *out = T::store(gelu_at::<FMA>(Gelu::Tanh, x.load()) * up.load());
                    }
                }
            }
        }
    }
}

multiversion! {
    /// The gradient of the value is `dy · activated`, that of the gate `dy · up · slope`. With `s` the logistic function
    /// of `x`, SiLU's slope is `s + x · s · (1 - s)`.
    pub(super) fn backward<T: Element>(gate: Gate, x: &[T], dy: &[T], inner: usize, dx: &mut [T]) {
        let rows = x.chunks_exact(2 * inner).zip(dy.chunks_exact(inner));
        for ((x, dy), dx) in rows.zip(dx.chunks_exact_mut(2 * inner)) {
            let (gates, ups) = x.split_at(inner);
            let (dgates, dups) = dx.split_at_mut(inner);
            let outputs = dgates.iter_mut().zip(dups).zip(gates).zip(ups).zip(dy);
            match gate {
                Gate::Silu => {
                    for ((((dgate, dup), x), up), dy) in outputs {
                        let (x, dy) = (x.load(), dy.load());
                        let s = sigmoid::<FMA>(x);
                        let silu = x * s;
                        *dup = T::store(dy * silu);
                        *dgate = T::store(dy * up.load() * fma::<FMA>(silu, 1.0 - s, s));
                    }
                }
                Gate::GeluTanh => {
                    for ((((dgate, dup), x), up), dy) in outputs {
                        let (x, dy) = (x.load(), dy.load());
                        *dup = T::store(dy * gelu_at::<FMA>(Gelu::Tanh, x));
                        *dgate = T::store(dy * up.load() * tanh_slope::<FMA>(x));
                    }
                }
            }
        }
    }
}
