//! What can go wrong in an operation.

/// An error of a tensor operation; the message names the operation and what it expected.
#[derive(Debug, thiserror::Error)]
pub enum TensorError {
    /// Operands whose shapes do not fit each other.
    #[error("{operation}: {message}")]
    Shape {
        /// The operation that refused its operands.
        operation: &'static str,
        /// What was expected and what was found.
        message: String,
    },
    /// A device that is not there, cannot do what it was asked to, or failed.
    #[error("{device}: {message}")]
    Device {
        /// What it is called.
        device: String,
        /// What happened, and the way out.
        message: String,
    },
    /// What ranks do together has failed, on this one or another.
    #[error("{message}")]
    Together {
        /// Which rank, and why.
        message: String,
    },
    /// An environment variable that names no instruction set.
    #[error(
        "the environment variable FOURFOLD_ISA is '{value}'; expected portable, avx2, avx512, avx512bf16 or amx; \
         unset it to use the best that the machine has"
    )]
    Isa {
        /// What it is set to.
        value: String,
    },
    /// A trainable parameter that no gradient reached in a step.
    #[error(
        "parameter '{name}' is trainable in this stage but received no gradient: the loss does not depend on it; \
         freeze it (remove its part from the stage's `train`) or feed it (a stage that trains `vision` needs images)"
    )]
    MissingGradient {
        /// The parameter's name.
        name: String,
    },
}

impl TensorError {
    pub(crate) fn device(device: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Device {
            device: device.into(),
            message: message.into(),
        }
    }

    pub(crate) fn shape(operation: &'static str, message: impl Into<String>) -> Self {
        Self::Shape {
            operation,
            message: message.into(),
        }
    }
}
