//! How an operation is held to its reference form.

use num_traits::Float;

use crate::{Device, DeviceChoice, Gradients, Parameters, Precision, Result, Tape, Tensor};

/// An operation and its gradient as plain loops over any float type.
pub(crate) trait Reference {
    /// The output for `inputs`.
    fn forward<F: Float>(&self, inputs: &[Vec<F>]) -> Vec<F>;
    /// The gradient of `Σ output · dy` with respect to each of `inputs`.
    fn backward<F: Float>(&self, inputs: &[Vec<F>], dy: &[F]) -> Vec<Vec<F>>;
}

/// Random inputs for one check.
pub(crate) struct Case {
    shapes: Vec<Vec<usize>>,
    f32_inputs: Vec<usize>,
    constants: Vec<usize>,
    differences: bool,
}

impl Case {
    pub(crate) fn new(shapes: &[&[usize]]) -> Self {
        Self {
            shapes: shapes.iter().map(|shape| shape.to_vec()).collect(),
            f32_inputs: Vec::new(),
            constants: Vec::new(),
            differences: true,
        }
    }

    /// Input `index` is handed over in f32 even where the operation computes in 16 bits.
    pub(crate) fn keep_f32(mut self, index: usize) -> Self {
        self.f32_inputs.push(index);
        self
    }

    /// Input `index` gets no gradient from the operation; only its value is compared.
    #[allow(dead_code)]
    pub(crate) fn constant(mut self, index: usize) -> Self {
        self.constants.push(index);
        self
    }

    /// For large cases: the reference's gradient is taken as it is, and not held to central differences, for which it
    /// would run hundreds of times.
    pub(crate) fn without_differences(mut self) -> Self {
        self.differences = false;
        self
    }

    fn values(&self) -> Vec<Vec<f32>> {
        let mut random = Random(1);
        // Inputs are 16-bit numbers so that rounding them changes nothing and only the computation is compared.
        let number = |random: &mut Random| half::bf16::from_f64(random.next()).to_f32();
        self.shapes
            .iter()
            .map(|shape| {
                (0..shape.iter().product())
                    .map(|_| number(&mut random))
                    .collect()
            })
            .collect()
    }
}

/// A small generator of numbers in [-1, 1): tests need no better.
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
}

/// The formats that operations compute in, and how far from the reference a number may be, relative to the largest of its
/// array: some roundings of the format.
pub(crate) const PRECISIONS: [(Precision, f64); 3] = [
    (Precision::F32, 1e-5),
    (Precision::Bf16, 2e-2),
    (Precision::F16, 4e-3),
];

