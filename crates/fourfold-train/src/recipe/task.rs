//! Tasks: published benchmarks, as small TOML files that say where the files of a data set lie, what is asked and what is
//! measured.
//!
//! A task is an `[evaluation.NAME]` without paths: its keys are those, for all splits or for one, and `[splits.NAME]` says
//! which files below the folder of the data hold the split.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use fourfold_data::source::location::is_url;
use fourfold_data::source::{Paths, Prompts};
use serde::Deserialize;
use toml::{Table, Value};

use super::evaluation::Evaluation;
use super::key::{KeyError, KeyPath, Step, unknown_word};
use super::strict;
use super::text::RecipeText;

/// The tasks that come with Fourfold.
const BUILT_IN: [(&str, &str); 10] = [
    (
        "coco-karpathy",
        include_str!("../../../../tasks/coco-karpathy.toml"),
    ),
    (
        "coco-val2014",
        include_str!("../../../../tasks/coco-val2014.toml"),
    ),
    (
        "coco-val2017",
        include_str!("../../../../tasks/coco-val2017.toml"),
    ),
    (
        "flickr30k",
        include_str!("../../../../tasks/flickr30k.toml"),
    ),
    ("nocaps", include_str!("../../../../tasks/nocaps.toml")),
    ("vqav2", include_str!("../../../../tasks/vqav2.toml")),
    ("pathvqa", include_str!("../../../../tasks/pathvqa.toml")),
    ("pope", include_str!("../../../../tasks/pope.toml")),
    ("captions", include_str!("../../../../tasks/captions.toml")),
    ("vqa", include_str!("../../../../tasks/vqa.toml")),
];

/// A benchmark.
#[derive(Debug)]
pub struct Task {
    /// Its name, or that of its file.
    pub name: String,
    /// What it is, in a line.
    pub about: String,
    /// The split that is meant where none is named.
    pub split: String,
    /// Of its splits, the first keys of each.
    splits: Vec<(String, Split)>,
    /// What `submission.json` holds.
    pub submission: Option<Submission>,
    /// The keys of an evaluation that all splits share.
    shared: Table,
    text: RecipeText,
}

/// A list of objects with the name of a case and what was said to it, as evaluation servers take them.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// The key of the name.
    pub id: String,
    /// The key of the answer.
    pub text: String,
}

/// Where the files of a split are.
#[derive(Clone, Debug, Deserialize)]
struct SplitFiles {
    /// Paths or patterns below the folder of the data; the first that is there is read. Empty where any data are read.
    files: Option<Vec<PathBuf>>,
    /// Folders below it that the images may be in; the first that is there is taken.
    #[serde(default)]
    image_folders: Vec<PathBuf>,
    /// The file of answers that has to lie beside that of the questions.
    #[serde(default)]
    answers: Option<PathBuf>,
    /// What the folder of images has to hold.
    #[serde(default)]
    image_folder_holds: Option<PathBuf>,
    /// Whether answers are not published: nothing is measured.
    #[serde(default)]
    unanswered: bool,
    /// How many cases it has as it is published.
    #[serde(default)]
    published_cases: Option<usize>,
}

const HEAD: [&str; 3] = ["about", "split", "submission"];
const SPLIT_KEYS: [&str; 6] = [
    "files",
    "image_folders",
    "answers",
    "image_folder_holds",
    "unanswered",
    "published_cases",
];

#[derive(Clone, Debug)]
struct Split {
    files: SplitFiles,
    /// The keys of an evaluation that are of this split.
    own: Table,
}

/// Keys of evaluations that tasks have otherwise, or not at all.
const NOT_OF_TASKS: [&str; 4] = ["path", "image_folder", "baselines", "baseline_data"];

impl Split {
    /// An error of a key, below `path` where the key is the split's own.
    fn placed(&self, error: KeyError, path: &KeyPath) -> KeyError {
        match error.path.as_ref().and_then(|found| found.0.first()) {
            Some(Step::Key(key)) if self.own.contains_key(key) => {
                KeyError::at(path.key(key), error.message)
            }
            _ => error,
        }
    }
}

