//! Which of the kernels of crate `gemm-f32` multiplies. Alone it takes the best that the machine has; where `FOURFOLD_ISA`
//! asks for less, so does this.

use gemm_common::Parallelism;

#[cfg(target_arch = "x86_64")]
use crate::Isa;

/// `dst = alpha · dst + beta · lhs · rhs`: sizes m, n, k; for each matrix its columns' and rows' strides; whether `dst` is
/// read; the factors; what of it is conjugated.
type Multiply = unsafe fn(
    usize,
    usize,
    usize,
    *mut f32,
    isize,
    isize,
    bool,
    *const f32,
    isize,
    isize,
    *const f32,
    isize,
    isize,
    f32,
    f32,
    bool,
    bool,
    bool,
    Parallelism,
);

/// The kernel of the instruction set in use.
pub(super) fn multiply() -> Multiply {
    #[cfg(target_arch = "x86_64")]
    match Isa::current() {
        Isa::Portable if Isa::best() > Isa::Portable => return scalar::multiply,
        Isa::Avx2 if Isa::best() > Isa::Avx2 => return fma::multiply,
        _ => {}
    }
    gemm_f32::gemm::f32::get_gemm_fn()
}

/// A module with the crate's product in one instruction set, put together from its public parts as the crate does.
#[cfg(target_arch = "x86_64")]
macro_rules! product_of {
    ($set:ident, $simd:ident, $lanes:literal) => {
        mod $set {
            use gemm_common::Parallelism;
            use gemm_common::gemm::gemm_basic_generic;
            use gemm_common::simd::{MixedSimd, $simd};
            use gemm_f32::microkernel::$set::f32::{H_M, H_N, H_UKR, MR_DIV_N, NR, UKR};

            const ROWS: usize = MR_DIV_N * $lanes;

            /// # Safety
            /// Every number that sizes and strides lead to must lie in one allocation with its pointer, `dst` not be
            /// read or written by others meanwhile, and the machine have the instructions.
            #[allow(unsafe_code, clippy::too_many_arguments)]
            pub(super) unsafe fn multiply(
                m: usize,
                n: usize,
                k: usize,
                dst: *mut f32,
                dst_columns: isize,
                dst_rows: isize,
                read_dst: bool,
                lhs: *const f32,
                lhs_columns: isize,
                lhs_rows: isize,
                rhs: *const f32,
                rhs_columns: isize,
                rhs_rows: isize,
                alpha: f32,
                beta: f32,
                conjugate_dst: bool,
                conjugate_lhs: bool,
                conjugate_rhs: bool,
                parallelism: Parallelism,
            ) {
                let simd = <$simd as MixedSimd<f32, f32, f32, f32>>::try_new();
                // SAFETY: the caller's promise.
                unsafe {
                    gemm_basic_generic::<_, f32, $lanes, ROWS, NR, MR_DIV_N, H_M, H_N>(
                        simd.expect("the machine has more than this"),
                        m,
                        n,
                        k,
                        dst,
                        dst_columns,
                        dst_rows,
                        read_dst,
                        lhs,
                        lhs_columns,
                        lhs_rows,
                        rhs,
                        rhs_columns,
                        rhs_rows,
                        alpha,
                        beta,
                        conjugate_dst,
                        conjugate_lhs,
                        conjugate_rhs,
                        |a, b, c| a * b + c,
                        &UKR,
                        &H_UKR,
                        false,
                        parallelism,
                    );
                }
            }
        }
    };
}
#[cfg(target_arch = "x86_64")]
product_of!(scalar, Scalar, 1);
#[cfg(target_arch = "x86_64")]
product_of!(fma, V3, 8);
