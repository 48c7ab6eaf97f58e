//! The paths in a recipe: relative to it when written, absolute while it runs.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use fourfold_data::source::location::{self, is_url};
use fourfold_data::{Chat, DataError, Paths, SourceConfig};

use super::key::{KeyError, KeyPath};
use super::{Backbone, Origin, Recipe};

impl Recipe {
    /// Visits every path of the recipe with the key that holds it.
    pub(super) fn for_each_path(&mut self, mut visit: impl FnMut(KeyPath, &mut PathBuf)) {
        self.for_each_input(&mut visit);
        if let Some(folder) = &mut self.training.feature_cache {
            visit("training.feature_cache".into(), folder);
        }
    }

    /// Visits the paths that something has to be at.
    fn for_each_input(&mut self, mut visit: impl FnMut(KeyPath, &mut PathBuf)) {
        self.for_each_model_file(&mut visit);
        for (name, source) in &mut self.data {
            visit_source(KeyPath::from("data").key(name), source, &mut visit);
        }
        for (name, evaluation) in &mut self.evaluation {
            let key = KeyPath::from("evaluation").key(name);
            visit_source(key.clone(), &mut evaluation.source, &mut visit);
            if let Some(folder) = &mut evaluation.measure.wordnet {
                visit(key.key("wordnet"), folder);
            }
        }
    }

    /// Visits those of them that make the model and the way it reads.
    fn for_each_model_file(&mut self, mut visit: impl FnMut(KeyPath, &mut PathBuf)) {
        self.for_each_origin(|key, origin| {
            if let Origin::Local(path) = origin {
                visit(key, path);
            }
        });
        if let Some(Chat::File(file)) = self.format.as_mut().and_then(|f| f.chat.as_mut()) {
            visit("format.chat".into(), file);
        }
    }

    /// What the model begins from, as the recipe names it; none where all is random.
    pub(crate) fn pretrained(&self) -> Option<String> {
        let mut names = Vec::new();
        self.clone().for_each_origin(|_, origin| {
            names.push(match origin {
                Origin::Local(path) => path.display().to_string(),
                Origin::Hub(id) => id.to_string(),
            });
        });
        (!names.is_empty()).then(|| names.join(" and "))
    }

    /// Visits what names something pretrained.
    pub(crate) fn for_each_origin(&mut self, mut visit: impl FnMut(KeyPath, &mut Origin)) {
        let model = &mut self.model;
        if let Some(from) = &mut model.from {
            visit("model.from".into(), from);
        }
        if let Some(Backbone::Pretrained { from, .. }) = &mut model.vision {
            visit("model.vision.from".into(), from);
        }
        if let Some(Backbone::Pretrained { from, .. }) = &mut model.language {
            visit("model.language.from".into(), from);
        }
        if let Some(from) = self.tokenizer.as_mut().and_then(|t| t.from.as_mut()) {
            visit("tokenizer.from".into(), from);
        }
    }

    /// Demands that nothing that the run reads lies in its own folder, where a new run would replace it.
    ///
    /// # Errors
    /// Names the key.
    pub fn demand_outside(&self, folder: &Path) -> anyhow::Result<()> {
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| normal(path));
        let folder_is = real(folder);
        let mut inside = None;
        self.clone().for_each_path(|key, path| {
            if inside.is_none() && !is_url(path) && real(path).starts_with(&folder_is) {
                inside = Some((key, path.clone()));
            }
        });
        match inside {
            None => Ok(()),
            Some((key, path)) => anyhow::bail!(
                "key '{}': {} lies in the run folder {}, where the new run would replace it; give the run another \
                 folder (--run DIR)",
                key.display(|_| None),
                path.display(),
                folder.display()
            ),
        }
    }

    /// The files of `[data]`, and that of the chat template, which decides what is read of them, by their path as seen
    /// from `folder`.
    ///
    /// # Errors
    /// When a pattern matches no file.
    pub fn data_files(&self, folder: &Path) -> Result<BTreeMap<String, PathBuf>, DataError> {
        let mut files = files_of(self.data.values())?;
        files.extend(self.chat_file().cloned());
        Ok(by_relative_path(&files, folder))
    }

    /// The files of [`Recipe::data_files`] by the key that names them, in the order in which they are read: their name and
    /// what `data` says of their path as seen from `folder`.
    ///
    /// # Errors
    /// When a pattern matches no file.
    pub(crate) fn data_by_key(
        &self,
        folder: &Path,
        data: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, Vec<(String, String)>>, DataError> {
        let named = |files: Vec<PathBuf>| -> Vec<(String, String)> {
            let said = |path: &PathBuf| data.get(&relative(path, folder).display().to_string());
            let name = |path: &PathBuf| {
                let name = path.file_name().unwrap_or(path.as_os_str());
                name.to_string_lossy().into_owned()
            };
            let files = files.iter();
            files
                .map(|path| (name(path), said(path).cloned().unwrap_or_default()))
                .collect()
        };
        let mut by_key = BTreeMap::new();
        for (name, source) in &self.data {
            by_key.insert(
                format!("data.{name}"),
                named(files_of([source].into_iter())?),
            );
        }
        if let Some(file) = self.chat_file() {
            by_key.insert("format.chat".to_owned(), named(vec![file.clone()]));
        }
        Ok(by_key)
    }

    fn chat_file(&self) -> Option<&PathBuf> {
        match self.format.as_ref()?.chat.as_ref()? {
            Chat::File(file) => Some(file),
            _ => None,
        }
    }

    /// The files of [`Recipe::data_files`] and of `[evaluation]`, by their path as seen from `folder`.
    ///
    /// # Errors
    /// When a pattern matches no file.
    pub fn all_files(&self, folder: &Path) -> Result<BTreeMap<String, PathBuf>, DataError> {
        let evaluations = self
            .evaluation
            .values()
            .map(|evaluation| &evaluation.source);
        let mut files = files_of(self.data.values().chain(evaluations))?;
        files.extend(self.chat_file().cloned());
        Ok(by_relative_path(&files, folder))
    }

    /// Checks that every path that the recipe reads leads somewhere; with `data`, those of its samples as well.
    pub(super) fn check_files(&self, data: bool) -> Result<(), KeyError> {
        let mut result = Ok(());
        let mut origins = Vec::new();
        self.clone().for_each_origin(|key, _| origins.push(key));
        let check = |key: KeyPath, path: &mut PathBuf| {
            let inner = path.join("model");
            // What keeps its pattern from being files, if it is one.
            let fault = || match Paths::from(&**path).files() {
                Ok(files) => files
                    .iter()
                    .find(|file| !file.exists())
                    .map(|file| format!("there is no {}", file.display())),
                Err(DataError::Config { message, .. }) => Some(message),
                Err(error) => Some(error.to_string()),
            };
            // Only data may lie in a store; whether it is there is found when it is opened.
            let is_data = || {
                let key = key.display(|_| None);
                key.starts_with("data.") || key.starts_with("evaluation.")
            };
            let message = if is_url(path) && is_data() {
                if location::REMOTE {
                    return;
                }
                format!("{}: {}", path.display(), location::NOT_BUILT)
            } else if !path.exists()
                && let Some(fault) = fault()
            {
                let or_id = match origins.contains(&key) {
                    true => {
                        ", and a model of the Hugging Face hub is written OWNER/NAME or OWNER/NAME@REVISION"
                    }
                    false => "",
                };
                format!("{fault}; paths are relative to the recipe file{or_id}")
            } else if inner.join("config.json").is_file() && !path.join("config.json").exists() {
                format!(
                    "{} is a run folder; its model is {}",
                    path.display(),
                    inner.display()
                )
            } else if let Some(expected) =
                not_a_model(&key, path).filter(|_| origins.contains(&key))
            {
                format!("{} is a file; expected {expected}", path.display())
            } else {
                return;
            };
            if result.is_ok() {
                result = Err(KeyError::at(key, message));
            }
        };
        match data {
            true => self.clone().for_each_input(check),
            false => self.clone().for_each_model_file(check),
        }
        result
    }
}

