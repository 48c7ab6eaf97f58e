//! What is drawn at random in a pass: seeds, one for each draw, and what tells rows apart.

use std::sync::Arc;

/// How far the seeds of two draws lie apart: an odd number far from any small multiple of another.
const SEED_STEP: u64 = 0xd1b5_4a32_d192_ed03;

/// What operations that leave numbers out at random go by.
#[derive(Clone, Debug)]
pub(crate) struct Draws {
    /// Of the pass.
    seed: u64,
    /// Of the next draw.
    next: u64,
    /// What tells rows apart; by their place where there are none.
    keys: Option<Arc<[u64]>>,
}

/// One draw.
pub(crate) struct Draw {
    pub seed: u64,
    /// As many consecutive rows belong to each; every row is told by its place where there are none.
    pub keys: Option<Arc<[u64]>>,
}

impl Draws {
    /// Those of a pass with this seed, in which rows are told by their place.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            next: seed,
            keys: None,
        }
    }

    /// Begins the draws of `part`, whose rows are told by `keys`.
    pub fn begin(&mut self, part: u64, keys: Arc<[u64]>) {
        self.next = mixed(self.seed, part);
        self.keys = Some(keys);
    }

    /// The next one, with another seed each time.
    pub fn draw(&mut self) -> Draw {
        let seed = self.next;
        self.next = seed.wrapping_add(SEED_STEP);
        let keys = self.keys.clone();
        Draw { seed, keys }
    }
}

/// The output of SplitMix64 (Steele, Lea and Flood, 2014) number `place` from `seed` on: neighbours have nothing in common.
#[inline(always)]
pub fn mixed(seed: u64, place: u64) -> u64 {
    let mut hash = seed.wrapping_add(place.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}
