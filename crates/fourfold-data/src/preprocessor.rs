//! `preprocessor_config.json`: an image transform in Hugging Face's words.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{DataError, Filter, Fit, ImageTransform};

/// The fields of `preprocessor_config.json` that decide what happens to an image. Others (such as
/// `image_processor_type`) are passed over.
#[derive(Deserialize)]
struct Fields {
    #[serde(default = "yes")]
    do_resize: bool,
    #[serde(default = "yes")]
    do_rescale: bool,
    #[serde(default = "yes")]
    do_normalize: bool,
    #[serde(default)]
    do_center_crop: bool,
    #[serde(default)]
    do_pad: bool,
    size: Value,
    crop_size: Option<Value>,
    resample: Option<u32>,
    rescale_factor: Option<f64>,
    image_mean: Option<[f64; 3]>,
    image_std: Option<[f64; 3]>,
}

fn yes() -> bool {
    true
}

impl ImageTransform {
    /// The transform as `preprocessor_config.json`.
    pub fn to_preprocessor_config(&self) -> Value {
        let square = json!({"height": self.size, "width": self.size});
        let size = match self.fit {
            Fit::Crop => json!({"shortest_edge": self.size}),
            Fit::Pad | Fit::Stretch => square.clone(),
        };
        let mut config = json!({
            "do_convert_rgb": true,
            "do_resize": true,
            "size": size,
            "resample": match self.filter { Filter::Bilinear => 2, Filter::Bicubic => 3 },
            "do_center_crop": self.fit == Fit::Crop,
            "do_pad": self.fit == Fit::Pad,
            "do_rescale": true,
            "rescale_factor": 1.0 / 255.0,
            "do_normalize": true,
            "image_mean": self.mean.map(decimal),
            "image_std": self.std.map(decimal),
        });
        if self.fit == Fit::Crop {
            config["crop_size"] = square;
        }
        config
    }

    /// Reads `preprocessor_config.json` as Hugging Face writes it for CLIP, SigLIP, ViT and DINOv2.
    ///
    /// Only square results are supported. A rescale factor other than 1/255 is folded into mean
    /// and standard deviation, which gives the same pixels.
    pub fn from_preprocessor_config(path: &Path, text: &str) -> Result<Self, DataError> {
        let fail = |message: String| DataError::file(path, message);
        let fields: Fields = serde_json::from_str(text).map_err(|error| fail(error.to_string()))?;
        if !fields.do_resize {
            return Err(fail(
                "`do_resize` is false; images of any size are not supported".into(),
            ));
        }
        let size = match (&fields.crop_size, fields.do_center_crop) {
            (Some(crop), true) => square(crop),
            _ => square(&fields.size),
        };
        let size = size.ok_or_else(|| {
            fail(format!(
                "`size`: expected a number, {{\"height\", \"width\"}} of one length or \
                 {{\"shortest_edge\"}}, got {}",
                fields.size
            ))
        })?;
        let filter = match fields.resample {
            Some(2) => Filter::Bilinear,
            // Lanczos (1) is nearest to the cubic filter.
            None | Some(1 | 3) => Filter::Bicubic,
            Some(other) => {
                let message =
                    format!("`resample`: expected 2 (bilinear) or 3 (bicubic), got {other}");
                return Err(fail(message));
            }
        };
        let factor = match (fields.do_rescale, fields.rescale_factor) {
            (true, factor) => factor.unwrap_or(1.0 / 255.0),
            (false, _) => 1.0,
        };
        let (mean, std) = if fields.do_normalize {
            match (fields.image_mean, fields.image_std) {
                (Some(mean), Some(std)) => (mean, std),
                _ => {
                    return Err(fail(
                        "`do_normalize` needs `image_mean` and `image_std`".into(),
                    ));
                }
            }
        } else {
            ([0.0; 3], [1.0; 3])
        };
        // (255·f·x − mean) / std = (x − mean/(255·f)) / (std/(255·f))
        let fold = |value: f64| (value / (255.0 * factor)) as f32;
        let transform = Self {
            size,
            mean: mean.map(fold),
            std: std.map(fold),
            fit: match (fields.do_center_crop, fields.do_pad) {
                (true, _) => Fit::Crop,
                (false, true) => Fit::Pad,
                (false, false) => Fit::Stretch,
            },
            filter,
        };
        transform.check().map_err(|error| fail(error.to_string()))?;
        Ok(transform)
    }
}

