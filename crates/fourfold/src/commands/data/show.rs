//! `fourfold data show`: samples as training sees them.

use std::num::NonZeroUsize;

use anyhow::{Result, ensure};
use clap::Args;
use fourfold_data::source::Table;
use fourfold_data::{EncodedImage, sample_rng, show};

use super::{Prepared, Target};
use crate::output::{printable, say};
use crate::picture;

/// Characters across a picture.
const SIDE: usize = 32;

/// Shows samples: of a file its rows, of a recipe the documents that training sees
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  fourfold data show datasets/emoji/train.parquet --count 2
  fourfold data show recipes/quickstart.toml --data named

Of a document, targets stand in ⟦…⟧ after the row that has to predict them.")]
pub struct Show {
    #[command(flatten)]
    target: Target,
    /// How many samples
    #[arg(long, value_name = "N", default_value = "3")]
    count: NonZeroUsize,
    /// The first sample, from 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    start: usize,
}

impl Show {
    /// Runs the command.
    ///
    /// # Errors
    /// When recipe or data cannot be read.
    pub fn run(self) -> Result<()> {
        if let Some(recipe) = self.target.recipe()? {
            let prepared = Prepared::new(&recipe)?;
            for name in self.target.names(&recipe)? {
                let (source, encoder, _) = prepared.get(&recipe, &name)?;
                say(format_args!("# {name}: {} samples", source.len()))?;
                for row in self.range(source.len())? {
                    let mut rng = sample_rng(0, row as u64);
                    let sample = source.sample(row, &mut rng);
                    let shown = sample.and_then(|sample| {
                        let document = encoder.document(&sample, &mut rng)?;
                        Ok((sample, show::document(&document, encoder.tokenizer())))
                    });
                    match shown {
                        Ok((sample, text)) => {
                            pictures(&sample.read_images().unwrap_or_default())?;
                            say(printable(&text))?;
                        }
                        Err(error) => say(format_args!("broken: {error}"))?,
                    }
                    say("")?;
                }
            }
            return Ok(());
        }
        match self.target.source()? {
            Some(source) => {
                for row in self.range(source.len())? {
                    match source.sample(row, &mut sample_rng(0, row as u64)) {
                        Ok(sample) => {
                            say(&sample.origin)?;
                            pictures(&sample.read_images().unwrap_or_default())?;
                            for turn in sample.turns {
                                let turn =
                                    format!("  prompt: {}\n  answer: {}", turn.prompt, turn.answer);
                                say(printable(&turn))?;
                            }
                        }
                        Err(error) => say(format_args!("broken: {error}"))?,
                    }
                    say("")?;
                }
                Ok(())
            }
            None => self.rows(&Table::open(&self.target.path)?),
        }
    }

    fn rows(&self, table: &Table) -> Result<()> {
        let columns = table.columns().join(", ");
        say(format_args!("# {} rows, columns: {columns}\n", table.len()))?;
        for row in self.range(table.len())? {
            let row = match table.row(row) {
                Ok(row) => row,
                Err(error) => {
                    say(format_args!("broken: {error}\n"))?;
                    continue;
                }
            };
            let origin = row.origin;
            say(&origin)?;
            for (index, image) in row.images.iter().enumerate() {
                match image.load(&origin, index) {
                    Ok(image) => {
                        say(format_args!("  image: {}", described(&image)))?;
                        pictures(std::slice::from_ref(&image))?;
                    }
                    Err(error) => say(format_args!("  broken: {error}"))?,
                }
            }
            for (name, value) in &row.columns {
                say(printable(&format!("  {name}: {value}")))?;
            }
            say("")?;
        }
        Ok(())
    }

    fn range(&self, length: usize) -> Result<std::ops::Range<usize>> {
        ensure!(
            self.start < length,
            "--start {}: there are {length} samples, counted from 0",
            self.start
        );
        Ok(self.start..self.start.saturating_add(self.count.get()).min(length))
    }
}

fn described(image: &EncodedImage) -> String {
    let path = image.path.as_deref().unwrap_or("in the row");
    match fourfold_data::decode_rgb(&image.bytes) {
        Ok(pixels) => {
            format!(
                "{path}, {} × {}, {} bytes",
                pixels.width(),
                pixels.height(),
                image.bytes.len()
            )
        }
        Err(message) => format!("{path}: {message}"),
    }
}

/// Draws images where the terminal can.
fn pictures(images: &[EncodedImage]) -> Result<()> {
    let Some(colors) = picture::colors() else {
        return Ok(());
    };
    for image in images {
        if let Ok(lines) = picture::draw(&image.bytes, SIDE, colors) {
            say(lines.join("\n"))?;
        }
    }
    Ok(())
}
