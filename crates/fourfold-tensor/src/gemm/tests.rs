use half::{bf16, f16};

use super::*;
use crate::Element;
use crate::testing::Random;

const PRECISIONS: [Precision; 3] = [Precision::F32, Precision::Bf16, Precision::F16];

/// Where a product's result goes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Written,
    Accumulated,
    Added,
    Rounded,
}

/// One product of random operands.
struct Case {
    size: [usize; 3],
    a: Tensor,
    b: Tensor,
    a_transposed: bool,
    b_transposed: bool,
    bias: Option<Vec<f32>>,
    before: Vec<f32>,
    kind: Kind,
    precision: Precision,
}

impl Case {
    /// In a random layout, with a random output.
    fn random(random: &mut Random, size: [usize; 3], precision: Precision) -> Self {
        let mut coin = || random.next() >= 0.0;
        let transposed = (coin(), coin());
        let kind = match (coin(), coin()) {
            (true, true) => Kind::Rounded,
            (true, false) => Kind::Accumulated,
            (false, true) => Kind::Added,
            (false, false) => Kind::Written,
        };
        let with_bias = coin();
        Self::of(random, size, precision, transposed, kind, with_bias)
    }

    fn of(
        random: &mut Random,
        [m, k, n]: [usize; 3],
        precision: Precision,
        (a_transposed, b_transposed): (bool, bool),
        kind: Kind,
        with_bias: bool,
    ) -> Self {
        let mut numbers = |len: usize| (0..len).map(|_| random.next() as f32).collect::<Vec<f32>>();
        let (a, b, bias, before) = (numbers(m * k), numbers(k * n), numbers(n), numbers(m * n));
        let mut third = || (1.5 * (random.next() + 1.0)) as usize;
        let mut tensor = |values: &[f32], rows: usize, columns: usize, transposed: bool| {
            let shape = if transposed {
                [columns, rows]
            } else {
                [rows, columns]
            };
            let tensor =
                Tensor::from_f32(&shape, values).expect("as many numbers as the shape says");
            tensor.to_precision(PRECISIONS[third().min(2)])
        };
        let (a, b) = (
            tensor(&a, m, k, a_transposed),
            tensor(&b, k, n, b_transposed),
        );
        Self {
            size: [m, k, n],
            a,
            b,
            a_transposed,
            b_transposed,
            bias: with_bias.then_some(bias),
            before,
            kind,
            precision,
        }
    }

    fn operands(&self) -> (Matrix<'_>, Matrix<'_>) {
        let turned = |tensor, transposed| {
            let matrix = Matrix::new(tensor);
            if transposed { matrix.t() } else { matrix }
        };
        (
            turned(&self.a, self.a_transposed),
            turned(&self.b, self.b_transposed),
        )
    }

