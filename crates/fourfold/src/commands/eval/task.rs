//! `fourfold eval RUN --task NAME`: a published benchmark on a model.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use clap::Args;
use fourfold_train::evaluation::{
    Evaluator, Opened, Scores, Settings, Shard, TaskRun, begin_anew, read_scores, weights_of,
};
use fourfold_train::recipe::{Found, Metric, Task};

use fourfold_data::source::location::is_url;

use crate::failure::Interrupted;
use crate::interrupt;
use crate::machine::Machine;
use crate::model_folder::ModelFolder;
use crate::output::{note, say};
use crate::search::SearchOptions;
use crate::watch::Bar;

/// Options of tasks.
#[derive(Args, Debug)]
#[command(next_help_heading = "Tasks")]
pub struct TaskOptions {
    /// The task: a name of --list-tasks, or a .toml file; --data is then the folder of the data set, or its file
    #[arg(long, value_name = "NAME", requires = "data")]
    pub task: Option<String>,
    /// Say which tasks there are
    #[arg(long, exclusive = true)]
    pub list_tasks: bool,
    /// The split; the task's own choice when absent
    #[arg(long, value_name = "NAME", requires = "task")]
    split: Option<String>,
    /// The folder of images, where the task does not find it
    #[arg(long, value_name = "FOLDER", requires = "task")]
    images: Option<PathBuf>,
    /// Where answers and scores go; RUN/evaluations/TASK-SPLIT when absent. Answers that are there are not asked for again
    #[arg(long, value_name = "FOLDER", requires = "task")]
    out: Option<PathBuf>,
    /// Answer one part of the cases, as 1/4 the first of four; scores are for --merge then
    #[arg(long, value_name = "I/N", requires = "task", conflicts_with = "merge")]
    shard: Option<Shard>,
    /// Score the answers that are there, of all shards; nothing is asked
    #[arg(long, requires = "task")]
    merge: bool,
}

/// What the command line says beside.
pub struct Asked<'a> {
    pub data: &'a Path,
    pub prompt: Option<&'a str>,
    pub metrics: &'a [Metric],
    pub limit: Option<usize>,
    pub wordnet: Option<&'a Path>,
    pub search: &'a SearchOptions,
    pub force: bool,
    /// What to compute on.
    pub machine: &'a Machine,
}

impl TaskOptions {
    /// Runs the task `name` on `model`; nothing where a part of it was asked.
    ///
    /// # Errors
    /// When the task's files are not found, or an answer or score cannot be made or written.
    pub fn run(
        &self,
        name: &str,
        model: &ModelFolder,
        asked: &Asked<'_>,
    ) -> Result<Option<Scores>> {
        if let Some(images) = &self.images {
            ensure!(
                images.is_dir() || is_url(images),
                "--images: there is no folder {}",
                images.display()
            );
        }
        let task = Task::find(name)?;
        let split = self.split.as_deref().unwrap_or(&task.split);
        let mut found = task.locate(split, asked.data, self.images.as_deref())?;
        if let Some(prompt) = asked.prompt {
            found.ask(prompt);
        }
        let measure = &mut found.evaluation.measure;
        measure.search = asked.search.over(&measure.search)?;
        measure.limit = asked.limit.or(measure.limit);
        measure.wordnet = asked.wordnet.map(Path::to_owned).or(measure.wordnet.take());
        if !asked.metrics.is_empty() {
            ensure!(
                !found.unanswered,
                "--metrics: answers of {name} {split} are not published"
            );
            measure.metrics = asked.metrics.to_vec();
        }
        if let Some(fault) = measure.fault() {
            bail!("{fault}");
        }
        let label = format!("{}-{split}", task.name);
        let folder = match (&self.out, model.run()) {
            (Some(out), _) => out.clone(),
            (None, Some(run)) => run.evaluations().join(&label),
            (None, None) => {
                bail!("--out is missing: the model belongs to no run, so name a folder")
            }
        };
        let run = TaskRun {
            name: &label,
            found: &found,
            submission: task.submission.as_ref(),
            folder,
        };
        let settings = Settings {
            task: label.clone(),
            prompt: found.evaluation.source.prompt.templates().to_vec(),
            search: found.evaluation.measure.search.clone(),
            weights: weights_of(&model.folder()?)?,
        };
        let shard = self.shard.unwrap_or(Shard::WHOLE);
        if asked.force && !self.merge {
            begin_anew(&run.folder, shard)?;
        }
        let opened = run.open(shard)?;
        if !self.merge {
            self.answer(&run, &opened, model, &settings, asked.machine)?;
        }
        if !shard.is_whole() {
            note(format_args!(
                "answered into {}; --merge scores all shards once they are in that folder",
                run.folder.display()
            ));
            return Ok(None);
        }
        let before = read_scores(&run.folder.join("scores.json")).ok();
        let scores = run.score(opened, &settings, &mut Bar::new(None))?;
        note(format_args!("written to {}", run.folder.display()));
        tell(&label, &found, before.as_ref(), &scores);
        Ok(Some(scores))
    }

