//! Models that LLaVA's folders hold: `config.json` with `vision_config` and `text_config`, and safetensors under the
//! names of files (`language_model.model.…`) or of modules (`model.language_model.…`).

use std::path::{Path, PathBuf};

use fourfold_tensor::Precision;
use serde_json::Value;

use crate::spec::Spec;
use crate::weights::{self, StoredFor, WeightSource};
use crate::{
    LanguageConfig, Model, ModelConfig, ModelError, Part, ProjectorConfig, ProjectorKind, Result,
    VisibilityKind, VisionConfig, VisionFamily,
};

/// A folder that holds a LLaVA, of which the configuration is read.
#[derive(Debug)]
pub struct LlavaFolder {
    folder: PathBuf,
    config: ModelConfig,
    image_token: u32,
}

impl LlavaFolder {
    /// Reads `folder/config.json`. Blocks of the encoder behind the features that LLaVA reads are left out.
    ///
    /// # Errors
    /// When the folder holds no LLaVA, or one with a feature that is not supported; file and key are named.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join("config.json");
        let file: Value = weights::read_config(folder)?;
        let (config, image_token) =
            understand(&file).map_err(|message| ModelError::config(path.display(), message))?;
        Ok(Self {
            folder: folder.to_owned(),
            config,
            image_token,
        })
    }

    /// The id of the token that keeps an image's place.
    pub fn image_token(&self) -> u32 {
        self.image_token
    }

    /// What the model is made of; it does not know its tokenizer yet.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The model. `tokenizer_sha256` is that of the tokenizer that the weights belong to.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape or unknown; file and tensor are named.
    pub fn load(self, tokenizer_sha256: String) -> Result<Model> {
        let folder = self.folder;
        let config = ModelConfig {
            tokenizer_sha256,
            ..self.config
        };
        let specs = config.specs()?;
        let source = |part: Part| {
            let of_part = |spec: &&Spec| Part::of(&spec.name) == Some(part);
            let specs: Vec<Spec> = specs.iter().filter(of_part).cloned().collect();
            let stored = StoredFor {
                grid: config.vision.grid(),
                vocabulary: config.vocabulary(),
            };
            WeightSource::part(&folder, part, &specs, stored).map(WeightSource::exact)
        };
        let parts = [Part::Vision, Part::Projector, Part::Language];
        let [vision, projector, language] = parts.map(source);
        let (vision, projector, language) = (vision?, projector?, language?);
        let of = |spec: &Spec| match Part::of(&spec.name) {
            Some(Part::Vision) => &vision,
            Some(Part::Projector) => &projector,
            _ => &language,
        };
        demand_no_other(&folder, &specs, &language, |spec, name| {
            of(spec).in_file(name)
        })?;
        Model::build(config, Precision::F32, |spec| of(spec).read(spec))
    }
}

/// Refuses tensors that a LLaVA of this configuration does not have: what they do would be missing without a word.
fn demand_no_other(
    folder: &Path,
    specs: &[Spec],
    source: &WeightSource,
    in_file: impl Fn(&Spec, &str) -> String,
) -> Result<()> {
    let mut known = std::collections::HashSet::new();
    for spec in specs {
        known.extend(spec.stored.iter().map(|stored| in_file(spec, &stored.name)));
    }
    // Blocks that are left out, and what pools an image; tables that older files keep; a head that is tied.
    let passed_over = |name: &str| {
        name.contains("vision_tower.")
            || name.ends_with("rotary_emb.inv_freq")
            || name.ends_with("lm_head.weight")
    };
    let names = source.tensors();
    let mut names = names.iter();
    match names.find(|name| !known.contains(*name) && !passed_over(name)) {
        None => Ok(()),
        Some(name) => Err(ModelError::weights(
            folder,
            format!("holds the tensor '{name}', which no LLaVA of this config.json has"),
        )),
    }
}

