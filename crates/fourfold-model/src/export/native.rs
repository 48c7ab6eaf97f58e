//! A folder that brings its own class: any encoder, projector, language model and visibility, under the names that the
//! parts have in `transformers`.

use std::path::Path;

use serde_json::json;

use super::{SpecialTokens, not_square, text_config, write_config, write_file};
use crate::weights::{table, vision_table};
use crate::{Model, ModelConfig, Result, WeightFormat, vision};

/// The code that comes with the folder.
const FILES: [(&str, &str); 3] = [
    (
        "configuration_fourfold.py",
        include_str!("native/configuration_fourfold.py"),
    ),
    (
        "modeling_fourfold.py",
        include_str!("native/modeling_fourfold.py"),
    ),
    IMAGE_PROCESSOR_FILE,
];

/// The name and the text of the code that prepares images, for folders whose images no class of `transformers` prepares.
pub const IMAGE_PROCESSOR_FILE: (&str, &str) = (
    "image_processing_fourfold.py",
    include_str!("native/image_processing_fourfold.py"),
);

/// Why `transformers` has no encoder for a model.
pub(super) fn obstacles(config: &ModelConfig) -> Vec<String> {
    not_square(config).into_iter().collect()
}

/// Writes configuration, code and weights. The folder remains one that [`Model::load`] reads.
pub(super) fn write(
    model: &Model,
    folder: &Path,
    tokens: SpecialTokens,
    numbers: WeightFormat,
) -> Result<()> {
    let config = model.config();
    let class = "modeling_fourfold.FourfoldForConditionalGeneration";
    let mut keys = table(config)?;
    keys.insert("vision_config".into(), vision_table(&config.vision)?.into());
    keys.insert("text_config".into(), text_config(config, tokens)?.into());
    keys.extend(table(&json!({
        "image_token_id": tokens.image,
        "bos_token_id": tokens.begin,
        "eos_token_id": tokens.end,
        "pad_token_id": tokens.end,
        "auto_map": {
            "AutoConfig": "configuration_fourfold.FourfoldConfig",
            "AutoModelForImageTextToText": class,
            "AutoModelForCausalLM": class,
        },
    }))?);
    let class = ("fourfold", "FourfoldForConditionalGeneration");
    write_config(folder, class, numbers, &keys.into())?;
    for (name, text) in FILES {
        write_file(folder, name, text)?;
    }
    let unread = vision::unread(&config.vision, "vision.");
    model.write(folder, model.saved_specs(), &unread, str::to_owned, numbers)
}
