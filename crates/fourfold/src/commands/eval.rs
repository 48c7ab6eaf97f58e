//! `fourfold eval`: measures a model on held-out data.

mod compare;
mod task;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use fourfold_data::source::location::is_url;
use fourfold_data::{Prompts, Source, SourceConfig, Tables, sample_rng};
use fourfold_train::assemble::Reading;
use fourfold_train::evaluation::{
    Comparing, Evaluator, Layout, Scores, evaluate_recipe, table, training_sources,
    write_predictions,
};
use fourfold_train::recipe::{Measure, Metric, Recipe, unknown_word};
use fourfold_train::run_folder::RunFolder;

use crate::commands::caption::caption_prompt;
use crate::commands::eval::compare::CompareOptions;
use crate::commands::eval::task::{Asked, TaskOptions};
use crate::machine::Machine;
use crate::model_folder::ModelFolder;
use crate::output::{note, say};
use crate::search::SearchOptions;
use crate::watch::Bar;

/// Measures a model on held-out data
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  fourfold eval runs/quickstart --data test-style
  fourfold eval runs/quickstart --recipe recipes/adapt-easy-vqa.toml --data easy-vqa
  fourfold eval runs/quickstart --data my.jsonl --prompt \"What is this?\" --answer \"{{ name }}\" --json
  fourfold eval runs/mine --task coco-karpathy --data coco
  fourfold eval --compare runs/mine runs/other --html compare.html

Without --data, every [evaluation.NAME] of the run's recipe is measured and scores.json written.
An interrupted task goes on where it was when it is started again.")]
pub struct Eval {
    /// A run folder, or its model/ folder
    #[arg(value_name = "RUN", required_unless_present_any = ["model", "compare", "list_tasks"])]
    run: Option<PathBuf>,
    /// The same
    #[arg(long, value_name = "RUN", conflicts_with = "run")]
    model: Option<PathBuf>,
    /// The name of an [evaluation.NAME] or [data.NAME] of the recipe, or a file of data; of a task, its folder
    #[arg(long, value_name = "NAME|FILE")]
    data: Option<String>,
    /// The recipe to find names in; the run's own when absent
    #[arg(long, value_name = "FILE", conflicts_with = "task")]
    recipe: Option<PathBuf>,
    /// A template over the columns: what is asked; of a file, what the run's recipe asks for captions, when absent
    #[arg(long, value_name = "TEMPLATE", requires = "data")]
    prompt: Option<String>,
    /// A template over the columns: what counts as right
    #[arg(
        long,
        value_name = "TEMPLATE",
        requires = "data",
        conflicts_with = "task"
    )]
    answer: Option<String>,
    /// The column with a list of all that counts as right, in place of the answer
    #[arg(
        long,
        value_name = "COLUMN",
        requires = "data",
        conflicts_with = "task"
    )]
    references: Option<String>,
    /// What is measured, separated by commas: exact_match, accuracy, vqa_accuracy, relaxed_accuracy, yes_no, open_closed,
    /// token_f1, cider_d, cider, bleu, rouge_l, meteor
    #[arg(long, value_name = "METRIC", value_delimiter = ',', requires = "data")]
    metrics: Vec<Metric>,
    /// A folder of WordNet (dict), by which METEOR knows synonyms
    #[arg(long, value_name = "FOLDER")]
    wordnet: Option<PathBuf>,
    /// Measure on this many samples, spread evenly
    #[arg(long, value_name = "N", requires = "data", value_parser = at_least_one)]
    limit: Option<usize>,
    /// Write what the model said of each sample to this JSON lines file
    #[arg(long, value_name = "FILE", requires = "data", conflicts_with = "task")]
    predictions: Option<PathBuf>,
    /// Print the scores as JSON
    #[arg(long)]
    json: bool,
    /// Replace an existing scores.json or predictions file
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    tasks: TaskOptions,
    #[command(flatten)]
    comparison: CompareOptions,
    #[command(flatten)]
    search: SearchOptions,
    #[command(flatten)]
    machine: Machine,
}

