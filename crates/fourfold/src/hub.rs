//! Models of the Hugging Face hub in recipes that are looked at rather than run.

use std::sync::atomic::AtomicBool;

use anyhow::Result;
use fourfold_train::hub::{Hub, HubSettings, Need, Pins};
use fourfold_train::recipe::Recipe;

use crate::progress::Bars;

/// The hub that the environment names.
pub fn hub() -> Hub {
    Hub::new(HubSettings::from_env())
}

/// `recipe` with folders in the place of hub ids, with at most `most` of each model in them.
///
/// # Errors
/// When a model cannot be fetched.
pub fn local(recipe: &Recipe, most: Need) -> Result<Recipe> {
    let never = AtomicBool::new(false);
    let fetched = recipe.fetched(&hub(), most, &Pins::new(), &mut Bars::new(), &never)?;
    Ok(fetched.0)
}
