//! `config.json` of a vision encoder, read and written.

use serde::{Deserialize, Serialize, Serializer};

use super::{ImageSize, VisionConfig, VisionFamily, WIDTH};

/// The keys, of whatever family.
#[derive(Deserialize)]
pub(super) struct VisionFile {
    #[serde(default)]
    model_type: VisionFamily,
    hidden_size: usize,
    intermediate_size: Option<usize>,
    mlp_ratio: Option<f64>,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    image_size: ImageSize,
    patch_size: ImageSize,
    #[serde(default = "three")]
    num_channels: usize,
    layer_norm_eps: Option<f32>,
    hidden_act: Option<String>,
    #[serde(default = "yes")]
    qkv_bias: bool,
    #[serde(default)]
    use_swiglu_ffn: bool,
    num_register_tokens: Option<usize>,
    final_norm: Option<bool>,
    #[serde(default)]
    keep_class_token: bool,
}

fn three() -> usize {
    3
}
fn yes() -> bool {
    true
}

impl VisionFile {
    /// The width inside the feed-forward layers, `ratio` times that of the features.
    fn multiple(&self, ratio: f64, gated: bool) -> Result<usize, String> {
        let whole = (self.hidden_size as f64 * ratio) as usize;
        let size = match gated {
            // Two thirds of it, rounded up to a multiple of 8, so that three matrices hold what two did.
            true => (whole.saturating_mul(2) / 3).div_ceil(8) * 8,
            false => whole,
        };
        // A width of features that is out of bounds is named itself.
        if self.hidden_size <= WIDTH && !(1..=WIDTH).contains(&size) {
            let width = self.hidden_size;
            return Err(format!(
                "mlp_ratio: is {ratio:?}, which makes {size} of a hidden_size of {width}; expected 1 to {WIDTH} of it"
            ));
        }
        Ok(size)
    }
}

impl TryFrom<VisionFile> for VisionConfig {
    type Error = String;

    fn try_from(file: VisionFile) -> Result<Self, String> {
        let family = file.model_type;
        let gated = family.is_dino() && file.use_swiglu_ffn;
        let intermediate_size = match (family.is_dino(), file.intermediate_size, file.mlp_ratio) {
            (true, _, Some(ratio)) => file.multiple(ratio, gated)?,
            (_, Some(size), _) => size,
            (true, None, None) => return Err("mlp_ratio: is missing".into()),
            (false, None, _) => return Err("intermediate_size: is missing".into()),
        };
        if !file.qkv_bias && matches!(family, VisionFamily::Siglip | VisionFamily::Clip) {
            let family = family.model_type();
            return Err(format!(
                "qkv_bias: is false, but a {family} always has these biases; remove the key"
            ));
        }
        let patch = file.patch_size;
        let patch_size = patch
            .side()
            .ok_or_else(|| format!("patch_size: is {patch}; expected square patches"))?;
        Ok(Self {
            family,
            hidden_size: file.hidden_size,
            intermediate_size,
            num_hidden_layers: file.num_hidden_layers,
            num_attention_heads: file.num_attention_heads,
            image_size: file.image_size,
            patch_size,
            num_channels: file.num_channels,
            layer_norm_eps: file.layer_norm_eps.unwrap_or_else(|| family.epsilon()),
            hidden_act: match file.hidden_act {
                Some(name) => name,
                None => family.activation().into(),
            },
            qkv_bias: file.qkv_bias,
            gated,
            registers: match family {
                VisionFamily::Dinov2Registers => file.num_register_tokens.unwrap_or(4),
                _ => 0,
            },
            final_norm: file.final_norm.unwrap_or(family.has_final_norm()),
            keep_class_token: file.keep_class_token,
        })
    }
}

/// The same keys as they are written: those of the family, and no other. What Hugging Face has no word for is left out
/// where it has its usual value.
#[derive(Serialize)]
struct Written<'a> {
    model_type: VisionFamily,
    hidden_size: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    intermediate_size: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mlp_ratio: Option<Ratio>,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    image_size: ImageSize,
    patch_size: usize,
    num_channels: usize,
    layer_norm_eps: f32,
    hidden_act: &'a str,
    #[serde(skip_serializing_if = "Clone::clone")]
    qkv_bias: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    use_swiglu_ffn: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    num_register_tokens: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    final_norm: Option<bool>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    keep_class_token: bool,
}

/// A quotient; `transformers` wants a whole number where it is one.
#[derive(Serialize)]
#[serde(untagged)]
enum Ratio {
    Whole(usize),
    Part(f64),
}

impl Ratio {
    fn of(a: usize, b: usize) -> Self {
        match a.is_multiple_of(b) {
            true => Self::Whole(a / b.max(1)),
            false => Self::Part(a as f64 / b as f64),
        }
    }
}

impl Serialize for VisionConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let dino = self.family.is_dino();
        let halves = if self.gated { 3 } else { 2 };
        let ratio = Ratio::of(halves * self.intermediate_size, 2 * self.hidden_size);
        let written = Written {
            model_type: self.family,
            hidden_size: self.hidden_size,
            intermediate_size: (!dino).then_some(self.intermediate_size),
            mlp_ratio: dino.then_some(ratio),
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            image_size: self.image_size,
            patch_size: self.patch_size,
            num_channels: self.num_channels,
            layer_norm_eps: self.layer_norm_eps,
            hidden_act: &self.hidden_act,
            qkv_bias: self.qkv_bias,
            use_swiglu_ffn: self.gated,
            num_register_tokens: (self.family == VisionFamily::Dinov2Registers)
                .then_some(self.registers),
            final_norm: (self.final_norm != self.family.has_final_norm())
                .then_some(self.final_norm),
            keep_class_token: self.keep_class_token,
        };
        written.serialize(serializer)
    }
}
