//! Parameters and their working copies.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use half::{bf16, f16};

use crate::device::{Device, DeviceNumbers, common, copies, steps};
use crate::ops::formats::convert_all;
use crate::tape::Node;
use crate::{AdamW, Precision, Result, Tensor, TensorError};

/// Names a parameter within its [`Parameters`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParameterId(pub(crate) usize);

/// One array of learned numbers.
#[derive(Debug)]
pub struct Parameter {
    name: String,
    master: Tensor,
    working: Tensor,
    trainable: bool,
}

impl Parameter {
    /// Its name, dotted from the part it belongs to.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The f32 numbers that an optimizer updates.
    pub fn master(&self) -> &Tensor {
        &self.master
    }

    /// Whether the current stage updates it.
    pub fn trainable(&self) -> bool {
        self.trainable
    }

    /// What refuses to write it while others read it.
    fn held(&self) -> TensorError {
        TensorError::shape(
            "parameters",
            format!("'{}' is updated while a tape still holds it", self.name),
        )
    }

    /// Whether it is a matrix: only matrices decay and are computed in 16 bits.
    pub fn is_matrix(&self) -> bool {
        self.master.shape().len() >= 2
    }
}

/// The 16-bit working copy of a parameter, to be written.
#[derive(Debug)]
pub enum Rounded<'a> {
    /// 16-bit brain floats.
    Bf16(&'a mut [bf16]),
    /// 16-bit floats of five bits of exponent.
    F16(&'a mut [f16]),
}

impl<'a> Rounded<'a> {
    /// The numbers at `place`.
    fn part(self, place: Range<usize>) -> Self {
        match self {
            Self::Bf16(out) => Self::Bf16(&mut out[place]),
            Self::F16(out) => Self::F16(&mut out[place]),
        }
    }

    /// Becomes `values`, rounded.
    fn write(self, values: &[f32]) {
        match self {
            Self::Bf16(out) => convert_all(values, out),
            Self::F16(out) => convert_all(values, out),
        }
    }
}

/// One step of AdamW for one parameter.
#[derive(Debug)]
pub struct Update<'a> {
    /// The parameter.
    pub id: ParameterId,
    /// Which of its numbers are stepped; all of them, or the part of one rank of several.
    pub place: Range<usize>,
    /// The numbers of the step.
    pub step: AdamW,
    /// As long as the parameter, f32 and where it lies.
    pub gradient: &'a Tensor,
    /// The first moment: as long as `place`, f32 and where the parameter lies; nothing else may hold it.
    pub first: &'a mut Tensor,
    /// The second moment, likewise.
    pub second: &'a mut Tensor,
}

impl Update<'_> {
    /// Demands f32 numbers, as many as `parameter` has or as are stepped.
    fn check(&self, parameter: &Parameter) -> Result<()> {
        let fits =
            |tensor: &Tensor, len| tensor.len() == len && tensor.precision() == Precision::F32;
        let (all, stepped) = (parameter.master.len(), self.place.len());
        let moments = fits(self.first, stepped) && fits(self.second, stepped);
        if fits(self.gradient, all) && moments && self.place.end <= all {
            return Ok(());
        }
        Err(TensorError::shape(
            "step",
            format!(
                "'{}' of {:?}, its numbers {:?}, with a gradient of {:?} and moments of {:?} and {:?}; expected f32 \
                 numbers, as many",
                parameter.name,
                parameter.master.shape(),
                self.place,
                self.gradient.shape(),
                self.first.shape(),
                self.second.shape()
            ),
        ))
    }
}

/// All parameters of a model.
///
/// Each has an f32 master; a matrix has a working copy in the precision of the products besides. Vectors
/// (biases, norm weights) are used in f32. All of them lie on one device.
#[derive(Debug)]
pub struct Parameters {
    list: Vec<Parameter>,
    by_name: HashMap<String, ParameterId>,
    precision: Precision,
    tf32: bool,
    device: Device,
}

impl Parameters {
    /// An empty set on this processor, whose matrices are computed in `precision`.
    pub fn new(precision: Precision) -> Self {
        Self {
            list: Vec::new(),
            by_name: HashMap::new(),
            precision,
            tf32: false,
            device: Device::Cpu,
        }
    }

