//! What stored features are the features of: everything that decides their bits, except the image.

use anyhow::{Context, Result};
use fourfold_data::hash::sha256;
use fourfold_data::{Augment, ImageTransform};
use fourfold_model::{Model, Part};
use fourfold_tensor::{Isa, Precision};
use rayon::prelude::*;
use serde::Serialize;

/// Of the files. To be raised when the same image, encoder and transform come to give other bits or another layout.
const FORMAT: u32 = 1;

/// The size of one image's features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Rows.
    pub patches: usize,
    /// Numbers a row.
    pub width: usize,
    /// Their format: that of products, so that nothing is rounded on the way to the disk and back.
    pub precision: Precision,
}

/// What the features in one folder have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The text of `about.json`.
    pub text: String,
    /// The name of the folder: the text's SHA-256. What differs in anything lies in another folder.
    pub key: String,
    /// The size of an entry.
    pub shape: Shape,
}

/// `about.json`.
#[derive(Serialize)]
struct Fields<'a> {
    format: u32,
    fourfold: &'static str,
    encoder_sha256: String,
    patches: usize,
    width: usize,
    precision: &'static str,
    /// Instructions add in an order of their own: with others, the last bits are others.
    instructions: String,
    image: &'a ImageTransform,
    augment: Option<Augment>,
}

impl About {
    /// Features that `model` makes of images read by `transform` and varied by `augment`.
    ///
    /// # Errors
    /// When something of it has no JSON form, which is a defect of this crate.
    pub fn of(
        model: &Model,
        transform: &ImageTransform,
        augment: Option<&Augment>,
    ) -> Result<Self> {
        let vision = &model.config().vision;
        let shape = Shape {
            patches: vision.features(),
            width: vision.hidden_size,
            precision: model.parameters.precision(),
        };
        // How many variations an image has decides which are asked for, not how any of them looks.
        let augment = augment
            .filter(|augment| !augment.is_none())
            .map(|augment| Augment {
                views: None,
                ..augment.clone()
            });
        let fields = Fields {
            format: FORMAT,
            fourfold: env!("CARGO_PKG_VERSION"),
            encoder_sha256: encoder_hash(model)?,
            patches: shape.patches,
            width: shape.width,
            precision: shape.precision.name(),
            instructions: Isa::kernels(),
            image: transform,
            augment,
        };
        let mut text = serde_json::to_string_pretty(&fields)
            .context("cannot write as JSON what features are of")?;
        text.push('\n');
        Ok(Self {
            key: sha256(text.as_bytes()),
            text,
            shape,
        })
    }
}

/// SHA-256 of the vision encoder: its configuration, and name, shape and master of each of its parameters, adapters
/// included.
fn encoder_hash(model: &Model) -> Result<String> {
    let mut config = serde_json::to_string(&model.config().vision)
        .context("cannot write the vision encoder's configuration as JSON")?;
    let adapters = format!("{}.{}.", Part::Lora, Part::Vision);
    let is_own = |name: &str| Part::of(name) == Some(Part::Vision) || name.starts_with(&adapters);
    let on_host = model.parameters.on_host()?;
    let parameters = on_host.iter().map(|(_, parameter)| parameter);
    let own: Vec<_> = parameters
        .filter(|parameter| is_own(parameter.name()))
        .collect();
    let adapted = own
        .iter()
        .any(|parameter| parameter.name().starts_with(&adapters));
    if let Some(lora) = model.config().lora.as_ref().filter(|_| adapted) {
        config += &format!("\nadapters times {}", lora.factor());
    }
    let line = |parameter: &&fourfold_tensor::Parameter| -> Result<String> {
        let master = parameter.master();
        let hash = sha256(bytemuck::cast_slice(master.f32()?));
        Ok(format!(
            "{} {:?} {hash}\n",
            parameter.name(),
            master.shape()
        ))
    };
    let lines: Vec<String> = own.par_iter().map(line).collect::<Result<_>>()?;
    Ok(sha256(format!("{config}\n{}", lines.concat()).as_bytes()))
}
