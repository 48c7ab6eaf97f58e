//! Models for other programs: what `transformers` reads beside the weights, the tokenizer and the image processor.

mod text;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use fourfold_data::Fit;
use fourfold_model::{ExportFormat, Model, Part, SpecialTokens, WeightFormat};
use serde_json::{Value, json};

use crate::assemble::Reading;
use crate::files;

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

/// The image processor that native folders bring with them.
const OUR_PROCESSOR: &str = "FourfoldImageProcessor";

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
        write_image_processor(reading, folder, Some(format))
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
    files::replace_folder(target, |folder| {
        model.save_part(part, folder, numbers)?;
        reading.save(Some(part), folder)?;
        if part == Part::Vision {
            return write_image_processor(reading, folder, None);
        }
        let generation = special_tokens(reading)?.generation_config();
        files::write_json(&folder.join("generation_config.json"), &generation)?;
        text::write(model, reading, folder)
    })
}

/// What an exported model does otherwise than here, if anything: to be told to the user.
pub fn differences(reading: &Reading, format: Option<ExportFormat>) -> Option<&'static str> {
    let own = format == Some(ExportFormat::Native);
    (reading.transform.fit == Fit::Pad && !own).then_some(
        "images that are not square are padded with white here; the image processor of LLaVA pads them with the mean \
         colour: pad them with white before they reach it",
    )
}

fn special_tokens(reading: &Reading) -> Result<SpecialTokens> {
    let markers = reading.format.markers(&reading.tokenizer)?;
    Ok(SpecialTokens {
        begin: markers.begin,
        image: markers.image,
        end: markers.end,
    })
}

/// `preprocessor_config.json` again, with a class that does what it says, where the transform's own words name none that
/// `transformers` has.
fn write_image_processor(
    reading: &Reading,
    folder: &Path,
    format: Option<ExportFormat>,
) -> Result<()> {
    let mut config = reading.transform.to_preprocessor_config();
    let ours = config["image_processor_type"] == OUR_PROCESSOR;
    match (format, reading.transform.fit) {
        (Some(ExportFormat::Native), Fit::Pad | Fit::Stretch | Fit::Crop) => {
            config["image_processor_type"] = OUR_PROCESSOR.into();
            let class = format!("image_processing_fourfold.{OUR_PROCESSOR}");
            config["auto_map"] = json!({ "AutoImageProcessor": class });
        }
        (_, Fit::Pad) if ours => config["image_processor_type"] = "LlavaImageProcessor".into(),
        _ => {}
    }
    files::write_json(&folder.join("preprocessor_config.json"), &config)
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
