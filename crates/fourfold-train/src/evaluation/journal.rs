//! Answers as they come, on disk: an interrupted evaluation goes on where it was, and machines may share one.
//!
//! A folder has one file of answers for each part ([`Shard`]) that was asked, and `settings.json`, which says what was
//! asked of which model: answers to something else are not mixed in.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use fourfold_data::DataError;
use serde::{Deserialize, Serialize};

use crate::answer::Answer;
use crate::files;
use crate::recipe::Search;

/// What is asked of whom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The task and its split.
    pub task: String,
    /// The templates of the prompt.
    pub prompt: Vec<String>,
    /// How answers are searched for.
    pub search: Search,
    /// What tells the weights from others.
    pub weights: String,
}

/// One of so many parts of the cases: number `i` of `n`, from 1, takes every `n`-th case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    number: usize,
    count: usize,
}

impl Shard {
    /// All cases.
    pub const WHOLE: Self = Self {
        number: 1,
        count: 1,
    };

    /// Whether it is all cases.
    pub fn is_whole(self) -> bool {
        self.count == 1
    }

    /// Whether the case at `place` belongs to it.
    pub fn has(self, place: usize) -> bool {
        place % self.count == self.number - 1
    }

    fn file(self) -> String {
        match self.is_whole() {
            true => "answers.jsonl".into(),
            false => format!("answers.{}-of-{}.jsonl", self.number, self.count),
        }
    }
}

impl FromStr for Shard {
    type Err = String;

    /// # Errors
    /// When the text is not `i/n` with `1 ≤ i ≤ n`.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/');
        let numbers = parts.and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        match numbers {
            Some((number, count)) if 1 <= number && number <= count => Ok(Self { number, count }),
            _ => Err("expected I/N, as 1/4 for the first of four parts".into()),
        }
    }
}

/// What became of a case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Line {
    id: String,
    /// What tells the question from another of this name ([`question_keys`](super::cases::question_keys)).
    question: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    log_probabilities: Vec<f32>,
    #[serde(default)]
    finished: bool,
    /// Why there is no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// What became of cases, by name and question.
type Known = HashMap<(String, String), Result<Answer, String>>;

/// The answers of a folder, of which one file grows.
pub struct Journal {
    known: Known,
    /// None where nothing is asked.
    file: Option<File>,
    path: PathBuf,
}

impl Journal {
    /// Opens a folder to add answers of `shard`, under `settings`.
    ///
    /// # Errors
    /// When answers there are to something else, another process adds to the same file, or a file is damaged.
    pub fn open(folder: &Path, shard: Shard, settings: &Settings) -> Result<Self> {
        demand_own(folder)?;
        files::create_folder(folder)?;
        let noted = folder.join("settings.json");
        match noted.exists() {
            true => demand_same(&noted, settings)?,
            false => files::write_json(&noted, settings)?,
        }
        let path = folder.join(shard.file());
        let within = || format!("cannot write {}", path.display());
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .with_context(within)?;
        ensure!(
            file.metadata().with_context(within)?.is_file(),
            "{} is no regular file",
            path.display()
        );
        if file.try_lock().is_err() {
            bail!("{} is being written by another process", path.display());
        }
        end_at_a_line(&mut file).with_context(within)?;
        Ok(Self {
            known: read_all(folder)?,
            file: Some(file),
            path,
        })
    }

    /// The answers of a folder to what `settings` say, to be read alone.
    ///
    /// # Errors
    /// When the folder holds no answers, or to something else, or a file is damaged.
    pub fn read(folder: &Path, settings: &Settings) -> Result<Self> {
        let noted = folder.join("settings.json");
        ensure!(
            noted.exists(),
            "{} holds no answers: there is no settings.json",
            folder.display()
        );
        demand_same(&noted, settings)?;
        Ok(Self {
            known: read_all(folder)?,
            file: None,
            path: folder.to_owned(),
        })
    }

    /// What is known of the case of this name whose question has this key: its answer, or why there is none.
    pub fn get(&self, id: &str, question: &str) -> Option<&Result<Answer, String>> {
        self.known.get(&(id.to_owned(), question.to_owned()))
    }

    /// Adds what became of the case of this name whose question has this key.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add(
        &mut self,
        id: &str,
        question: &str,
        answer: &Result<Answer, DataError>,
    ) -> Result<()> {
        let line = match answer {
            Ok(answer) => Line {
                id: id.to_owned(),
                question: question.to_owned(),
                text: Some(answer.text.clone()),
                log_probabilities: answer.log_probabilities.clone(),
                finished: answer.finished,
                error: None,
            },
            Err(error) => Line {
                id: id.to_owned(),
                question: question.to_owned(),
                text: None,
                log_probabilities: Vec::new(),
                finished: false,
                error: Some(without_origin(error, id)),
            },
        };
        let text = files::json_line(&line)?;
        if let Some(file) = &mut self.file {
            let within = || format!("cannot write {}", self.path.display());
            file.write_all(text.as_bytes()).with_context(within)?;
        }
        self.known.insert(line.key(), line.outcome());
        Ok(())
    }
}