    /// Where they lie.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Moves all of them to `device`, where those that are added later will lie too. Gradients have to be made anew.
    ///
    /// # Errors
    /// When the device has no memory for them or has failed; some may be on either device then.
    pub fn to_device(&mut self, device: &Device) -> Result<()> {
        for parameter in &mut self.list {
            parameter.master = parameter.master.to_device(device)?;
            parameter.working = working_copy(&parameter.master, self.precision);
        }
        self.device = device.clone();
        Ok(())
    }

    /// The same parameters in the host's memory, without working copies in 16 bits: what is written to files is read
    /// from here. Those that lie there already are shared, and may not be updated meanwhile.
    ///
    /// # Errors
    /// When the device fails.
    pub fn on_host(&self) -> Result<Self> {
        let on_host = |parameter: &Parameter| {
            let master = parameter.master.to_host()?;
            Ok(Parameter {
                name: parameter.name.clone(),
                working: master.clone(),
                master,
                trainable: parameter.trainable,
            })
        };
        Ok(Self {
            list: self.list.iter().map(on_host).collect::<Result<_>>()?,
            by_name: self.by_name.clone(),
            precision: Precision::F32,
            tf32: false,
            device: Device::Cpu,
        })
    }

    /// The precision of products.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Computes in `precision` from now on: the working copies are made anew of the masters.
    pub fn set_precision(&mut self, precision: Precision) {
        if precision == self.precision {
            return;
        }
        self.precision = precision;
        for parameter in &mut self.list {
            // Both copies of all parameters at a time would be more than either precision needs.
            parameter.working = Tensor::zeros(&[0]);
            parameter.working = working_copy(&parameter.master, precision);
        }
    }

    /// Whether an NVIDIA GPU may round what products in f32 read to TF32 while a tape records (or traces): 10 bits of significand,
    /// which its tensor cores multiply at a high rate, in place of 23. Elsewhere it changes nothing.
    pub fn allow_tf32(&mut self, allowed: bool) {
        self.tf32 = allowed;
    }

    pub(crate) fn allows_tf32(&self) -> bool {
        self.tf32
    }

    /// Adds a frozen parameter.
    ///
    /// # Errors
    /// When `values` is not f32 or the name is taken.
    pub fn add(&mut self, name: impl Into<String>, values: Tensor) -> Result<ParameterId> {
        let name = name.into();
        if values.precision() != Precision::F32 {
            values.f32()?;
        }
        let values = values.to_device(&self.device)?;
        let id = ParameterId(self.list.len());
        if self.by_name.insert(name.clone(), id).is_some() {
            return Err(TensorError::shape(
                "parameters",
                format!("'{name}' is there twice"),
            ));
        }
        let working = working_copy(&values, self.precision);
        self.list.push(Parameter {
            name,
            master: values,
            working,
            trainable: false,
        });
        Ok(id)
    }

    /// Identifiers in the order of their addition.
    pub fn ids(&self) -> impl Iterator<Item = ParameterId> + use<> {
        (0..self.list.len()).map(ParameterId)
    }

    /// The parameters in the order of their addition.
    pub fn iter(&self) -> impl Iterator<Item = (ParameterId, &Parameter)> {
        self.list
            .iter()
            .enumerate()
            .map(|(index, parameter)| (ParameterId(index), parameter))
    }

    /// The parameter that `id` names.
    pub fn get(&self, id: ParameterId) -> &Parameter {
        &self.list[id.0]
    }

    /// The parameter called `name`.
    pub fn find(&self, name: &str) -> Option<ParameterId> {
        self.by_name.get(name).copied()
    }

    /// Sets which parameters the coming steps update, by their names.
    pub fn set_trainable(&mut self, trains: impl Fn(&str) -> bool) {
        for parameter in &mut self.list {
            parameter.trainable = trains(&parameter.name);
        }
    }

    /// Lets `change` write the master numbers of `id`, then renews its working copy.
    ///
    /// # Errors
    /// When a tape still holds the parameter.
    pub fn update(&mut self, id: ParameterId, change: impl FnOnce(&mut [f32])) -> Result<()> {
        if self.device != Device::Cpu {
            let mut master = self.list[id.0].master.to_host()?;
            if let Some(master) = master.unique_mut::<f32>() {
                change(master);
            }
            let master = master.to_device(&self.device)?;
            let parameter = &mut self.list[id.0];
            parameter.working = working_copy(&master, self.precision);
            parameter.master = master;
            return Ok(());
        }
        self.update_both(id, |master, working| {
            change(master);
            if let Some(working) = working {
                working.write(master);
            }
        })
    }

