//! A page of held-out images with what the model says of each.

use std::{env, fs};

use anyhow::Result;
use fourfold_train::run_folder::RunFolder;
use fourfold_train::samples::{self, SampleRecord};

use crate::output::say;
use crate::picture::{self, Colors};

/// Characters across a picture.
const SIDE: usize = 24;
/// Characters between pictures.
const GAP: usize = 3;

/// Shows the last captions of the run's held-out images, as pictures where the terminal can.
///
/// # Errors
/// When they cannot be read or the output is closed.
pub fn show(run: &RunFolder) -> Result<()> {
    let Some((_, records)) = samples::read(&run.samples())?.pop() else {
        return Ok(());
    };
    say("")?;
    match picture::colors() {
        Some(colors) => pictures(run, &records, colors),
        None => lines(&records),
    }
}

fn lines(records: &[SampleRecord]) -> Result<()> {
    for record in records {
        let right = if said(record) { "right" } else { "wrong" };
        let image = record.image.as_deref().unwrap_or("text alone");
        say(format_args!(
            "{image}  {right}  said: {}  |  reference: {}",
            record.answer, record.reference
        ))?;
    }
    Ok(())
}

fn pictures(run: &RunFolder, records: &[SampleRecord], colors: Colors) -> Result<()> {
    let width = env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok())
        .unwrap_or(80);
    let across = ((width + GAP) / (SIDE + GAP)).max(1);
    let gap = " ".repeat(GAP);
    for row in records.chunks(across) {
        let blocks: Vec<Vec<String>> = row
            .iter()
            .map(|record| block(run, record, colors))
            .collect();
        let height = blocks.iter().map(Vec::len).max().unwrap_or(0);
        let empty = " ".repeat(SIDE);
        for line in 0..height {
            let cells = blocks
                .iter()
                .map(|block| block.get(line).unwrap_or(&empty).as_str());
            say(cells.collect::<Vec<_>>().join(&gap))?;
        }
        say("")?;
    }
    Ok(())
}

/// A picture with the answer below, and the reference where it says something else.
fn block(run: &RunFolder, record: &SampleRecord, colors: Colors) -> Vec<String> {
    let bytes = record
        .image
        .as_ref()
        .and_then(|image| fs::read(run.samples().join(image)).ok());
    let drawn = bytes.and_then(|bytes| picture::draw(&bytes, SIDE, colors).ok());
    let mut block = drawn.unwrap_or_else(|| vec![" ".repeat(SIDE); SIDE / 2]);
    if said(record) {
        block.extend(wrapped(&format!("✓ {}", record.answer)));
    } else {
        block.extend(wrapped(&format!("✗ {}", record.answer)));
        block.extend(wrapped(&format!("  ({})", record.reference)));
    }
    block
}

fn said(record: &SampleRecord) -> bool {
    fourfold_eval::answers::matches(&record.answer, &[&record.reference])
}

/// Before every line of an answer but the first.
const INDENT: &str = " ";

/// A text as lines of exactly [`SIDE`] characters.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split(' ') {
        let mut word: Vec<char> = word.chars().collect();
        while !word.is_empty() {
            let used = lines.last().map_or(0, |line| line.chars().count());
            let space = usize::from(used > 0);
            // A word that no line can hold is broken; any other begins a new line rather.
            let full = used + space >= SIDE;
            let moves = used > INDENT.len() && INDENT.len() + space + word.len() <= SIDE;
            if full || (used + space + word.len() > SIDE && moves) {
                lines.push(INDENT.into());
                continue;
            }
            let taken: Vec<char> = word.drain(..word.len().min(SIDE - used - space)).collect();
            if let Some(line) = lines.last_mut() {
                line.push_str(&" ".repeat(space));
                line.extend(taken);
            }
        }
    }
    for line in &mut lines {
        let missing = SIDE.saturating_sub(line.chars().count());
        line.push_str(&" ".repeat(missing));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_as_wide_as_a_picture() {
        for text in [
            "short",
            "",
            "a text that is a good deal longer than one line",
            &"x".repeat(60),
        ] {
            let lines = wrapped(text);
            assert!(
                lines.iter().all(|line| line.chars().count() == SIDE),
                "{lines:?}"
            );
            let letters = |text: &str| text.chars().filter(|c| *c != ' ').count();
            assert_eq!(letters(&lines.concat()), letters(text));
        }
        assert_eq!(wrapped("a text that is a good deal longer").len(), 2);
    }
}
