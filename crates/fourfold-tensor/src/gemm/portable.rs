//! Products through the crate `gemm-f32`, which has kernels for every instruction set.
//!
//! Its parent `gemm` would add four other number types, which take longer to compile than all of this crate.

use gemm_common::Parallelism;
use half::{bf16, f16};
use rayon::prelude::*;

use super::{Matrix, Output, SMALL, f32_kernels};
use crate::Precision;
use crate::isa::multiversion;
use crate::ops::formats::{Formats, convert, convert_all, with_view};
use crate::ops::gelu_in_place;
use crate::parallel::for_rows;
use crate::pool::Words;
use crate::tensor::{Storable, View};

/// Numbers that one task converts.
const NUMBERS_PER_TASK: usize = 32 * 1024;

/// `out (+)= a · b + bias`; see [`super::product`].
pub(super) fn product(
    a: Matrix<'_>,
    b: Matrix<'_>,
    bias: Option<&[f32]>,
    precision: Precision,
    output: Output<'_>,
) {
    let (m, n) = (a.rows, b.columns);
    let (mut a_memory, mut b_memory) = (None, None);
    let a_values = in_f32(a.view, precision, &mut a_memory);
    let b_values = in_f32(b.view, precision, &mut b_memory);
    match output {
        Output::F32 { out, accumulate } => {
            if let Some(bias) = bias {
                for_rows(out, n, |_, rows| begin_with(rows, bias, accumulate));
            }
            f32_product(a, a_values, b, b_values, out, accumulate || bias.is_some());
        }
        Output::Added { out, to } => {
            for_rows(out, n, |first, rows| {
                rows.copy_from_slice(&to[first * n..][..rows.len()]);
                if let Some(bias) = bias {
                    begin_with(rows, bias, true);
                }
            });
            f32_product(a, a_values, b, b_values, out, true);
        }
        Output::Bf16(out) => {
            let mut sums = Words::take(m * n * size_of::<f32>());
            let sums = sums.as_mut_slice(m * n);
            if let Some(bias) = bias {
                for_rows(sums, n, |_, rows| begin_with(rows, bias, false));
            }
            f32_product(a, a_values, b, b_values, sums, bias.is_some());
            convert_all(sums, out);
        }
        Output::Gelu(out, kind) => {
            product(a, b, bias, precision, Output::Bf16(&mut *out));
            gelu_in_place(kind, out);
        }
    }
}

/// Every row becomes `bias`, or has it added.
fn begin_with(rows: &mut [f32], bias: &[f32], add: bool) {
    for row in rows.chunks_exact_mut(bias.len()) {
        if add {
            let pairs = row.iter_mut().zip(bias);
            pairs.for_each(|(out, bias)| *out += bias);
        } else {
            row.copy_from_slice(bias);
        }
    }
}

/// The stored numbers in f32, rounded on the way where the product is of another format.
fn in_f32<'a>(view: View<'a>, precision: Precision, memory: &'a mut Option<Words>) -> &'a [f32] {
    if let (View::F32(values), Precision::F32) = (view, precision) {
        return values;
    }
    with_view!(view, |values| {
        let out = take(memory, values.len());
        rounded_all(values, precision, out);
        out
    })
}

fn take(memory: &mut Option<Words>, len: usize) -> &mut [f32] {
    let words = Words::take(len * size_of::<f32>());
    memory.insert(words).as_mut_slice(len)
}

/// Numbers that `precision` has and that are nearest to `values`, in f32, in parallel.
fn rounded_all<T: Storable>(values: &[T], precision: Precision, out: &mut [f32]) {
    out.par_chunks_mut(NUMBERS_PER_TASK)
        .zip(values.par_chunks(NUMBERS_PER_TASK))
        .for_each(|(out, values)| rounded(values, precision, out));
}

/// The same by the calling thread. A product in f32 takes 16-bit numbers as they are.
pub(super) fn rounded<T: Storable>(values: &[T], precision: Precision, out: &mut [f32]) {
    match precision {
        _ if precision == T::PRECISION => convert::<(T, f32)>(values, out),
        Precision::F32 => convert::<(T, f32)>(values, out),
        Precision::Bf16 => convert_through::<(T, bf16)>(values, out),
        Precision::F16 => convert_through::<(T, f16)>(values, out),
    }
}

multiversion! {
    /// The numbers in the second format of `F`, in f32.
    fn convert_through<F: Formats>(values: &[F::In], out: &mut [f32]) {
        use crate::Element;
        for (out, value) in out.iter_mut().zip(values) {
            *out = <F::Out as Element>::store(value.load()).load();
        }
    }
}

#[allow(unsafe_code)]
fn f32_product(
    a: Matrix<'_>,
    a_values: &[f32],
    b: Matrix<'_>,
    b_values: &[f32],
    out: &mut [f32],
    add: bool,
) {
    let (m, k, n) = (a.rows, a.columns, b.columns);
    if m == 0 || n == 0 {
        return;
    }
    if k == 0 {
        if !add {
            out.fill(0.0);
        }
        return;
    }
    debug_assert!(a_values.len() == m * k && b_values.len() == k * n && out.len() == m * n);
    let strides = |matrix: Matrix<'_>| {
        if matrix.transposed {
            (1, matrix.rows as isize)
        } else {
            (matrix.columns as isize, 1)
        }
    };
    let ((a_row, a_column), (b_row, b_column)) = (strides(a), strides(b));
    let small = m * n * k < SMALL;
    let parallelism = if small {
        Parallelism::None
    } else {
        Parallelism::Rayon(0)
    };
    let multiply = f32_kernels::multiply();
    // The kernels write columns, so they are given `outᵀ = bᵀ · aᵀ`.
    // SAFETY: `super::product` checked that `out` is [m, n]; `a_values` and `b_values` hold exactly the dense
    // matrices that the strides walk over; `out` is borrowed mutably and overlaps neither.
    unsafe {
        multiply(
            n,
            m,
            k,
            out.as_mut_ptr(),
            n as isize,
            1,
            add,
            b_values.as_ptr(),
            b_row,
            b_column,
            a_values.as_ptr(),
            a_row,
            a_column,
            1.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}
