//! A rank's view of all ranks.

use std::fmt;
use std::sync::Arc;

use anyhow::{Context, Result};
use fourfold_parallel::{Alone, Collective};
use fourfold_tensor::DeviceCollective;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// This rank among all. Cloning is cheap.
#[derive(Clone)]
pub struct Team {
    host: Arc<dyn Collective>,
    device: Option<Arc<dyn DeviceCollective>>,
}

impl fmt::Debug for Team {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Team({} of {})", self.rank(), self.ranks())
    }
}

impl Default for Team {
    fn default() -> Self {
        Self::new(Arc::new(Alone))
    }
}

impl Team {
    /// This rank, with what it does together with the others.
    pub fn new(collective: Arc<dyn Collective>) -> Self {
        Self {
            host: collective,
            device: None,
        }
    }

    /// The same, whose gradients and weights on a device are summed and gathered by `device`.
    pub fn with_device(self, device: Arc<dyn DeviceCollective>) -> Self {
        Self {
            device: Some(device),
            ..self
        }
    }

    /// What ranks do together.
    pub fn collective(&self) -> &Arc<dyn Collective> {
        &self.host
    }

    /// What their devices do together, where that was agreed on ([`Sums`](super::Sums)).
    pub fn device_collective(&self) -> Option<&Arc<dyn DeviceCollective>> {
        self.device.as_ref()
    }

    /// This rank, from 0.
    pub fn rank(&self) -> usize {
        self.host.rank()
    }

    /// How many there are.
    pub fn ranks(&self) -> usize {
        self.host.ranks()
    }

    /// Whether there is no other.
    pub fn is_alone(&self) -> bool {
        self.ranks() == 1
    }

    /// Whether this is rank 0, which writes to the run folder.
    pub fn leads(&self) -> bool {
        self.rank() == 0
    }

    /// What every rank says, in the order of ranks.
    ///
    /// # Errors
    /// When a rank is gone.
    pub fn hear<T: Serialize + DeserializeOwned>(&self, own: T) -> Result<Vec<T>> {
        if self.is_alone() {
            return Ok(vec![own]);
        }
        let message = serde_json::to_vec(&own).context("cannot write a message to other ranks")?;
        let all = self.host.exchange(message)?;
        let read = |bytes: Vec<u8>| serde_json::from_slice(&bytes);
        let read: Result<Vec<T>, _> = all.into_iter().map(read).collect();
        read.context("cannot read a message of another rank")
    }

    /// What rank 0 says; of the others `own` is not heard.
    ///
    /// # Errors
    /// When a rank is gone, or rank 0 says nothing.
    pub fn from_leader<T: Serialize + DeserializeOwned>(&self, own: Option<T>) -> Result<T> {
        let all = self.hear(own.filter(|_| self.leads()))?;
        let first = all.into_iter().next().flatten();
        first.context("rank 0 said nothing")
    }

    /// The sum of `value` over all ranks, added in their order.
    ///
    /// # Errors
    /// When a rank is gone.
    pub fn sum(&self, value: f64) -> Result<f64> {
        // As bits: it may be no number, which JSON has no word for.
        let all = self.hear(value.to_bits())?;
        Ok(all.into_iter().map(f64::from_bits).sum())
    }

    /// Whether any rank says yes.
    ///
    /// # Errors
    /// When a rank is gone.
    pub fn any(&self, own: bool) -> Result<bool> {
        Ok(self.hear(own)?.into_iter().any(|one| one))
    }
}
