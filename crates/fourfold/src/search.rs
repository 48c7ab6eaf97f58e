//! How answers are searched for: options that commands share.

use clap::Args;
use fourfold_train::recipe::Search;

/// Options of the search; what is not given stays as it is.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Search")]
pub struct SearchOptions {
    /// Beams of the search; 1 takes the likeliest token each time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    beams: Option<u16>,
    /// Above 0 favours longer answers among the beams
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    length_penalty: Option<f32>,
    /// The longest answer, in tokens, its end counted
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    max_tokens: Option<u32>,
    /// Answers do not end before that many tokens
    #[arg(long, value_name = "N")]
    min_tokens: Option<usize>,
    /// Draw tokens, with logits divided by this
    #[arg(long, value_name = "X")]
    temperature: Option<f32>,
    /// Draw from so many of the likeliest tokens
    #[arg(long, value_name = "N")]
    top_k: Option<usize>,
    /// Draw from the fewest tokens with that share of probability
    #[arg(long, value_name = "SHARE")]
    top_p: Option<f32>,
    /// Decides what is drawn
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Above 1 makes tokens that were said less likely
    #[arg(long, value_name = "X")]
    repetition_penalty: Option<f32>,
    /// Say no sequence of so many tokens twice
    #[arg(long, value_name = "N")]
    no_repeat_ngram_size: Option<usize>,
    /// A text that ends an answer and is cut off; may be given several times
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
}

impl SearchOptions {
    /// Whether any is given.
    pub fn any(&self) -> bool {
        let given = [
            self.beams.is_some(),
            self.length_penalty.is_some(),
            self.max_tokens.is_some(),
            self.min_tokens.is_some(),
            self.temperature.is_some(),
            self.top_k.is_some(),
            self.top_p.is_some(),
            self.seed.is_some(),
            self.repetition_penalty.is_some(),
            self.no_repeat_ngram_size.is_some(),
            !self.stop.is_empty(),
        ];
        given.contains(&true)
    }

    fn draws(&self) -> bool {
        self.temperature.is_some() || self.top_k.is_some() || self.top_p.is_some()
    }

    /// `search` with what is given in its place.
    ///
    /// # Errors
    /// Names the option that is out of its range.
    pub fn over(&self, search: &Search) -> anyhow::Result<Search> {
        let search = Search {
            max_new_tokens: self
                .max_tokens
                .map_or(search.max_new_tokens, |tokens| tokens as usize),
            min_new_tokens: self.min_tokens.unwrap_or(search.min_new_tokens),
            // Who asks for drawn tokens asks for one line, whatever a task or recipe searches by.
            beams: match self.draws() {
                true => self.beams.map_or(1, usize::from),
                false => self.beams.map_or(search.beams, usize::from),
            },
            length_penalty: self.length_penalty.unwrap_or(search.length_penalty),
            temperature: self.temperature.or(search.temperature),
            top_k: self.top_k.or(search.top_k),
            top_p: self.top_p.or(search.top_p),
            seed: self.seed.unwrap_or(search.seed),
            repetition_penalty: self.repetition_penalty.unwrap_or(search.repetition_penalty),
            no_repeat_ngram_size: self
                .no_repeat_ngram_size
                .unwrap_or(search.no_repeat_ngram_size),
            stop: match self.stop.as_slice() {
                [] => search.stop.clone(),
                stop => stop.to_vec(),
            },
        };
        match search.fault() {
            None => Ok(search),
            Some((key, fault)) => {
                let option = key.replace("_new_", "_").replace('_', "-");
                anyhow::bail!("--{option}: {fault}")
            }
        }
    }
}
