//! Collectives around a ring: each rank sends to the next and receives from the one before.
//!
//! A sum of *n* numbers over *r* ranks moves `2 n (r - 1) / r` numbers through each link, the least that is possible:
//! first the parts travel around and are added to on their way, then the sums travel around once more.

use crate::{Collective, ParallelError, Result, part};

/// What a message is for: the other side has to expect it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Sum = 1,
    Gather = 2,
    Broadcast = 3,
    Exchange = 4,
}

/// A message between neighbours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub kind: u8,
    pub bytes: Vec<u8>,
}

/// The two neighbours of a rank.
pub(crate) trait Link: Send + Sync {
    /// Sends to the next rank; does not wait for it.
    fn send(&self, message: Message) -> Result<()>;

    /// Receives from the rank before.
    fn receive(&self) -> Result<Message>;

    fn check(&self) -> Result<()>;

    fn fail(&self, reason: &str);
}

/// Numbers of a broadcast that travel in one message, so that they are on all links at once.
const BROADCAST_NUMBERS: usize = 256 << 10;

/// Collectives over a link.
pub(crate) struct Ring<L> {
    pub rank: usize,
    pub ranks: usize,
    pub link: L,
}

impl<L: Link> Ring<L> {
    fn before(&self) -> usize {
        (self.rank + self.ranks - 1) % self.ranks
    }

    /// The rank that lies `steps` before this one.
    fn back(&self, steps: usize) -> usize {
        (self.rank + 2 * self.ranks - steps) % self.ranks
    }

    fn send(&self, kind: Kind, numbers: &[f32]) -> Result<()> {
        self.link.send(Message {
            kind: kind as u8,
            bytes: bytemuck::cast_slice(numbers).to_vec(),
        })
    }

    /// The next message, which has to be of `kind`; with `len`, of so many numbers.
    fn receive(&self, kind: Kind, len: Option<usize>) -> Result<Vec<u8>> {
        let Message { kind: found, bytes } = self.link.receive()?;
        let fits = len.is_none_or(|len| bytes.len() == len * size_of::<f32>());
        if found == kind as u8 && fits {
            return Ok(bytes);
        }
        let expected = len.map_or_else(String::new, |len| format!(" of {} bytes", len * 4));
        let apart = ParallelError::Apart {
            rank: self.rank,
            from: self.before(),
            found: format!("a message of kind {found} and {} bytes", bytes.len()),
            expected: format!("one of kind {}{expected}", kind as u8),
        };
        self.link.fail(&apart.to_string());
        Err(apart)
    }
}

impl<L: Link> Collective for Ring<L> {
    fn rank(&self) -> usize {
        self.rank
    }

    fn ranks(&self) -> usize {
        self.ranks
    }

    fn reduce_scatter(&self, values: &mut [f32]) -> Result<()> {
        let len = values.len();
        for step in 1..self.ranks {
            let sent = part(len, self.back(step), self.ranks);
            self.send(Kind::Sum, &values[sent])?;
            let added = part(len, self.back(step + 1), self.ranks);
            let bytes = self.receive(Kind::Sum, Some(added.len()))?;
            let numbers = bytes.as_chunks::<4>().0;
            for (value, number) in values[added].iter_mut().zip(numbers) {
                *value += f32::from_ne_bytes(*number);
            }
        }
        Ok(())
    }

    fn all_gather(&self, values: &mut [f32]) -> Result<()> {
        let len = values.len();
        for step in 0..self.ranks - 1 {
            let sent = part(len, self.back(step), self.ranks);
            self.send(Kind::Gather, &values[sent])?;
            let taken = part(len, self.back(step + 1), self.ranks);
            let bytes = self.receive(Kind::Gather, Some(taken.len()))?;
            bytemuck::cast_slice_mut(&mut values[taken]).copy_from_slice(&bytes);
        }
        Ok(())
    }

    fn broadcast(&self, values: &mut [f32]) -> Result<()> {
        if self.ranks == 1 {
            return Ok(());
        }
        let is_last = self.rank + 1 == self.ranks;
        for piece in values.chunks_mut(BROADCAST_NUMBERS) {
            if self.rank > 0 {
                let bytes = self.receive(Kind::Broadcast, Some(piece.len()))?;
                bytemuck::cast_slice_mut(piece).copy_from_slice(&bytes);
            }
            if !is_last {
                self.send(Kind::Broadcast, piece)?;
            }
        }
        Ok(())
    }

    fn exchange(&self, message: Vec<u8>) -> Result<Vec<Vec<u8>>> {
        let mut all = vec![Vec::new(); self.ranks];
        all[self.rank] = message;
        for step in 0..self.ranks - 1 {
            self.link.send(Message {
                kind: Kind::Exchange as u8,
                bytes: all[self.back(step)].clone(),
            })?;
            all[self.back(step + 1)] = self.receive(Kind::Exchange, None)?;
        }
        Ok(all)
    }

    fn check(&self) -> Result<()> {
        self.link.check()
    }

    fn fail(&self, reason: &str) {
        self.link.fail(reason);
    }
}
