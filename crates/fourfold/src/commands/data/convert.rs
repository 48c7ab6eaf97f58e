//! `fourfold data convert`: any source as Parquet or WebDataset.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;
use fourfold_data::convert::{Content, Converted, Format, Manifest, Shards, convert};
use fourfold_data::source::Table;
use fourfold_data::{Source, SourceConfig};
use fourfold_train::skipped::allowed;
use serde_json::{Value, json};

use super::bar::Bar;
use super::{Target, demand_apart};
use crate::machine::Machine;
use crate::output::{note, printable, say, shown};

/// Samples of a shard where nothing is said.
const SHARD: usize = 10_000;
/// Skipped samples of a kind that are told.
const TOLD: usize = 5;

/// Writes samples as Parquet or WebDataset shards
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  fourfold data convert llava_v1_5_mix665k.json llava/ --image-folder images
  fourfold data convert 'cc3m/*.tar' cc3m.parquet --max-side 512
  fourfold data convert recipes/mine.toml --data captions 'shards/train-{00000..}.tar' --shard-size 5000

DESTINATION is a file (.parquet, .tar), a folder for Parquet shards, or a name with {00000..} where shards are numbered.
Parquet has `images` (bytes and path), `prompts` and `answers`, or `captions` where a file has several an image; WebDataset
has the same as members of a sample. Both are read again as the same samples without any template. Of a recipe's data the
templates are rendered and prompts drawn once. Images are copied as they are, unless --max-side shrinks them.
A run with shards that was stopped goes on with the shard it was at; it keeps an account in a hidden file beside them.")]
pub struct Convert {
    #[command(flatten)]
    target: Target,
    /// Where to
    #[arg(value_name = "DESTINATION")]
    destination: PathBuf,
    /// Samples a shard
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    shard_size: Option<u64>,
    /// Shrink images whose longer side has more pixels, and write those as JPEG of quality 90
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(1..))]
    max_side: Option<u32>,
    /// Fail if a larger part than this cannot be read; what can be is written all the same
    #[arg(long, value_name = "PART", default_value_t = 0.01, value_parser = part)]
    max_skipped: f64,
    /// Replace what is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    machine: Machine,
}

impl Convert {
    /// Runs the command.
    ///
    /// # Errors
    /// When the source cannot be read, or the destination exists already or cannot be written.
    pub fn run(self) -> Result<()> {
        self.machine.start()?;
        let place = Place::read(&self.destination)?;
        let (opened, config) = self.open()?;
        let content = match &opened {
            Opened::Samples(source) => Content::samples(&**source),
            Opened::Rows(table) => Content::captions(table).with_context(|| {
                format!("{}: the captions are gone", self.target.path.display())
            })?,
        };
        let content = content.with_max_side(self.max_side);
        let shards = place.shards(content.len(), self.shard_size.map(|size| size as usize))?;
        let read = config.path.files()?;
        for path in &shards.paths {
            demand_apart(path, &read)?;
        }
        let mut manifest = match &place.account {
            Some(account) => {
                let made_of = self.made_of(&content, &shards, &config)?;
                Some(Manifest::open(account, made_of, &shards.paths, self.force)?)
            }
            None => {
                let path = &shards.paths[0];
                ensure!(
                    self.force || !path.exists(),
                    "{} exists already; --force replaces it",
                    path.display()
                );
                None
            }
        };
        let bar = Bar::new("converting", content.len());
        let converted = convert(&content, &shards, manifest.as_mut(), &|more| {
            bar.advance(more)
        })?;
        drop(bar);
        tell(&converted, &content, &shards)?;
        let skipped = skipped(&converted);
        ensure!(
            skipped <= allowed(self.max_skipped, converted.samples + skipped),
            "{skipped} of {} samples were skipped, more than the {} % that may be (--max-skipped {}): what is written lacks them",
            converted.samples + skipped,
            100.0 * self.max_skipped,
            self.max_skipped
        );
        Ok(())
    }

    /// The source, and the configuration that it is read with.
    fn open(&self) -> Result<(Opened, SourceConfig)> {
        if let Some(recipe) = self.target.recipe()? {
            let names = self.target.names(&recipe)?;
            let [name] = names.as_slice() else {
                bail!(
                    "{} has several data: say which with --data, one of {}",
                    self.target.path.display(),
                    names.join(", ")
                );
            };
            let config = match (recipe.data.get(name), recipe.evaluation.get(name)) {
                (Some(config), _) => config.clone(),
                (None, Some(evaluation)) => evaluation.source.clone(),
                (None, None) => bail!("there is no data '{name}'"),
            };
            let source = fourfold_train::sources::Sources::new(&recipe).get(name)?;
            return Ok((Opened::Samples(source), config));
        }
        let config = self.target.file_config();
        if config.answer.is_some() {
            return Ok((Opened::Samples(self.target.answered_source()?), config));
        }
        let table = Table::read(&config)?;
        if Content::captions(&table).is_some() {
            return Ok((Opened::Rows(Box::new(table)), config));
        }
        Ok((Opened::Samples(self.target.answered_source()?), config))
    }

    /// All that decides about the bytes of shards: a run goes on only with shards of the same.
    fn made_of(
        &self,
        content: &Content<'_>,
        shards: &Shards,
        config: &SourceConfig,
    ) -> Result<Value> {
        let about = |file: &PathBuf| {
            let size = fs::metadata(file).map_or(0, |about| about.len());
            json!([file.to_string_lossy(), size])
        };
        let files: Vec<Value> = config.path.files()?.iter().map(about).collect();
        Ok(json!({
            "program": env!("CARGO_PKG_VERSION"),
            "source": serde_json::to_value(config).map_err(|_| {
                anyhow!("{}: expected paths in UTF-8, to note what the shards are made of", config.path)
            })?,
            "files": files,
            "samples": content.len(),
            "shard_size": shards.size,
            "max_side": self.max_side,
        }))
    }
}