impl Eval {
    /// Runs the command.
    ///
    /// # Errors
    /// When data or model cannot be read, or something exists already.
    pub fn run(self) -> Result<()> {
        if self.tasks.list_tasks {
            return task::list();
        }
        if let [first, second] = self.comparison.compare.as_slice() {
            ensure!(
                self.metrics.is_empty() && self.limit.is_none() && !self.search.any(),
                "--compare reads what is there: it asks nothing, and compares every figure that both have"
            );
            let how = Comparing {
                wordnet: self.wordnet.as_deref(),
                common: self.comparison.common,
            };
            return self
                .comparison
                .run(first, second, &how, self.json, self.force);
        }
        ensure!(
            self.comparison.html.is_none(),
            "--html is for --compare; a run has its page already, report.html"
        );
        self.machine.start()?;
        let path = self.run.as_ref().or(self.model.as_ref());
        let model = ModelFolder::at(path.cloned().context("RUN is missing")?);
        model.folder()?;
        if let (Some(name), Some(data)) = (&self.tasks.task, &self.data) {
            let asked = Asked {
                data: Path::new(data),
                prompt: self.prompt.as_deref(),
                metrics: &self.metrics,
                limit: self.limit,
                wordnet: self.wordnet.as_deref(),
                search: &self.search,
                force: self.force,
                machine: &self.machine,
            };
            return match self.tasks.run(name, &model, &asked)? {
                Some(scores) => self.print(&scores),
                None => Ok(()),
            };
        }
        let recipe = match &self.recipe {
            Some(file) => Some((file.clone(), Recipe::read(file)?)),
            None => model.recipe()?,
        };
        match &self.data {
            Some(data) => self.one(data, &model, recipe.map(|(_, recipe)| recipe).as_ref()),
            None => self.print(&self.all(&model, recipe)?),
        }
    }

    fn print(&self, scores: &Scores) -> Result<()> {
        if self.json {
            return say(serde_json::to_string_pretty(scores)?);
        }
        say(table(scores, Layout::Text).trim_end())?;
        task::say_asked(scores)
    }

    fn all(&self, model: &ModelFolder, recipe: Option<(PathBuf, Recipe)>) -> Result<Scores> {
        let Some((file, recipe)) = recipe.filter(|_| self.recipe.is_none()) else {
            bail!("--data is missing: name an evaluation of the recipe, or a file of data");
        };
        ensure!(
            !recipe.evaluation.is_empty(),
            "{} has no [evaluation.NAME]; give --data with a name or file",
            file.display()
        );
        ensure!(
            !self.search.any() && self.wordnet.is_none(),
            "options of the search and --wordnet are for --data: without it, the recipe says how each evaluation searches"
        );
        let run = RunFolder::open(file.parent().unwrap_or(Path::new("")))?;
        self.demand_free(&run.scores())?;
        self.demand_free(&run.predictions())?;
        let (model, reading) = model.load(&self.machine.device()?)?;
        evaluate_recipe(&recipe, &model, &reading, &run, &mut Bar::new(None))
    }

    fn one(&self, data: &str, model: &ModelFolder, recipe: Option<&Recipe>) -> Result<()> {
        let (config, measure) = self.find(data, recipe)?;
        if let Some(path) = &self.predictions {
            self.demand_free(path)?;
            let same = |a: &Path, b: &Path| a.canonicalize().ok() == b.canonicalize().ok();
            ensure!(
                !path.exists() || !config.path.written().iter().any(|data| same(path, data)),
                "--predictions: {} is the data itself; write to another file",
                path.display()
            );
            let folder = path.parent().filter(|folder| *folder != Path::new(""));
            ensure!(
                folder.is_none_or(Path::is_dir) && !path.is_dir(),
                "--predictions: expected a file in a folder that exists, got {}",
                path.display()
            );
        }
        let tables = Tables::new();
        let source = tables.open(&config)?;
        let training = match recipe {
            Some(recipe) => training_sources(recipe, &measure, &tables)?,
            None => Vec::new(),
        };
        let training: Vec<&dyn Source> = training.iter().map(|source| &**source).collect();
        let (model, reading) = model.load(&self.machine.device()?)?;
        // A recipe that was named may have other limits than the model's own.
        let files = recipe.map_or(reading.files, |recipe| recipe.image_files);
        let reading = Reading { files, ..reading };
        let evaluator = Evaluator::new(&model, &reading)?;
        let evaluated =
            evaluator.evaluate(data, &*source, &measure, &training, &mut Bar::new(None))?;
        // First the scores: a file that cannot be written does not cost them.
        self.print(&Scores(BTreeMap::from([(
            data.to_owned(),
            evaluated.scores,
        )])))?;
        if let (Some(path), Some((_, lines))) = (&self.predictions, evaluated.predictions.first()) {
            write_predictions(path, lines)?;
        }
        Ok(())
    }