/// What is expected where `key` names a file that is no pretrained model.
fn not_a_model(key: &KeyPath, path: &Path) -> Option<&'static str> {
    let gguf = path.extension().is_some_and(|kind| kind == "gguf");
    let key = key.display(|_| None);
    match key.as_str() {
        _ if !path.is_file() => None,
        "model.language.from" if gguf => None,
        "model.language.from" => Some("the folder that holds it, or a GGUF file"),
        "model.vision.from" if gguf => {
            Some("the folder of a vision encoder: a GGUF file is read as a language model alone")
        }
        "model.vision.from" | "model.from" => Some("the folder that holds it"),
        _ => None,
    }
}

/// Visits the paths of a source; `key` is its table.
fn visit_source(
    key: KeyPath,
    source: &mut SourceConfig,
    visit: &mut impl FnMut(KeyPath, &mut PathBuf),
) {
    match &mut source.path {
        Paths::One(path) => visit(key.key("path"), path),
        Paths::Several(paths) => {
            for (index, path) in paths.iter_mut().enumerate() {
                visit(key.key("path").index(index), path);
            }
        }
    }
    let others = [
        ("image_folder", &mut source.image_folder),
        ("annotations", &mut source.annotations),
    ];
    for (name, path) in others {
        if let Some(path) = path {
            visit(key.key(name), path);
        }
    }
}

/// The files that make what samples say; those of images that rows name are not among them.
fn files_of<'s>(
    sources: impl Iterator<Item = &'s SourceConfig>,
) -> Result<Vec<PathBuf>, DataError> {
    let mut files = Vec::new();
    for source in sources {
        files.extend(source.path.files()?);
        files.extend(source.annotations.clone());
    }
    Ok(files)
}

fn by_relative_path(paths: &[PathBuf], folder: &Path) -> BTreeMap<String, PathBuf> {
    paths
        .iter()
        .map(|path| (relative(path, folder).display().to_string(), path.clone()))
        .collect()
}

/// A path that a recipe in `base` writes, absolute; a URL as it is.
pub(super) fn placed(base: &Path, path: &Path) -> PathBuf {
    match is_url(path) {
        true => path.to_owned(),
        false => normal(&base.join(path)),
    }
}

/// `path`, absolute and without `.` and `..`.
pub(super) fn normal(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            component => normal.push(component),
        }
    }
    normal
}

/// `path` as seen from `folder`; unchanged when they share nothing but the root, or it is a URL.
pub(super) fn relative(path: &Path, folder: &Path) -> PathBuf {
    if is_url(path) {
        return path.to_owned();
    }
    let (to, from) = (normal(path), normal(folder));
    let shared = to
        .components()
        .zip(from.components())
        .take_while(|(a, b)| a == b)
        .count();
    let named = to
        .components()
        .take(shared)
        .any(|component| matches!(component, Component::Normal(_)));
    if !named {
        return to;
    }
    let up = from.components().skip(shared).map(|_| Component::ParentDir);
    up.chain(to.components().skip(shared)).collect()
}
