//! One file a command.

pub mod ask;
pub mod bench;
pub mod caption;
pub mod data;
pub mod devices;
pub mod eval;
pub mod export;
pub mod fetch;
pub mod import;
pub mod plan;
pub mod quickstart;
pub mod score;
pub mod selfcheck;
pub mod train;
