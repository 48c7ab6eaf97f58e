//! What a source holds, in numbers: lengths, images, prompts, and how full its packs are.

mod counts;
mod fill;

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

pub use counts::{Bin, Counts};
pub use fill::{Fill, pack_fill};

use crate::check::AT_ONCE;
use crate::image_file::dimensions;
use crate::in_order::in_order;
use crate::{DataError, Encoder, SkipReport, Source, sample_rng};

/// Prompts that are shown.
const TOP: usize = 10;
/// Different prompts that are counted; what comes later counts as another.
const PROMPTS: usize = 10_000;

/// The numbers of a source.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Statistics {
    /// The source.
    pub name: String,
    /// Its samples.
    pub samples: usize,
    /// Those that were looked at.
    pub read: usize,
    /// Those of them that cannot be read.
    pub broken: SkipReport,
    /// Tokens of a document; none where no tokenizer counted them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Counts>,
    /// Targets of a document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub targets: Option<Counts>,
    /// Documents that were cut at the limit.
    pub truncated: usize,
    /// Images of a sample.
    pub images: Counts,
    /// Widths of images, in pixels; of those whose header can be read.
    pub widths: Counts,
    /// Heights.
    pub heights: Counts,
    /// KiB of an image's file, rounded up.
    pub kibibytes: Counts,
    /// Turns of a sample.
    pub turns: Counts,
    /// Characters of an answer.
    pub answer_characters: Counts,
    /// Words of an answer.
    pub answer_words: Counts,
    /// Characters of a prompt.
    pub prompt_characters: Counts,
    /// The most frequent prompts with how often they occur.
    pub prompts: Vec<(String, u64)>,
    /// How many different prompts there are, up to 10,000.
    pub different_prompts: usize,
    /// Of a file without templates, the characters of each column of texts.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, Counts>,
}

/// What is known of one sample.
struct Facts {
    tokens: Option<(u64, u64, bool)>,
    /// Of each image its size, if its header tells, and its bytes.
    images: Vec<(Option<(u32, u32)>, u64)>,
    turns: Vec<(String, u64, u64)>,
    columns: Vec<(String, u64)>,
}

/// Looks at `limit` samples of a source, evenly spaced, or at all. Images are read as far as their size; documents are
/// those of `encoder`, if there is one. `progress` is told how many samples were looked at since it was told last.
///
/// # Errors
/// What concerns the source as a whole.
pub fn statistics(
    source: &dyn Source,
    encoder: Option<&Encoder>,
    limit: Option<usize>,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Statistics, DataError> {
    let all = source.len();
    let read = limit.unwrap_or(all).min(all);
    let mut statistics = Statistics {
        name: source.name().into(),
        samples: all,
        read,
        ..Statistics::default()
    };
    if encoder.is_some() {
        statistics.tokens = Some(Counts::default());
        statistics.targets = Some(Counts::default());
    }
    let row = |number: usize| (number as u128 * all as u128 / read.max(1) as u128) as usize;
    let mut prompts: HashMap<String, u64> = HashMap::new();
    in_order(
        0..read,
        AT_ONCE,
        |number| facts(source, row(number), encoder),
        |number, facts| {
            progress(1);
            match facts {
                Ok(facts) => statistics.add(facts, &mut prompts),
                Err(error)
                    if error.concerns_sample() || matches!(error, DataError::AllMasked { .. }) =>
                {
                    statistics.broken.add(source.name(), row(number), &error);
                }
                Err(error) => return Err(error),
            }
            Ok(())
        },
    )?;
    statistics.different_prompts = prompts.len();
    let mut prompts: Vec<(String, u64)> = prompts.into_iter().collect();
    prompts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    prompts.truncate(TOP);
    statistics.prompts = prompts;
    Ok(statistics)
}

fn facts(source: &dyn Source, row: usize, encoder: Option<&Encoder>) -> Result<Facts, DataError> {
    let sample = source.sample(row, &mut sample_rng(0, row as u64))?;
    let tokens = match encoder {
        Some(encoder) => {
            let document = encoder.text(&sample)?;
            let (tokens, targets) = (document.tokens.len(), document.target_count());
            Some((tokens as u64, targets as u64, document.truncated))
        }
        None => None,
    };
    let mut images = Vec::with_capacity(sample.images.len());
    for (index, image) in sample.images.iter().enumerate() {
        let bytes = image.load(&sample.origin, index)?.bytes;
        images.push((dimensions(&bytes).ok(), bytes.len() as u64));
    }
    let columns = match sample.turns.is_empty() {
        true => source.columns(row),
        false => serde_json::Map::new(),
    };
    let columns = columns.into_iter().filter_map(|(name, value)| {
        let characters = value.as_str()?.chars().count() as u64;
        Some((name, characters))
    });
    let turns = sample.turns.into_iter().map(|turn| {
        let characters = turn.answer.chars().count() as u64;
        (
            turn.prompt,
            characters,
            turn.answer.split_whitespace().count() as u64,
        )
    });
    Ok(Facts {
        tokens,
        images,
        turns: turns.collect(),
        columns: columns.collect(),
    })
}

impl Statistics {
    fn add(&mut self, facts: Facts, prompts: &mut HashMap<String, u64>) {
        if let (Some((tokens, targets, truncated)), Some(all), Some(learnt)) =
            (facts.tokens, &mut self.tokens, &mut self.targets)
        {
            all.add(tokens);
            learnt.add(targets);
            self.truncated += usize::from(truncated);
        }
        self.images.add(facts.images.len() as u64);
        for (size, bytes) in facts.images {
            self.kibibytes.add(bytes.div_ceil(1024));
            if let Some((width, height)) = size {
                self.widths.add(width.into());
                self.heights.add(height.into());
            }
        }
        self.turns.add(facts.turns.len() as u64);
        for (prompt, characters, words) in facts.turns {
            self.answer_characters.add(characters);
            self.answer_words.add(words);
            self.prompt_characters.add(prompt.chars().count() as u64);
            if prompts.len() < PROMPTS || prompts.contains_key(&prompt) {
                *prompts.entry(prompt).or_default() += 1;
            }
        }
        for (name, characters) in facts.columns {
            self.columns.entry(name).or_default().add(characters);
        }
    }
}

#[cfg(test)]
mod tests;
