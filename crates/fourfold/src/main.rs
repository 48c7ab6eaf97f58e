//! Fourfold's command line: thin, one file a command.

mod arrival;
mod cli;
mod commands;
mod failure;
mod hub;
mod interrupt;
mod machine;
mod model_folder;
mod output;
mod page;
mod picture;
mod progress;
mod questions;
mod ranks;
mod run;
mod search;
mod watch;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    failure::guard(|| cli::Cli::parse().run())
}
