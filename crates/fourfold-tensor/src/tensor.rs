//! A dense, row-major array of numbers that operations share and never change.

use std::sync::Arc;

use half::bf16;

use crate::pool::Words;
use crate::tape::Node;
use crate::{Element, Precision, Result, TensorError};

/// A dense array. Cloning is cheap: the numbers are shared.
///
/// The last dimension is contiguous. A tensor that an operation made while recording knows its place on the
/// tape; one without a place is a constant, and nothing is recorded for it.
#[derive(Clone, Debug)]
pub struct Tensor {
    shape: Vec<usize>,
    buffer: Arc<Buffer>,
    pub(crate) node: Option<Node>,
}

#[derive(Debug)]
struct Buffer {
    words: Words,
    precision: Precision,
}

impl Tensor {
    /// An f32 tensor with the given numbers.
    ///
    /// # Errors
    /// When `values` does not hold exactly as many numbers as `shape` says.
    pub fn from_f32(shape: &[usize], values: &[f32]) -> Result<Self> {
        if shape.iter().product::<usize>() != values.len() {
            return Err(TensorError::shape(
                "tensor",
                format!("shape {shape:?} does not hold {} numbers", values.len()),
            ));
        }
        Ok(Self::build::<f32>(shape, |out| out.copy_from_slice(values)))
    }

    /// A tensor of format `T` whose numbers `fill` writes; it must write all of them.
    pub(crate) fn build<T: Storable>(shape: &[usize], fill: impl FnOnce(&mut [T])) -> Self {
        let len = shape.iter().product::<usize>();
        let mut words = Words::take(len * size_of::<T>());
        fill(words.as_mut_slice(len));
        Self {
            shape: shape.to_vec(),
            buffer: Arc::new(Buffer {
                words,
                precision: T::PRECISION,
            }),
            node: None,
        }
    }

    /// An f32 tensor of zeros.
    pub fn zeros(shape: &[usize]) -> Self {
        Self::build::<f32>(shape, |out| out.fill(0.0))
    }

    /// Lengths of the dimensions, the contiguous one last.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// How many numbers it holds.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it holds no number.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Length of the last dimension.
    pub fn width(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// Product of all dimensions but the last.
    pub fn rows(&self) -> usize {
        self.shape.iter().rev().skip(1).product()
    }

    /// The format of its numbers.
    pub fn precision(&self) -> Precision {
        self.buffer.precision
    }

    /// The same numbers under another shape of the same length.
    ///
    /// # Errors
    /// When the lengths differ.
    pub fn reshape(&self, shape: &[usize]) -> Result<Self> {
        if shape.iter().product::<usize>() != self.len() {
            return Err(TensorError::shape(
                "reshape",
                format!("{:?} does not become {shape:?}", self.shape),
            ));
        }
        Ok(Self {
            shape: shape.to_vec(),
            ..self.clone()
        })
    }

    /// The numbers in their stored format.
    pub fn view(&self) -> View<'_> {
        match self.buffer.precision {
            Precision::F32 => View::F32(self.buffer.words.as_slice(self.len())),
            Precision::Bf16 => View::Bf16(self.buffer.words.as_slice(self.len())),
        }
    }

    /// The numbers of an f32 tensor.
    ///
    /// # Errors
    /// When the tensor holds another format.
    pub fn f32(&self) -> Result<&[f32]> {
        match self.view() {
            View::F32(values) => Ok(values),
            View::Bf16(_) => Err(TensorError::shape(
                "tensor",
                "expected f32 numbers, found bf16",
            )),
        }
    }

    /// A copy of the numbers in f32, whatever their format.
    pub fn to_f32_vec(&self) -> Vec<f32> {
        match self.view() {
            View::F32(values) => values.to_vec(),
            View::Bf16(values) => values.iter().map(|value| value.load()).collect(),
        }
    }

    /// The tensor in `precision`: itself when it is so already. Carries no place on the tape.
    pub fn to_precision(&self, precision: Precision) -> Self {
        let constant = Self {
            node: None,
            ..self.clone()
        };
        match (self.view(), precision) {
            (View::F32(values), Precision::Bf16) => Self::build::<bf16>(&self.shape, |out| {
                for (out, value) in out.iter_mut().zip(values) {
                    *out = Element::store(*value);
                }
            }),
            (View::Bf16(values), Precision::F32) => Self::build::<f32>(&self.shape, |out| {
                for (out, value) in out.iter_mut().zip(values) {
                    *out = value.load();
                }
            }),
            _ => constant,
        }
    }

    /// The same numbers as a constant: gradients stop here.
    pub fn detach(&self) -> Self {
        Self {
            node: None,
            ..self.clone()
        }
    }

    /// The numbers for writing, if no other tensor shares them and they are of format `T`.
    pub(crate) fn unique_mut<T: Storable>(&mut self) -> Option<&mut [T]> {
        let len = self.len();
        let buffer = Arc::get_mut(&mut self.buffer)?;
        (buffer.precision == T::PRECISION).then(|| buffer.words.as_mut_slice(len))
    }

    pub(crate) fn with_node(mut self, node: Node) -> Self {
        self.node = Some(node);
        self
    }
}

/// A tensor's numbers in the format they are stored in.
#[derive(Clone, Copy, Debug)]
pub enum View<'a> {
    /// 32-bit floats.
    F32(&'a [f32]),
    /// 16-bit brain floats.
    Bf16(&'a [bf16]),
}

/// An element format that a tensor can be stored in.
pub(crate) trait Storable: Element {
    const PRECISION: Precision;
}

impl Storable for f32 {
    const PRECISION: Precision = Precision::F32;
}

impl Storable for bf16 {
    const PRECISION: Precision = Precision::Bf16;
}
