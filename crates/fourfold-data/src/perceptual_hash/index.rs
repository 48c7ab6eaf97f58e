//! Hashes near a given one, found without comparing it with all.
//!
//! Multi-index hashing: hashes of which at most [`PerceptualHash::NEAR`] bits differ agree in at least one of one more
//! parts than that. Source: M. Norouzi, A. Punjani, D. J. Fleet, "Fast Search in Hamming Space with Multi-Index Hashing",
//! CVPR 2012, section 2.

use std::collections::HashMap;

use super::PerceptualHash;

const PARTS: usize = PerceptualHash::NEAR as usize + 1;
/// Bits of a part; the last is shorter.
const BITS: usize = 64usize.div_ceil(PARTS);

/// Hashes, each with what it is known by.
#[derive(Clone, Debug, Default)]
pub struct HashIndex {
    hashes: Vec<(PerceptualHash, u32)>,
    /// Of each part and its bits, the places in `hashes`.
    places: HashMap<(u8, u16), Vec<u32>>,
    /// Of each hash its place.
    exact: HashMap<PerceptualHash, u32>,
}

impl HashIndex {
    /// How many different hashes there are.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Adds a hash that is known by `label`, unless it is there already.
    pub fn insert(&mut self, hash: PerceptualHash, label: u32) {
        let place = self.hashes.len() as u32;
        if *self.exact.entry(hash).or_insert(place) != place {
            return;
        }
        self.hashes.push((hash, label));
        for part in 0..PARTS {
            self.places.entry(key(hash, part)).or_default().push(place);
        }
    }

    /// The label of `hash`, or of the first found of which at most `distance` bits differ, and how many do.
    pub fn near(&self, hash: PerceptualHash, distance: u32) -> Option<(u32, u32)> {
        debug_assert!(distance <= PerceptualHash::NEAR);
        if let Some(place) = self.exact.get(&hash) {
            return Some((self.hashes[*place as usize].1, 0));
        }
        let of_part = |part| self.places.get(&key(hash, part)).into_iter().flatten();
        let compared = (0..PARTS).flat_map(of_part).map(|place| {
            let (other, label) = self.hashes[*place as usize];
            (label, hash.distance(other))
        });
        compared
            .into_iter()
            .find(|(_, differing)| *differing <= distance)
    }
}

fn key(hash: PerceptualHash, part: usize) -> (u8, u16) {
    let bits = hash.0 >> (part * BITS) & ((1 << BITS) - 1);
    (part as u8, bits as u16)
}