/// What is converted.
enum Opened {
    Samples(Arc<dyn Source>),
    /// Rows with several captions each.
    Rows(Box<Table>),
}

/// Where to, as the command line says it.
struct Place {
    format: Format,
    /// What stands before and after the shard's number; none for one file.
    numbered: Option<(String, usize, String)>,
    path: PathBuf,
    /// The account of whole shards; none for one file.
    account: Option<PathBuf>,
}

impl Place {
    fn read(path: &Path) -> Result<Self> {
        let text = path
            .to_str()
            .with_context(|| format!("{}: expected a name in UTF-8", path.display()))?;
        let format = |name: &str| match name.rsplit_once('.') {
            Some((_, "parquet")) => Some(Format::Parquet),
            Some((_, "tar")) => Some(Format::WebDataset),
            _ => None,
        };
        let hidden = |name: &str| path.with_file_name(format!(".{name}.convert.json"));
        ensure!(
            !text.contains(['*', '?', '[']),
            "{text}: would be read as a pattern of names; choose a name without `*`, `?` and `[`"
        );
        if let Some((before, rest)) = text.split_once('{') {
            let counted = rest.split_once("..}").filter(|(digits, _)| {
                !digits.is_empty() && digits.bytes().all(|digit| digit == b'0')
            });
            let (Some((digits, after)), Some(format)) = (counted, format(text)) else {
                bail!(
                    "{text}: expected shards numbered from 0, as 'train-{{00000..}}.tar' or 'train-{{00000..}}.parquet'"
                );
            };
            let name = Path::new(before)
                .file_name()
                .unwrap_or_default()
                .to_string_lossy();
            let name = match before.ends_with('/') {
                true => String::new(),
                false => name.into_owned(),
            };
            return Ok(Self {
                format,
                account: Some(hidden(&format!("{name}shards"))),
                numbered: Some((before.into(), digits.len(), after.into())),
                path: path.into(),
            });
        }
        match format(text) {
            Some(format) if !path.is_dir() => Ok(Self {
                format,
                numbered: None,
                path: path.into(),
                account: None,
            }),
            _ if path.extension().is_some() && !path.is_dir() && !text.ends_with('/') => bail!(
                "{text}: expected a file that ends with .parquet or .tar, a folder for Parquet shards, or a name with {{00000..}}"
            ),
            _ => Ok(Self {
                format: Format::Parquet,
                numbered: Some((
                    format!("{}/data-", text.trim_end_matches('/')),
                    5,
                    ".parquet".into(),
                )),
                path: path.into(),
                account: Some(path.join(".convert.json")),
            }),
        }
    }

    /// The files for `samples` samples, their folder made.
    fn shards(&self, samples: usize, size: Option<usize>) -> Result<Shards> {
        let paths = match &self.numbered {
            None => {
                ensure!(
                    size.is_none(),
                    "--shard-size is for several files: write {}",
                    match self.format {
                        Format::Parquet => "a folder, or 'train-{00000..}.parquet'",
                        Format::WebDataset => "'train-{00000..}.tar'",
                    }
                );
                vec![self.path.clone()]
            }
            Some((before, digits, after)) => {
                let size = size.unwrap_or(SHARD);
                let name = |number: usize| format!("{before}{number:0digits$}{after}").into();
                (0..samples.div_ceil(size).max(1)).map(name).collect()
            }
        };
        if let Some(folder) = paths[0]
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        Ok(Shards {
            format: self.format,
            paths,
            size: match self.numbered {
                Some(_) => size.unwrap_or(SHARD),
                None => samples.max(1),
            },
        })
    }
}

/// A part of a whole, as written.
fn part(text: &str) -> Result<f64, String> {
    let part = text.parse().ok().filter(|part| (0.0..=1.0).contains(part));
    part.ok_or_else(|| "expected a number from 0 to 1".into())
}

/// What could not be read.
fn skipped(converted: &Converted) -> usize {
    let counts = converted.skipped.values().map(|skipped| skipped.count);
    counts.sum()
}

fn tell(converted: &Converted, content: &Content<'_>, shards: &Shards) -> Result<()> {
    let skipped = skipped(converted);
    for (reason, samples) in &converted.skipped {
        note(format_args!(
            "skipped: {} of {}: {reason}",
            samples.count,
            converted.samples + skipped
        ));
        for skip in samples.first.iter().take(TOLD) {
            note(format_args!("    {}", printable(&skip.reason)));
        }
        if samples.count > TOLD {
            note(format_args!("    … and {} more", samples.count - TOLD));
        }
    }
    match content.rows_without_items() {
        0 => {}
        rows => note(format_args!(
            "no sample: {rows} rows, whose lists are empty"
        )),
    }
    let what = match content.has_captions() {
        true => "rows with captions",
        false => "samples",
    };
    let passed = match content.has_captions() {
        true => "rows or captions skipped",
        false => "skipped",
    };
    let place = match shards.paths.as_slice() {
        [one] => shown(one),
        several => format!(
            "{} shards, {} to {}",
            several.len(),
            shown(&several[0]),
            shown(&several[several.len() - 1])
        ),
    };
    let kept = match converted.kept {
        0 => String::new(),
        kept => format!(" ({kept} shards were there already)"),
    };
    say(format_args!(
        "{} {what} in {place}{kept}, {skipped} {passed}",
        converted.written
    ))
}
