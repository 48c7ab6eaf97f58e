//! The gradients that flow into parameters.

use std::ops::Range;

use rayon::prelude::*;

use crate::device::{DeviceNumbers, copies, reduce};
use crate::isa::multiversion;
use crate::{Parameter, ParameterId, Parameters, Result, Tensor, TensorError};

/// Numbers whose squares one task adds.
const SQUARES_PER_TASK: usize = 64 * 1024;

/// Gradients of the trainable parameters, in f32, summed over the micro-batches of an update.
#[derive(Debug)]
pub struct Gradients {
    slots: Vec<Option<Slot>>,
}

#[derive(Debug)]
struct Slot {
    values: Tensor,
    written: bool,
}

impl Gradients {
    /// Room for the gradient of every trainable parameter and of no other.
    pub fn new(parameters: &Parameters) -> Self {
        let slot = |parameter: &Parameter| Slot {
            values: Tensor::zeros_on(parameters.device(), parameter.master().shape()),
            written: false,
        };
        let slots = parameters.iter();
        Self {
            slots: slots.map(|(_, p)| p.trainable().then(|| slot(p))).collect(),
        }
    }

    /// Forgets all gradients, keeping their memory.
    pub fn clear(&mut self) {
        self.slots
            .iter_mut()
            .flatten()
            .for_each(|slot| slot.written = false);
    }

    /// The gradient of `id` in the shape of the parameter, if one reached it since [`Gradients::clear`].
    pub fn get(&self, id: ParameterId) -> Option<&Tensor> {
        self.slots[id.0]
            .as_ref()
            .filter(|slot| slot.written)
            .map(|slot| &slot.values)
    }

    /// Square root of the sum of squares over all gradients, in f64. Not a number on a device that fails, and every later
    /// use of that says why.
    pub fn norm(&self) -> f64 {
        let written: Vec<(&Tensor, Range<usize>)> = self
            .slots
            .iter()
            .flatten()
            .filter(|slot| slot.written)
            .map(|slot| (&slot.values, 0..slot.values.len()))
            .collect();
        if let Some(gpu) = written.first().and_then(|(values, _)| values.gpu()) {
            return reduce::sum_of_squares(gpu, &written).map_or_else(
                |error| {
                    gpu.fail(&error);
                    f64::NAN
                },
                f64::sqrt,
            );
        }
        self.slots
            .iter()
            .flatten()
            .filter(|slot| slot.written)
            .map(|slot| squares(slot.values.f32().unwrap_or(&[])))
            .sum::<f64>()
            .sqrt()
    }

    /// Puts `values` in the place of the gradient of `id`; one of a frozen parameter is left out.
    ///
    /// # Errors
    /// When they are not as many as the parameter has.
    pub fn put(&mut self, id: ParameterId, values: &[f32]) -> Result<()> {
        let slot = self.slots.get(id.0).and_then(Option::as_ref);
        if let Some(len) = slot.map(|slot| slot.values.len())
            && len != values.len()
        {
            let message = format!("{} numbers for a gradient of {len}", values.len());
            return Err(TensorError::shape("gradients", message));
        }
        match slot.and_then(|slot| slot.values.gpu()).is_some() {
            true => self.accumulate_on(id, |slot, _| {
                slot.gpu_buffer()?.write(0, bytemuck::cast_slice(values))
            }),
            false => {
                self.accumulate(id, |out, _| out.copy_from_slice(values));
                Ok(())
            }
        }
    }

    /// Copies the gradient of `id`, wherever it lies, to `out`, which is as long; whether one reached it.
    ///
    /// # Errors
    /// When it is not as long, or the device fails.
    pub fn read(&self, id: ParameterId, out: &mut [f32]) -> Result<bool> {
        let Some(gradient) = self.get(id) else {
            return Ok(false);
        };
        let host = gradient.to_host()?;
        let values = host.f32()?;
        if values.len() != out.len() {
            let message = format!("{} numbers of a gradient of {}", out.len(), values.len());
            return Err(TensorError::shape("gradients", message));
        }
        out.copy_from_slice(values);
        Ok(true)
    }

    /// Puts the numbers from `at` on in the place of the gradient of `id`, on the device of both.
    ///
    /// # Errors
    /// When they are not as many as the parameter has, it is frozen, or the device fails.
    pub fn put_from(&mut self, id: ParameterId, numbers: &DeviceNumbers, at: usize) -> Result<()> {
        if self.slots[id.0].is_none() {
            let message = "a sum for the gradient of a frozen parameter";
            return Err(TensorError::shape("gradients", message));
        }
        self.accumulate_on(id, |slot, _| numbers.copy_to(at, slot))
    }

    /// Sum of squares over these places of gradients, in f64, summed where they lie. One that was not reached has none.
    ///
    /// # Errors
    /// When the device fails.
    pub fn squares(&self, places: &[(ParameterId, Range<usize>)]) -> Result<f64> {
        let reached = places.iter().filter_map(|(id, place)| {
            let gradient = self.get(*id)?;
            Some((gradient, place.clone()))
        });
        let reached: Vec<(&Tensor, Range<usize>)> = reached.collect();
        match reached.first().and_then(|(gradient, _)| gradient.gpu()) {
            Some(gpu) => reduce::sum_of_squares(gpu, &reached),
            None => reached.into_iter().try_fold(0.0, |sum, (gradient, place)| {
                Ok(sum + squares(&gradient.f32()?[place]))
            }),
        }
    }

    /// Lets `write` put or (when its second argument says so) add a gradient for `id`, on the device where the parameter
    /// lay when this was made.
    pub(crate) fn accumulate_on(
        &mut self,
        id: ParameterId,
        write: impl FnOnce(&Tensor, bool) -> Result<()>,
    ) -> Result<()> {
        let Some(slot) = &mut self.slots[id.0] else {
            return Ok(());
        };
        slot.values.gpu_buffer()?;
        if !slot.values.is_unique() {
            slot.values = copies::own(slot.values.clone())?;
        }
        write(&slot.values, slot.written)?;
        slot.written = true;
        Ok(())
    }

    /// Lets `write` put or (when its second argument says so) add a gradient for `id`.
    ///
    /// A parameter that gained no slot (it was frozen when this was made) is left out.
    pub(crate) fn accumulate(&mut self, id: ParameterId, write: impl FnOnce(&mut [f32], bool)) {
        if let Some(slot) = &mut self.slots[id.0]
            && let Some(values) = slot.values.unique_mut::<f32>()
        {
            write(values, slot.written);
            slot.written = true;
        }
    }
}

/// In pieces of a fixed size, whose sums are added in their order.
fn squares(values: &[f32]) -> f64 {
    let pieces = values.par_chunks(SQUARES_PER_TASK);
    let sums: Vec<f64> = pieces.map(sum_of_squares).collect();
    sums.iter().sum()
}

multiversion! {
    /// In eight sums side by side, so that it becomes vector code.
    fn sum_of_squares(values: &[f32]) -> f64 {
        let mut sums = [0.0; 8];
        let (whole, rest) = values.as_chunks::<8>();
        for values in whole {
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += f64::from(*value) * f64::from(*value);
            }
        }
        for (sum, value) in sums.iter_mut().zip(rest) {
            *sum += f64::from(*value) * f64::from(*value);
        }
        sums.iter().sum()
    }
}
