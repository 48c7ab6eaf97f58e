//! Writing what a run makes: the whole model, and parts of it on their own.

use anyhow::Result;
use fourfold_model::Model;

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
