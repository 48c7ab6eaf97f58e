//! Models of the Hugging Face hub, by id instead of by folder.
//!
//! An id stays an id in a recipe. Where a run starts, [`Hub::fetch`] brings what is needed into the cache that Python's
//! `huggingface_hub` uses as well, and gives the folder there. The commit goes into the run's `environment.json`, and a
//! resumed run asks for that very commit.

mod cache;
mod client;
mod contents;
mod download;
mod failure;
mod id;
mod localize;
mod settings;
mod token;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Error, Result, anyhow, bail};

use crate::progress::{Arrival, Progress};
use cache::RepositoryCache;
use client::{Client, Listing, RemoteFile};
pub use contents::Need;
use contents::{INDEX, Weights, shards};
use download::Download;
use failure::Failure;
pub use id::HubId;
pub use localize::Pins;
pub use settings::HubSettings;
pub use token::Token;

/// A hub and the cache of what came from it.
#[derive(Clone, Debug)]
pub struct Hub {
    settings: HubSettings,
}

/// A model in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Its folder.
    pub folder: PathBuf,
    /// The commit it is of.
    pub commit: String,
}

impl Hub {
    /// A hub that is reached as `settings` say.
    pub fn new(settings: HubSettings) -> Self {
        Self { settings }
    }

    /// The folder of `id` with all files that `need` names, fetched if need be. `pin` is a commit to take instead of
    /// the one that the id's revision stands for now; where the cache has all of it, the hub is not asked. Where the hub
    /// cannot be reached, is busy or has a fault of its own, a complete copy in the cache is taken and `progress` told
    /// so.
    ///
    /// # Errors
    /// Says what is missing, refused or unreachable, and the ways out.
    pub fn fetch(
        &self,
        id: &HubId,
        need: Need,
        pin: Option<&str>,
        progress: &mut dyn Progress,
        stop: &AtomicBool,
    ) -> Result<Fetched> {
        let root = self.settings.cache.as_deref().context(
            "there is no home folder for the cache of the Hugging Face hub; set HF_HOME to a folder for it",
        )?;
        let cache = RepositoryCache::new(root, id);
        let wanted = pin.map_or_else(|| id.clone(), |commit| id.at(commit));
        if self.settings.offline {
            return cached(&cache, &wanted, need)
                .map_err(|lack| self.offline(&wanted, root, &lack));
        }
        if let Some(commit) = pin.filter(|commit| id::is_commit(commit)) {
            let folder = cache.snapshot(commit);
            if need.surely_in(&folder) {
                let commit = commit.to_owned();
                return Ok(Fetched { folder, commit });
            }
        }
        let client = Client::new(&self.settings)?;
        let listing = match client.listing(&wanted) {
            Ok(listing) => listing,
            Err(failure) => return self.instead(failure, &[&wanted], &cache, id, need, progress),
        };
        let job = Job {
            hub: self,
            client: &client,
            cache: &cache,
            id,
            at: wanted.at(&listing.commit),
            stop,
        };
        if let Err(failure) = job.fetch(&listing, need, progress) {
            return self.instead(failure, &[&job.at, &wanted], &cache, id, need, progress);
        }
        cache.note_commit(wanted.revision(), &listing.commit)?;
        Ok(Fetched {
            folder: cache.snapshot(&listing.commit),
            commit: listing.commit,
        })
    }

    /// The first of `choices` that the cache has all of, where the hub failed in a way that passes.
    fn instead(
        &self,
        failure: Failure,
        choices: &[&HubId],
        cache: &RepositoryCache,
        id: &HubId,
        need: Need,
        progress: &mut dyn Progress,
    ) -> Result<Fetched> {
        let mut found = choices
            .iter()
            .filter_map(|choice| cached(cache, choice, need).ok());
        let endpoint = &self.settings.endpoint;
        let Some(found) = found.next().filter(|_| failure.passes()) else {
            return Err(failure.explain(choices[0], &self.settings));
        };
        let what = match failure {
            Failure::Refused { status, .. } => format!("{endpoint} answers with HTTP {status}"),
            _ => format!("{endpoint} cannot be reached"),
        };
        progress.note(&format!(
            "{what}; {id} is taken from the cache, as of commit {}",
            found.commit
        ));
        Ok(found)
    }

