//! The image processors that are known, and what each does where its configuration is silent.

use crate::{Filter, Resize, Size};

/// What a missing key means.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    /// Its name in `image_processor_type`; none for Fourfold's own.
    pub(super) name: Option<&'static str>,
    pub(super) resize: Option<Resize>,
    /// Whether a `size` of one number is a square, and not the shorter edge.
    pub(super) square: bool,
    pub(super) crop: Option<Size>,
    pub(super) filter: Filter,
    pub(super) mean: Option<[f32; 3]>,
    pub(super) std: Option<[f32; 3]>,
    /// Whether it can pad to a square before it resizes.
    pub(super) pads: bool,
    /// Whether it can cut out the centre.
    pub(super) crops: bool,
}

const SIDE: Size = Size {
    height: 224,
    width: 224,
};
const HALF: Option<[f32; 3]> = Some([0.5; 3]);

/// What Fourfold writes where transformers has no processor of the same pixels: nothing in it is left to a default.
pub(super) const OURSELVES: Kind = Kind {
    name: None,
    resize: None,
    square: false,
    crop: None,
    filter: Filter::Bicubic,
    mean: None,
    std: None,
    pads: false,
    crops: true,
};

const CLIP: Kind = Kind {
    name: Some("CLIPImageProcessor"),
    resize: Some(Resize::Shortest(224)),
    square: false,
    crop: Some(SIDE),
    filter: Filter::Bicubic,
    // The statistics of CLIP's training images (Radford et al. 2021).
    mean: Some([0.481_454_66, 0.457_827_5, 0.408_210_73]),
    std: Some([0.268_629_54, 0.261_302_6, 0.275_777_1]),
    pads: false,
    crops: true,
};

const VIT: Kind = Kind {
    name: Some("ViTImageProcessor"),
    resize: Some(Resize::Exact(SIDE)),
    square: true,
    crop: None,
    filter: Filter::Bilinear,
    mean: HALF,
    std: HALF,
    pads: false,
    crops: true,
};

pub(super) const KINDS: [Kind; 7] = [
    CLIP,
    Kind {
        name: Some("SiglipImageProcessor"),
        square: false,
        filter: Filter::Bicubic,
        ..VIT
    },
    VIT,
    Kind {
        name: Some("DeiTImageProcessor"),
        resize: Some(Resize::Exact(Size {
            height: 256,
            width: 256,
        })),
        crop: Some(SIDE),
        filter: Filter::Bicubic,
        ..VIT
    },
    Kind {
        name: Some("BitImageProcessor"),
        ..CLIP
    },
    Kind {
        name: Some("LlavaImageProcessor"),
        pads: true,
        ..CLIP
    },
    Kind {
        name: Some("Gemma3ImageProcessor"),
        crops: false,
        ..VIT
    },
];

impl Kind {
    /// The kind of a name, of which there are several: `CLIPImageProcessorFast` and `CLIPImageProcessorPil` are the
    /// same in other code, `CLIPFeatureExtractor` in older.
    pub(super) fn of(name: &str) -> Option<Self> {
        let name = name.replace("FeatureExtractor", "ImageProcessor");
        let plain = name
            .strip_suffix("Fast")
            .or(name.strip_suffix("Pil"))
            .unwrap_or(&name);
        KINDS.into_iter().find(|kind| kind.name == Some(plain))
    }
}
