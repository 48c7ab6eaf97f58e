//! Two systems on the same cases: how far apart, and whether by chance.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use fourfold_eval::resample::{RESAMPLES, paired};
use fourfold_eval::{
    Case as Judged, Difference, Figure, Meteor, Metric, TITLES, WordNet, measure_with,
};

use super::Prediction;
use super::journal::read_settings;
use crate::files;
use crate::recipe::Baseline;

/// How predictions are compared.
#[derive(Clone, Copy, Debug, Default)]
pub struct Comparing<'a> {
    /// A folder of WordNet, for METEOR where both were scored with synonyms.
    pub wordnet: Option<&'a Path>,
    /// Whether only those cases are compared that both have.
    pub common: bool,
}

/// One figure of two systems.
#[derive(Clone, Debug)]
pub struct FigurePair {
    /// Its name in files.
    pub name: &'static str,
    /// Its title in tables.
    pub title: &'static str,
    /// Whether it is a share, shown in percent.
    pub share: bool,
    /// The first system's, and the second's.
    pub totals: [f64; 2],
    /// The second less the first.
    pub difference: Difference,
}

/// One case and what both systems said.
#[derive(Clone, Debug)]
pub struct AnswerPair {
    /// What the first said, with the case.
    pub first: Prediction,
    /// What the second said.
    pub second: Prediction,
    /// The second's score less the first's, in the figure that the table begins with; 0 where it has none for a sample.
    pub difference: f64,
}

/// An evaluation of two systems.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The evaluation.
    pub name: String,
    /// The figures that both have, in the order of tables.
    pub figures: Vec<FigurePair>,
    /// The cases, those first that the systems differ most in.
    pub answers: Vec<AnswerPair>,
    /// In what they were asked otherwise, where both say what they were asked.
    pub asked_otherwise: Option<String>,
}

/// The predictions of the model that `path` holds, by the name of the evaluation: of a run folder, those of its recipe's
/// evaluations and of its tasks; of a task's folder the one; of a file of JSON lines one without a name.
///
/// # Errors
/// When there are none.
pub fn predictions_in(path: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    if path.is_file() {
        found.insert(String::new(), path.to_owned());
    }
    let own = path.join("predictions.jsonl");
    if own.is_file() {
        let task = read_settings(&path.join("settings.json")).map(|settings| settings.task);
        found.insert(task.unwrap_or_default(), own);
    }
    let listed = |folder: PathBuf| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path())
    };
    for file in listed(path.join("predictions")) {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let Some(name) = name.strip_suffix(".jsonl") else {
            continue;
        };
        let of_baseline = name
            .rsplit_once('.')
            .is_some_and(|(_, system)| Baseline::SYSTEMS.contains(&system));
        if !of_baseline {
            found.insert(name.to_owned(), file.clone());
        }
    }
    for folder in listed(path.join("evaluations")) {
        let file = folder.join("predictions.jsonl");
        if file.is_file() {
            let name = folder.file_name().unwrap_or_default().to_string_lossy();
            found.insert(name.into_owned(), file);
        }
    }
    ensure!(
        !found.is_empty(),
        "{} holds no predictions: neither predictions/, as `fourfold eval --model RUN` writes them, nor evaluations/, as \
         `fourfold eval RUN --task NAME` does",
        path.display()
    );
    Ok(found)
}

/// Compares the predictions in two files.
///
/// # Errors
/// When they are not of the same cases: the first that differs is named.
pub fn compare(name: &str, first: &Path, second: &Path, how: &Comparing<'_>) -> Result<Comparison> {
    let (mut a, mut b) = (read(first)?, read(second)?);
    if how.common {
        let ids = |list: &[Prediction]| list.iter().map(|p| p.id.clone()).collect::<HashSet<_>>();
        let (ours, theirs) = (ids(&a), ids(&b));
        a.retain(|p| theirs.contains(&p.id));
        b.retain(|p| ours.contains(&p.id));
        ensure!(
            !a.is_empty(),
            "{} and {} have no case in common",
            first.display(),
            second.display()
        );
    }
    let mut others: HashMap<&str, &Prediction> = b.iter().map(|p| (p.id.as_str(), p)).collect();
    let mut pairs = Vec::with_capacity(a.len());
    for one in &a {
        let Some(other) = others.remove(one.id.as_str()) else {
            bail!(alone(&a, &b, first, second));
        };
        ensure!(
            one.references == other.references,
            "{}: {} and {} compare it with other references",
            one.id,
            first.display(),
            second.display()
        );
        pairs.push((one, other));
    }
    if !others.is_empty() {
        bail!(alone(&b, &a, second, first));
    }
    let metrics = metrics_of(&a, &b);
    ensure!(
        !metrics.is_empty(),
        "{} and {} hold no score that both have: measure them again with this version",
        first.display(),
        second.display()
    );
    let wordnet = how.wordnet.filter(|_| both_have(&a, &b, "meteor_wordnet"));
    let meteor = Meteor::new(wordnet.map(WordNet::read).transpose()?);
    let figures = |cases: Vec<Judged<'_>>| measure_with(&cases, &metrics, &meteor);
    let ours = figures(a.iter().map(judged).collect())?;
    let theirs = figures(pairs.iter().map(|(_, other)| judged(other)).collect())?;
    // CIDEr weighs words by all references, so that it is another for some of the cases.
    if !how.common {
        demand_as_scored(first, pairs.iter().map(|(one, _)| *one), &ours)?;
        // Words may hang on the next caption, so that scores of samples are those of the file's own order.
        let as_written = a.iter().map(|p| &p.id).eq(b.iter().map(|p| &p.id));
        let own = match as_written {
            true => theirs.clone(),
            false => figures(b.iter().map(judged).collect())?,
        };
        demand_as_scored(second, b.iter(), &own)?;
    }
    let differences = paired(&ours, &theirs, RESAMPLES, 0);
    let mut table = Vec::new();
    for ((one, other), difference) in ours.iter().zip(&theirs).zip(differences) {
        let titled = TITLES.iter().find(|(name, ..)| *name == one.name);
        let (name, title, share) = *titled.with_context(|| format!("{} has no title", one.name))?;
        table.push(FigurePair {
            name,
            title,
            share,
            totals: [one.total(), other.total()],
            difference,
        });
    }
    let score = |figures: &[Figure], place: usize| {
        let first = figures
            .iter()
            .find(|figure| figure.samples.iter().any(Option::is_some));
        first
            .and_then(|figure| figure.samples[place])
            .unwrap_or(0.0)
    };
    let mut answers: Vec<AnswerPair> = pairs
        .iter()
        .enumerate()
        .map(|(place, (one, other))| AnswerPair {
            first: (*one).clone(),
            second: (*other).clone(),
            difference: score(&theirs, place) - score(&ours, place),
        })
        .collect();
    answers.sort_by(|a, b| {
        let alike = |pair: &AnswerPair| pair.first.prediction == pair.second.prediction;
        let further = b.difference.abs().total_cmp(&a.difference.abs());
        further.then(alike(a).cmp(&alike(b)))
    });
    Ok(Comparison {
        name: name.to_owned(),
        figures: table,
        answers,
        asked_otherwise: asked_otherwise(first, second)?,
    })
}

