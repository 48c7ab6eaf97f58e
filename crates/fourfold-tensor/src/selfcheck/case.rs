//! One computation that is compared.

use std::fmt;

use crate::{Device, Precision};

/// Why a case gave nothing.
pub type Failure = Box<dyn std::error::Error>;

/// What an array is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something that was computed from inputs.
    Output,
    /// The gradient of an input.
    Gradient,
}

/// Numbers that a case gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// What it is called.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// The numbers.
    pub values: Vec<f32>,
}

impl Array {
    /// An output.
    pub fn output(name: impl Into<String>, values: Vec<f32>) -> Self {
        Self {
            name: name.into(),
            kind: Kind::Output,
            values,
        }
    }

    /// The gradient of what is called `name`.
    pub fn gradient(name: impl fmt::Display, values: Vec<f32>) -> Self {
        Self {
            name: format!("gradient of {name}"),
            kind: Kind::Gradient,
            values,
        }
    }
}

type Compute = dyn Fn(&Device, Precision) -> Result<Vec<Array>, Failure>;

/// A computation that gives the same arrays, but for rounding, on any device in any precision.
pub struct Case {
    name: String,
    compute: Box<Compute>,
}

impl Case {
    /// `name` tells the shapes to whoever looks for a mistake.
    pub fn new(
        name: impl Into<String>,
        compute: impl Fn(&Device, Precision) -> Result<Vec<Array>, Failure> + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            compute: Box::new(compute),
        }
    }

    /// The shapes, for whoever looks for a mistake.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Computes it on `device` in `precision`.
    ///
    /// # Errors
    /// When the device fails, or refuses the case.
    pub fn compute(&self, device: &Device, precision: Precision) -> Result<Vec<Array>, Failure> {
        (self.compute)(device, precision)
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
