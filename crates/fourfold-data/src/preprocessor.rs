//! `preprocessor_config.json`: an image transform in Hugging Face's words.
//!
//! Read are the image processors of CLIP, SigLIP (SigLIP 2 of a fixed resolution included), ViT, DeiT, DINOv2, LLaVA
//! and Gemma 3, with the defaults of each. Which one it is says the configuration or, where it does not, the model
//! beside it. The pixels are those that they make with Pillow; what would give other pixels is refused.
//! `do_convert_rgb` makes no difference: images are always converted, which is the same for those that are RGB, and
//! those that are not fail with the processors that do not convert them.

mod fields;
mod kind;
mod model;
mod read;
mod shape;
mod write;

use std::path::Path;

use serde_json::Value;

use crate::regular::read_text;
use crate::{DataError, ImageTransform};
use model::ModelHint;

/// The key, and the kind, of what Hugging Face's image processors cannot do. With a kind of theirs, the key says that
/// the pixels are ours, which differ by the rounding of a filter: a tenth of a level on average, more at hard edges.
const OURS: &str = "fourfold_fit";
const OUR_KIND: &str = "FourfoldImageProcessor";

const PROCESSOR: &str = "processor_config.json";
const PREPROCESSOR: &str = "preprocessor_config.json";

impl ImageTransform {
    /// The transform as `preprocessor_config.json`.
    ///
    /// `image_processor_type` is a processor of transformers where one makes the same pixels, or, with
    /// [`Fit::Stretch`](crate::Fit::Stretch) and a square [`Fit::Crop`](crate::Fit::Crop), the same up to the rounding
    /// of a filter. There is none that pads a resized image, or with white: then it is `FourfoldImageProcessor`, which
    /// transformers refuses.
    pub fn to_preprocessor_config(&self) -> Value {
        write::write(self)
    }

    /// Reads `preprocessor_config.json`, or a `processor_config.json` that has it under `image_processor`. `path` is
    /// what errors call the text. It has to name its `image_processor_type`; where that is left to the model beside it,
    /// [`from_folder`](Self::from_folder) reads it.
    ///
    /// # Errors
    /// Names the key that is wrong, or that asks for what is not supported.
    pub fn from_preprocessor_config(path: &Path, text: &str) -> Result<Self, DataError> {
        read::read(path, text, &ModelHint::default())
    }

    /// How the model in `folder` reads images, if the folder says so: what `processor_config.json` has under
    /// `image_processor`, or else `preprocessor_config.json`, which is the order of transformers. Where that names no
    /// image processor, it is the one that transformers has for the `model_type` of `config.json`.
    ///
    /// # Errors
    /// Names the file that cannot be read, or the key in it.
    pub fn from_folder(folder: &Path) -> Result<Option<Self>, DataError> {
        for name in [PROCESSOR, PREPROCESSOR] {
            let path = folder.join(name);
            if !path.exists() {
                continue;
            }
            let text = read_text(&path)?;
            // Before transformers 5, this file held nothing of images.
            if name == PREPROCESSOR || fields::nests(&path, &text)? {
                return read::read(&path, &text, &ModelHint::of_folder(folder)?).map(Some);
            }
        }
        Ok(None)
    }
}

/// The shortest decimal that reads back as the same f32: 0.48145467, not 0.48145467042922974.
pub(crate) fn decimal(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

#[cfg(test)]
mod tests;
