//! Matrix products as a linear layer has them, beside those of crate `gemm`.

use criterion::{BenchmarkId, Criterion, Throughput};
use fourfold_tensor::gemm::{Matrix, Output, product};
use fourfold_tensor::{Parameters, Precision, Tape, Tensor};
use half::bf16;

use super::support::{PRECISIONS, group, numbers};

/// Rows, numbers in and numbers out of a layer.
const LAYERS: [[usize; 3]; 5] = [
    [2048, 768, 768],
    [2048, 768, 3072],
    [2048, 3072, 768],
    [512, 512, 512],
    [1999, 777, 1031],
];
/// The same as decoding has them.
const DECODED: [[usize; 3]; 5] = [
    [1, 768, 3072],
    [2, 768, 3072],
    [4, 768, 3072],
    [8, 768, 3072],
    [16, 768, 3072],
];

/// What a product does in a linear layer.
#[derive(Clone, Copy, PartialEq)]
enum Role {
    /// `x · Wᵀ`.
    Forward,
    /// `dy · W`.
    Input,
    /// `dyᵀ · x`.
    Weight,
}

pub fn all(criterion: &mut Criterion) {
    for (name, role, layers) in [
        ("product: x Wt", Role::Forward, &LAYERS[..]),
        ("product: dy W", Role::Input, &LAYERS[..]),
        ("product: dyt x", Role::Weight, &LAYERS[..]),
        ("product: decoding", Role::Forward, &DECODED[..]),
    ] {
        let mut group = group(criterion, name);
        for [rows, inner, outer] in layers.iter().copied() {
            group.throughput(Throughput::Elements((2 * rows * inner * outer) as u64));
            let size = format!("{rows} x {inner} x {outer}");
            for precision in PRECISIONS {
                let mut operands = Operands::new(role, [rows, inner, outer], precision);
                if layers == DECODED {
                    operands.rest();
                }
                group.bench_function(BenchmarkId::new(precision.name(), &size), |b| {
                    let mut out = operands.out();
                    b.iter(|| operands.multiply(&mut out));
                });
            }
            let operands = Operands::new(role, [rows, inner, outer], Precision::F32);
            group.bench_function(BenchmarkId::new("f32 by crate gemm", &size), |b| {
                let mut out = vec![0.0; operands.m * operands.n];
                b.iter(|| operands.multiply_by_crate(&mut out));
            });
        }
    }
}

struct Operands {
    role: Role,
    precision: Precision,
    a: Tensor,
    b: Tensor,
    m: usize,
    k: usize,
    n: usize,
}

/// A layer's result is in the precision of its operands; a weight's gradient is always a sum in f32.
enum Out {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
}

impl Operands {
    fn new(role: Role, [rows, inner, outer]: [usize; 3], precision: Precision) -> Self {
        let tensor = |shape: [usize; 2]| numbers(&shape, precision);
        let (x, weight, dy) = ([rows, inner], [outer, inner], [rows, outer]);
        let (a, b, [m, k, n]) = match role {
            Role::Forward => (x, weight, [rows, inner, outer]),
            Role::Input => (dy, weight, [rows, outer, inner]),
            Role::Weight => (dy, x, [outer, rows, inner]),
        };
        Self {
            role,
            precision,
            a: tensor(a),
            b: tensor(b),
            m,
            k,
            n,
        }
    }

    /// Makes the weight one that does not change, as where answers are made: its packed form is kept.
    fn rest(&mut self) {
        let mut parameters = Parameters::new(self.precision);
        let weight = self.b.to_precision(Precision::F32);
        let weight = parameters.add("weight", weight).expect("f32");
        self.b = Tape::inference(&parameters).parameter(weight);
    }

    fn out(&self) -> Out {
        let len = self.m * self.n;
        match self.precision {
            Precision::Bf16 if self.role != Role::Weight => Out::Bf16(vec![bf16::ZERO; len]),
            _ => Out::F32(vec![0.0; len]),
        }
    }

    fn multiply(&self, out: &mut Out) {
        let output = match out {
            Out::F32(out) => Output::F32 {
                out,
                accumulate: false,
            },
            Out::Bf16(out) => Output::Bf16(out),
        };
        let (a, b) = (Matrix::new(&self.a), Matrix::new(&self.b));
        let (a, b) = match self.role {
            Role::Forward => (a, b.t()),
            Role::Input => (a, b),
            Role::Weight => (a.t(), b),
        };
        product(a, b, None, self.precision, output).expect("the shapes fit");
    }

    /// The same through `gemm-f32`, the part of crate `gemm` for f32.
    #[allow(unsafe_code)]
    fn multiply_by_crate(&self, out: &mut [f32]) {
        let &Self { m, k, n, .. } = self;
        let (a, b) = (self.a.f32().expect("f32"), self.b.f32().expect("f32"));
        assert!(a.len() == m * k && b.len() == k * n && out.len() == m * n);
        let (a_row, a_column) = match self.role {
            Role::Weight => (1, m),
            _ => (k, 1),
        };
        let (b_row, b_column) = match self.role {
            Role::Forward => (1, k),
            _ => (n, 1),
        };
        let multiply = gemm_f32::gemm::f32::get_gemm_fn();
        // SAFETY: the assertion says that the three hold dense [m, k], [k, n] and [m, n], which the strides walk over.
        // Its kernels write columns, so it is given `outᵀ = bᵀ · aᵀ`.
        unsafe {
            multiply(
                n,
                m,
                k,
                out.as_mut_ptr(),
                n as isize,
                1,
                false,
                b.as_ptr(),
                b_row as isize,
                b_column as isize,
                a.as_ptr(),
                a_row as isize,
                a_column as isize,
                1.0,
                1.0,
                false,
                false,
                false,
                gemm_common::Parallelism::Rayon(0),
            );
        }
    }
}