    fn offline(&self, id: &HubId, root: &Path, lack: &str) -> Error {
        anyhow!(
            "HF_HUB_OFFLINE is set and the cache {} {lack}; unset HF_HUB_OFFLINE to fetch it, or run `fourfold fetch \
             {id}` where there is a network",
            root.display(),
        )
    }
}

/// What the cache has of `id`, or what it lacks.
fn cached(cache: &RepositoryCache, id: &HubId, need: Need) -> Result<Fetched, String> {
    let Some(commit) = cache.commit(id.revision()) else {
        return Err(format!("holds no {id}"));
    };
    let folder = cache.snapshot(&commit);
    match need.missing(&folder) {
        None => Ok(Fetched { folder, commit }),
        Some(file) => Err(format!("holds no {file} of {id}")),
    }
}

/// One revision on its way.
struct Job<'a> {
    hub: &'a Hub,
    client: &'a Client<'a>,
    cache: &'a RepositoryCache,
    /// As the recipe has it.
    id: &'a HubId,
    /// At the commit.
    at: HubId,
    stop: &'a AtomicBool,
}

impl Job<'_> {
    /// What passes is a failure of the descriptions alone: half a download is not given up for what the cache has.
    fn fetch(
        &self,
        listing: &Listing,
        need: Need,
        progress: &mut dyn Progress,
    ) -> Result<(), Failure> {
        let mut names = need.descriptions(&listing.files).map_err(Failure::Here)?;
        let weights = match need {
            Need::Weights => {
                let weights = Weights::of(&listing.files, self.id.repository());
                Some(weights.map_err(Failure::Here)?)
            }
            _ => None,
        };
        match weights {
            Some(Weights::Whole(name)) => names.push(name),
            Some(Weights::Shards(index)) => {
                self.all(&[index], progress)?;
                let shards = shards(&self.cache.snapshot(self.at.revision()).join(INDEX));
                let shards = shards.map_err(Failure::Here)?;
                demand_all(&shards, &listing.files).map_err(Failure::Here)?;
                names.extend(shards);
            }
            None => {}
        }
        self.all(&names, progress)
    }

    /// Fetches files together, so that it is known from the start how much is to come.
    fn all(&self, names: &[String], progress: &mut dyn Progress) -> Result<(), Failure> {
        let explain =
            |failure: Failure| Failure::Here(failure.explain(&self.at, &self.hub.settings));
        let files = names.iter().map(|name| self.client.file(&self.at, name));
        let files: Vec<RemoteFile> = files.collect::<Result<_, Failure>>()?;
        let download = Download {
            client: self.client,
            cache: self.cache,
            id: &self.at,
            pause: self.hub.settings.pause,
            stop: self.stop,
        };
        let commit = self.at.revision();
        let there = |file: &RemoteFile| {
            let place = self.cache.snapshot(commit).join(&file.name);
            std::fs::metadata(place).is_ok_and(|found| found.len() == file.size)
        };
        let missing: Vec<&RemoteFile> = files.iter().filter(|file| !there(file)).collect();
        let total = missing.iter().map(|file| file.size).sum();
        let mut before = 0;
        for file in missing {
            let mut received = |bytes: u64| {
                progress.arriving(&Arrival {
                    id: self.id,
                    file: &file.name,
                    received: before + bytes,
                    total,
                });
            };
            let fetched = download.fetch(file, &mut received);
            fetched.map_err(explain)?;
            let linked = self.cache.link(&file.etag, commit, &file.name);
            linked.map_err(Failure::Here)?;
            before += file.size;
        }
        Ok(())
    }
}

fn demand_all(shards: &BTreeSet<String>, listing: &BTreeSet<String>) -> Result<()> {
    if let Some(missing) = shards.iter().find(|name| !listing.contains(*name)) {
        bail!("its {INDEX} names {missing}, which it does not hold: the repository is incomplete");
    }
    Ok(())
}
