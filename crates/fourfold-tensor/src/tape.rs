//! The tape: what a forward pass noted for its gradient, replayed backwards.

use std::cell::RefCell;

use half::bf16;

use crate::parameters::Gradients;
use crate::tensor::View;
use crate::{Element, ParameterId, Parameters, Precision, Result, Tensor, TensorError};

/// Where a tensor's gradient goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// To the operation that made it.
    Step(usize),
    /// To a trainable parameter.
    Parameter(ParameterId),
}

type Backward = Box<dyn FnOnce(Tensor, &mut Flow<'_>) -> Result<()>>;

/// Notes the operations of one forward pass over `parameters`.
pub struct Tape<'p> {
    parameters: &'p Parameters,
    steps: RefCell<Vec<Backward>>,
    recording: bool,
}

impl<'p> Tape<'p> {
    /// A tape that records what gradients need.
    pub fn recording(parameters: &'p Parameters) -> Self {
        Self {
            parameters,
            steps: RefCell::default(),
            recording: true,
        }
    }

    /// A tape that records nothing.
    pub fn inference(parameters: &'p Parameters) -> Self {
        Self {
            parameters,
            steps: RefCell::default(),
            recording: false,
        }
    }

    /// The precision that products compute in.
    pub fn precision(&self) -> Precision {
        self.parameters.precision()
    }

    /// The parameter `id` as an operand.
    pub fn parameter(&self, id: ParameterId) -> Tensor {
        let tensor = self.parameters.tensor(id);
        if self.recording {
            tensor
        } else {
            tensor.detach()
        }
    }

    /// How many operations are recorded.
    pub fn recorded(&self) -> usize {
        self.steps.borrow().len()
    }

    /// Notes that `output` came from `inputs`; `backward` turns the gradient of the output into theirs.
    ///
    /// Nothing is noted when no input leads to a trainable parameter: `output` is then a constant. The gradient
    /// that `backward` is given has the shape and precision of `output`.
    pub(crate) fn record(
        &self,
        inputs: &[&Tensor],
        output: Tensor,
        backward: impl FnOnce(Tensor, &mut Flow<'_>) -> Result<()> + 'static,
    ) -> Tensor {
        if !self.recording || inputs.iter().all(|input| input.node.is_none()) {
            return output;
        }
        let mut steps = self.steps.borrow_mut();
        steps.push(Box::new(backward));
        output.with_node(Node::Step(steps.len() - 1))
    }

    /// Adds the gradient of the scalar `loss` with respect to every trainable parameter to `gradients`.
    ///
    /// # Errors
    /// When `loss` is not one f32 number that this tape recorded.
    pub fn backward(self, loss: &Tensor, gradients: &mut Gradients) -> Result<()> {
        let (1, Some(Node::Step(last))) = (loss.len(), loss.node) else {
            return Err(TensorError::shape(
                "backward",
                "expected a recorded scalar: the loss depends on no trainable parameter of this stage",
            ));
        };
        let mut steps = self.steps.into_inner();
        steps.truncate(last + 1);
        let mut pending: Vec<Option<Tensor>> = vec![None; steps.len()];
        pending[last] = Some(Tensor::from_f32(loss.shape(), &[1.0])?);
        let mut flow = Flow {
            pending,
            parameters: gradients,
        };
        while let Some(backward) = steps.pop() {
            if let Some(gradient) = flow.pending[steps.len()].take() {
                backward(gradient, &mut flow)?;
            }
        }
        Ok(())
    }
}

/// Gradients on their way back.
pub(crate) struct Flow<'g> {
    pending: Vec<Option<Tensor>>,
    parameters: &'g mut Gradients,
}

impl Flow<'_> {
    /// Adds a whole gradient to what `node` has received; costs nothing where it is the first.
    pub(crate) fn add(&mut self, node: Option<Node>, gradient: Tensor) -> Result<()> {
        match node {
            None => {}
            Some(Node::Parameter(id)) => {
                let values = gradient.to_precision(Precision::F32);
                let values = values.f32()?;
                self.parameters
                    .accumulate(id, |out, add| write_or_add(out, values, add));
            }
            Some(Node::Step(step)) => {
                self.pending[step] = Some(match self.pending[step].take() {
                    None => gradient.detach(),
                    Some(first) => sum(first, &gradient),
                });
            }
        }
        Ok(())
    }

    /// Lets `write` put or (when its second argument says so) add an f32 gradient of `shape` for `node`.
    pub(crate) fn accumulate(
        &mut self,
        node: Option<Node>,
        shape: &[usize],
        write: impl FnOnce(&mut [f32], bool),
    ) {
        match node {
            None => {}
            Some(Node::Parameter(id)) => self.parameters.accumulate(id, write),
            Some(Node::Step(step)) => {
                let gradient = match self.pending[step].take() {
                    None => Tensor::build::<f32>(shape, |out| write(out, false)),
                    Some(mut first) => {
                        // Assigned, not bound anew: a second handle would keep the numbers from being written.
                        first = first.to_precision(Precision::F32);
                        if first.unique_mut::<f32>().is_none() {
                            first = Tensor::build::<f32>(shape, |out| {
                                out.copy_from_slice(&first.to_f32_vec());
                            });
                        }
                        if let Some(values) = first.unique_mut::<f32>() {
                            write(values, true);
                        }
                        first
                    }
                };
                self.pending[step] = Some(gradient);
            }
        }
    }
}

/// `out = values`, or `out += values` when `add` is set.
pub(crate) fn write_or_add(out: &mut [f32], values: &[f32], add: bool) {
    if add {
        out.iter_mut()
            .zip(values)
            .for_each(|(out, value)| *out += value);
    } else {
        out.copy_from_slice(values);
    }
}

/// The sum in the precision of `first`.
fn sum(first: Tensor, second: &Tensor) -> Tensor {
    let second = second.to_precision(Precision::F32);
    let View::F32(second) = second.view() else {
        return first;
    };
    let shape = first.shape().to_vec();
    match first.view() {
        View::F32(first) => Tensor::build::<f32>(&shape, |out| {
            for ((out, a), b) in out.iter_mut().zip(first).zip(second) {
                *out = a + b;
            }
        }),
        View::Bf16(first) => Tensor::build::<bf16>(&shape, |out| {
            for ((out, a), b) in out.iter_mut().zip(first).zip(second) {
                *out = Element::store(a.load() + b);
            }
        }),
    }
}
