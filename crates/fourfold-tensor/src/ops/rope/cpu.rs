//! The rotation of one row.

use crate::Element;
use crate::isa::{fma, multiversion};

multiversion! {
    /// Turns every head of `x`, a head being twice as wide as `cosines` and `sines`; `direction` is 1, or -1 to turn
    /// back.
    pub(super) fn turn<T: Element>(x: &mut [T], cosines: &[f32], sines: &[f32], direction: f32) {
        let half = cosines.len();
        for head in x.chunks_exact_mut(2 * half) {
            let (left, right) = head.split_at_mut(half);
            let pairs = left.iter_mut().zip(right);
            for (((left, right), cosine), sine) in pairs.zip(cosines).zip(sines) {
                let (a, b, sine) = (left.load(), right.load(), direction * sine);
                *left = T::store(fma::<FMA>(a, *cosine, -(b * sine)));
                *right = T::store(fma::<FMA>(b, *cosine, a * sine));
            }
        }
    }
}
