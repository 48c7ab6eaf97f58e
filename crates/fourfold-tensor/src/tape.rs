//! The tape: what a forward pass noted for its gradient, replayed backwards.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::Arc;

use crate::device::{Device, Gpu, copies};
use crate::draws::{Draw, Draws};
use crate::ops::formats::with_numbers;
use crate::tensor::{Storable, View};
use crate::{Gradients, ParameterId, Parameters, Precision, Result, Tensor, TensorError};

/// Where a tensor's gradient goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// To the operation that made it.
    Step(usize),
    /// To a trainable parameter.
    Parameter(ParameterId),
}

type Backward<'p> = Box<dyn FnOnce(Tensor, &mut Flow<'_>) -> Result<()> + 'p>;

/// What a tape does with the operations that it is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Keeps them for the way back.
    Recording,
    /// Notes that a gradient would flow and keeps nothing.
    Tracing,
    /// Nothing.
    Inference,
}

/// Notes the operations of one forward pass over `parameters`.
pub struct Tape<'p> {
    parameters: &'p Parameters,
    steps: RefCell<Vec<Backward<'p>>>,
    mode: Mode,
    /// Of each parameter that an operation read the first that did: on the way back its gradient is complete there.
    first_uses: RefCell<BTreeMap<ParameterId, usize>>,
    /// What is drawn, where anything is.
    draws: RefCell<Option<Draws>>,
}

impl<'p> Tape<'p> {
    /// A tape that records what gradients need.
    pub fn recording(parameters: &'p Parameters) -> Self {
        Self::new(parameters, Mode::Recording)
    }

    /// A tape that records nothing.
    pub fn inference(parameters: &'p Parameters) -> Self {
        Self::new(parameters, Mode::Inference)
    }

    fn new(parameters: &'p Parameters, mode: Mode) -> Self {
        Self {
            parameters,
            steps: RefCell::default(),
            mode,
            first_uses: RefCell::default(),
            draws: RefCell::default(),
        }
    }

    /// Lets operations that leave numbers out at random do so from now on, by this seed.
    pub fn set_seed(&self, seed: u64) {
        self.draws.replace(Some(Draws::new(seed)));
    }

    /// Tells such operations how to tell rows from here on: as many consecutive ones belong to each of `keys`. What is left
    /// out of a row then follows from its key, its place among the rows of that, and how many draws `part` of the model has
    /// made before, and not from what else goes through the model. Does nothing where nothing is drawn.
    pub fn draw_by(&self, part: u64, keys: impl FnOnce() -> Arc<[u64]>) {
        if let Some(draws) = &mut *self.draws.borrow_mut() {
            draws.begin(part, keys());
        }
    }

    /// What one draw goes by, another seed each time; none where nothing is to be drawn.
    pub(crate) fn draw(&self) -> Option<Draw> {
        self.draws.borrow_mut().as_mut().map(Draws::draw)
    }

    /// The precision that products compute in.
    pub fn precision(&self) -> Precision {
        self.parameters.precision()
    }

    /// Whether what products in f32 read may be rounded to TF32: never where nothing is recorded.
    pub(crate) fn tf32(&self) -> bool {
        self.mode != Mode::Inference && self.parameters.allows_tf32()
    }

    /// Where the parameters lie, and so where operations on them run.
    pub fn device(&self) -> &Device {
        self.parameters.device()
    }

    /// Whether the parameter `id` trains.
    pub fn trains(&self, id: ParameterId) -> bool {
        self.parameters.get(id).trainable()
    }

    /// The parameter `id` as an operand.
    pub fn parameter(&self, id: ParameterId) -> Tensor {
        let tensor = self.parameters.tensor(id);
        match self.mode {
            Mode::Recording | Mode::Tracing => tensor,
            // Many products read it before it is written again; its packed form goes when it is.
            Mode::Inference => tensor.detach().fixed(),
        }
    }

