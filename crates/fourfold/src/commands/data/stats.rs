//! `fourfold data stats`: lengths, images, prompts, and how full packs are.

use anyhow::Result;
use clap::Args;
use fourfold_data::stats::{Counts, Fill, Statistics, pack_fill, statistics};
use fourfold_data::{Encoder, PackBudget};
use fourfold_train::recipe::Recipe;
use serde::Serialize;

use super::bar::Bar;
use super::{Prepared, Target, file_name};
use crate::machine::Machine;
use crate::output::{printable, say};

/// Characters of a prompt that are shown.
const SHOWN: usize = 60;

/// Counts lengths, images and prompts, and how full packs are
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  fourfold data stats recipes/quickstart.toml
  fourfold data stats recipes/quickstart.toml --data named --pack-tokens 4096
  fourfold data stats captions.csv --json

Of a recipe: each data name, in tokens as training sees them, and each stage's mixture, laid in packs as training lays
them. Of a file, which has no tokenizer: characters and words. Of images the size is read, not the pixels; `data check`
decodes them.")]
pub struct Stats {
    #[command(flatten)]
    target: Target,
    /// Look at N samples of each source, evenly spaced, and draw N of each mixture; all, and one pass, when absent
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Lay packs of so many tokens rather than those of the stages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pack_tokens: Option<u64>,
    /// Lay packs of so many images rather than those of the stages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pack_images: Option<u64>,
    /// Print the numbers as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    machine: Machine,
}

/// All that is told.
#[derive(Serialize)]
struct Report {
    data: Vec<Statistics>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stages: Vec<StageFill>,
}

/// How full the packs of a stage are.
#[derive(Serialize)]
struct StageFill {
    stage: String,
    #[serde(flatten)]
    fill: Fill,
}

impl Stats {
    /// Runs the command.
    ///
    /// # Errors
    /// When recipe or data cannot be read.
    pub fn run(self) -> Result<()> {
        self.machine.start()?;
        let limit = self.limit.map(|limit| limit as usize);
        let mut report = Report {
            data: Vec::new(),
            stages: Vec::new(),
        };
        match self.target.recipe()? {
            Some(recipe) => {
                let prepared = Prepared::new(&recipe)?;
                for name in self.target.names(&recipe)? {
                    let (source, encoder, _) = prepared.get(&recipe, &name)?;
                    let bar = bar(&name, limit, source.len());
                    let read =
                        statistics(&*source, Some(&encoder), limit, &|more| bar.advance(more))?;
                    report.data.push(Statistics { name, ..read });
                }
                self.stages(&recipe, &prepared, limit, &mut report.stages)?;
            }
            None => {
                let source = self.target.any_source()?;
                let name = file_name(&self.target.path);
                let bar = bar(&name, limit, source.len());
                let read = statistics(&*source, None, limit, &|more| bar.advance(more))?;
                report.data.push(Statistics { name, ..read });
            }
        }
        if self.json {
            return say(serde_json::to_string_pretty(&report)?);
        }
        for statistics in &report.data {
            say(printable(&text(statistics)))?;
        }
        for stage in &report.stages {
            say(stage_text(stage))?;
        }
        Ok(())
    }

