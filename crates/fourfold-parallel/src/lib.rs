//! Ranks that train together: who they are, how they add numbers, and how the failure of one ends all.
//!
//! A *rank* computes on its part of every batch. Ranks are threads of one process ([`threads`]) or processes on one or
//! many machines ([`connect`]), which find each other by what their launcher put into the environment ([`Launch`]). All
//! that they do together goes through [`Collective`]: every rank makes the same calls in the same order.

mod collective;
mod ending;
mod error;
mod launch;
#[cfg(feature = "mpi")]
mod mpi;
mod ring;
mod tcp;
mod threads;

pub use collective::{Alone, Collective, part};
pub use error::ParallelError;
pub use launch::Launch;
#[cfg(feature = "mpi")]
pub use mpi::connect_mpi;
pub use tcp::connect;
pub use threads::threads;

/// What every fallible function of this crate returns.
pub type Result<T, E = ParallelError> = std::result::Result<T, E>;