/// Checks an operation two ways: the reference's gradient against central differences in f64, and the operation's values
/// and gradients against the reference in each of [`PRECISIONS`].
pub(crate) fn check_operation<R: Reference>(
    case: &Case,
    operation: impl Fn(&Tape<'_>, &[Tensor]) -> Result<Tensor>,
    reference: &R,
) {
    check_on(&devices(), case, operation, reference);
}

/// The same on some devices alone.
pub(crate) fn check_on<R: Reference>(
    devices: &[Device],
    case: &Case,
    operation: impl Fn(&Tape<'_>, &[Tensor]) -> Result<Tensor>,
    reference: &R,
) {
    let inputs = case.values();
    let wide = |values: &[f32]| values.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
    let inputs64: Vec<Vec<f64>> = inputs.iter().map(|input| wide(input)).collect();
    let y64 = reference.forward(&inputs64);
    let mut random = Random(2);
    let dy: Vec<f32> = y64
        .iter()
        .map(|_| half::bf16::from_f64(random.next()).to_f32())
        .collect();
    let gradients64 = reference.backward(&inputs64, &wide(&dy));
    if case.differences {
        check_central_differences(case, reference, &inputs64, &wide(&dy), &gradients64);
    }

    for device in devices {
        for (precision, tolerance) in PRECISIONS {
            let check = Check {
                device,
                precision,
                tolerance,
            };
            check.run(case, &inputs, &operation, &y64, &dy, &gradients64);
        }
    }
}

/// Where operations are checked: here, as kernels for GPUs on the emulated device, and on the device that
/// `FOURFOLD_TEST_DEVICE` names, if it does.
pub(crate) fn devices() -> Vec<Device> {
    let mut devices = vec![Device::Cpu];
    // The lesser instruction sets, with which all tests run once more, change nothing of the emulated device.
    if std::env::var_os("FOURFOLD_ISA").is_none() {
        devices.push(DeviceChoice::Emulated.open().expect("a C++ compiler"));
        if let Ok(name) = std::env::var("FOURFOLD_TEST_DEVICE") {
            let choice: DeviceChoice = name.parse().expect("the name of a device");
            devices.push(choice.open().expect("a device that can be used"));
        }
    }
    devices
}

/// One comparison of an operation with the reference.
struct Check<'a> {
    device: &'a Device,
    precision: Precision,
    tolerance: f64,
}

impl Check<'_> {
    fn run(
        &self,
        case: &Case,
        inputs: &[Vec<f32>],
        operation: &impl Fn(&Tape<'_>, &[Tensor]) -> Result<Tensor>,
        y64: &[f64],
        dy: &[f32],
        gradients64: &[Vec<f64>],
    ) {
        let mut parameters = Parameters::new(self.precision);
        parameters.to_device(self.device).expect("there is room");
        let ids: Vec<_> = inputs
            .iter()
            .zip(&case.shapes)
            .enumerate()
            .map(|(index, (values, shape))| {
                let tensor = Tensor::from_f32(shape, values).expect("shape and values agree");
                parameters
                    .add(format!("input{index}"), tensor)
                    .expect("a new name")
            })
            .collect();
        parameters.set_trainable(|name| {
            !case
                .constants
                .iter()
                .any(|constant| name == format!("input{constant}"))
        });
        let mut gradients = Gradients::new(&parameters);
        let tape = Tape::recording(&parameters);
        let operands: Vec<Tensor> = ids
            .iter()
            .enumerate()
            .map(|(index, id)| {
                let tensor = tape.parameter(*id);
                let node = tensor.node;
                let keep = case.f32_inputs.contains(&index) || tensor.shape().len() < 2;
                let tensor = if keep {
                    parameters.get(*id).master().clone()
                } else {
                    tensor
                };
                match node {
                    Some(node) => tensor.with_node(node),
                    None => tensor,
                }
            })
            .collect();
        let y = operation(&tape, &operands).expect("the operation accepts its case");
        assert_eq!(y.device(), *self.device);
        self.compare("output", &y, y64);
        let loss = weighted_sum(&tape, &y, dy);
        tape.backward(&loss, &mut gradients)
            .expect("a recorded loss");
        for (index, id) in ids.iter().enumerate() {
            if !case.constants.contains(&index) {
                let gradient = gradients.get(*id).expect("every input gets a gradient");
                let name = format!("gradient of input {index}");
                self.compare(&name, gradient, &gradients64[index]);
            }
        }
        drop((operands, y, loss, gradients));
        if let Some(gpu) = self.device.gpu() {
            gpu.synchronize().expect("nothing failed on the way");
        }
    }

    fn compare(&self, what: &str, found: &Tensor, wanted: &[f64]) {
        let found = found.to_f32_vec();
        let what = format!("{what} on {}", self.device);
        assert_close(&what, self.precision, &found, wanted, self.tolerance);
    }
}

/// `Σ y · dy` as a recorded scalar.
pub(crate) fn weighted_sum(tape: &Tape<'_>, y: &Tensor, dy: &[f32]) -> Tensor {
    let value: f32 = y.to_f32_vec().iter().zip(dy).map(|(y, dy)| y * dy).sum();
    let gradient = Tensor::from_f32(y.shape(), dy)
        .expect("as long as y")
        .to_precision(y.precision())
        .to_device(&y.device())
        .expect("there is room");
    let node = y.node;
    let scalar = Tensor::from_f32(&[1], &[value]).expect("one number");
    tape.record(&[y], scalar, move |_, flow| flow.add(node, gradient))
}

fn check_central_differences<R: Reference>(
    case: &Case,
    reference: &R,
    inputs: &[Vec<f64>],
    dy: &[f64],
    gradients: &[Vec<f64>],
) {
    let step = 1e-5;
    let objective = |inputs: &[Vec<f64>]| -> f64 {
        reference
            .forward(inputs)
            .iter()
            .zip(dy)
            .map(|(y, dy)| y * dy)
            .sum()
    };
    for (index, input) in inputs.iter().enumerate() {
        if case.constants.contains(&index) {
            continue;
        }
        // A spread of positions is enough: a wrong formula is wrong nearly everywhere.
        for position in (0..input.len()).step_by((input.len() / 24).max(1)) {
            let mut shifted = inputs.to_vec();
            shifted[index][position] = input[position] + step;
            let above = objective(&shifted);
            shifted[index][position] = input[position] - step;
            let difference = (above - objective(&shifted)) / (2.0 * step);
            let gradient = gradients[index][position];
            assert!(
                (difference - gradient).abs() <= 1e-6 * (1.0 + gradient.abs()),
                "input {index} at {position}: central difference {difference}, reference gradient {gradient}"
            );
        }
    }
}

pub(crate) fn assert_close(
    what: &str,
    precision: Precision,
    found: &[f32],
    wanted: &[f64],
    tolerance: f64,
) {
    assert_eq!(found.len(), wanted.len(), "{what}: length");
    let scale = wanted
        .iter()
        .fold(1e-3f64, |scale, value| scale.max(value.abs()));
    for (position, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        let error = (f64::from(*found) - wanted).abs() / scale;
        assert!(
            error <= tolerance,
            "{what} in {precision:?} at {position}: found {found}, wanted {wanted}, error {error:.2e}"
        );
    }
}
