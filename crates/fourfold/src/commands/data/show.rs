//! `fourfold data show`: samples as training sees them.

use std::io::IsTerminal;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;
use fourfold_data::show::{PartKind, parts, summary};
use fourfold_data::source::Table;
use fourfold_data::{
    DataError, Document, EncodedImage, RowImage, Sample, Tokenizer, sample_rng, show,
};

use super::page::Page;
use super::sight::Sight;
use super::{Prepared, Target, file_name};
use crate::output::{note, printable, say, shown};
use crate::picture;

/// Characters across a picture.
const SIDE: usize = 32;

/// Shows samples: of a file its rows, of a recipe the documents that training sees
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  fourfold data show datasets/emoji/train.parquet --count 2
  fourfold data show recipes/quickstart.toml --data named --visibility
  fourfold data show recipes/quickstart.toml --count 20 --html samples.html

Of a document, targets stand in ⟦…⟧, in green on a terminal, after the row that has to predict them. With --visibility a
picture says which rows see which: the first line are the first two rows of the document, the first column its first row;
a blank dot is not seen.")]
pub struct Show {
    #[command(flatten)]
    target: Target,
    /// How many samples
    #[arg(long, value_name = "N", default_value = "3")]
    count: NonZeroUsize,
    /// The first sample, from 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    start: usize,
    /// Draw which rows of a document see which
    #[arg(long)]
    visibility: bool,
    /// Write a page with pictures to FILE instead
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl Show {
    /// Runs the command.
    ///
    /// # Errors
    /// When recipe or data cannot be read, or the page cannot be written.
    pub fn run(self) -> Result<()> {
        let mut page = self
            .html
            .as_ref()
            .map(|_| Page::new(&file_name(&self.target.path)));
        let recipe = self.target.recipe()?;
        if let Some(path) = &self.html {
            self.target.demand_apart("--html", path, recipe.as_ref())?;
        }
        match recipe {
            Some(recipe) => {
                let prepared = Prepared::new(&recipe)?;
                for name in self.target.names(&recipe)? {
                    let (source, encoder, _) = prepared.get(&recipe, &name)?;
                    let kind = prepared.visibility(&recipe, &name);
                    let about = format!("{} samples", source.len());
                    match &mut page {
                        Some(page) => page.section(&name, &about),
                        None => say(format_args!("# {name}: {about}"))?,
                    }
                    for row in self.range(source.len())? {
                        let mut rng = sample_rng(0, row as u64);
                        let made = source.sample(row, &mut rng).and_then(|sample| {
                            let document = encoder.document(&sample, &mut rng)?;
                            Ok((sample, document))
                        });
                        let tokenizer = encoder.tokenizer();
                        match (made, &mut page) {
                            (Ok((sample, document)), Some(page)) => {
                                let sight = Sight::of(&document, kind)?;
                                page.sample(&sample, Some((&document, tokenizer, &sight)));
                            }
                            (Ok((sample, document)), None) => {
                                pictures(&sample.read_images().unwrap_or_default())?;
                                say(text(&document, tokenizer))?;
                                if self.visibility {
                                    say(Sight::of(&document, kind)?.text())?;
                                }
                                say("")?;
                            }
                            (Err(error), page) => broken(&error, page)?,
                        }
                    }
                }
            }
            None => match self.target.source()? {
                Some(source) => {
                    for row in self.range(source.len())? {
                        let sample = source.sample(row, &mut sample_rng(0, row as u64));
                        match (sample, &mut page) {
                            (Ok(sample), Some(page)) => page.sample(&sample, None),
                            (Ok(sample), None) => turns(&sample)?,
                            (Err(error), page) => broken(&error, page)?,
                        }
                    }
                }
                None => self.rows(&Table::read(&self.target.file_config())?, page.as_mut())?,
            },
        }
        if let (Some(page), Some(path)) = (page, &self.html) {
            std::fs::write(path, page.finish())
                .with_context(|| format!("cannot write {}", path.display()))?;
            note(format_args!("wrote {}", shown(path)));
        }
        Ok(())
    }

    fn rows(&self, table: &Table, mut page: Option<&mut Page>) -> Result<()> {
        let about = format!(
            "{} rows, columns: {}",
            table.len(),
            table.columns().join(", ")
        );
        match &mut page {
            Some(page) => page.section(table.name(), &about),
            None => say(format_args!("# {about}\n"))?,
        }
        for row in self.range(table.len())? {
            let row = match table.row(row) {
                Ok(row) => row,
                Err(error) => {
                    match &mut page {
                        Some(page) => page.broken(&error.to_string()),
                        None => say(format_args!("broken: {}\n", printable(&error.to_string())))?,
                    }
                    continue;
                }
            };
            let load = |(index, image): (usize, &RowImage)| image.load(&row.origin, index);
            let images = row.images.iter().enumerate().map(load);
            if let Some(page) = &mut page {
                let images = images.map(|image| image.map_err(|error| error.to_string()));
                page.row(&row.origin, images, &row.columns);
                continue;
            }
            say(printable(&row.origin))?;
            for image in images {
                match image {
                    Ok(image) => {
                        say(printable(&format!("  image: {}", described(&image))))?;
                        pictures(std::slice::from_ref(&image))?;
                    }
                    Err(error) => say(printable(&format!("  broken: {error}")))?,
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

fn broken(error: &DataError, page: &mut Option<Page>) -> Result<()> {
    match page {
        Some(page) => {
            page.broken(&error.to_string());
            Ok(())
        }
        None => say(printable(&format!("broken: {error}\n"))),
    }
}

/// The document, its targets in colour where the output shows colours.
fn text(document: &Document, tokenizer: &Tokenizer) -> String {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if plain || !std::io::stdout().is_terminal() {
        return printable(&show::document(document, tokenizer));
    }
    colored(document, tokenizer)
}

fn colored(document: &Document, tokenizer: &Tokenizer) -> String {
    let mut text = printable(&summary(document));
    text.push('\n');
    for part in parts(document, tokenizer) {
        let shown = printable(&part.text);
        text += &match part.kind {
            PartKind::Token => format!("{shown} "),
            PartKind::Visual(count) => format!("\x1b[34m{shown}×{count}\x1b[0m "),
            PartKind::Target => format!("\x1b[32m⟦{shown}⟧\x1b[0m "),
        };
    }
    text
}

fn turns(sample: &Sample) -> Result<()> {
    say(printable(&sample.origin))?;
    pictures(&sample.read_images().unwrap_or_default())?;
    for turn in &sample.turns {
        let turn = format!("  prompt: {}\n  answer: {}", turn.prompt, turn.answer);
        say(printable(&turn))?;
    }
    say("")
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

#[cfg(test)]
mod tests {
    use super::*;
    use fourfold_data::{TextFormat, train_bpe};

    #[test]
    fn targets_are_green_and_what_a_text_says_steers_no_terminal() {
        let format = TextFormat::default();
        let texts: [&str; 0] = [];
        let tokenizer = train_bpe(texts.iter(), 260, &format.tokens()).unwrap();
        let tokens = tokenizer.encode("a\u{1b}").unwrap();
        let document = Document {
            origin: "x\u{1b}[2J".into(),
            targets: vec![Some(tokens[1]), None],
            prompt_end: 1,
            visual: Vec::new(),
            images: Vec::new(),
            truncated: false,
            key: 0,
            tokens,
        };
        let text = colored(&document, &tokenizer);
        assert!(text.contains("\x1b[32m⟦\\u{1b}⟧\x1b[0m"), "{text:?}");
        assert!(!text.contains("\x1b[2J"), "{text:?}");
    }
}
