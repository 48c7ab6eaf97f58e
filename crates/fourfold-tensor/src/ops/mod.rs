//! The operations: a handful of coarse ones, each with its gradient beside it.
//!
//! Each folder holds the public function with the kernel (`mod.rs`, `cpu.rs`) and `reference.rs`: plain loops,
//! generic over the float type, which tests hold the kernels and the gradients to.

mod add_columns;
mod add_rows;
pub mod attention;
mod average;
mod cast;
mod dropout;
mod embedding;
pub(crate) mod formats;
mod gated;
mod gelu;
mod gpu;
mod head_loss;
mod head_norm;
mod heads;
pub mod linear;
mod norm;
mod patchify;
mod pixel_shuffle;
mod place;
mod residual;
mod rope;
mod scale;
mod take_rows;
mod visibility;

pub use add_columns::add_columns;
pub use add_rows::add_rows;
pub use attention::attention;
pub use average::average;
pub use cast::cast;
pub use dropout::dropout;
pub use embedding::embedding;
pub use gated::{Gate, gated};
pub(crate) use gelu::gelu_in_place;
pub use gelu::{Gelu, gelu};
#[cfg(target_arch = "x86_64")]
pub(crate) use gelu::{gelu_at, tanh_slope};
pub use head_loss::{
    Highest, head_logits, head_loss, head_loss_rows, head_loss_rows_on_device, highest_logit,
    highest_logits, log_sum_exp,
};
pub use head_norm::head_norm;
pub use heads::Heads;
pub use linear::{linear, linear_gelu, linear_residual};
pub use norm::{layer_norm, rms_norm};
pub use patchify::patchify;
pub use pixel_shuffle::pixel_shuffle;
pub use place::place;
pub use residual::residual;
pub use rope::{Rotary, rope};
pub use scale::scale;
pub use take_rows::take_rows;
pub use visibility::Visibility;
