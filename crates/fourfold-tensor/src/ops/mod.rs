//! The operations: a handful of coarse ones, each with its gradient beside it.
//!
//! Each folder holds the public function with the kernel (`mod.rs`, `cpu.rs`) and `reference.rs`: plain loops,
//! generic over the float type, which tests hold the kernels and the gradients to.

mod add_rows;
pub mod attention;
mod embedding;
mod formats;
mod gated_silu;
mod gelu;
mod head_loss;
mod heads;
pub mod linear;
mod norm;
mod patchify;
mod pixel_shuffle;
mod place;
mod rope;
mod visibility;

pub use add_rows::add_rows;
pub use attention::attention;
pub use embedding::embedding;
pub use gated_silu::gated_silu;
#[cfg(target_arch = "x86_64")]
pub(crate) use gelu::gelu_at;
pub(crate) use gelu::gelu_in_place;
pub use gelu::{Gelu, gelu};
pub use head_loss::{head_logits, head_loss, head_loss_rows, highest_logit, log_sum_exp};
pub use heads::Heads;
pub use linear::{linear, linear_gelu, linear_residual};
pub use norm::{layer_norm, rms_norm};
pub use patchify::patchify;
pub use pixel_shuffle::pixel_shuffle;
pub use place::place;
pub use rope::rope;
pub use visibility::Visibility;
