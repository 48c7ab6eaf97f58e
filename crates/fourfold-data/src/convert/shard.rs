//! Files that samples are written to, and how they are named and cut.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::item::{Item, Texts};
use super::parquet::ParquetWriter;
use crate::DataError;
use crate::image_file::ending;

/// The formats that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `images: list<struct{bytes, path}>` with `prompts` and `answers`, or `captions`, as Hugging Face's data sets read.
    Parquet,
    /// A tar archive with the members of a sample side by side.
    WebDataset,
}

/// All files of a conversion, in their order.
#[derive(Clone, Debug)]
pub struct Shards {
    /// Their format.
    pub format: Format,
    /// Their paths.
    pub paths: Vec<PathBuf>,
    /// Samples of the source in each but the last.
    pub size: usize,
}

impl Shards {
    /// The samples of shard `number`, of `all`.
    pub(super) fn rows(&self, number: usize, all: usize) -> Range<usize> {
        let start = number.saturating_mul(self.size).min(all);
        let end = match number + 1 == self.paths.len() {
            true => all,
            false => start.saturating_add(self.size).min(all),
        };
        start..end
    }

    /// Opens a file for writing.
    pub(super) fn create(&self, path: &Path, captions: bool) -> Result<Writer, DataError> {
        match self.format {
            Format::Parquet => Ok(Writer::Parquet(Box::new(ParquetWriter::create(
                path, captions,
            )?))),
            Format::WebDataset => {
                let file = File::create(path).map_err(|source| failed(path, source))?;
                Ok(Writer::Tar(TarWriter {
                    path: path.into(),
                    archive: tar::Builder::new(BufWriter::new(file)),
                }))
            }
        }
    }
}

/// A file that is being written.
pub(super) enum Writer {
    Parquet(Box<ParquetWriter>),
    Tar(TarWriter),
}

impl Writer {
    pub fn write(&mut self, number: usize, item: &Item) -> Result<(), DataError> {
        match self {
            Self::Parquet(writer) => writer.write(item),
            Self::Tar(writer) => writer.write(number, item),
        }
    }

    pub fn finish(self) -> Result<(), DataError> {
        match self {
            Self::Parquet(writer) => writer.finish(),
            Self::Tar(writer) => writer.finish(),
        }
    }
}

/// A tar archive; sample 12 is `00000012.jpg` (`00000012.0.jpg` and so on where it has several), `00000012.json` with
/// where it comes from, and its texts: `prompts.json` and `answers.json`, lists, and for a caption alone `txt` too; or
/// `captions.json`.
pub(super) struct TarWriter {
    path: PathBuf,
    archive: tar::Builder<BufWriter<File>>,
}

impl TarWriter {
    fn write(&mut self, number: usize, item: &Item) -> Result<(), DataError> {
        for (index, image) in item.images.iter().enumerate() {
            let ending = ending(&image.bytes);
            let name = match item.images.len() {
                1 => format!("{number:08}.{ending}"),
                _ => format!("{number:08}.{index}.{ending}"),
            };
            self.member(&name, &image.bytes)?;
        }
        let mut about = json!({ "origin": item.origin });
        let names: Vec<&str> = item
            .images
            .iter()
            .filter_map(|image| image.path.as_deref())
            .collect();
        match names.as_slice() {
            [] => {}
            [one] => about["file_name"] = (*one).into(),
            several => about["file_names"] = several.into(),
        }
        self.member(&format!("{number:08}.json"), about.to_string().as_bytes())?;
        match &item.texts {
            Texts::Turns(turns) => {
                if let [turn] = turns.as_slice()
                    && turn.prompt.is_empty()
                {
                    self.member(&format!("{number:08}.txt"), turn.answer.as_bytes())?;
                }
                let prompts = turns.iter().map(|turn| turn.prompt.as_str()).collect();
                self.list(number, "prompts", prompts)?;
                let answers = turns.iter().map(|turn| turn.answer.as_str()).collect();
                self.list(number, "answers", answers)
            }
            Texts::Captions(captions) => {
                let captions = captions.iter().map(String::as_str).collect();
                self.list(number, "captions", captions)
            }
        }
    }

    fn list(&mut self, number: usize, name: &str, texts: Vec<&str>) -> Result<(), DataError> {
        let text = json!(texts).to_string();
        self.member(&format!("{number:08}.{name}.json"), text.as_bytes())
    }

    fn member(&mut self, name: &str, bytes: &[u8]) -> Result<(), DataError> {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        let written = self.archive.append_data(&mut header, name, bytes);
        written.map_err(|source| failed(&self.path, source))
    }

    fn finish(self) -> Result<(), DataError> {
        let written = self.archive.into_inner().and_then(|mut file| {
            file.flush()?;
            file.get_ref().sync_all()
        });
        written.map_err(|source| failed(&self.path, source))
    }
}

pub(super) fn failed(path: &Path, source: std::io::Error) -> DataError {
    DataError::Io {
        action: "write",
        path: path.into(),
        source,
    }
}
