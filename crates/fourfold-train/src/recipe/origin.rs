//! Where something pretrained comes from: a path, or a model of the Hugging Face hub.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize, Serializer};

use super::paths;
use crate::hub::HubId;

/// The value of a `from`. What exists as a path beside the recipe is that path; else `OWNER/NAME` or
/// `OWNER/NAME@REVISION` is a model of the hub; anything else is a path that leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "PathBuf")]
pub enum Origin {
    /// A folder or file here.
    Local(PathBuf),
    /// A model of the hub, which becomes a folder of the cache where a run starts.
    Hub(HubId),
}

impl Origin {
    /// Tells path and hub id apart, for a recipe in `base`. Until then all are paths as written.
    pub(super) fn resolve(&mut self, base: &Path) {
        let Self::Local(written) = self else {
            return;
        };
        let place = base.join(&*written);
        let id = written.to_str().and_then(|text| text.parse().ok());
        *self = match id {
            Some(id) if !place.exists() => Self::Hub(id),
            _ => Self::Local(paths::normal(&place)),
        };
    }

    /// The path.
    ///
    /// # Errors
    /// When it is a hub id that was not fetched ([`Recipe::fetched`](super::Recipe::fetched)).
    pub fn path(&self) -> Result<&Path> {
        match self {
            Self::Local(path) => Ok(path),
            Self::Hub(id) => bail!("{id} is a model of the hub that was not fetched yet"),
        }
    }
}

impl From<PathBuf> for Origin {
    fn from(path: PathBuf) -> Self {
        Self::Local(path)
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Local(path) => path.serialize(serializer),
            Self::Hub(id) => serializer.collect_str(id),
        }
    }
}
