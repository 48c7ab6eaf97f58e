//! Stored numbers to f32.
//!
//! The layouts are ggml's (`ggml-common.h`), the results those of its `dequantize_row_*` to the bit: each function does
//! the same operations in the same order. Numbers of several bytes are little endian; `d`, `m` and `min` are f16 scales.

mod groups_of_32;
mod super_blocks;

use half::{bf16, f16};
use rayon::prelude::*;

use super::kind::Kind;

/// Numbers that a task turns: enough to be worth one.
const NUMBERS_PER_TASK: usize = 1 << 16;

/// The numbers of whole blocks; `bytes` is a multiple of the kind's block.
pub(super) fn to_f32(kind: Kind, bytes: &[u8]) -> Vec<f32> {
    use {groups_of_32 as groups, super_blocks as supers};
    match kind {
        Kind::F32 => blocks(bytes, |b, out: &mut [f32; 1]| {
            *out = [f32::from_le_bytes(*b)]
        }),
        Kind::F16 => blocks(bytes, |b, out: &mut [f32; 1]| *out = [half(*b)]),
        Kind::Bf16 => blocks(bytes, |b, out: &mut [f32; 1]| {
            *out = [bf16::from_le_bytes(*b).to_f32()];
        }),
        Kind::Q4_0 => blocks(bytes, groups::q4_0),
        Kind::Q4_1 => blocks(bytes, groups::q4_1),
        Kind::Q5_0 => blocks(bytes, groups::q5_0),
        Kind::Q5_1 => blocks(bytes, groups::q5_1),
        Kind::Q8_0 => blocks(bytes, groups::q8_0),
        Kind::Q2K => blocks(bytes, supers::q2_k),
        Kind::Q3K => blocks(bytes, supers::q3_k),
        Kind::Q4K => blocks(bytes, supers::q4_k),
        Kind::Q5K => blocks(bytes, supers::q5_k),
        Kind::Q6K => blocks(bytes, supers::q6_k),
    }
}

/// Turns each block of `B` bytes into `N` numbers.
fn blocks<const B: usize, const N: usize>(
    bytes: &[u8],
    turn: impl Fn(&[u8; B], &mut [f32; N]) + Sync,
) -> Vec<f32> {
    let (stored, _) = bytes.as_chunks::<B>();
    let mut numbers = vec![0.0; stored.len() * N];
    let (out, _) = numbers.as_chunks_mut::<N>();
    let per_task = NUMBERS_PER_TASK / N;
    out.par_chunks_mut(per_task)
        .zip(stored.par_chunks(per_task))
        .for_each(|(out, stored)| {
            for (out, block) in out.iter_mut().zip(stored) {
                turn(block, out);
            }
        });
    numbers
}

/// An f16.
fn half(bytes: [u8; 2]) -> f32 {
    f16::from_le_bytes(bytes).to_f32()
}
