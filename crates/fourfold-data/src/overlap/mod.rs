//! Samples of which a test split has the image too: by identifier, by content, and by what it looks like.

mod blocklist;
mod identifiers;

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::Serialize;

use crate::check::{AT_ONCE, ImageFacts, Images};
use crate::in_order::in_order;
use crate::perceptual_hash::HashIndex;
use crate::{DataError, PerceptualHash, SkipReport, Source, sample_rng};

pub(crate) use identifiers::identifiers;

/// The images of a test split.
#[derive(Clone, Debug, Default)]
pub struct HeldOut {
    /// What it is called.
    pub name: String,
    /// Ids and file names, as [`identifiers`] writes them.
    identifiers: HashSet<String>,
    /// Of the content's SHA-256 the place in `origins`.
    digests: HashMap<[u8; 32], u32>,
    hashes: HashIndex,
    /// Where the images are; nothing for those that are known by a hash alone.
    origins: Vec<String>,
}

/// How it is known that an image is held out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// A column, or the image's file name, is one of the listed identifiers.
    Identifier(String),
    /// The file's content is the same.
    Content,
    /// It looks the same: so many bits of the perceptual hash differ.
    Looks(u32),
}

impl HeldOut {
    /// The images of all samples of `source`, called `name`, and those that cannot be read. `progress` is told how many
    /// samples were gone through since it was told last.
    ///
    /// # Errors
    /// When the source as a whole cannot be read.
    pub fn of(
        name: &str,
        source: &dyn Source,
        progress: &dyn Fn(usize),
    ) -> Result<(Self, SkipReport), DataError> {
        let mut held = Self {
            name: name.into(),
            ..Self::default()
        };
        let mut broken = SkipReport::default();
        let images = Images::default();
        let read = |row: usize| -> Result<(String, Vec<ImageFacts>), DataError> {
            let sample = source.sample(row, &mut sample_rng(0, row as u64));
            let sample = match sample {
                // An evaluation of images alone has no answers, and it is images that are compared.
                Err(DataError::EmptyAnswer { .. }) => return Ok((String::new(), Vec::new())),
                sample => sample?,
            };
            let facts =
                sample.images.iter().enumerate().map(|(index, image)| {
                    images.facts(&sample.origin, index, image, &mut |_| Ok(()))
                });
            let facts: Vec<ImageFacts> = facts.collect::<Result<_, _>>()?;
            Ok((sample.origin, facts))
        };
        in_order(0..source.len(), AT_ONCE, read, |row, read| {
            progress(1);
            match read {
                Ok((origin, facts)) => {
                    for facts in facts {
                        held.insert(&origin, &facts);
                    }
                }
                Err(error) if error.concerns_sample() => broken.add(name, row, &error),
                Err(error) => return Err(error),
            }
            Ok(())
        })?;
        Ok((held, broken))
    }

    fn insert(&mut self, origin: &str, facts: &ImageFacts) {
        let place = self.origins.len() as u32;
        if *self.digests.entry(facts.digest).or_insert(place) == place {
            self.origins.push(origin.into());
            if let Some(hash) = facts.hash {
                self.hashes.insert(hash, place);
            }
        }
    }

    /// How many images and identifiers it has.
    pub fn len(&self) -> usize {
        self.identifiers.len() + self.digests.len().max(self.hashes.len())
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is known by identifiers, so that rows have to be asked for theirs.
    pub(crate) fn has_identifiers(&self) -> bool {
        !self.identifiers.is_empty()
    }

    /// Whether one of `identifiers` or `images` is held out: how that is known, and where the held-out image is. Of
    /// images that look the same at most `distance` bits differ.
    pub(crate) fn find(
        &self,
        identifiers: &[String],
        images: &[ImageFacts],
        distance: u32,
    ) -> Option<(Evidence, &str)> {
        let known = |identifier: &&String| self.identifiers.contains(*identifier);
        if let Some(identifier) = identifiers.iter().find(known) {
            return Some((Evidence::Identifier(identifier.clone()), ""));
        }
        let origin = |place: u32| self.origins.get(place as usize).map_or("", String::as_str);
        let same = images
            .iter()
            .find_map(|facts| self.digests.get(&facts.digest));
        if let Some(place) = same {
            return Some((Evidence::Content, origin(*place)));
        }
        let near = |hash: PerceptualHash| self.hashes.near(hash, distance);
        let (place, differing) = images.iter().find_map(|facts| near(facts.hash?))?;
        Some((Evidence::Looks(differing), origin(place)))
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identifier(identifier) => write!(f, "listed as {identifier}"),
            Self::Content => f.write_str("the same image"),
            Self::Looks(bits) => write!(f, "looks the same ({bits} of 64 bits differ)"),
        }
    }
}

#[cfg(test)]
mod tests;
