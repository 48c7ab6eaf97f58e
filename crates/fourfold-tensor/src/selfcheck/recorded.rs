//! Cases of operations that a tape records: their output and the gradient of every input.

use super::case::{Array, Case, Failure};
use super::numbers::{fine, numbers, signs};
use crate::{Device, Gradients, Parameters, Precision, Result, Tape, Tensor};

/// How an operation is given an input.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// In the precision of products; what another operation made.
    Activation,
    /// The same in f32, as the residual stream is.
    Stream,
    /// A trainable parameter: a matrix in the precision of products, a vector in f32.
    Parameter,
    /// As an activation, but without a gradient.
    Constant,
}

/// An input of an operation.
pub(super) struct Given {
    shape: Vec<usize>,
    values: Vec<f32>,
    role: Role,
}

impl Given {
    fn new(shape: &[usize], seed: u64, role: Role) -> Self {
        Self {
            shape: shape.to_vec(),
            values: numbers(seed, shape.iter().product()),
            role,
        }
    }

    pub(super) fn activation(shape: &[usize], seed: u64) -> Self {
        Self::new(shape, seed, Role::Activation)
    }

    pub(super) fn stream(shape: &[usize], seed: u64) -> Self {
        Self::new(shape, seed, Role::Stream)
    }

    pub(super) fn parameter(shape: &[usize], seed: u64) -> Self {
        Self::new(shape, seed, Role::Parameter)
    }

    pub(super) fn constant(shape: &[usize], seed: u64) -> Self {
        Self::new(shape, seed, Role::Constant)
    }

    /// All numbers times `factor`, a power of two, so that every format still has them.
    pub(super) fn times(mut self, factor: f32) -> Self {
        self.values.iter_mut().for_each(|value| *value *= factor);
        self
    }

    /// Nothing but `size` and its negative: sums and products of powers of two are exact, however large.
    pub(super) fn of_size(mut self, size: f32, seed: u64) -> Self {
        self.values = signs(seed, self.values.len(), size);
        self
    }

    /// With all the digits of f32; only for what is compared in f32 alone.
    pub(super) fn fine(mut self, seed: u64) -> Self {
        self.values = fine(seed, self.values.len());
        self
    }

    fn tensor(&self, device: &Device, precision: Precision) -> Result<Tensor> {
        let tensor = Tensor::from_f32(&self.shape, &self.values)?;
        let tensor = match self.role {
            Role::Stream => tensor,
            _ => tensor.to_precision(precision),
        };
        tensor.to_device(device)
    }
}

/// Where products are computed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Products {
    /// By the device's library where it has one.
    Usual,
    /// By our own kernels, which stand in for a library.
    Own,
    /// As usual, and the library may round what is f32 to TF32.
    Tf32,
}

/// A case of `operation`, which `given` is handed over to in its order.
pub(super) fn recorded(
    name: impl Into<String>,
    given: Vec<Given>,
    operation: impl Fn(&Tape<'_>, &[Tensor]) -> Result<Tensor> + 'static,
) -> Case {
    recorded_with(Products::Usual, name, given, operation)
}

/// The same, with products computed as is said.
pub(super) fn recorded_with(
    products: Products,
    name: impl Into<String>,
    given: Vec<Given>,
    operation: impl Fn(&Tape<'_>, &[Tensor]) -> Result<Tensor> + 'static,
) -> Case {
    Case::new(name, move |device, precision| {
        let own = device.gpu().filter(|_| products == Products::Own);
        let _own = own.map(|gpu| gpu.own_products());
        let tf32 = products == Products::Tf32;
        compute(&given, &operation, device, precision, tf32)
    })
}

fn compute(
    given: &[Given],
    operation: &impl Fn(&Tape<'_>, &[Tensor]) -> Result<Tensor>,
    device: &Device,
    precision: Precision,
    tf32: bool,
) -> Result<Vec<Array>, Failure> {
    let mut parameters = Parameters::new(precision);
    parameters.allow_tf32(tf32);
    parameters.to_device(device)?;
    // What is no parameter has one that its gradient flows to, so that it can be looked at.
    for (index, given) in given.iter().enumerate() {
        let master = Tensor::from_f32(&given.shape, &given.values)?;
        parameters.add(format!("input {index}"), master)?;
    }
    let constant = |name: &str| {
        let named = given.iter().enumerate();
        let mut constants = named.filter(|(_, given)| given.role == Role::Constant);
        constants.any(|(index, _)| name == format!("input {index}"))
    };
    parameters.set_trainable(|name| !constant(name));
    let mut gradients = Gradients::new(&parameters);
    let tape = Tape::recording(&parameters);
    let mut inputs = Vec::with_capacity(given.len());
    for (given, id) in given.iter().zip(parameters.ids()) {
        let parameter = tape.parameter(id);
        inputs.push(match given.role {
            Role::Parameter => parameter,
            Role::Constant => given.tensor(device, precision)?,
            Role::Activation | Role::Stream => {
                let node = parameter.node;
                let tensor = given.tensor(device, precision)?;
                tape.record(&[&parameter], tensor, move |dy, flow| flow.add(node, dy))
            }
        });
    }
    let output = operation(&tape, &inputs)?;
    let mut arrays = vec![Array::output("output", output.to_host()?.to_f32_vec())];
    let seed = match output.len() {
        1 => vec![1.0],
        len => numbers(99, len),
    };
    let seed = Tensor::from_f32(output.shape(), &seed)?.to_precision(output.precision());
    tape.backward_from(&output, seed.to_device(device)?, &mut gradients)?;
    for (id, parameter) in parameters.iter().filter(|(_, p)| p.trainable()) {
        let name = parameter.name();
        let gradient = gradients.get(id).ok_or("an input got no gradient")?;
        arrays.push(Array::gradient(name, gradient.to_host()?.to_f32_vec()));
    }
    Ok(arrays)
}
