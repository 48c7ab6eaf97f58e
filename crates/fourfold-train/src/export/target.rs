//! The folder that an export is written to.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

/// All that an export may write: what `--force` removes, and nothing else.
const FILES: [&str; 12] = [
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "configuration_fourfold.py",
    "modeling_fourfold.py",
    "image_processing_fourfold.py",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "format.json",
    "preprocessor_config.json",
    "processor_config.json",
];

/// Demands that `target` is free for a model folder: absent, empty, or with `force` a folder that an export wrote.
///
/// # Errors
/// Names what is in the way and says what to do.
pub fn demand_free(target: &Path, force: bool) -> Result<()> {
    if let Ok(place) = fs::read_link(target) {
        bail!(
            "{} is a link to {}; name the folder itself, or remove the link",
            target.display(),
            place.display()
        );
    }
    if !target.exists() {
        return Ok(());
    }
    let within = || format!("cannot list {}", target.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(target).with_context(within)? {
        let name = entry.with_context(within)?.file_name();
        names.push(name.to_string_lossy().into_owned());
    }
    if names.is_empty() {
        return Ok(());
    }
    ensure!(
        force,
        "{} is not empty; replace it (--force) or name another folder",
        target.display()
    );
    match names.iter().find(|name| !FILES.contains(&name.as_str())) {
        None => Ok(()),
        Some(foreign) => bail!(
            "{} holds '{foreign}', which no model folder has, so --force does not replace it; move that away or name \
             another folder",
            target.display()
        ),
    }
}

/// Demands that what is written to `target` replaces nothing of the folder `source`, which is read.
///
/// # Errors
/// When one is the other, or lies within it; names both.
pub fn demand_apart(source: &Path, target: &Path) -> Result<()> {
    let (from, to) = (real(source), real(target));
    let how = match (to == from, to.starts_with(&from), from.starts_with(&to)) {
        (true, ..) => "is",
        (_, true, _) => "lies within",
        (.., true) => "holds",
        _ => return Ok(()),
    };
    bail!(
        "{} {how} the folder that is read, {}; name another folder to write",
        target.display(),
        source.display()
    )
}

/// A path without links, as far as it exists.
fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let known = path.ancestors().find_map(|ancestor| {
        let rest = path.strip_prefix(ancestor).ok()?;
        Some(fs::canonicalize(ancestor).ok()?.join(rest))
    });
    known.unwrap_or(path)
}
