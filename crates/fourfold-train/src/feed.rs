//! Batches for the updates of a stage; where a device computes, the next one travels there while it does.

use std::time::Instant;

use anyhow::{Context, Result};
use fourfold_data::{Batch, Loader};
use fourfold_tensor::{Device, Tensor};

use crate::input::pack_pixels;

/// A batch, and what of it has left for the device already.
pub struct Ready {
    /// What the loader gave.
    pub batch: Batch,
    /// The pixels of its first pack.
    pub pixels: Option<Tensor>,
    /// Seconds that the loader was waited for.
    pub waited: f64,
}

/// Reads batches, one ahead where a device computes.
pub struct Feed {
    loader: Loader,
    device: Device,
    /// Whether pixels are what the model reads of an image, and not features that are kept.
    sends_pixels: bool,
    ahead: Option<Result<Ready>>,
    ended: bool,
}

impl Feed {
    /// Batches of `loader` for a model on `device`; with `sends_pixels` it reads the pixels of all images.
    pub fn new(loader: Loader, device: Device, sends_pixels: bool) -> Self {
        Self {
            loader,
            device,
            sends_pixels,
            ahead: None,
            ended: false,
        }
    }

    /// The next batch.
    ///
    /// # Errors
    /// Those of the loader, and when the device has no memory for it.
    pub fn next_batch(&mut self) -> Result<Ready> {
        self.ahead.take().unwrap_or_else(|| self.read())
    }

    /// Reads the batch after the one that [`Feed::next_batch`] gave last, unless that was the last one or this processor
    /// computes, which has no time for it. For when all that an update needs has been asked of the device. What fails
    /// is told by [`Feed::next_batch`].
    pub fn look_ahead(&mut self) {
        if self.device != Device::Cpu && self.ahead.is_none() && !self.ended {
            self.ahead = Some(self.read());
        }
    }

    fn read(&mut self) -> Result<Ready> {
        let begin = Instant::now();
        let batch = self.loader.next_batch()?;
        let waited = begin.elapsed().as_secs_f64();
        self.ended = batch.last;
        let first = batch.packs.first().filter(|_| self.sends_pixels);
        let send = |pack| {
            pack_pixels(pack)?
                .send_ahead(&self.device)
                .context("pixels")
        };
        let pixels = first.map(send).transpose()?;
        Ok(Ready {
            batch,
            pixels,
            waited,
        })
    }
}
