"""The configuration of a model that was trained with Fourfold, for `transformers` 4.57 and newer."""

from transformers import AutoConfig
from transformers.configuration_utils import PretrainedConfig


class FourfoldConfig(PretrainedConfig):
    """A vision encoder, a projector and a language model.

    `vision_config`: the encoder's own configuration, and two keys more. `final_norm` says whether the features are
    those behind the encoder's last norm, `keep_class_token` whether the class token is a feature before the patches.

    `text_config`: the language model's own configuration.

    `projector_config`: `kind` is "linear", "mlp" or "gemma3"; `pixel_shuffle` is the side of the block of patches that
    becomes one visual token; `hidden_size` the width between the two layers of an "mlp".

    `visibility`: who sees whom in the prompt: "causal", "image-bidirectional", "prefix-lm" or "image-isolated".

    `image_token_id`: the token that keeps the place of one visual token.
    """

    model_type = "fourfold"
    sub_configs = {"vision_config": AutoConfig, "text_config": AutoConfig}

    def __init__(self, vision_config=None, text_config=None, projector_config=None, visibility="causal",
                 image_token_id=None, **kwargs):
        self.vision_config = backbone(vision_config, "siglip_vision_model")
        self.text_config = backbone(text_config, "llama")
        self.projector_config = {"kind": "mlp", "pixel_shuffle": 1, "hidden_size": None, **(projector_config or {})}
        self.visibility = visibility
        self.image_token_id = image_token_id
        kwargs.setdefault("tie_word_embeddings", getattr(self.text_config, "tie_word_embeddings", False))
        super().__init__(**kwargs)


def backbone(config, default):
    """The configuration of an encoder or a language model, by the `model_type` that it names."""
    if isinstance(config, PretrainedConfig):
        return config
    config = dict(config or {})
    return AutoConfig.for_model(config.pop("model_type", default), **config)
