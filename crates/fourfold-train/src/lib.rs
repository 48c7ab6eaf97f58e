//! Recipe, stages, optimizer, schedules, checkpoints, the run folder.

pub mod answer;
pub mod assemble;
pub mod bench;
pub mod checkpoint;
pub mod checks;
pub mod checksum;
pub mod environment;
pub mod estimate;
pub mod evaluation;
pub mod export;
pub mod feature_cache;
pub mod feature_store;
pub mod files;
pub mod hub;
pub mod import;
pub mod input;
pub mod loss_scale;
pub mod measure;
pub mod metrics;
pub mod optimizer;
pub mod peak;
pub mod plan;
pub mod progress;
pub mod recipe;
pub mod report;
pub mod run_folder;
pub mod samples;
pub mod save;
pub mod schedule;
pub mod skipped;
pub mod sources;
pub mod stage;
#[cfg(test)]
mod testing;
mod threads;
pub mod trainer;
pub mod update;