    /// The packs of each stage that draws what was asked for.
    fn stages(
        &self,
        recipe: &Recipe,
        prepared: &Prepared,
        limit: Option<usize>,
        fills: &mut Vec<StageFill>,
    ) -> Result<()> {
        for stage in &recipe.stage {
            let asked = self.target.data.as_deref();
            let entries = stage.mixture.entries();
            if asked.is_some_and(|asked| !entries.iter().any(|(name, _)| *name == asked)) {
                continue;
            }
            let mixture = prepared.sources.mixture(&stage.mixture)?;
            let given = |given: Option<u64>, own: usize| given.map_or(own, |given| given as usize);
            let budget = PackBudget {
                tokens: given(self.pack_tokens, stage.pack_tokens),
                images: given(self.pack_images, stage.pack_images),
            };
            let mut config = prepared.encoder.clone();
            let longest = stage.max_tokens.unwrap_or(budget.tokens).min(budget.tokens);
            config.max_tokens = config.max_tokens.min(longest);
            let encoder = Encoder::new(prepared.tokenizer.clone(), config)?;
            let draws = limit.map_or(mixture.len(), |limit| limit.min(mixture.len()));
            let bar = Bar::new(&format!("packing {}", stage.name), draws);
            let fill = pack_fill(
                &mixture,
                recipe.seed,
                draws,
                &encoder,
                budget,
                stage.too_long,
                &|more| bar.advance(more),
            )?;
            fills.push(StageFill {
                stage: stage.name.clone(),
                fill,
            });
        }
        Ok(())
    }
}

fn bar(name: &str, limit: Option<usize>, samples: usize) -> Bar {
    let total = limit.map_or(samples, |limit| limit.min(samples));
    Bar::new(&format!("reading {name}"), total)
}

fn text(statistics: &Statistics) -> String {
    let Statistics {
        name,
        samples,
        read,
        broken,
        ..
    } = statistics;
    let mut lines = vec![match read == samples {
        true => format!("# {name}: {samples} samples"),
        false => format!("# {name}: {read} of {samples} samples"),
    }];
    if broken.count > 0 {
        let first = broken.first.first().map_or("", |skip| skip.reason.as_str());
        lines.push(format!(
            "{} cannot be read; the first: {first}",
            broken.count
        ));
    }
    let mut show = |what: &str, counts: &Counts, bars: bool| {
        if counts.total() > 0 && counts.largest() > 0 {
            lines.push(format!("{what}: {}", counts.summary()));
            if bars && counts.smallest() < counts.largest() {
                lines.push(counts.histogram());
            }
        }
    };
    if let (Some(tokens), Some(targets)) = (&statistics.tokens, &statistics.targets) {
        show("tokens a document", tokens, true);
        show("targets a document", targets, false);
    }
    show("images a sample", &statistics.images, true);
    show("width of images", &statistics.widths, true);
    show("height of images", &statistics.heights, true);
    show("KiB an image", &statistics.kibibytes, false);
    show("turns a sample", &statistics.turns, true);
    show(
        "characters an answer",
        &statistics.answer_characters,
        statistics.tokens.is_none(),
    );
    show("words an answer", &statistics.answer_words, true);
    show("characters a prompt", &statistics.prompt_characters, false);
    for (column, counts) in &statistics.columns {
        show(&format!("characters of `{column}`"), counts, false);
    }
    if statistics.truncated > 0 {
        lines.push(format!(
            "{} documents are cut at the limit",
            statistics.truncated
        ));
    }
    let said = statistics
        .prompts
        .iter()
        .any(|(prompt, _)| !prompt.is_empty());
    if said {
        lines.push(format!(
            "{} different prompts, most often:",
            statistics.different_prompts
        ));
        for (prompt, count) in &statistics.prompts {
            let mut short: String = prompt.replace('\n', "⏎").chars().take(SHOWN).collect();
            if prompt.chars().count() > SHOWN {
                short.push('…');
            }
            lines.push(format!("  {count}  {short}"));
        }
    }
    lines.join("\n") + "\n"
}

fn stage_text(StageFill { stage, fill }: &StageFill) -> String {
    let mut text = format!(
        "# stage {stage}: {} documents in {} packs of {} tokens and {} images: {:.1} % of the tokens and {:.1} % of the images \
         are filled",
        fill.documents,
        fill.packs,
        fill.pack_tokens,
        fill.pack_images,
        100.0 * fill.fill,
        100.0 * fill.image_fill
    );
    for (count, what) in [
        (fill.truncated, "cut"),
        (fill.dropped, "dropped as too long"),
        (fill.broken.count, "broken"),
    ] {
        if count > 0 {
            text += &format!(", {count} {what}");
        }
    }
    text
}