    /// The master numbers of `id` become those from `at` on, on the device of both; its working copy is renewed.
    ///
    /// # Errors
    /// When a tape still holds the parameter, there are not as many, or the device fails.
    pub fn put_from(&mut self, id: ParameterId, numbers: &DeviceNumbers, at: usize) -> Result<()> {
        let parameter = &mut self.list[id.0];
        let same = parameter.working.precision() == Precision::F32;
        if same {
            parameter.working = Tensor::zeros(&[0]);
        }
        let free = parameter.master.is_unique() && parameter.working.is_unique();
        let put = match free {
            true => numbers.copy_to(at, &parameter.master),
            false => Err(parameter.held()),
        };
        if same {
            parameter.working = parameter.master.clone();
            return put;
        }
        put?;
        copies::add_scaled(&parameter.working, &parameter.master, 1.0, None, false)
    }

    /// Lets `change` write the master numbers of `id` and, where there is one, its 16-bit working copy, which has to
    /// become the same numbers rounded.
    ///
    /// # Errors
    /// When a tape still holds the parameter.
    pub fn update_both(
        &mut self,
        id: ParameterId,
        change: impl FnOnce(&mut [f32], Option<Rounded<'_>>),
    ) -> Result<()> {
        let parameter = &mut self.list[id.0];
        if self.device != Device::Cpu {
            return Err(TensorError::shape(
                "parameters",
                format!(
                    "'{}' lies on {}; update it with `update` or `step`",
                    parameter.name, self.device
                ),
            ));
        }
        let format = parameter.working.precision();
        let same = format == Precision::F32;
        if same {
            // Master and working copy are one buffer: let go of the second handle before writing.
            parameter.working = Tensor::zeros(&[0]);
        }
        let working = &mut parameter.working;
        let working = match format {
            Precision::F32 => Some(None),
            Precision::Bf16 => working.unique_mut().map(|out| Some(Rounded::Bf16(out))),
            Precision::F16 => working.unique_mut().map(|out| Some(Rounded::F16(out))),
        };
        let (Some(master), Some(working)) = (parameter.master.unique_mut::<f32>(), working) else {
            if same {
                parameter.working = parameter.master.clone();
            }
            return Err(parameter.held());
        };
        change(master, working);
        if same {
            parameter.working = parameter.master.clone();
        }
        Ok(())
    }

    /// Makes one step of AdamW for each of `updates`, with gradients multiplied by `scale`: wherever the parameters lie, and
    /// on a device in one go.
    ///
    /// # Errors
    /// When a tape still holds a parameter, something lies elsewhere or is of another length, or a device fails. On a
    /// device nothing is updated then; here, those before the one that is named are.
    pub fn step(&mut self, updates: &mut [Update<'_>], scale: f32) -> Result<()> {
        let Device::Gpu(gpu) = &self.device else {
            return updates.iter_mut().try_for_each(|update| {
                update.check(&self.list[update.id.0])?;
                let held = |_| TensorError::shape("step", "moments that something else holds");
                let gradient = update.gradient.f32()?;
                let (step, first) = (update.step, update.first.unique_mut::<f32>());
                let (first, second) = (first.ok_or(()).map_err(held)?, update.second.unique_mut());
                let second = second.ok_or(()).map_err(held)?;
                let place = || update.place.clone();
                self.update_both(update.id, |master, working| {
                    let (master, gradient) = (&mut master[place()], &gradient[place()]);
                    let working = working.map(|working| working.part(place()));
                    step.apply(master, working, gradient, scale, first, second);
                })
            });
        };
        let gpu = Arc::clone(gpu);
        let mut table = Vec::with_capacity(updates.len());
        for update in updates {
            let parameter = &mut self.list[update.id.0];
            update.check(parameter)?;
            common(
                "step",
                [
                    &parameter.master,
                    update.gradient,
                    update.first,
                    update.second,
                ],
            )?;
            let same = parameter.working.precision() == Precision::F32;
            if same {
                parameter.working = Tensor::zeros(&[0]);
            }
            let free = parameter.master.is_unique() && parameter.working.is_unique();
            let mut trained = update.step.on_gpu([
                &parameter.master,
                update.gradient,
                update.first,
                update.second,
            ]);
            if same {
                parameter.working = parameter.master.clone();
            } else {
                trained.rounded = parameter.working.address();
            }
            trained.count = update.place.len() as u64;
            let start = update.place.start as u64;
            trained.weights += start * size_of::<f32>() as u64;
            trained.gradient += start * size_of::<f32>() as u64;
            if trained.rounded != 0 {
                trained.rounded += start * self.precision.bytes() as u64;
            }
            if !free {
                return Err(parameter.held());
            }
            if !(update.first.is_unique() && update.second.is_unique()) {
                return Err(TensorError::shape(
                    "step",
                    "moments that something else holds",
                ));
            }
            table.push(trained);
        }
        let narrow = |precision| match precision {
            // There are no working copies then, and so no format of theirs.
            Precision::F32 => Precision::Bf16,
            narrow => narrow,
        };
        steps::adamw(&gpu, &table, narrow(self.precision), scale)
    }

    /// The working copy of `id`, with its place on the tape if it is trainable.
    pub(crate) fn tensor(&self, id: ParameterId) -> Tensor {
        let parameter = &self.list[id.0];
        let tensor = parameter.working.clone();
        if parameter.trainable {
            tensor.with_node(Node::Parameter(id))
        } else {
            tensor.fixed()
        }
    }
}

fn working_copy(master: &Tensor, precision: Precision) -> Tensor {
    if master.shape().len() >= 2 {
        master.to_precision(precision)
    } else {
        master.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tape;
    use crate::ops::linear;

    /// Answers between two updates keep weights packed, whether or not they train.
    #[test]
    fn a_weight_that_is_written_forgets_its_packed_form() {
        for precision in [Precision::F32, Precision::Bf16, Precision::F16] {
            for trains in [true, false] {
                let mut parameters = Parameters::new(precision);
                let values: Vec<f32> = (0..64 * 64).map(|i| (i as f32 * 0.7).sin()).collect();
                let matrix = || Tensor::from_f32(&[64, 64], &values).expect("as many");
                let id = parameters.add("weight", matrix()).expect("new");
                parameters.set_trainable(|_| trains);
                let x = matrix().to_precision(precision);
                let y = |parameters: &Parameters| {
                    let tape = Tape::inference(parameters);
                    linear(&tape, &x, &tape.parameter(id), None)
                        .expect("fits")
                        .to_f32_vec()
                };
                let before = y(&parameters);
                let negate = |master: &mut [f32]| master.iter_mut().for_each(|w| *w = -*w);
                parameters.update(id, negate).expect("no tape holds it");
                let after = y(&parameters);
                assert!(before.iter().zip(&after).all(|(a, b)| *a == -*b));
            }
        }
    }

    #[test]
    fn working_copies_change_their_format_and_masters_stay() {
        let numbers = [0.1, 1.0 + 2f32.powi(-9), 7e4, 1e-6];
        let mut parameters = Parameters::new(Precision::F32);
        let matrix = Tensor::from_f32(&[2, 2], &numbers).expect("four numbers");
        let vector = Tensor::from_f32(&[4], &numbers).expect("four numbers");
        let matrix = parameters.add("matrix", matrix).expect("new");
        let vector = parameters.add("vector", vector).expect("new");
        for precision in [Precision::F16, Precision::Bf16, Precision::F32] {
            parameters.set_precision(precision);
            assert_eq!(parameters.precision(), precision);
            let master = parameters.get(matrix).master().clone();
            assert_eq!(master.f32().expect("f32"), numbers);
            let working = parameters.tensor(matrix);
            assert_eq!(working.precision(), precision);
            let rounded = master.to_precision(precision).to_f32_vec();
            assert_eq!(working.to_f32_vec(), rounded);
            assert_eq!(parameters.tensor(vector).precision(), Precision::F32);
        }
        // It can still be written, as one whose format never changed.
        parameters.set_precision(Precision::F16);
        let twice = |master: &mut [f32]| master.iter_mut().for_each(|w| *w *= 2.0);
        parameters.update(matrix, twice).expect("no tape holds it");
        let wanted = numbers.map(|number| f16::from_f32(2.0 * number).to_f32());
        assert_eq!(parameters.tensor(matrix).to_f32_vec(), wanted);
        assert_eq!(wanted[2], f32::INFINITY);
    }
}
