//! A dense, row-major array of numbers that operations share and never change.

use std::sync::Arc;

use half::{bf16, f16};

use crate::device::{Address, Device, Gpu, GpuBuffer, common, copies};
use crate::gemm::PackedWeight;
use crate::ops::formats::{build_in, convert_all, with_numbers};
use crate::pool::Words;
use crate::tape::Node;
use crate::{Element, ParameterId, Precision, Result, TensorError};

/// A dense array. Cloning is cheap: the numbers are shared.
///
/// It lies in the host's memory or in that of a device, and stays there until it is moved by [`Tensor::to_device`] or
/// [`Tensor::to_host`]. An operation runs where its operands lie.
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
    /// What it is the GELU of; see [`Tensor::with_before_gelu`].
    before_gelu: Option<Arc<Tensor>>,
}

#[derive(Debug)]
struct Buffer {
    storage: Storage,
    precision: Precision,
}

#[derive(Debug)]
enum Storage {
    Host { words: Words, packed: PackedWeight },
    Gpu(GpuBuffer),
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
        let packed = PackedWeight::default();
        Self::stored(shape, T::PRECISION, Storage::Host { words, packed })
    }

    fn stored(shape: &[usize], precision: Precision, storage: Storage) -> Self {
        Self {
            shape: shape.to_vec(),
            buffer: Arc::new(Buffer { storage, precision }),
            node: None,
            fixed: false,
            before_gelu: None,
        }
    }

    /// A tensor in the memory of `gpu` that a kernel is to write; it must write all of it.
    pub(crate) fn on_gpu(gpu: &Arc<Gpu>, shape: &[usize], precision: Precision) -> Result<Self> {
        let bytes = shape.iter().product::<usize>() * precision.bytes();
        let buffer = GpuBuffer::new(gpu, bytes)?;
        Ok(Self::stored(shape, precision, Storage::Gpu(buffer)))
    }

    /// What stands for a tensor that could not be made on a device, which has noted why.
    fn lost(gpu: &Arc<Gpu>, shape: &[usize], precision: Precision, error: &TensorError) -> Self {
        gpu.fail(error);
        Self::stored(shape, precision, Storage::Gpu(GpuBuffer::lost(gpu)))
    }

    /// An f32 tensor of zeros.
    pub fn zeros(shape: &[usize]) -> Self {
        Self::build::<f32>(shape, |out| out.fill(0.0))
    }

    /// An f32 tensor of zeros on `device`. If that fails, every later use of the device says so.
    pub fn zeros_on(device: &Device, shape: &[usize]) -> Self {
        let Device::Gpu(gpu) = device else {
            return Self::zeros(shape);
        };
        let zeros = Self::on_gpu(gpu, shape, Precision::F32)
            .and_then(|tensor| tensor.gpu_buffer()?.clear().map(|()| tensor));
        zeros.unwrap_or_else(|error| Self::lost(gpu, shape, Precision::F32, &error))
    }

    /// Where its numbers lie.
    pub fn device(&self) -> Device {
        match self.gpu() {
            None => Device::Cpu,
            Some(gpu) => Device::Gpu(Arc::clone(gpu)),
        }
    }

    /// The device that it lies on, unless that is the host.
    pub(crate) fn gpu(&self) -> Option<&Arc<Gpu>> {
        match &self.buffer.storage {
            Storage::Host { .. } => None,
            Storage::Gpu(buffer) => Some(buffer.gpu()),
        }
    }

    /// Where its numbers begin in the memory of the device that it lies on.
    pub(crate) fn address(&self) -> Address {
        match &self.buffer.storage {
            Storage::Host { .. } => 0,
            Storage::Gpu(buffer) => buffer.address(),
        }
    }

    pub(crate) fn gpu_buffer(&self) -> Result<&GpuBuffer> {
        match &self.buffer.storage {
            Storage::Gpu(buffer) => Ok(buffer),
            Storage::Host { .. } => Err(TensorError::shape(
                "tensor",
                "expected one on a device, found one on cpu; move it with `to_device`",
            )),
        }
    }

    /// The same numbers on `device`: itself when it lies there. Carries no place on the tape.
    ///
    /// # Errors
    /// When the device has no memory for it or has failed.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        if self.device() == *device {
            return Ok(self.detach());
        }
        let host = self.to_host()?;
        let Device::Gpu(gpu) = device else {
            return Ok(host);
        };
        let tensor = Self::on_gpu(gpu, &self.shape, self.precision())?;
        tensor.gpu_buffer()?.write(0, host.view().bytes())?;
        Ok(tensor)
    }

    /// [`Tensor::to_device`] for numbers that the device will need later: they travel while it does what it was asked for
    /// before.
    ///
    /// # Errors
    /// As [`Tensor::to_device`].
    pub fn send_ahead(&self, device: &Device) -> Result<Self> {
        let (None, Device::Gpu(gpu)) = (self.gpu(), device) else {
            return self.to_device(device);
        };
        let buffer = GpuBuffer::sent_ahead(gpu, self.view().bytes())?;
        let storage = Storage::Gpu(buffer);
        Ok(Self::stored(&self.shape, self.precision(), storage))
    }

    /// The same numbers in the host's memory: itself when it lies there. Carries no place on the tape.
    ///
    /// # Errors
    /// When the device has failed.
    pub fn to_host(&self) -> Result<Self> {
        fn download<T: Storable>(buffer: &GpuBuffer, shape: &[usize]) -> Result<Tensor> {
            let mut read = Ok(());
            let tensor = Tensor::build::<T>(shape, |out| {
                read = buffer.read(0, bytemuck::cast_slice_mut(out));
            });
            read.map(|()| tensor)
        }
        match &self.buffer.storage {
            Storage::Host { .. } => Ok(self.detach()),
            Storage::Gpu(buffer) => match self.precision() {
                Precision::F32 => download::<f32>(buffer, &self.shape),
                Precision::Bf16 => download::<bf16>(buffer, &self.shape),
                Precision::F16 => download::<f16>(buffer, &self.shape),
            },
        }
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
        if let Some(gpu) = common("stack", tensors.iter().copied())? {
            return copies::stack(gpu, tensors, &shape, first.precision());
        }
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
        if let Some(gpu) = self.gpu() {
            let entry = |index| {
                let entry = copies::entry(gpu, self, index, shape);
                entry.unwrap_or_else(|error| Self::lost(gpu, shape, self.precision(), &error))
            };
            return (0..count).map(entry).collect();
        }
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

    /// The numbers in their stored format, of a tensor that lies in the host's memory.
    ///
    /// # Panics
    /// When it lies on a device: operations ask for that ([`common`]) before they look at numbers.
    pub(crate) fn view(&self) -> View<'_> {
        let words = match &self.buffer.storage {
            Storage::Host { words, .. } => words,
            Storage::Gpu(buffer) => panic!("{}", self.elsewhere(buffer)),
        };
        match self.buffer.precision {
            Precision::F32 => View::F32(words.as_slice(self.len())),
            Precision::Bf16 => View::Bf16(words.as_slice(self.len())),
            Precision::F16 => View::F16(words.as_slice(self.len())),
        }
    }

    fn elsewhere(&self, buffer: &GpuBuffer) -> TensorError {
        TensorError::shape(
            "tensor",
            format!(
                "the numbers of {:?} lie on {}; bring them to the host with `to_host` first",
                self.shape,
                buffer.gpu().label()
            ),
        )
    }

    /// The numbers of an f32 tensor that lies in the host's memory.
    ///
    /// # Errors
    /// When the tensor holds another format or lies on a device.
    pub fn f32(&self) -> Result<&[f32]> {
        if let Storage::Gpu(buffer) = &self.buffer.storage {
            return Err(self.elsewhere(buffer));
        }
        match self.view() {
            View::F32(values) => Ok(values),
            View::Bf16(_) | View::F16(_) => Err(TensorError::shape(
                "tensor",
                format!("expected f32 numbers, found {}", self.precision().name()),
            )),
        }
    }

    /// A copy of the numbers in f32, whatever their format and wherever they lie. Those of a device that fails are NaN,
    /// and every later use of it says why.
    pub fn to_f32_vec(&self) -> Vec<f32> {
        let host = match self.to_host() {
            Ok(host) => host,
            Err(error) => {
                if let Some(gpu) = self.gpu() {
                    gpu.fail(&error);
                }
                return vec![f32::NAN; self.len()];
            }
        };
        match host.view() {
            View::F32(values) => values.to_vec(),
            View::Bf16(values) => values.iter().map(|value| value.load()).collect(),
            View::F16(values) => values.iter().map(|value| value.load()).collect(),
        }
    }

    /// The tensor in `precision`: itself when it is so already. Carries no place on the tape. If a device fails at it,
    /// every later use of that says so.
    pub fn to_precision(&self, precision: Precision) -> Self {
        if self.precision() == precision {
            return self.detach();
        }
        if let Some(gpu) = self.gpu() {
            return copies::cast(gpu, self, precision)
                .unwrap_or_else(|error| Self::lost(gpu, &self.shape, precision, &error));
        }
        with_numbers!(self, |values| build_in!(precision, &self.shape, |out| {
            convert_all(values, out)
        }))
    }

    /// The same numbers as a constant: gradients stop here.
    pub fn detach(&self) -> Self {
        Self {
            node: None,
            before_gelu: None,
            ..self.clone()
        }
    }

    /// The numbers for writing, if no other tensor shares them, and they are of format `T` and in the host's memory.
    pub(crate) fn unique_mut<T: Storable>(&mut self) -> Option<&mut [T]> {
        let len = self.len();
        let buffer = Arc::get_mut(&mut self.buffer)?;
        let Storage::Host { words, packed } = &mut buffer.storage else {
            return None;
        };
        *packed = PackedWeight::default();
        (buffer.precision == T::PRECISION).then(|| words.as_mut_slice(len))
    }

    /// Whether no other tensor shares the numbers, so that a kernel may write them.
    pub(crate) fn is_unique(&mut self) -> bool {
        Arc::get_mut(&mut self.buffer).is_some()
    }

    /// The same tensor, whose numbers stay as they are for many products to come.
    pub(crate) fn fixed(mut self) -> Self {
        self.fixed = true;
        self
    }

    /// Where a product may keep the packed copy of a fixed matrix.
    pub(crate) fn packed(&self) -> Option<&PackedWeight> {
        match &self.buffer.storage {
            Storage::Host { packed, .. } if self.fixed => Some(packed),
            _ => None,
        }
    }

    /// The trainable parameter that this is, if it is one.
    pub(crate) fn parameter(&self) -> Option<ParameterId> {
        match self.node {
            Some(Node::Parameter(id)) => Some(id),
            _ => None,
        }
    }

    /// Remembers what the tensor is the GELU of, in its form with tanh: a product that makes its gradient may go on to that
    /// of `before` at once.
    pub(crate) fn with_before_gelu(mut self, before: Self) -> Self {
        self.before_gelu = Some(Arc::new(before));
        self
    }

    pub(crate) fn before_gelu(&self) -> Option<Self> {
        self.before_gelu.as_deref().cloned()
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
    /// The numbers as they lie in memory.
    fn bytes(self) -> &'a [u8] {
        match self {
            Self::F32(values) => bytemuck::cast_slice(values),
            Self::Bf16(values) => bytemuck::cast_slice(values),
            Self::F16(values) => bytemuck::cast_slice(values),
        }
    }

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
