//! From a transform to a configuration.

use serde_json::{Value, json};

use super::{OUR_KIND, OURS, decimal};
use crate::{Background, Filter, Fit, ImageTransform, Resize, Size};

pub(super) fn write(transform: &ImageTransform) -> Value {
    let ImageTransform { size, fit, .. } = *transform;
    let resize = match (fit, transform.resize) {
        (Fit::Pad | Fit::Stretch, _) => Resize::Exact(size),
        (_, Some(resize)) => resize,
        (_, None) => Resize::Shortest(size.height.min(size.width)),
    };
    // Without a crop where it would change nothing.
    let whole = matches!(fit, Fit::Pad | Fit::Stretch)
        || fit == Fit::Center && resize == Resize::Exact(size);
    let kind = match fit {
        Fit::Stretch | Fit::Center if whole => "SiglipImageProcessor",
        Fit::Center => "CLIPImageProcessor",
        Fit::Crop if size.side().is_some() => "CLIPImageProcessor",
        Fit::Square if transform.background == Background::Mean => "LlavaImageProcessor",
        _ => OUR_KIND,
    };
    let mut config = json!({
        "image_processor_type": kind,
        "do_convert_rgb": true,
        "do_resize": resize != Resize::Never,
    });
    if let Some(size) = edges(resize) {
        config["size"] = size;
    }
    let number = Filter::ALL
        .iter()
        .position(|filter| *filter == transform.filter);
    config["resample"] = json!(number);
    config["do_center_crop"] = json!(!whole);
    if !whole {
        config["crop_size"] = sides(size);
    }
    config["do_pad"] = json!(matches!(fit, Fit::Pad | Fit::Square));
    config["do_rescale"] = json!(true);
    config["rescale_factor"] = json!(transform.rescale);
    config["do_normalize"] = json!(true);
    config["image_mean"] = json!(transform.mean.map(decimal));
    config["image_std"] = json!(transform.std.map(decimal));
    if kind == OUR_KIND || matches!(fit, Fit::Stretch | Fit::Crop) {
        config[OURS] = json!(fit);
    }
    if kind == OUR_KIND && transform.background != Background::White {
        config["fourfold_background"] = json!(transform.background);
    }
    config
}

fn sides(size: Size) -> Value {
    json!({"height": size.height, "width": size.width})
}

fn edges(resize: Resize) -> Option<Value> {
    Some(match resize {
        Resize::Shortest(edge) => json!({"shortest_edge": edge}),
        Resize::Within { shortest, longest } => {
            json!({"shortest_edge": shortest, "longest_edge": longest})
        }
        Resize::Exact(size) => sides(size),
        Resize::Never => return None,
    })
}
