//! Writing what a run makes: the whole model, and parts of it on their own.

use anyhow::Result;
use fourfold_model::{Model, Part};

use crate::assemble::Reading;
use crate::files;
use crate::recipe::{Recipe, Stage};
use crate::run_folder::RunFolder;

/// Writes the finished model into `model/` of the run.
pub(crate) fn model(
    run: &RunFolder,
    recipe: &Recipe,
    model: &Model,
    reading: &Reading,
) -> Result<()> {
    files::replace_folder(&run.model(), |folder| {
        model.save(folder, recipe.training.model_format.into())?;
        reading.save(None, folder)
    })
}

/// Writes the parts that `stage` exports into `parts/` of the run.
pub(crate) fn parts(
    run: &RunFolder,
    recipe: &Recipe,
    stage: &Stage,
    model: &Model,
    reading: &Reading,
) -> Result<()> {
    for part in &stage.export {
        files::replace_folder(&run.parts().join(part.name()), |folder| {
            model.save_part(*part, folder, recipe.training.parts_format.into())?;
            reading.save(Some(*part), folder)
        })?;
    }
    Ok(())
}

/// Where the adapters that stage `index` has exported belong, for parts of which that is not the backbone that the run
/// started from: they were learnt beside weights that had trained.
pub(crate) fn bases_of_adapters(run: &RunFolder, recipe: &Recipe, index: usize) -> Vec<String> {
    let exported = &recipe.stage[index].export;
    if !exported.contains(&Part::Lora) {
        return Vec::new();
    }
    let stages = &recipe.stage[..=index];
    let first = stages.iter().position(|stage| stage.trains(Part::Lora));
    let base = |part: Part| {
        let folder = run.parts().join(Part::Lora.name()).join(part.name());
        let last = stages.iter().rposition(|stage| stage.trains(part))?;
        let name = &stages[last].name;
        let way_out = match first.is_none_or(|first| last < first) {
            true => format!("which `export = [\"{part}\"]` there writes"),
            false => "which is in no file without them: use the whole model".into(),
        };
        folder.is_dir().then(|| {
            format!(
                "the adapters in {} do not belong on the {part} that the run started from, but on the one that stage \
                 '{name}' trained, {way_out}",
                folder.display()
            )
        })
    };
    [Part::Vision, Part::Language]
        .into_iter()
        .filter_map(base)
        .collect()
}