    /// The result of `compute`, in f32.
    fn run(
        &self,
        compute: impl FnOnce(Matrix<'_>, Matrix<'_>, Option<&[f32]>, Output<'_>),
    ) -> Vec<f32> {
        let (a, b) = self.operands();
        let mut out = self.before.clone();
        if self.kind == Kind::Rounded {
            let mut rounded = vec![bf16::NAN; out.len()];
            compute(a, b, self.bias.as_deref(), Output::Bf16(&mut rounded));
            return rounded.iter().map(|value| value.load()).collect();
        }
        if self.kind == Kind::Added {
            out.fill(f32::NAN);
            let output = Output::Added {
                out: &mut out,
                to: &self.before,
            };
            compute(a, b, self.bias.as_deref(), output);
            return out;
        }
        let accumulate = self.kind == Kind::Accumulated;
        if !accumulate {
            out.fill(f32::NAN);
        }
        compute(
            a,
            b,
            self.bias.as_deref(),
            Output::F32 {
                out: &mut out,
                accumulate,
            },
        );
        out
    }

    fn product(&self) -> Vec<f32> {
        self.run(|a, b, bias, output| {
            product(a, b, bias, self.precision, output).expect("the shapes fit");
        })
    }

    /// The product of the operands as they are rounded, in f64, and for each number the sum of absolute terms that
    /// its error is measured against.
    fn reference(&self) -> Vec<(f64, f64)> {
        let [m, k, n] = self.size;
        let round = |value: f32| match self.precision {
            Precision::F32 => f64::from(value),
            Precision::Bf16 => f64::from(bf16::from_f32(value).to_f32()),
            Precision::F16 => f64::from(f16::from_f32(value).to_f32()),
        };
        let (a, b) = (self.a.to_f32_vec(), self.b.to_f32_vec());
        let mut results = Vec::with_capacity(m * n);
        for row in 0..m {
            for column in 0..n {
                let start = self
                    .bias
                    .as_ref()
                    .map_or(0.0, |bias| f64::from(bias[column]))
                    + match self.kind {
                        Kind::Accumulated | Kind::Added => f64::from(self.before[row * n + column]),
                        _ => 0.0,
                    };
                let (mut sum, mut scale) = (start, start.abs() + 1e-3);
                for i in 0..k {
                    let a = a[if self.a_transposed {
                        i * m + row
                    } else {
                        row * k + i
                    }];
                    let b = b[if self.b_transposed {
                        column * k + i
                    } else {
                        i * n + column
                    }];
                    let term = round(a) * round(b);
                    sum += term;
                    scale += term.abs();
                }
                results.push((sum, scale));
            }
        }
        results
    }

    fn check(&self, found: &[f32]) {
        for (index, (found, (wanted, scale))) in found.iter().zip(self.reference()).enumerate() {
            // Half a unit in the last place of a 16-bit result is 2⁻⁹ of it.
            let rounding = if self.kind == Kind::Rounded {
                wanted.abs() / 256.0
            } else {
                0.0
            };
            let error = (f64::from(*found) - wanted).abs();
            assert!(
                error <= 1e-5 * scale + rounding,
                "{self}: {found} at {index}, wanted {wanted}",
            );
        }
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let operand = |tensor: &Tensor, transposed: bool| {
            format!(
                "{}{}",
                tensor.precision().name(),
                if transposed { "ᵀ" } else { "" }
            )
        };
        write!(
            f,
            "[m, k, n] = {:?}, {} · {} in {}, {:?}{}",
            self.size,
            operand(&self.a, self.a_transposed),
            operand(&self.b, self.b_transposed),
            self.precision.name(),
            self.kind,
            if self.bias.is_some() {
                " with bias"
            } else {
                ""
            },
        )
    }
}

/// Random sizes, mostly ragged, and some where a tile, a panel or a part of a long sum just ends or begins.
fn cases(seed: u64, precision: Precision) -> impl Iterator<Item = Case> {
    let edges = [
        [1, 1, 1],
        [1, 64, 48],
        [2, 32, 16],
        [17, 96, 33],
        [64, 64, 100],
        [50, 576, 31],
        [8, 16, 48],
        [9, 17, 49],
        [8, 2, 47],
        [7, 33, 1],
        [16, 1023, 96],
        [13, 1025, 50],
        [40, 2048, 33],
        [5, 2051, 64],
        [1, 70_000, 30],
        [33, 4096, 7],
        [33, 1088, 40],
        [17, 3072, 33],
        [130, 31, 193],
        [128, 32, 192],
    ];
    let mut random = Random(seed);
    let mut sizes = Vec::new();
    for size in edges {
        sizes.extend([size; 6]);
    }
    for _ in 0..200 {
        let mut size = |most: f64| (random.next().abs() * most) as usize + 1;
        sizes.push([size(70.0), size(90.0), size(130.0)]);
    }
    sizes
        .into_iter()
        .map(move |size| Case::random(&mut random, size, precision))
}

#[test]
fn products_agree_with_sums_in_f64() {
    for precision in PRECISIONS {
        for case in cases(1, precision) {
            case.check(&case.product());
        }
    }
}

#[test]
fn the_portable_path_agrees_with_sums_in_f64() {
    for case in cases(2, Precision::Bf16) {
        case.check(&case.run(|a, b, bias, output| {
            portable::product(a, b, bias, Precision::Bf16, output);
        }));
    }
}

/// Nothing, one, a prime and more than a tile on every side, in the three ways that a linear layer multiplies, with all
/// that may become of the sums.
fn adversarial_cases(precision: Precision) -> impl Iterator<Item = Case> {
    let mut sizes = Vec::new();
    for m in [0, 1, 5, 67] {
        for k in [0, 1, 31, 64, 67] {
            sizes.extend([0, 1, 13, 67].map(|n| [m, k, n]));
        }
    }
    let mut random = Random(6);
    let layouts = [(false, true), (false, false), (true, false)];
    let kinds = [Kind::Written, Kind::Accumulated, Kind::Added, Kind::Rounded];
    sizes.into_iter().flat_map(move |size| {
        let mut cases = Vec::new();
        for transposed in layouts {
            for kind in kinds {
                for with_bias in [false, true] {
                    cases.push(Case::of(
                        &mut random,
                        size,
                        precision,
                        transposed,
                        kind,
                        with_bias,
                    ));
                }
            }
        }
        cases
    })
}

#[test]
fn products_of_adversarial_shapes_agree_with_sums_in_f64() {
    for precision in PRECISIONS {
        for case in adversarial_cases(precision) {
            case.check(&case.product());
            case.check(&case.run(|a, b, bias, output| {
                portable::product(a, b, bias, precision, output);
            }));
            #[cfg(target_arch = "x86_64")]
            if precision == Precision::Bf16 {
                for blocked in blocked_products() {
                    case.check(&blocked(&case));
                }
            }
        }
    }
}

/// The sum is in f32 and rounded to f16 a single time, infinite where it is beyond the highest number.
#[test]
fn a_result_in_f16_is_rounded_once() {
    let mut random = Random(8);
    for size in [[1, 70, 33], [20, 31, 9], [40, 300, 17]] {
        let case = Case::of(
            &mut random,
            size,
            Precision::F16,
            (false, true),
            Kind::Written,
            true,
        );
        let wide = case.product();
        let (a, b) = case.operands();
        let mut narrow = vec![f16::NAN; wide.len()];
        product_to_f16(a, b, case.bias.as_deref(), Precision::F16, &mut narrow).expect("fits");
        let once: Vec<f16> = wide.iter().map(|value| f16::from_f32(*value)).collect();
        assert_eq!(narrow, once, "{case}");
    }
    // Each term is within the range of f16, and so is the sum only in f32.
    let row = Tensor::from_f32(&[1, 3], &[200.0, 200.0, -200.0]).expect("three numbers");
    let (row, mut out) = (row.to_precision(Precision::F16), [f16::NAN]);
    let weights = [[200.0, 200.0, 200.0], [200.0, 200.0, -200.0]];
    for (weight, wanted) in weights.iter().zip([40_000.0, f32::INFINITY]) {
        let weight = Tensor::from_f32(&[1, 3], weight).expect("three numbers");
        let b = Matrix::new(&weight).t();
        product_to_f16(Matrix::new(&row), b, None, Precision::F16, &mut out).expect("fits");
        assert_eq!(out[0].to_f32(), wanted);
    }
}

/// Also for the few rows that [`product`] would take the skinny way.
#[cfg(target_arch = "x86_64")]
#[test]
fn the_blocked_kernels_agree_with_the_portable_path() {
    for blocked in blocked_products() {
        for case in cases(3, Precision::Bf16) {
            let found = blocked(&case);
            case.check(&found);
            let portable = case.run(|a, b, bias, output| {
                portable::product(a, b, bias, Precision::Bf16, output);
            });
            let scale = portable
                .iter()
                .fold(1e-3f32, |scale, value| scale.max(value.abs()));
            for (found, portable) in found.iter().zip(&portable) {
                assert!(
                    (found - portable).abs() <= 1e-2 * scale,
                    "{case}: {found} and {portable}"
                );
            }
        }
    }
}

/// The blocked product with each micro-kernel that this machine has.
#[cfg(target_arch = "x86_64")]
fn blocked_products() -> Vec<fn(&Case) -> Vec<f32>> {
    fn run<K: kernel::MicroKernel>(kernel: Option<K>, case: &Case) -> Vec<f32> {
        let packing = kernel_avx512bf16::Avx512Bf16::find().expect("found before");
        let kernel = kernel.expect("found before");
        case.run(|a, b, bias, output| blocked::product(kernel, packing, a, b, bias, output))
    }
    let mut found: Vec<fn(&Case) -> Vec<f32>> = Vec::new();
    if kernel_avx512bf16::Avx512Bf16::find().is_some() {
        found.push(|case| run(kernel_avx512bf16::Avx512Bf16::find(), case));
    }
    if kernel_amx::Amx::find().is_some() {
        found.push(|case| run(kernel_amx::Amx::find(), case));
    }
    found
}

/// The lanes' way of adding differs, the sums do not beyond rounding; also where [`product`] takes neither.
#[test]
fn skinny_products_agree_with_and_without_avx512() {
    let mut random = Random(5);
    for m in 1..=9 {
        for (k, n) in [(1, 1), (15, 3), (16, 4), (33, 5), (64, 9), (257, 13)] {
            let mut numbers = |len: usize| -> Vec<f32> {
                let numbers = (0..len).map(|_| bf16::from_f64(random.next()).to_f32());
                numbers.collect()
            };
            let (rows, weight) = (numbers(m * k), numbers(n * k));
            let narrow: Vec<bf16> = weight.iter().map(|value| bf16::from_f32(*value)).collect();
            let mut sums = [(); 4].map(|()| vec![f32::NAN; n * m]);
            skinny::dots(&rows, &weight, k, &mut sums[0]);
            skinny::dots(&rows, &narrow, k, &mut sums[1]);
            skinny::portable_dots(&rows, &weight, k, &mut sums[2]);
            skinny::portable_dots(&rows, &narrow, k, &mut sums[3]);
            for j in 0..n {
                for i in 0..m {
                    let terms = (0..k).map(|d| rows[i * k + d] * weight[j * k + d]);
                    let wanted: f64 = terms.map(f64::from).sum();
                    for sums in &sums {
                        let error = (f64::from(sums[j * m + i]) - wanted).abs();
                        assert!(
                            error <= 1e-5 * k as f64,
                            "[{m}, {k}, {n}] at {i}, {j}: {error}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let pools = [1, 2, 3].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.expect("threads start")
    });
    let same_bits = |case: &Case, compute: &(dyn Fn(&Case) -> Vec<f32> + Sync)| {
        let bits = |pool: &rayon::ThreadPool| {
            let result = pool.install(|| compute(case));
            result.into_iter().map(f32::to_bits).collect::<Vec<u32>>()
        };
        let alone = bits(&pools[0]);
        assert!(pools.iter().all(|pool| bits(pool) == alone), "{case}");
    };
    let mut random = Random(4);
    for precision in PRECISIONS {
        for size in [
            [3, 1025, 700],
            [300, 150, 200],
            [61, 2500, 90],
            [513, 97, 130],
        ] {
            for _ in 0..6 {
                let case = Case::random(&mut random, size, precision);
                same_bits(&case, &Case::product);
                #[cfg(target_arch = "x86_64")]
                if precision == Precision::Bf16 {
                    for blocked in blocked_products() {
                        same_bits(&case, &|case| blocked(case));
                    }
                }
            }
        }
    }
}

#[test]
fn an_empty_sum_is_its_bias_and_an_empty_result_nothing() {
    let bias = [1.0, -2.0, 3.0];
    for precision in PRECISIONS {
        for rows in [2, 20] {
            let (a, b) = (Tensor::zeros(&[rows, 0]), Tensor::zeros(&[3, 0]));
            for accumulate in [false, true] {
                let mut out = vec![4.0; rows * 3];
                let output = Output::F32 {
                    out: &mut out,
                    accumulate,
                };
                product(
                    Matrix::new(&a),
                    Matrix::new(&b).t(),
                    Some(&bias),
                    precision,
                    output,
                )
                .expect("the shapes fit");
                let wanted = bias.map(|bias| if accumulate { 4.0 + bias } else { bias });
                assert!(out.chunks(3).all(|row| row == wanted), "{out:?}");
            }
        }
        let (a, b) = (Tensor::zeros(&[0, 5]), Tensor::zeros(&[3, 5]));
        product(
            Matrix::new(&a),
            Matrix::new(&b).t(),
            Some(&bias),
            precision,
            Output::Bf16(&mut []),
        )
        .expect("the shapes fit");
        product(
            Matrix::new(&b),
            Matrix::new(&a).t(),
            None,
            precision,
            Output::Bf16(&mut []),
        )
        .expect("the shapes fit");
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let (a, b) = (Tensor::zeros(&[2, 3]), Tensor::zeros(&[3, 4]));
    let refused = |b: Matrix<'_>, bias: Option<&[f32]>, len: usize| {
        let mut out = vec![0.0; len];
        let output = Output::F32 {
            out: &mut out,
            accumulate: false,
        };
        let result = product(Matrix::new(&a), b, bias, Precision::Bf16, output);
        let message = result.expect_err("the shapes do not fit").to_string();
        assert!(
            message.contains("product") && message.contains("[2, 3]"),
            "{message}"
        );
    };
    refused(Matrix::new(&b).t(), None, 8);
    refused(Matrix::new(&b), None, 7);
    refused(Matrix::new(&b), Some(&[0.0; 3]), 8);
}