/// The model that `config.json` describes, and the id of its image token.
fn understand(file: &Value) -> Result<(ModelConfig, u32), String> {
    let model_type = file.get("model_type").and_then(Value::as_str);
    if model_type != Some("llava") {
        let found = model_type.unwrap_or("missing");
        return Err(format!("model_type is {found}; expected llava"));
    }
    demand(file, "projector_hidden_act", &"gelu".into())?;
    demand(file, "multimodal_projector_bias", &true.into())?;
    let (vision, language) = parts(file)?;
    let layer = match present(file, "vision_feature_layer") {
        None => -2,
        Some(layer) => layer.as_i64().ok_or_else(|| {
            format!(
                "vision_feature_layer is {layer}; expected one layer: features of several side by side are not \
                 supported"
            )
        })?,
    };
    let mut vision = vision.cut_at(layer).map_err(|error| {
        error
            .to_string()
            .replace("vision.layer", "vision_feature_layer")
    })?;
    let strategy = present(file, "vision_feature_select_strategy");
    vision.keep_class_token = match strategy.map_or(Some("default"), Value::as_str) {
        Some("full") => vision.prefix() > 0,
        Some("default") if vision.prefix() == 0 => {
            return Err(format!(
                "vision_feature_select_strategy is 'default', which leaves out the first feature; that of a {} is a \
                 patch, and leaving out a patch is not supported: expected 'full'",
                vision.family.model_type()
            ));
        }
        Some("default") => false,
        _ => {
            return Err("vision_feature_select_strategy: expected 'default' or 'full'".into());
        }
    };
    let token = present(file, "image_token_index").or(present(file, "image_token_id"));
    let image_token = match token {
        None => 32_000,
        Some(token) => token
            .as_u64()
            .and_then(|token| u32::try_from(token).ok())
            .ok_or_else(|| format!("image_token_index is {token}; expected a token's id"))?,
    };
    if image_token as usize >= language.vocabulary() {
        return Err(format!(
            "image_token_index is {image_token}, but text_config's vocab_size is {}; a token without a row in the \
             table is not supported",
            language.vocabulary()
        ));
    }
    Ok((
        ModelConfig {
            vision,
            projector: ProjectorConfig {
                kind: ProjectorKind::Mlp,
                pixel_shuffle: 1,
                hidden_size: None,
            },
            language,
            visibility: VisibilityKind::Causal,
            tokenizer_sha256: String::new(),
            lora: None,
        },
        image_token,
    ))
}

/// The encoder and the language model; a LLaVA that does not say which they are has a CLIP and a Llama.
fn parts(file: &Value) -> Result<(VisionConfig, LanguageConfig), String> {
    let mut file = file.clone();
    for (part, family) in [
        ("vision_config", "clip_vision_model"),
        ("text_config", "llama"),
    ] {
        match file.get_mut(part) {
            Some(Value::Object(part)) => {
                part.entry("model_type").or_insert(family.into());
            }
            _ => return Err(format!("{part} is missing; expected a table")),
        }
    }
    // A head is tied where either table says so.
    match present(&file, "tie_word_embeddings") {
        None | Some(Value::Bool(false)) => {}
        Some(Value::Bool(true)) => file["text_config"]["tie_word_embeddings"] = true.into(),
        Some(other) => {
            return Err(format!(
                "tie_word_embeddings is {other}; expected true or false"
            ));
        }
    }
    let vision = VisionConfig::of_json(file.clone())?;
    if !matches!(vision.family, VisionFamily::Clip | VisionFamily::Siglip) {
        let family = vision.family.model_type();
        return Err(format!(
            "vision_config: model_type is {family}; expected clip_vision_model or siglip_vision_model"
        ));
    }
    Ok((vision, LanguageConfig::of_json(file)?))
}

/// The value of a key that is neither missing nor null.
fn present<'a>(file: &'a Value, key: &str) -> Option<&'a Value> {
    file.get(key).filter(|value| !value.is_null())
}

/// Demands that a key that is there has the one value that is built here.
fn demand(file: &Value, key: &str, expected: &Value) -> Result<(), String> {
    match present(file, key) {
        Some(value) if value != expected => Err(format!(
            "{key} is {value}, which is not supported; expected {expected}"
        )),
        _ => Ok(()),
    }
}
