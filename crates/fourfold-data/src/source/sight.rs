//! What the files of a source show themselves to be, and whether all are of one layout.

use std::collections::BTreeSet;
use std::mem::discriminant;
use std::path::{Path, PathBuf};

use serde_json::Map;

use super::SourceConfig;
use super::layout::{ImageFolder, Kind, Layout, Spelling, image_columns, is_known_name};
use super::opened::Opened;
use super::reader::Record;
use super::table::{Group, Table};
use crate::DataError;

/// What some files are, by their columns and their first rows.
pub(super) struct Sight {
    kind: Kind,
    /// What rows that were joined from several places of their file are.
    joined: Option<&'static str>,
    /// The columns of their records, and those of images that rows get beside.
    columns: Vec<String>,
    /// The columns that name images.
    images: Vec<String>,
    /// Whether their rows hold images themselves.
    embedded: bool,
    /// Whether a row whose image is named elsewhere is broken.
    guards: bool,
}

impl Sight {
    /// What all files of `table` are, of which `firsts` are the groups with their first records; each group is looked at
    /// on its own too.
    ///
    /// # Errors
    /// When nothing says which column names their images, or they are not of one layout.
    pub fn of_all(
        table: &Table,
        firsts: &[(Group, Record)],
        config: &SourceConfig,
    ) -> Result<Self, DataError> {
        let wanted = config.image_column.as_deref();
        let mut merged = Record {
            images: Vec::new(),
            empty: 0,
            columns: Map::new(),
        };
        for (_, first) in firsts {
            merged.columns.extend(first.columns.clone());
            merged.images.extend(first.images.iter().cloned());
        }
        let files: Vec<&Opened> = table
            .files()
            .iter()
            .filter(|file| file.rows() > 0)
            .collect();
        // Parts of messages name images of their own, perhaps in late rows only.
        let parts = !merged.columns.contains_key("images")
            && firsts.iter().any(|(_, first)| match Kind::of(first) {
                Kind::Conversation(spelling) => spelling.may_have_parts(),
                _ => false,
            })
            && table.any_record(Spelling::finds_parts);
        let whole = Self::of(&files, &merged, wanted, config.images, parts)?;
        let whole = Self {
            guards: config.images && wanted.is_none() && !whole.has_images(),
            ..whole
        };
        if let [_, _, ..] = firsts {
            let mut sights = Vec::with_capacity(firsts.len());
            for (group, first) in firsts {
                let file = table.file_of(group);
                let has = |column: &&str| file.reader.columns().iter().any(|name| name == column);
                let wanted = wanted.filter(has);
                let sight = Self::of(&[file], first, wanted, config.images, parts)?;
                sights.push((&*file.path, sight));
            }
            demand_one_layout(&sights, &whole)?;
        }
        Ok(whole)
    }

    /// What `files` are whose first rows make up `first`. `wanted` is the column that names their images, if the recipe
    /// says it; without `images` none is looked for; `parts` of messages may name some.
    fn of(
        files: &[&Opened],
        first: &Record,
        wanted: Option<&str>,
        images: bool,
        parts: bool,
    ) -> Result<Self, DataError> {
        let mut columns: Vec<String> = Vec::new();
        for column in files.iter().flat_map(|file| file.reader.columns()) {
            if !columns.contains(column) {
                columns.push(column.clone());
            }
        }
        let joined = files[0].joined;
        let kind = match joined {
            Some(_) => Kind::Joined,
            None => Kind::of(first),
        };
        match kind {
            Kind::Karpathy => columns.push("image".into()),
            Kind::Conversation(_) if parts && !columns.iter().any(|name| name == "images") => {
                columns.push("images".into());
            }
            _ => {}
        }
        let holds = |file: &&Opened| !file.reader.image_columns().is_empty();
        let embedded = files.iter().any(holds) || !first.images.is_empty();
        let found = match images {
            true => image_columns(&files[0].path, wanted, &columns, first, embedded)?,
            false => Vec::new(),
        };
        Ok(Self {
            kind,
            joined,
            columns,
            images: found,
            embedded: embedded && images,
            guards: false,
        })
    }

    /// The layout of `files`, and the columns of their rows.
    pub fn layout(self, folder: &Path, files: &[Opened]) -> (Layout, Vec<String>) {
        let within: BTreeSet<PathBuf> =
            (files.iter().flat_map(|file| file.within.clone())).collect();
        let layout = Layout {
            kind: self.kind,
            images: ImageFolder {
                folder: folder.into(),
                within: within.into_iter().collect(),
                columns: self.images,
                guards: self.guards,
            },
        };
        let columns = layout.columns(&self.columns);
        (layout, columns)
    }

    /// In a word, for messages.
    fn what(&self) -> &'static str {
        match self.kind {
            Kind::Plain => "a table",
            Kind::Conversation(_) => "conversations",
            Kind::Texts => "conversations in `texts`",
            Kind::Karpathy => "a split of Karpathy's",
            Kind::RawCaptions => "a table with lists of captions",
            Kind::WebDataset => "WebDataset",
            Kind::Joined => self.joined.unwrap_or("joined rows"),
        }
    }

    /// Where the images are, for messages.
    fn where_images_are(&self) -> String {
        match self.images.as_slice() {
            [] if self.embedded => "holds its images itself".into(),
            [] => "has no images".into(),
            columns => format!("names its images in `{}`", columns.join("`, `")),
        }
    }

    /// Conversations of text alone are read beside those about images, also as `data convert` writes them.
    fn may_lack_images(&self) -> bool {
        let converted = || self.columns.iter().any(|name| name == "prompts");
        self.kind.may_lack_images() || (self.kind == Kind::WebDataset && converted())
    }

    fn has_images(&self) -> bool {
        self.embedded || !self.images.is_empty()
    }
}

/// Demands that files, each with its sight, are of one layout, and that where they have their images is where `whole`,
/// the sight of all, says that they are: else images would be left out, or rows of another kind be broken, file by file.
///
/// # Errors
/// Names the first file that is different, and one that it is different from.
fn demand_one_layout(files: &[(&Path, Sight)], whole: &Sight) -> Result<(), DataError> {
    let Some((first, model)) = files.first() else {
        return Ok(());
    };
    let differs = |path: &Path, is: String, other: &Path, theirs: String| {
        let message = format!(
            "{is}, and {} {theirs}: files of one `path` are alike; make this one data of its own{}",
            other.display(),
            match is.starts_with("names its images") {
                true => ", or say which column is meant with `image_column`",
                false => "",
            }
        );
        Err(DataError::file(path, message))
    };
    for (path, sight) in files {
        if discriminant(&sight.kind) != discriminant(&model.kind) || sight.joined != model.joined {
            let is = |sight: &Sight| format!("is {}", sight.what());
            return differs(path, is(sight), first, is(model));
        }
        let found = |sight: &Sight| {
            let known = sight.images.iter().all(|name| whole.images.contains(name));
            known && sight.has_images()
        };
        // What only looks like a name of images, as an `id` that is one, decides nothing where there need be none.
        let guessed = |name: &String| !is_known_name(name);
        let lacks = sight.may_lack_images() && !sight.embedded && sight.images.iter().all(guessed);
        if !found(sight)
            && !lacks
            && let Some((other, theirs)) = files.iter().find(|(_, sight)| found(sight))
        {
            return differs(
                path,
                sight.where_images_are(),
                other,
                theirs.where_images_are(),
            );
        }
    }
    Ok(())
}
