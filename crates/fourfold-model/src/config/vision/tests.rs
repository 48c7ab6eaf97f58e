//! Files of vision encoders that are wrong somewhere, and what the error names.

use serde_json::{Value, json};

use super::{VisionConfig, VisionFamily};

fn siglip(changes: Value) -> Value {
    let mut file = json!({ "model_type": "siglip_vision_model" });
    if let (Value::Object(file), Value::Object(changes)) = (&mut file, changes) {
        file.extend(changes);
    }
    file
}

#[test]
fn wrong_values_are_named_by_their_key() {
    for (changes, message) in [
        (
            json!({ "hidden_size": 768.0 }),
            "hidden_size: is 768.0; expected a whole number of at least 0",
        ),
        (
            json!({ "hidden_size": "768" }),
            "hidden_size: is \"768\"; expected a whole number of at least 0",
        ),
        (
            json!({ "image_size": 224.5 }),
            "image_size: is 224.5; expected a number of pixels, or [height, width]",
        ),
        (
            json!({ "image_size": [224, 224.5] }),
            "image_size[1]: is 224.5; expected a whole number of at least 0",
        ),
        (
            json!({ "image_size": [224, 224, 3] }),
            "image_size: is a list of another length; expected two whole numbers, [height, width]",
        ),
        (
            json!({ "image_size": -224 }),
            "image_size: is -224; expected a whole number of at least 1",
        ),
        (
            json!({ "patch_size": [16, 14] }),
            "patch_size: is 16 x 14; expected square patches",
        ),
        (
            json!({ "qkv_bias": false }),
            "qkv_bias: is false, but a siglip_vision_model always has these biases",
        ),
        (
            json!({ "layer_norm_eps": -1 }),
            "layer_norm_eps: is -1; expected a number above 0",
        ),
        (
            json!({ "num_hidden_layers": 1_000_000_000 }),
            "num_hidden_layers: is 1000000000; expected at most 10000",
        ),
        (
            json!({ "num_attention_heads": 7 }),
            "num_attention_heads: 7 does not divide hidden_size 768",
        ),
        (
            json!({ "hidden_act": "relu" }),
            "hidden_act: 'relu' is not supported",
        ),
    ] {
        let file = siglip(changes);
        let alone = VisionConfig::of_json(file.clone()).expect_err(message);
        assert!(alone.starts_with(message), "{alone}: {message}");
        let whole = json!({ "model_type": "llava", "vision_config": file });
        let within = VisionConfig::of_json(whole).expect_err(message);
        assert_eq!(within, format!("vision_config.{alone}"));
    }
}

/// Sizes whose product no number holds are refused like others.
#[test]
fn a_width_beyond_all_bounds_is_refused() {
    for gated in [false, true] {
        let file = json!({
            "model_type": "dinov2", "hidden_size": u64::MAX, "mlp_ratio": 1e300, "use_swiglu_ffn": gated,
        });
        let error = VisionConfig::of_json(file).expect_err("too large");
        assert!(
            error.starts_with("hidden_size: is 18446744073709551615"),
            "{error}"
        );
    }
}

#[test]
fn a_ratio_that_makes_no_layers_is_named() {
    for (ratio, gated) in [(-1.0, false), (0.0, true), (1e300, false), (1e300, true)] {
        let file = json!({ "model_type": "dinov2", "mlp_ratio": ratio, "use_swiglu_ffn": gated });
        let error = VisionConfig::of_json(file).expect_err("no layers");
        assert!(
            error.starts_with(&format!("mlp_ratio: is {ratio:?}")),
            "{error}"
        );
    }
}

/// The files of these two imply the family of their encoder, by null as by silence.
#[test]
fn a_family_that_goes_without_saying_may_be_null() {
    for (whole, family) in [
        ("siglip", VisionFamily::Siglip),
        ("clip", VisionFamily::Clip),
    ] {
        for part in [json!({ "model_type": null }), json!({})] {
            let file = json!({ "model_type": whole, "vision_config": part });
            let config = VisionConfig::of_json(file).expect("implied");
            assert_eq!(config.family, family);
        }
    }
    let file = json!({ "model_type": "llava", "vision_config": { "model_type": null } });
    let error = VisionConfig::of_json(file).expect_err("not implied");
    assert!(
        error.contains("vision_config.model_type: is null"),
        "{error}"
    );
}
