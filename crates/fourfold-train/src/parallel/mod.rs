//! Training on several ranks at once, each on its part of every batch.
//!
//! All ranks hold the whole model and begin with the same numbers. Each computes the gradients of its packs, scaled by
//! the targets of the *whole* batch; gradients are summed over the ranks while they are still computed ([`Reducer`]), on
//! devices by what all agreed on ([`Sums`]);
//! then all make the same step. With a sharded optimizer ([`Shards`]; ZeRO-1) each steps a part of the numbers, whose
//! moments it alone holds, and hands them to the others. Rank 0 alone writes to the run folder.

mod buckets;
mod reducer;
mod shards;
mod sums;
mod team;
mod threads;

pub use buckets::{Bucket, Member, buckets};
pub use reducer::Reducer;
pub use shards::Shards;
pub use sums::Sums;
pub use team::Team;
pub use threads::Ranks;
pub(crate) use threads::on_every_rank;