/// A split of a task with its files found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// What is read and how it is measured.
    pub evaluation: Evaluation,
    /// Whether answers are not published: nothing is measured.
    pub unanswered: bool,
    /// How many cases it has as it is published, where that is known.
    pub published_cases: Option<usize>,
}

impl Task {
    /// The names and descriptions of the tasks that come with Fourfold.
    ///
    /// # Errors
    /// When one of them is wrong, which tests rule out.
    pub fn all() -> Result<Vec<Self>> {
        BUILT_IN
            .iter()
            .map(|(name, text)| Self::parse(name, &format!("{name}.toml"), text))
            .collect()
    }

    /// The task called `name`, or the one in the file of that path.
    ///
    /// # Errors
    /// When there is none, or a key of the file is wrong: file, line and key are named.
    pub fn find(name: &str) -> Result<Self> {
        if let Some((_, text)) = BUILT_IN.iter().find(|(known, _)| *known == name) {
            return Self::parse(name, &format!("{name}.toml"), text);
        }
        let path = Path::new(name);
        if path.extension().is_none_or(|extension| extension != "toml") {
            let known: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
            bail!("{}, or a .toml file", unknown_word("task", name, &known));
        }
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the task {}", path.display()))?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        Self::parse(&stem, name, &text)
    }

    /// The names of its splits.
    pub fn splits(&self) -> Vec<&str> {
        self.splits.iter().map(|(name, _)| name.as_str()).collect()
    }

    fn parse(name: &str, file: &str, text: &str) -> Result<Self> {
        let text = RecipeText::parse(Path::new(file), text.to_owned(), &[])?;
        Self::read(name, &text).map_err(|error| text.locate(&error))
    }

    fn read(name: &str, text: &RecipeText) -> Result<Self, KeyError> {
        #[derive(Deserialize)]
        struct Head {
            about: String,
            split: String,
            #[serde(default)]
            submission: Option<Submission>,
        }
        let mut shared = text.root.clone();
        let take = |table: &mut Table, keys: &[&str]| -> Table {
            keys.iter()
                .filter_map(|key| table.remove_entry(*key))
                .collect()
        };
        let root = KeyPath::root();
        let head: Head = strict::read_rest(take(&mut shared, &HEAD), &root, &[])?;
        let expected = "expected sections [splits.NAME]";
        let path = root.key("splits");
        let Some(Value::Table(written)) = shared.remove("splits") else {
            return Err(KeyError::at(path, expected));
        };
        let mut splits = Vec::new();
        for (name, value) in written {
            let path = path.key(&name);
            let Value::Table(mut own) = value else {
                return Err(KeyError::at(path, expected));
            };
            let files = strict::read_rest(take(&mut own, &SPLIT_KEYS), &path, &[])?;
            splits.push((name, Split { files, own }));
        }
        for (name, _) in &splits {
            let plain = |c: char| c.is_alphanumeric() || "-_.".contains(c);
            if name.is_empty() || !name.chars().all(plain) || name.starts_with('.') {
                let message =
                    "expected a name of letters, digits, '-', '_' and '.', not beginning with '.'";
                return Err(KeyError::at(path.key(name), message));
            }
        }
        let task = Self {
            name: name.to_owned(),
            about: head.about,
            split: head.split,
            splits,
            submission: head.submission,
            shared,
            text: text.clone(),
        };
        for (name, split) in &task.splits {
            for (table, path) in [(&task.shared, &root), (&split.own, &path.key(name))] {
                if let Some(key) = NOT_OF_TASKS.iter().find(|key| table.contains_key(**key)) {
                    let message = "tasks have no such key: files are those of [splits.NAME], and no baseline is asked";
                    return Err(KeyError::at(path.key(*key), message));
                }
            }
            let evaluation = task
                .evaluation(split, vec![PathBuf::from("x")], None)
                .map_err(|error| split.placed(error, &path.key(name)))?;
            if split.files.files.is_none() {
                let message = "is missing: name files below the folder of the data, or none (`files = []`) where any are read";
                return Err(KeyError::at(path.key(name).key("files"), message));
            }
            if evaluation.measure.limit == Some(0) {
                return Err(KeyError::at(root.key("limit"), "expected at least 1"));
            }
            if let Some((key, fault)) = evaluation.measure.search.fault() {
                return Err(KeyError::at(root.key(key), fault));
            }
            let measure = &evaluation.measure;
            if let (Some(fault), false) = (measure.fault(), split.files.unanswered) {
                return Err(KeyError::at(root.key("metrics"), fault));
            }
            if let Err(error) = evaluation.source.check() {
                return Err(KeyError::at(path.key(name), error.to_string()));
            }
        }
        let known = task.splits();
        if !known.contains(&task.split.as_str()) {
            return Err(KeyError::unknown(
                root.key("split"),
                "split",
                &task.split,
                &known,
            ));
        }
        Ok(task)
    }