fn square(value: &Value) -> Option<usize> {
    let number = |value: &Value| value.as_u64().map(|n| n as usize);
    if let Some(side) = number(value).or_else(|| number(value.get("shortest_edge")?)) {
        return Some(side);
    }
    let (height, width) = (number(value.get("height")?)?, number(value.get("width")?)?);
    (height == width).then_some(height)
}

/// The shortest decimal that reads back as the same f32: 0.48145466, not 0.48145467042922974.
fn decimal(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &Value) -> Result<ImageTransform, DataError> {
        ImageTransform::from_preprocessor_config(Path::new("p.json"), &value.to_string())
    }

    #[test]
    fn what_is_written_reads_back() {
        for fit in [Fit::Pad, Fit::Stretch, Fit::Crop] {
            for filter in [Filter::Bilinear, Filter::Bicubic] {
                let transform = ImageTransform {
                    size: 64,
                    mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
                    std: [0.268_629_54, 0.261_302_6, 0.275_777_1],
                    fit,
                    filter,
                };
                let config = transform.to_preprocessor_config();
                let mean = config["image_mean"][0].as_f64().unwrap() as f32;
                assert_eq!(mean, transform.mean[0]);
                assert_eq!(read(&config).unwrap(), transform);
            }
        }
    }

    #[test]
    fn reads_clip_and_siglip() {
        // Field for field as published for openai/clip-vit-base-patch32.
        let clip = json!({
            "crop_size": 224, "do_center_crop": true, "do_normalize": true, "do_resize": true,
            "feature_extractor_type": "CLIPFeatureExtractor",
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_std": [0.26862954, 0.26130258, 0.27577711], "resample": 3, "size": 224
        });
        let transform = read(&clip).unwrap();
        assert_eq!((transform.size, transform.fit), (224, Fit::Crop));
        assert_eq!(transform.filter, Filter::Bicubic);
        let siglip = json!({
            "do_normalize": true, "do_rescale": true, "do_resize": true,
            "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
            "image_processor_type": "SiglipImageProcessor", "resample": 3,
            "rescale_factor": 0.00392156862745098, "size": {"height": 224, "width": 224}
        });
        let transform = read(&siglip).unwrap();
        assert_eq!((transform.size, transform.fit), (224, Fit::Stretch));
        assert!(
            transform
                .mean
                .iter()
                .chain(&transform.std)
                .all(|v| (v - 0.5).abs() < 1e-6)
        );
    }

    #[test]
    fn folds_the_rescale_factor() {
        // ViT of the MobileViT kind: no rescale, mean and std in 0..255.
        let config = json!({"do_rescale": false, "size": 8, "image_mean": [127.5, 127.5, 127.5],
            "image_std": [51.0, 51.0, 51.0]});
        let transform = read(&config).unwrap();
        assert_eq!((transform.mean, transform.std), ([0.5; 3], [0.2; 3]));
    }

    #[test]
    fn errors_name_the_field() {
        let size = read(&json!({"size": {"height": 2, "width": 3}}))
            .unwrap_err()
            .to_string();
        assert!(size.contains("p.json") && size.contains("`size`"), "{size}");
        let mean = read(&json!({"size": 8})).unwrap_err().to_string();
        assert!(mean.contains("image_mean"), "{mean}");
        let none = read(&json!({})).unwrap_err().to_string();
        assert!(none.contains("size"), "{none}");
    }
}