    /// `tensor` as an operand that a gradient flows to, where it ends: what it takes to measure an operation alone.
    pub fn variable(&self, tensor: &Tensor) -> Tensor {
        match self.mode {
            Mode::Recording => tensor
                .detach()
                .with_node(self.push(Box::new(|_, _| Ok(())))),
            Mode::Tracing => tensor.detach().with_node(Node::Step(0)),
            Mode::Inference => tensor.detach(),
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
        backward: impl FnOnce(Tensor, &mut Flow<'_>) -> Result<()> + 'p,
    ) -> Tensor {
        let constant = inputs.iter().all(|input| input.node.is_none());
        match self.mode {
            _ if constant => output,
            Mode::Inference => output,
            Mode::Tracing => {
                self.note_uses(inputs.iter().filter_map(|input| input.parameter()));
                output.with_node(Node::Step(0))
            }
            Mode::Recording => {
                self.note_uses(inputs.iter().filter_map(|input| input.parameter()));
                let place = self.push(Box::new(backward));
                output.with_node(place)
            }
        }
    }

    /// Notes the parameters that the operation reads which is recorded next.
    fn note_uses(&self, parameters: impl Iterator<Item = ParameterId>) {
        let place = self.recorded();
        let mut first_uses = self.first_uses.borrow_mut();
        for id in parameters {
            first_uses.entry(id).or_insert(place);
        }
    }

    /// Whether an operation on `inputs` would be recorded, now or when its block is computed again.
    pub(crate) fn records(&self, inputs: &[&Tensor]) -> bool {
        self.mode != Mode::Inference && inputs.iter().any(|input| input.node.is_some())
    }

    fn push(&self, backward: Backward<'p>) -> Node {
        let mut steps = self.steps.borrow_mut();
        steps.push(backward);
        Node::Step(steps.len() - 1)
    }

    /// `compute(input)`, of which nothing but `input` is kept for the way back: there it is computed once more, and
    /// its operations recorded then. Memory is bought with the time of a second forward pass.
    ///
    /// `compute` has to give the same each time.
    ///
    /// # Errors
    /// Those of `compute`.
    pub fn recompute<E: From<TensorError> + Display>(
        &self,
        input: &Tensor,
        compute: impl Fn(&Tape<'p>, &Tensor) -> Result<Tensor, E> + 'p,
    ) -> Result<Tensor, E> {
        if self.mode != Mode::Recording {
            return compute(self, input);
        }
        let parameters = self.parameters;
        let draws = self.draws.borrow().clone();
        let traced = Self::new(parameters, Mode::Tracing);
        traced.draws.replace(draws.clone());
        let output = compute(&traced, input)?;
        self.draws.replace(traced.draws.take());
        if output.node.is_none() {
            return Ok(output);
        }
        let (node, kept) = (input.node, input.detach());
        let backward = move |dy: Tensor, flow: &mut Flow<'_>| {
            let tape = Self::recording(parameters);
            tape.draws.replace(draws);
            // The first step stands for the input: what arrives there is its gradient.
            let place = tape.push(Box::new(|_, _| Ok(())));
            let input = match node {
                Some(_) => kept.with_node(place),
                None => kept,
            };
            let output = compute(&tape, &input)
                .map_err(|error| TensorError::shape("recompute", error.to_string()))?;
            let Some(Node::Step(last)) = output.node else {
                return Err(TensorError::shape(
                    "recompute",
                    "another result than before",
                ));
            };
            drop((input, output));
            let gradient = tape.replay(last, dy, flow.parameters, &mut |_, _| Ok(()))?;
            gradient.map_or(Ok(()), |gradient| flow.add(node, gradient))
        };
        self.note_uses(traced.first_uses.borrow().keys().copied());
        Ok(output.with_node(self.push(Box::new(backward))))
    }

    /// Adds the gradient of the scalar `loss` with respect to every trainable parameter to `gradients`.
    ///
    /// # Errors
    /// When `loss` is not one f32 number that this tape recorded.
    pub fn backward(self, loss: &Tensor, gradients: &mut Gradients) -> Result<()> {
        self.backward_telling(loss, gradients, &mut |_, _| Ok(()))
    }

    /// The same; `complete` is told of each trainable parameter when its gradient will not change any more, those that
    /// the loss does not depend on at first. Work on complete gradients may thus begin while others are computed.
    ///
    /// # Errors
    /// As [`Tape::backward`], and those of `complete`.
    pub fn backward_telling(
        self,
        loss: &Tensor,
        gradients: &mut Gradients,
        complete: &mut dyn FnMut(ParameterId, &Gradients) -> Result<()>,
    ) -> Result<()> {
        let (1, Some(Node::Step(last))) = (loss.len(), loss.node) else {
            return Err(TensorError::shape(
                "backward",
                "expected a recorded scalar: the loss depends on no trainable parameter of this stage",
            ));
        };
        let gradient = Tensor::from_f32(loss.shape(), &[1.0])?.to_device(&loss.device())?;
        let first_uses = self.first_uses.borrow().clone();
        let trains = |id: &ParameterId| self.parameters.get(*id).trainable();
        let unused = |id: &ParameterId| first_uses.get(id).is_none_or(|place| *place > last);
        for id in self.parameters.ids().filter(trains).filter(unused) {
            complete(id, gradients)?;
        }
        self.replay(last, gradient, gradients, complete).map(|_| ())
    }

    /// The same for `Σ output · gradient` in place of a loss.
    ///
    /// # Errors
    /// When this tape did not record `output`, or `gradient` has another shape or precision.
    pub fn backward_from(
        self,
        output: &Tensor,
        gradient: Tensor,
        gradients: &mut Gradients,
    ) -> Result<()> {
        let kind = |tensor: &Tensor| (tensor.shape().to_vec(), tensor.precision());
        match output.node {
            Some(Node::Step(last)) if kind(output) == kind(&gradient) => self
                .replay(last, gradient, gradients, &mut |_, _| Ok(()))
                .map(|_| ()),
            _ => Err(TensorError::shape(
                "backward_from",
                format!(
                    "a gradient of {:?} for {:?}; expected that of a recorded output",
                    kind(&gradient),
                    kind(output)
                ),
            )),
        }
    }

    /// Lets `gradient` flow back from step `last`; what arrives at the first step.
    fn replay(
        self,
        last: usize,
        gradient: Tensor,
        gradients: &mut Gradients,
        complete: &mut dyn FnMut(ParameterId, &Gradients) -> Result<()>,
    ) -> Result<Option<Tensor>> {
        let mut completed: BTreeMap<usize, Vec<ParameterId>> = BTreeMap::new();
        for (id, place) in self.first_uses.into_inner() {
            completed.entry(place).or_default().push(id);
        }
        let mut steps = self.steps.into_inner();
        steps.truncate(last + 1);
        let mut pending: Vec<Option<Tensor>> = vec![None; steps.len()];
        pending[last] = Some(gradient);
        let mut flow = Flow {
            pending,
            parameters: gradients,
            complete: BTreeSet::new(),
            late: None,
        };
        let mut arrived = None;
        while let Some(backward) = steps.pop() {
            if let Some(gradient) = flow.pending[steps.len()].take() {
                if steps.is_empty() {
                    arrived = Some(gradient.clone());
                }
                backward(gradient, &mut flow)?;
            }
            for id in completed.remove(&steps.len()).unwrap_or_default() {
                flow.complete.insert(id);
                complete(id, flow.parameters)?;
            }
        }
        match flow.late {
            None => Ok(arrived),
            Some(_) => Err(TensorError::shape(
                "backward",
                "a gradient for a parameter that its operation did not name among its inputs; this is a defect of \
                 Fourfold, please report it",
            )),
        }
    }
}

/// Gradients on their way back.
pub(crate) struct Flow<'g> {
    pending: Vec<Option<Tensor>>,
    parameters: &'g mut Gradients,
    /// Parameters whose gradients may be in use elsewhere already, and one that changed all the same.
    complete: BTreeSet<ParameterId>,
    late: Option<ParameterId>,
}

impl Flow<'_> {
    fn note_late(&mut self, id: ParameterId) {
        if self.complete.contains(&id) {
            self.late = Some(id);
        }
    }