    /// The source called `data` and how it is measured, with what the command line says about them.
    fn find(&self, data: &str, recipe: Option<&Recipe>) -> Result<(SourceConfig, Measure)> {
        let mut measure = Measure {
            metrics: vec![
                Metric::ExactMatch,
                Metric::CiderD,
                Metric::Bleu,
                Metric::RougeL,
            ],
            ..Measure::default()
        };
        let evaluation = recipe.and_then(|recipe| recipe.evaluation.get(data));
        let named = recipe.and_then(|recipe| recipe.data.get(data));
        let mut config = match (evaluation, named) {
            (Some(evaluation), _) => {
                measure = evaluation.measure.clone();
                evaluation.source.clone()
            }
            (None, Some(config)) => config.clone(),
            (None, None) => self.file(data, recipe)?,
        };
        if let Some(prompt) = &self.prompt {
            config.prompt = Prompts::One(prompt.clone());
        }
        if let Some(answer) = &self.answer {
            config.answer = Some(answer.clone());
        }
        if !self.metrics.is_empty() {
            measure.metrics = self.metrics.clone();
        }
        if self.references.is_some() {
            measure.references = self.references.clone();
        }
        measure.limit = self.limit.or(measure.limit);
        measure.wordnet = self.wordnet.clone().or(measure.wordnet);
        measure.search = self.search.over(&measure.search)?;
        Ok((config, measure))
    }

    fn file(&self, data: &str, recipe: Option<&Recipe>) -> Result<SourceConfig> {
        let path = PathBuf::from(data);
        if !path.exists() && !is_url(&path) {
            let names = recipe
                .into_iter()
                .flat_map(|r| r.evaluation.keys().chain(r.data.keys()));
            let names: Vec<&String> = names.collect();
            bail!(
                "--data: there is no file {data}, and {}",
                unknown_word("name", data, &names)
            );
        }
        let mut config = SourceConfig {
            path: path.into(),
            prompt: Prompts::One(self.prompt.clone().unwrap_or_default()),
            answer: self.answer.clone().or(self.first_reference()),
            images: true,
            ..SourceConfig::default()
        };
        // Questions of the file's own are asked; of captions, what the run's recipe asks for them.
        let own = self.prompt.is_some() || has_questions(&config);
        if let (false, Some(prompt)) = (own, recipe.and_then(caption_prompt)) {
            note(format_args!(
                "asking \"{prompt}\", as the model's own recipe does; --prompt asks something else"
            ));
            config.prompt = Prompts::One(prompt);
        }
        Ok(config)
    }

    /// A template for what samples need an answer for, where a list of references says what counts as right.
    fn first_reference(&self) -> Option<String> {
        let column = self.references.as_ref()?;
        Some(format!("{{{{ {column}[0] }}}}"))
    }

    fn demand_free(&self, path: &Path) -> Result<()> {
        ensure!(
            self.force || !path.exists(),
            "{} exists already; --force replaces it",
            path.display()
        );
        Ok(())
    }
}

/// Whether the layout of a file has prompts of its own. What is wrong with the file is told when it is read.
fn has_questions(config: &SourceConfig) -> bool {
    let Ok(source) = Tables::new().open(config) else {
        return false;
    };
    let mut samples = (0..source.len()).map(|row| source.sample(row, &mut sample_rng(0, 0)));
    let first = samples.find_map(Result::ok);
    first.is_some_and(|sample| sample.turns.iter().any(|turn| !turn.prompt.is_empty()))
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("expected a whole number of at least 1".into()),
    }
}