impl Line {
    fn key(&self) -> (String, String) {
        (self.id.clone(), self.question.clone())
    }

    fn outcome(self) -> Result<Answer, String> {
        match self.text {
            Some(text) => Ok(Answer {
                text,
                log_probabilities: self.log_probabilities,
                finished: self.finished,
            }),
            None => Err(self.error.unwrap_or_default()),
        }
    }
}

/// Cuts off a last line that a crash left half written.
fn end_at_a_line(file: &mut File) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n');
    file.set_len(whole.map_or(0, |end| end as u64 + 1))
}

/// The files of answers in a folder: `answers.jsonl` and `answers.I-of-N.jsonl`.
fn answer_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let within = || format!("cannot read {}", folder.display());
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(folder).with_context(within)? {
        let entry = entry.with_context(within)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let part = name
            .strip_prefix("answers.")
            .map(|n| n.strip_suffix("jsonl").unwrap_or(n));
        let is_shard = |part: &str| {
            let shard = part
                .strip_suffix('.')
                .and_then(|part| part.split_once("-of-"));
            shard.is_some_and(|(i, n)| format!("{i}/{n}").parse::<Shard>().is_ok())
        };
        if name == "answers.jsonl" || part.is_some_and(is_shard) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

fn read_all(folder: &Path) -> Result<Known> {
    let mut known = Known::new();
    for path in answer_files(folder)? {
        let expected = "an answer as `eval --task` writes it; remove the line to ask again";
        for line in files::read_json_lines::<Line>(&path, expected)? {
            let key = line.key();
            let outcome = line.outcome();
            match known.get(&key) {
                Some(Ok(before)) => {
                    if let Ok(answer) = &outcome {
                        ensure!(
                            before.text == answer.text,
                            "{}: {} is answered \"{}\", and \"{}\" elsewhere in the folder: which one counts? \
                             remove the other",
                            path.display(),
                            key.0,
                            answer.text,
                            before.text
                        );
                    }
                }
                _ => drop(known.insert(key, outcome)),
            }
        }
    }
    Ok(known)
}

/// Removes what an earlier evaluation left in a folder: the answers of `shard`, or all of them where it is the whole, with
/// what was made of them. Nothing else, and nothing that is being written.
///
/// # Errors
/// When another process writes answers there, or a file cannot be removed.
pub fn begin_anew(folder: &Path, shard: Shard) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    demand_own(folder)?;
    let own = folder.join(shard.file());
    let mut paths = answer_files(folder)?;
    if !shard.is_whole() {
        let end = format!("-of-{}.jsonl", shard.count);
        let other = paths
            .iter()
            .find(|path| !path.to_string_lossy().ends_with(&end));
        ensure!(
            other.is_none(),
            "{} answers other parts, and these too: --force without --shard begins everything anew",
            other
                .map(|path| path.display().to_string())
                .unwrap_or_default()
        );
        paths.retain(|path| *path == own);
    }
    let mut held = Vec::new();
    for path in &paths {
        let within = || format!("cannot open {}", path.display());
        let file = OpenOptions::new()
            .append(true)
            .open(path)
            .with_context(within)?;
        ensure!(
            file.try_lock().is_ok(),
            "{} is being written by another process",
            path.display()
        );
        held.push(file);
    }
    let mut made = vec!["predictions.jsonl", "scores.json", "submission.json"];
    if shard.is_whole() {
        made.push("settings.json");
    }
    paths.extend(made.iter().map(|name| folder.join(name)));
    for path in paths.iter().filter(|path| path.exists()) {
        fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// Demands that a folder is one of answers, or holds nothing that answers and scores would be mixed with.
pub(super) fn demand_own(folder: &Path) -> Result<()> {
    if folder.join("settings.json").exists() || !folder.exists() {
        return Ok(());
    }
    let within = || format!("cannot read {}", folder.display());
    let mut entries = fs::read_dir(folder).with_context(within)?;
    ensure!(
        entries.next().is_none(),
        "{} holds other things and no settings.json of a task: name an empty folder, or a new one, with --out",
        folder.display()
    );
    Ok(())
}

/// What is wrong, without the name that tells where, which is told anyway.
fn without_origin(error: &DataError, id: &str) -> String {
    let text = error.to_string();
    let prefix = format!("{id}: ");
    text.strip_prefix(&prefix).unwrap_or(&text).to_owned()
}

pub(super) fn read_settings(path: &Path) -> Result<Settings> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| {
        let path = path.display();
        format!("{path} is damaged: what its answers are to is lost; --force begins anew")
    })
}