    /// The evaluation of a split whose files are `paths`.
    fn evaluation(
        &self,
        split: &Split,
        paths: Vec<PathBuf>,
        image_folder: Option<PathBuf>,
    ) -> Result<Evaluation, KeyError> {
        let mut table = self.shared.clone();
        table.extend(split.own.clone());
        if split.files.unanswered {
            // Rows without an answer are no samples.
            table.insert("answer".into(), "unknown".into());
            table.remove("references");
            table.insert("metrics".into(), Value::Array(Vec::new()));
        }
        let text = |path: &PathBuf| Value::from(path.to_string_lossy().into_owned());
        let paths = Value::Array(paths.iter().map(text).collect());
        table.insert("path".into(), paths);
        if let Some(folder) = image_folder {
            table.insert("image_folder".into(), text(&folder));
        }
        let also = [&HEAD[..], &["splits"], &SPLIT_KEYS].concat();
        Evaluation::read_among(table, &KeyPath::root(), &also, &NOT_OF_TASKS)
    }

    /// Finds the files of a split: `data` is the folder that they are in, or the file itself; `images` the folder of
    /// images, where it is not one of those that the task knows.
    ///
    /// # Errors
    /// When there is no such split, or its files are not found: says where they were looked for.
    pub fn locate(&self, split: &str, data: &Path, images: Option<&Path>) -> Result<Found> {
        let found = self.splits.iter().find(|(name, _)| name == split);
        let (_, split) = found.with_context(|| {
            let fault = unknown_word("split", split, &self.splits());
            format!("{fault} of the task {}", self.name)
        })?;
        let folder = match data.is_dir() {
            true => data,
            false => data.parent().unwrap_or(Path::new("")),
        };
        let paths = match data.is_dir() {
            true => vec![self.file_in(split, data)?],
            false => {
                ensure!(
                    data.exists() || is_url(data),
                    "--data: there is no {}",
                    data.display()
                );
                vec![data.to_owned()]
            }
        };
        if let (Some(answers), [file]) = (&split.files.answers, &paths[..]) {
            let answers = file.with_file_name(answers);
            ensure!(
                is_url(&answers) || answers.exists(),
                "there is no {}, the answers to {}",
                answers.display(),
                file.display()
            );
        }
        let image_folder = match images {
            Some(images) => Some(images.to_owned()),
            None => self.images_in(split, folder)?,
        };
        let evaluation = self.evaluation(split, paths, image_folder);
        Ok(Found {
            evaluation: evaluation.map_err(|error| self.text.locate(&error))?,
            unanswered: split.files.unanswered,
            published_cases: split.files.published_cases,
        })
    }

    fn file_in(&self, split: &Split, folder: &Path) -> Result<PathBuf> {
        let files = split.files.files.as_deref().unwrap_or_default();
        ensure!(
            !files.is_empty(),
            "the task {} reads any data: name the file with --data, not the folder {}",
            self.name,
            folder.display()
        );
        let is_there = |path: &PathBuf| {
            let files = Paths::One(path.clone()).files();
            files.is_ok_and(|files| files.iter().all(|file| file.exists()))
        };
        let mut places = files.iter().map(|file| folder.join(file));
        places.find(is_there).with_context(|| {
            let looked: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
            format!(
                "{} holds none of the files of {}: {}; name the file itself with --data",
                folder.display(),
                self.name,
                looked.join(", ")
            )
        })
    }

