//! Models for other programs: what `transformers` reads beside the weights, the tokenizer and the image processor.

mod images;
mod target;
mod text;

use std::path::Path;

use anyhow::{Result, ensure};
use fourfold_model::{ExportFormat, Model, Part, SpecialTokens, WeightFormat, check_part};
use serde_json::{Value, json};

pub use target::{demand_apart, demand_free};

use crate::assemble::Reading;
use crate::files;

/// Writes a whole model to `target`, which is replaced.
///
/// # Errors
/// When the format cannot express the model, or a file cannot be written.
pub fn whole(
    model: &Model,
    reading: &Reading,
    target: &Path,
    format: ExportFormat,
    numbers: WeightFormat,
) -> Result<()> {
    format.check(model.config())?;
    let tokens = special_tokens(reading)?;
    files::replace_folder(target, |folder| {
        model.export(folder, format, tokens, numbers)?;
        reading.save(None, folder)?;
        text::write(model, reading, folder)?;
        let processor = processor(model, reading);
        files::write_json(&folder.join("processor_config.json"), &processor)?;
        images::write(&reading.transform, folder, Some(format))
    })
}

/// Writes the encoder or the language model alone, a plain folder of its family, to `target`, which is replaced.
///
/// # Errors
/// When `part` is no model of its own, or a file cannot be written.
pub fn part(
    model: &Model,
    reading: &Reading,
    target: &Path,
    part: Part,
    numbers: WeightFormat,
) -> Result<()> {
    ensure!(
        matches!(part, Part::Vision | Part::Language),
        "the {part} is no model of its own; expected vision or language"
    );
    check_part(part, model.config())?;
    files::replace_folder(target, |folder| {
        model.save_part(part, folder, numbers)?;
        reading.save(Some(part), folder)?;
        if part == Part::Vision {
            return images::write(&reading.transform, folder, None);
        }
        let generation = special_tokens(reading)?.generation_config();
        files::write_json(&folder.join("generation_config.json"), &generation)?;
        text::write(model, reading, folder)
    })
}

/// What an exported model does otherwise than here, if anything: to be told to the user. `format` is none for an
/// encoder alone.
pub fn difference(reading: &Reading, format: Option<ExportFormat>) -> Option<String> {
    images::difference(&reading.transform, format)
}

fn special_tokens(reading: &Reading) -> Result<SpecialTokens> {
    let markers = reading.format.markers(&reading.tokenizer)?;
    Ok(SpecialTokens {
        begin: markers.begin,
        image: markers.image,
        end: markers.end,
    })
}

/// LLaVA's processor puts an image token in the text for each visual token: as many as an image has patches of this
/// size, and the class token.
fn processor(model: &Model, reading: &Reading) -> Value {
    let config = model.config();
    json!({
        "processor_class": "LlavaProcessor",
        "image_token": reading.format.image,
        "patch_size": config.vision.patch_size * config.projector.pixel_shuffle,
        "vision_feature_select_strategy": "full",
        "num_additional_image_tokens": usize::from(config.vision.keep_class_token),
    })
}
