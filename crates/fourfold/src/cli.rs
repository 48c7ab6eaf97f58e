//! The commands and what they share.

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::commands::{
    ask, bench, caption, data, devices, eval, export, fetch, import, plan, quickstart, score,
    selfcheck, train,
};

/// Gives a small language model eyes.
#[derive(Parser, Debug)]
#[command(
    name = "fourfold",
    version,
    about = "Aligns a vision encoder with a small language model in stages, then captions images and answers questions",
    after_help = "Example:\n  fourfold quickstart",
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Quickstart(quickstart::Quickstart),
    Train(train::Train),
    Caption(caption::Caption),
    Ask(ask::Ask),
    Eval(Box<eval::Eval>),
    Score(score::Score),
    Export(export::Export),
    Import(import::Import),
    Data(data::Data),
    Plan(plan::Plan),
    Fetch(fetch::Fetch),
    Bench(bench::Bench),
    Devices(devices::Devices),
    Selfcheck(selfcheck::Selfcheck),
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// What went wrong, to be shown to the user.
    pub fn run(self) -> Result<()> {
        match self.command {
            Command::Quickstart(command) => command.run(),
            Command::Train(command) => command.run(),
            Command::Caption(command) => command.run(),
            Command::Ask(command) => command.run(),
            Command::Eval(command) => command.run(),
            Command::Score(command) => command.run(),
            Command::Export(command) => command.run(),
            Command::Import(command) => command.run(),
            Command::Data(command) => command.run(),
            Command::Plan(command) => command.run(),
            Command::Fetch(command) => command.run(),
            Command::Bench(command) => command.run(),
            Command::Devices(command) => command.run(),
            Command::Selfcheck(command) => command.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_command_has_an_example() {
        fn check(command: &clap::Command) {
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                help.contains("Example"),
                "{} has no example",
                command.get_name()
            );
            command.get_subcommands().for_each(check);
        }
        let command = Cli::command();
        command.clone().debug_assert();
        check(&command);
    }
}