fn judged(prediction: &Prediction) -> Judged<'_> {
    Judged {
        id: &prediction.id,
        candidate: &prediction.prediction,
        references: &prediction.references,
    }
}

/// Says which cases of `a` are none of `b`'s.
fn alone(a: &[Prediction], b: &[Prediction], first: &Path, second: &Path) -> String {
    let others: HashSet<&str> = b.iter().map(|p| p.id.as_str()).collect();
    let mut alone = a.iter().filter(|p| !others.contains(p.id.as_str()));
    let id = alone.next().map_or("", |p| p.id.as_str());
    format!(
        "{id} is in {}, but not in {}, and so are {} others of {}; --common compares the cases that both have",
        first.display(),
        second.display(),
        alone.count(),
        a.len()
    )
}

/// The predictions of a file, of which each case has one.
fn read(path: &Path) -> Result<Vec<Prediction>> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(
        text.ends_with('\n'),
        "{} is empty or ends within a line: was it written to the end?",
        path.display()
    );
    let expected = "a prediction as `fourfold eval` writes it";
    let predictions: Vec<Prediction> = files::read_json_lines(path, expected)?;
    let mut names = HashSet::new();
    for prediction in &predictions {
        ensure!(
            names.insert(prediction.id.as_str()),
            "{}: {} is there twice",
            path.display(),
            prediction.id
        );
    }
    Ok(predictions)
}

/// Demands that samples score what their file says.
fn demand_as_scored<'p>(
    path: &Path,
    predictions: impl Iterator<Item = &'p Prediction>,
    figures: &[Figure],
) -> Result<()> {
    for (place, prediction) in predictions.enumerate() {
        for figure in figures {
            let (Some(found), Some(noted)) =
                (figure.samples[place], prediction.scores.get(figure.name))
            else {
                continue;
            };
            let hint = match figure.name {
                "meteor_wordnet" => "; was it scored with another --wordnet?",
                _ => "; score the file again",
            };
            ensure!(
                (found - noted).abs() < 1e-6,
                "{}: {} of {} is {noted} there, and {found} by this version{hint}",
                path.display(),
                figure.name,
                prediction.id
            );
        }
    }
    Ok(())
}

/// The metrics of which both have scores of samples.
fn metrics_of(a: &[Prediction], b: &[Prediction]) -> Vec<Metric> {
    let both = |metric: &Metric| metric.figures().iter().any(|name| both_have(a, b, name));
    Metric::ALL.into_iter().filter(both).collect()
}

/// Whether both have scores of samples of this name.
fn both_have(a: &[Prediction], b: &[Prediction], name: &str) -> bool {
    let has = |all: &[Prediction]| all.iter().any(|p| p.scores.contains_key(name));
    has(a) && has(b)
}

/// In what the settings beside two tasks' predictions differ, but for task and weights.
fn asked_otherwise(first: &Path, second: &Path) -> Result<Option<String>> {
    let read = |file: &Path| read_settings(&file.with_file_name("settings.json")).ok();
    let (Some(first), Some(second)) = (read(first), read(second)) else {
        return Ok(None);
    };
    let (first, second) = (serde_json::to_value(first)?, serde_json::to_value(second)?);
    let differs = |key: &str| {
        let (a, b) = (&first[key], &second[key]);
        (a != b).then(|| format!("{key} {a} and {b}"))
    };
    let found: Vec<String> = ["prompt", "search"]
        .into_iter()
        .filter_map(differs)
        .collect();
    Ok((!found.is_empty()).then(|| found.join("; ")))
}