fn demand_same(path: &Path, settings: &Settings) -> Result<()> {
    let noted = read_settings(path)?;
    if noted == *settings {
        return Ok(());
    }
    let (old, new) = (
        serde_json::to_value(noted)?,
        serde_json::to_value(settings)?,
    );
    let differing: Vec<String> = ["task", "prompt", "search", "weights"]
        .into_iter()
        .filter(|key| old[*key] != new[*key])
        .map(|key| format!("{key} was {}, now {}", old[key], new[key]))
        .collect();
    bail!(
        "answers in {} are to something else: {}; --force begins anew, --out takes another folder",
        path.parent().unwrap_or(path).display(),
        differing.join("; ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::testing::Scratch;

    fn settings() -> Settings {
        Settings {
            task: "t".into(),
            prompt: vec!["What?".into()],
            search: Search::default(),
            weights: "w".into(),
        }
    }

    fn answer(text: &str) -> Result<Answer, DataError> {
        Ok(Answer {
            text: text.into(),
            log_probabilities: vec![-0.5, -0.25],
            finished: true,
        })
    }

    #[test]
    fn answers_survive_and_a_half_line_does_not() {
        let scratch = Scratch::new("journal");
        let folder = scratch.path();
        let whole = Shard::WHOLE;
        let mut journal = Journal::open(folder, whole, &settings()).unwrap();
        journal.add("a", "q", &answer("one\ntwo")).unwrap();
        let error = DataError::Row {
            origin: "x".into(),
            message: "broken".into(),
        };
        journal.add("b", "q", &Err(error)).unwrap();
        let locked = Journal::open(folder, whole, &settings());
        assert!(
            locked
                .err()
                .unwrap()
                .to_string()
                .contains("another process")
        );
        drop(journal);
        let path = folder.join("answers.jsonl");
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"id\": \"c\", \"te").unwrap();
        drop(file);
        let mut journal = Journal::open(folder, whole, &settings()).unwrap();
        assert_eq!(
            journal.get("a", "q"),
            Some(&answer("one\ntwo").map_err(|_| String::new()))
        );
        assert!(journal.get("b", "q").unwrap().is_err() && journal.get("c", "q").is_none());
        journal.add("c", "q", &answer("three")).unwrap();
        drop(journal);
        let journal = Journal::read(folder, &settings()).unwrap();
        assert!(journal.get("c", "q").unwrap().is_ok());
        assert!(journal.get("c", "another question").is_none());
    }

    #[test]
    fn answers_to_something_else_are_not_mixed_in() {
        let scratch = Scratch::new("journal-settings");
        drop(Journal::open(scratch.path(), Shard::WHOLE, &settings()).unwrap());
        let mut other = settings();
        other.search.beams = 3;
        let error = Journal::open(scratch.path(), Shard::WHOLE, &other);
        let message = error.err().unwrap().to_string();
        assert!(
            message.contains("search was") && message.contains("--force"),
            "{message}"
        );
    }

    #[test]
    fn shards_share_all_cases_and_their_answers_are_read_together() {
        let shards: Vec<Shard> = ["1/3", "2/3", "3/3"].map(|t| t.parse().unwrap()).into();
        for place in 0..20 {
            assert_eq!(shards.iter().filter(|shard| shard.has(place)).count(), 1);
        }
        for wrong in ["0/3", "4/3", "1", "a/b", "1/0"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
        let scratch = Scratch::new("journal-shards");
        let add = |shard: Shard, id: &str, text: &str| {
            let mut journal = Journal::open(scratch.path(), shard, &settings())?;
            journal.add(id, "q", &answer(text))
        };
        add(shards[0], "a", "x").unwrap();
        add(shards[1], "b", "y").unwrap();
        let journal = Journal::read(scratch.path(), &settings()).unwrap();
        assert!(journal.get("a", "q").is_some() && journal.get("b", "q").is_some());
        add(shards[2], "a", "z").unwrap();
        let error = Journal::read(scratch.path(), &settings())
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("which one counts"), "{error}");
    }

    #[test]
    fn beginning_anew_spares_what_is_not_its_own() {
        let scratch = Scratch::new("journal-anew");
        let folder = scratch.path().join("out");
        let shards: Vec<Shard> = ["1/2", "2/2"].map(|t| t.parse().unwrap()).into();
        for (shard, id) in shards.iter().zip(["a", "b"]) {
            let mut journal = Journal::open(&folder, *shard, &settings()).unwrap();
            journal.add(id, "q", &answer("x")).unwrap();
        }
        fs::write(folder.join("answers.gold.jsonl"), "gold").unwrap();
        begin_anew(&folder, shards[1]).unwrap();
        let journal = Journal::open(&folder, shards[1], &settings()).unwrap();
        assert!(journal.get("a", "q").is_some() && journal.get("b", "q").is_none());
        let message = begin_anew(&folder, Shard::WHOLE).unwrap_err().to_string();
        assert!(message.contains("another process"), "{message}");
        drop(journal);
        begin_anew(&folder, Shard::WHOLE).unwrap();
        assert!(folder.join("answers.gold.jsonl").exists());
        // A folder of other things is no folder of answers.
        let error = Journal::open(&folder, Shard::WHOLE, &settings())
            .err()
            .unwrap();
        assert!(error.to_string().contains("--out"), "{error}");
    }
}
