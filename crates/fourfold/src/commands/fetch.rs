//! `fourfold fetch`: brings a model of the Hugging Face hub here.

use anyhow::{Error, Result};
use clap::Args;
use fourfold_train::hub::{HubId, Need};

use crate::hub::hub;
use crate::interrupt;
use crate::output::say;
use crate::progress::Bars;

/// Fetches a model of the Hugging Face hub into the cache and prints its folder
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  fourfold fetch google/siglip-base-patch16-224
  HF_HUB_OFFLINE=1 fourfold fetch Qwen/Qwen2.5-0.5B@main

A recipe that names the model by its id fetches it by itself; fetched here, it is there when the network is not. The \
cache is that of Python's huggingface_hub (HF_HOME, HF_HUB_CACHE); HF_TOKEN opens gated models, HF_ENDPOINT names another \
hub.")]
pub struct Fetch {
    /// The model: OWNER/NAME or OWNER/NAME@REVISION, a branch, tag or commit
    #[arg(value_name = "ID")]
    id: String,
}

impl Fetch {
    /// Runs the command.
    ///
    /// # Errors
    /// When the model cannot be fetched.
    pub fn run(self) -> Result<()> {
        let id: HubId = self.id.parse().map_err(Error::msg)?;
        let stop = interrupt::flag()?;
        let fetched = hub().fetch(&id, Need::Weights, None, &mut Bars::new(), &stop)?;
        say(fetched.folder.display())
    }
}