    fn answer(
        &self,
        run: &TaskRun<'_>,
        opened: &Opened,
        model: &ModelFolder,
        settings: &Settings,
        machine: &Machine,
    ) -> Result<()> {
        let (weights, reading) = model.load(&machine.device()?)?;
        let evaluator = Evaluator::new(&weights, &reading)?;
        let mut bar = Bar::new(Some(interrupt::flag()?));
        let answered = run.answer(opened, &evaluator, settings, &mut bar);
        if let Err(error) = &answered
            && error.is::<Interrupted>()
        {
            note(format_args!(
                "{} more cases are answered in {}; the same command goes on from there",
                bar.done(),
                run.folder.display()
            ));
        }
        answered
    }
}

/// Tells what scores of a task do not say by themselves.
fn tell(label: &str, found: &Found, before: Option<&Scores>, scores: &Scores) {
    let dropped = before.map_or(Vec::new(), |before| dropped(before, scores));
    if !dropped.is_empty() {
        note(format_args!(
            "scores.json had {} before; without --metrics the command measures what the task says, and asks nothing anew",
            dropped.join(", ")
        ));
    }
    let samples = scores.0.get(label).map_or(0, |scores| scores.samples);
    if let (Some(published), None) = (found.published_cases, found.evaluation.measure.limit)
        && samples != published
    {
        note(format_args!(
            "{label} has {published} cases as it is published, and {samples} were measured"
        ));
    }
    if found.unanswered {
        note(format_args!(
            "answers of {label} are not published, so nothing is measured: submission.json is what its server takes"
        ));
    }
}

/// The figures that scores had before and have no more.
fn dropped(before: &Scores, now: &Scores) -> Vec<String> {
    let names = |scores: &Scores| -> BTreeSet<String> {
        let figures = scores.0.values().flat_map(|scores| scores.model.0.keys());
        figures.cloned().collect()
    };
    names(before).difference(&names(now)).cloned().collect()
}

/// Says which tasks there are.
///
/// # Errors
/// When the output is closed.
pub fn list() -> Result<()> {
    let tasks = Task::all()?;
    let width = tasks.iter().map(|task| task.name.len()).max().unwrap_or(0);
    for task in &tasks {
        let splits: Vec<String> = task
            .splits()
            .iter()
            .map(|split| match *split == task.split {
                true => format!("{split}*"),
                false => (*split).to_owned(),
            })
            .collect();
        say(format_args!(
            "{:width$}  {}  [{}]",
            task.name,
            task.about,
            splits.join(", ")
        ))?;
    }
    say(
        "\n* is the split that is meant without --split. `--task FILE.toml` reads a task of your own, in the words of tasks/.",
    )
}

/// What was asked, beside the scores of a task.
///
/// # Errors
/// When the output is closed.
pub fn say_asked(scores: &Scores) -> Result<()> {
    for (name, scores) in &scores.0 {
        let Some(asked) = &scores.asked else { continue };
        let prompts = asked
            .settings
            .prompt
            .iter()
            .map(|prompt| match prompt.as_str() {
                "" => "what the data ask".to_owned(),
                prompt => format!("{prompt:?}"),
            });
        let prompts: Vec<String> = prompts.collect();
        let search = &asked.settings.search;
        // All that is not as by default, under the names that recipes have for it.
        let how = serde_json::to_value(search)?;
        let how: Vec<String> = how
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, value)| format!("{key} {value}"))
            .collect();
        say(format_args!(
            "\n{name} was asked {}: {}",
            prompts.join(" or "),
            how.join(", ")
        ))?;
        if scores.unfinished > 0 {
            say(format_args!(
                "{} of {} answers are as long as they may be, and not ended by the model",
                scores.unfinished, scores.samples
            ))?;
        }
    }
    Ok(())
}