    /// Adds a whole gradient to what `node` has received; costs nothing where it is the first.
    pub(crate) fn add(&mut self, node: Option<Node>, gradient: Tensor) -> Result<()> {
        match node {
            None => {}
            Some(Node::Parameter(id)) if gradient.gpu().is_some() => {
                self.note_late(id);
                self.parameters.accumulate_on(id, |slot, add| {
                    copies::add_scaled(slot, &gradient, 1.0, None, add)
                })?;
            }
            Some(Node::Parameter(id)) => {
                let values = gradient.to_precision(Precision::F32);
                let values = values.f32()?;
                self.note_late(id);
                self.parameters
                    .accumulate(id, |out, add| write_or_add(out, values, add));
            }
            Some(Node::Step(step)) => {
                self.pending[step] = Some(match self.pending[step].take() {
                    None => gradient.detach(),
                    Some(first) => match gradient.gpu() {
                        Some(_) => copies::sum(first, &gradient)?,
                        None => sum(first, &gradient),
                    },
                });
            }
        }
        Ok(())
    }

    /// Lets `write` put or (when its second argument says so) add an f32 gradient of `shape` for `node`, on the device
    /// `gpu`.
    pub(crate) fn accumulate_on(
        &mut self,
        gpu: &Arc<Gpu>,
        node: Option<Node>,
        shape: &[usize],
        write: impl FnOnce(&Tensor, bool) -> Result<()>,
    ) -> Result<()> {
        match node {
            None => Ok(()),
            Some(Node::Parameter(id)) => {
                self.note_late(id);
                self.parameters.accumulate_on(id, write)
            }
            Some(Node::Step(step)) => {
                let gradient = match self.pending[step].take() {
                    None => {
                        let gradient = Tensor::on_gpu(gpu, shape, Precision::F32)?;
                        write(&gradient, false)?;
                        gradient
                    }
                    Some(first) => {
                        let first = copies::own(first.to_precision(Precision::F32))?;
                        write(&first, true)?;
                        first
                    }
                };
                self.pending[step] = Some(gradient);
                Ok(())
            }
        }
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
            Some(Node::Parameter(id)) => {
                self.note_late(id);
                self.parameters.accumulate(id, write);
            }
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
    fn of<T: Storable>(first: &[T], second: &[f32], shape: &[usize]) -> Tensor {
        Tensor::build::<T>(shape, |out| {
            for ((out, a), b) in out.iter_mut().zip(first).zip(second) {
                *out = T::store(a.load() + b);
            }
        })
    }
    with_numbers!(first, |numbers| of(numbers, second, first.shape()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{Gelu, dropout, gelu, linear};
    use crate::testing::{devices, weighted_sum};

    /// Gradients of two layers, the second of which may be computed again, with the trainable ones named.
    fn gradients(device: &Device, trains: &str, recompute: bool) -> (usize, Vec<Option<Vec<f32>>>) {
        let mut parameters = Parameters::new(Precision::F32);
        parameters.to_device(device).expect("room");
        let values: Vec<f32> = (0..16).map(|i| (i as f32 * 0.7).sin()).collect();
        let matrix = Tensor::from_f32(&[4, 4], &values).expect("sixteen numbers");
        let first = parameters.add("first", matrix.clone()).expect("new");
        let second = parameters.add("second", matrix.clone()).expect("new");
        let matrix = matrix.to_device(device).expect("room");
        parameters.set_trainable(|name| trains.contains(name));
        let mut gradients = Gradients::new(&parameters);
        let tape = Tape::recording(&parameters);
        tape.set_seed(7);
        let x = linear(&tape, &matrix, &tape.parameter(first), None).expect("fits");
        let layer = move |tape: &Tape<'_>, x: &Tensor| {
            let y = linear(tape, x, &tape.parameter(second), None)?;
            gelu(tape, &dropout(tape, &y, 0.4)?, Gelu::Tanh)
        };
        let y = if recompute {
            tape.recompute(&x, layer)
        } else {
            layer(&tape, &x)
        };
        let loss = weighted_sum(&tape, &y.expect("fits"), &values);
        let recorded = tape.recorded();
        drop(x);
        if recorded > 0 {
            tape.backward(&loss, &mut gradients).expect("a loss");
        }
        let found = [first, second].map(|id| gradients.get(id).map(Tensor::to_f32_vec));
        (recorded, found.to_vec())
    }

    /// `first` is used in two steps and `idle` in none; between them lies a block that may be computed again.
    #[test]
    fn every_gradient_is_told_when_it_is_complete() {
        for recompute in [false, true] {
            let mut parameters = Parameters::new(Precision::F32);
            let values: Vec<f32> = (0..16).map(|i| (i as f32 * 0.7).sin()).collect();
            let matrix = Tensor::from_f32(&[4, 4], &values).expect("sixteen numbers");
            let names = ["first", "idle", "second"];
            let ids = names.map(|name| parameters.add(name, matrix.clone()).expect("new"));
            let [first, idle, second] = ids;
            parameters.set_trainable(|_| true);
            let mut gradients = Gradients::new(&parameters);
            let tape = Tape::recording(&parameters);
            let x = linear(&tape, &matrix, &tape.parameter(first), None).expect("fits");
            let block =
                move |tape: &Tape<'_>, x: &Tensor| linear(tape, x, &tape.parameter(second), None);
            let x = match recompute {
                true => tape.recompute(&x, block),
                false => block(&tape, &x),
            };
            let x = x.expect("fits");
            let y = linear(&tape, &x, &tape.parameter(first), None).expect("fits");
            let loss = weighted_sum(&tape, &y, &values);
            drop((x, y));
            let mut told = Vec::new();
            let backward = tape.backward_telling(&loss, &mut gradients, &mut |id, gradients| {
                told.push((id, gradients.get(id).map(Tensor::to_f32_vec)));
                Ok(())
            });
            backward.expect("a loss");
            let order: Vec<ParameterId> = told.iter().map(|(id, _)| *id).collect();
            assert_eq!(order, [idle, second, first]);
            for (id, then) in told {
                assert_eq!(then, gradients.get(id).map(Tensor::to_f32_vec), "{id:?}");
                assert_eq!(then.is_none(), id == idle);
            }
        }
    }

    #[test]
    fn a_gradient_flows_from_an_output_to_parameters_past_a_variable() {
        let mut parameters = Parameters::new(Precision::F32);
        let weight = Tensor::from_f32(&[1, 2], &[3.0, -1.0]).expect("two numbers");
        let id = parameters.add("weight", weight).expect("new");
        parameters.set_trainable(|_| true);
        let mut gradients = Gradients::new(&parameters);
        let row = Tensor::from_f32(&[1, 2], &[0.5, 2.0]).expect("two numbers");
        let run = |gradient: Tensor, gradients: &mut Gradients| {
            let tape = Tape::recording(&parameters);
            let y = linear(&tape, &tape.variable(&row), &tape.parameter(id), None)?;
            tape.backward_from(&y, gradient, gradients)
        };
        let gradient = Tensor::from_f32(&[1, 1], &[4.0]).expect("one number");
        run(gradient, &mut gradients).expect("recorded");
        let found = gradients.get(id).expect("it trains").to_f32_vec();
        assert_eq!(found, [2.0, 8.0]);
        let message = run(Tensor::zeros(&[2, 1]), &mut gradients).expect_err("another shape");
        assert!(message.to_string().contains("backward_from"), "{message}");
    }

    #[test]
    fn what_is_computed_again_has_the_same_gradients() {
        for device in devices() {
            for trains in ["first second", "first", "second", ""] {
                let (kept, expected) = gradients(&device, trains, false);
                let (again, found) = gradients(&device, trains, true);
                assert_eq!(found, expected, "{trains}");
                assert_eq!(kept > 0, again > 0, "{trains}");
                // Three operations become one.
                assert_eq!(again, kept.saturating_sub(2), "{trains}");
            }
        }
    }
}
