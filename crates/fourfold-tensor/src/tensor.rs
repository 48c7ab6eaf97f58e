//! A dense, row-major array of numbers that operations share and never change.

use std::sync::Arc;

use half::{bf16, f16};

use crate::gemm::PackedWeight;
use crate::ops::formats::{build_in, convert_all, with_numbers};
use crate::pool::Words;
use crate::tape::Node;
use crate::{Element, ParameterId, Precision, Result, TensorError};

/// A dense array. Cloning is cheap: the numbers are shared.
///
/// The last dimension is contiguous. A tensor that an operation made while recording knows its place on the
/// tape; one without a place is a constant, and nothing is recorded for it.
#[derive(Clone, Debug)]
pub struct Tensor {
    shape: Vec<usize>,
    buffer: Arc<Buffer>,
    pub(crate) node: Option<Node>,
    /// Whether products may keep a packed copy: the numbers stay as they are for long.
    fixed: bool,
}

#[derive(Debug)]
struct Buffer {
    words: Words,
    precision: Precision,
    packed: PackedWeight,
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
        Self::build_in(Words::take(len * size_of::<T>()), shape, fill)
    }

    fn build_in<T: Storable>(
        mut words: Words,
        shape: &[usize],
        fill: impl FnOnce(&mut [T]),
    ) -> Self {
        fill(words.as_mut_slice(shape.iter().product()));
        Self {
            shape: shape.to_vec(),
            buffer: Arc::new(Buffer {
                words,
                precision: T::PRECISION,
                packed: PackedWeight::default(),
            }),
            node: None,
            fixed: false,
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

    /// Tensors of one shape and format one after the other, `[tensors, …shape]`; carries no place on the tape.
    ///
    /// # Errors
    /// When shapes or formats differ, or there is no tensor.
    pub fn stack(tensors: &[&Self]) -> Result<Self> {
        let Some(first) = tensors.first() else {
            return Err(TensorError::shape("stack", "expected at least one tensor"));
        };
        let kind = |tensor: &Self| (tensor.shape.clone(), tensor.precision());
        if let Some(other) = tensors.iter().find(|tensor| kind(tensor) != kind(first)) {
            let message = format!("{:?} and {:?}", kind(first), kind(other));
            return Err(TensorError::shape("stack", message));
        }
        let shape = [&[tensors.len()], first.shape()].concat();
        let views = tensors.iter().map(|tensor| tensor.view());
        Ok(match first.precision() {
            Precision::F32 => Self::gather(&shape, views.filter_map(View::as_f32)),
            Precision::Bf16 => Self::gather(&shape, views.filter_map(View::as_bf16)),
            Precision::F16 => Self::gather(&shape, views.filter_map(View::as_f16)),
        })
    }

    /// Copies of the entries of the first dimension, to be kept long; the opposite of [`Tensor::stack`].
    pub fn unstack(&self) -> Vec<Self> {
        fn copies<T: Storable>(values: &[T], shape: &[usize], count: usize) -> Vec<Tensor> {
            let len = shape.iter().product::<usize>();
            let copy = |index: usize| {
                let entry = &values[index * len..(index + 1) * len];
                let words = Words::kept(size_of_val(entry));
                Tensor::build_in::<T>(words, shape, |out| out.copy_from_slice(entry))
            };
            (0..count).map(copy).collect()
        }
        let shape = self.shape.get(1..).unwrap_or_default();
        let count = self.shape.first().copied().unwrap_or(0);
        with_numbers!(self, |values| copies(values, shape, count))
    }

    /// A tensor of pieces laid end to end.
    fn gather<'a, T: Storable + 'a>(
        shape: &[usize],
        pieces: impl Iterator<Item = &'a [T]>,
    ) -> Self {
        Self::build::<T>(shape, |mut out| {
            for piece in pieces {
                let (here, rest) = out.split_at_mut(piece.len());
                here.copy_from_slice(piece);
                out = rest;
            }
        })
    }

    /// The numbers in their stored format.
    pub fn view(&self) -> View<'_> {
        match self.buffer.precision {
            Precision::F32 => View::F32(self.buffer.words.as_slice(self.len())),
            Precision::Bf16 => View::Bf16(self.buffer.words.as_slice(self.len())),
            Precision::F16 => View::F16(self.buffer.words.as_slice(self.len())),
        }
    }

    /// The numbers of an f32 tensor.
    ///
    /// # Errors
    /// When the tensor holds another format.
    pub fn f32(&self) -> Result<&[f32]> {
        match self.view() {
            View::F32(values) => Ok(values),
            View::Bf16(_) | View::F16(_) => Err(TensorError::shape(
                "tensor",
                format!("expected f32 numbers, found {}", self.precision().name()),
            )),
        }
    }

    /// A copy of the numbers in f32, whatever their format.
    pub fn to_f32_vec(&self) -> Vec<f32> {
        match self.view() {
            View::F32(values) => values.to_vec(),
            View::Bf16(values) => values.iter().map(|value| value.load()).collect(),
            View::F16(values) => values.iter().map(|value| value.load()).collect(),
        }
    }

    /// The tensor in `precision`: itself when it is so already. Carries no place on the tape.
    pub fn to_precision(&self, precision: Precision) -> Self {
        if self.precision() == precision {
            return self.detach();
        }
        with_numbers!(self, |values| build_in!(precision, &self.shape, |out| {
            convert_all(values, out)
        }))
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
        buffer.packed = PackedWeight::default();
        (buffer.precision == T::PRECISION).then(|| buffer.words.as_mut_slice(len))
    }

    /// The same tensor, whose numbers stay as they are for many products to come.
    pub(crate) fn fixed(mut self) -> Self {
        self.fixed = true;
        self
    }

    /// Where a product may keep the packed copy of a fixed matrix.
    pub(crate) fn packed(&self) -> Option<&PackedWeight> {
        self.fixed.then_some(&self.buffer.packed)
    }

    /// The trainable parameter that this is, if it is one.
    pub(crate) fn parameter(&self) -> Option<ParameterId> {
        match self.node {
            Some(Node::Parameter(id)) => Some(id),
            _ => None,
        }
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
    /// 16-bit floats of five bits of exponent.
    F16(&'a [f16]),
}

impl<'a> View<'a> {
    /// The format of the numbers.
    pub fn precision(self) -> Precision {
        match self {
            Self::F32(_) => Precision::F32,
            Self::Bf16(_) => Precision::Bf16,
            Self::F16(_) => Precision::F16,
        }
    }

    fn as_f32(self) -> Option<&'a [f32]> {
        match self {
            Self::F32(values) => Some(values),
            _ => None,
        }
    }

    fn as_bf16(self) -> Option<&'a [bf16]> {
        match self {
            Self::Bf16(values) => Some(values),
            _ => None,
        }
    }

    fn as_f16(self) -> Option<&'a [f16]> {
        match self {
            Self::F16(values) => Some(values),
            _ => None,
        }
    }
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

impl Storable for f16 {
    const PRECISION: Precision = Precision::F16;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stacked_comes_apart_again() {
        for precision in [Precision::F32, Precision::Bf16, Precision::F16] {
            let tensor = |first: f32| {
                let values: Vec<f32> = (0..6).map(|i| first + i as f32).collect();
                let tensor = Tensor::from_f32(&[2, 3], &values).expect("six numbers");
                tensor.to_precision(precision)
            };
            let (a, b) = (tensor(1.0), tensor(-20.0));
            let stacked = Tensor::stack(&[&a, &b, &a]).expect("one shape");
            assert_eq!(stacked.shape(), [3, 2, 3]);
            let apart = stacked.unstack();
            assert_eq!(apart.len(), 3);
            for (found, expected) in apart.iter().zip([&a, &b, &a]) {
                assert_eq!(found.shape(), expected.shape());
                assert_eq!(found.precision(), precision);
                assert_eq!(found.to_f32_vec(), expected.to_f32_vec());
            }
            let other = Tensor::zeros(&[3, 2]).to_precision(precision);
            assert!(Tensor::stack(&[&a, &other]).is_err());
        }
        assert!(Tensor::stack(&[]).is_err());
    }
}