    fn images_in(&self, split: &Split, folder: &Path) -> Result<Option<PathBuf>> {
        let SplitFiles {
            image_folders,
            image_folder_holds,
            ..
        } = &split.files;
        if image_folders.is_empty() {
            return Ok(None);
        }
        let holds = image_folder_holds.clone().unwrap_or_default();
        // Files of annotations often lie in a folder beside that of the images.
        let above = folder.parent().filter(|_| folder.ends_with("annotations"));
        let mut places = [Some(folder), above]
            .into_iter()
            .flatten()
            .flat_map(|base| image_folders.iter().map(|name| base.join(name)));
        let found = places.find(|place| place.join(&holds).is_dir());
        found.map(Some).with_context(|| {
            let looked: Vec<String> = image_folders
                .iter()
                .map(|name| name.join(&holds).display().to_string())
                .collect();
            format!(
                "{} has none of the folders of images that {} knows: {}; name yours with --images",
                folder.display(),
                self.name,
                looked.join(", ")
            )
        })
    }
}

impl Found {
    /// Asks `prompt` in place of the task's.
    pub fn ask(&mut self, prompt: &str) {
        self.evaluation.source.prompt = Prompts::One(prompt.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::testing::Scratch;

    #[test]
    fn tasks_that_come_with_fourfold_are_sound() {
        let all = Task::all().unwrap();
        assert_eq!(all.len(), BUILT_IN.len());
        for task in &all {
            assert!(
                task.splits().contains(&task.split.as_str()),
                "{}",
                task.name
            );
            assert!(!task.about.is_empty());
        }
    }

    #[test]
    fn files_are_found_below_the_folder_of_the_data() {
        let scratch = Scratch::new("tasks");
        let folder = scratch.path();
        let task = Task::find("coco-karpathy").unwrap();
        let message = |images| {
            let found = task.locate("test", folder, images);
            format!("{:#}", found.unwrap_err())
        };
        assert!(message(None).contains("dataset_coco.json, annotations/dataset_coco.json"));
        std::fs::create_dir_all(folder.join("annotations")).unwrap();
        std::fs::write(folder.join("annotations/dataset_coco.json"), "{}").unwrap();
        assert!(message(None).contains("--images"), "{}", message(None));
        std::fs::create_dir_all(folder.join("images/val2014")).unwrap();
        let found = task.locate("test", folder, None).unwrap();
        let source = &found.evaluation.source;
        assert_eq!(
            source.path.written(),
            [folder.join("annotations/dataset_coco.json")]
        );
        assert_eq!(source.image_folder, Some(folder.join("images")));
        // Of the file itself, the folder beside its own.
        let file = folder.join("annotations/dataset_coco.json");
        let found = task.locate("val", &file, None).unwrap();
        assert_eq!(
            found.evaluation.source.image_folder,
            Some(folder.join("images"))
        );
        let error = task.locate("train", folder, None).unwrap_err();
        assert!(format!("{error:#}").contains("test, val"), "{error:#}");
    }

    #[test]
    fn what_is_wrong_in_a_task_is_told_by_line_and_key() {
        let fault = |text: &str| format!("{:#}", Task::parse("t", "t.toml", text).unwrap_err());
        let good =
            "about = \"x\"\nsplit = \"all\"\nmetrics = [\"accuracy\"]\n[splits.all]\nfiles = []\n";
        Task::parse("t", "t.toml", good).unwrap();
        let wrong = good.replace("accuracy", "acuracy");
        assert!(
            fault(&wrong).starts_with("t.toml, line 3"),
            "{}",
            fault(&wrong)
        );
        let wrong = good.replace("files", "flies");
        assert!(fault(&wrong).contains("splits.all"), "{}", fault(&wrong));
        let wrong = good.replace("\"all\"", "\"none\"");
        assert!(fault(&wrong).contains("split"), "{}", fault(&wrong));
        let wrong = format!("beems = 3\n{good}");
        assert!(fault(&wrong).contains("beams"), "{}", fault(&wrong));
        let wrong = format!("beams = 65\n{good}");
        assert!(fault(&wrong).contains("at most 64"), "{}", fault(&wrong));
        let error = Task::find("coco").unwrap_err().to_string();
        assert!(error.contains("coco-karpathy"), "{error}");
    }
}
