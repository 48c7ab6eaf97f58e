//! One file a command.

pub mod ask;
pub mod bench;
pub mod caption;
pub mod data;
pub mod eval;
pub mod fetch;
pub mod plan;
pub mod quickstart;
pub mod train;
