"""A model that was trained with Fourfold, for `transformers` 4.57 and newer.

The encoder and the language model are those of `transformers`. What is written here is what lies between and around
them: the projector, the place of visual tokens, and who sees whom.

    model = AutoModelForImageTextToText.from_pretrained(folder, trust_remote_code=True)
    model.generate(input_ids=ids, pixel_values=pixels, max_new_tokens=32)

`input_ids` hold the image token once for each visual token: `model.visual_tokens` times for each image.
"""

import inspect

import torch
import torch.nn.functional as F
import transformers
from torch import nn
from transformers import AutoModel, AutoModelForCausalLM
from transformers.generation import GenerationMixin
from transformers.modeling_utils import PreTrainedModel

from .configuration_fourfold import FourfoldConfig

# Who sees whom in the prompt: each token what lies before it, and besides the tokens of an image all of their image, the
# tokens of the prompt all of the prompt, or the tokens of an image their image and nothing else.
VISIBILITIES = ["causal", "image-bidirectional", "prefix-lm", "image-isolated"]


class GemmaNorm(nn.Module):
    """An RMS norm whose weight is stored as its distance from 1."""

    def __init__(self, width, epsilon):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))
        self.epsilon = epsilon

    def forward(self, x):
        wide = x.float()
        normed = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.epsilon)
        return (normed * (1.0 + self.weight.float())).type_as(x)


class FourfoldProjector(nn.Module):
    """Features `[images, features, vision width]` to visual tokens `[images, visual tokens, language width]`."""

    def __init__(self, config):
        super().__init__()
        vision, projector = config.vision_config, config.projector_config
        width = config.text_config.hidden_size
        self.kind, self.block = projector["kind"], projector["pixel_shuffle"]
        self.grid = grid(vision)
        features = vision.hidden_size * self.block**2
        if self.kind == "linear":
            self.linear = nn.Linear(features, width)
        elif self.kind == "mlp":
            hidden = projector["hidden_size"] or width
            self.linear_1 = nn.Linear(features, hidden)
            self.linear_2 = nn.Linear(hidden, width)
        elif self.kind == "gemma3":
            self.mm_soft_emb_norm = GemmaNorm(vision.hidden_size, vision.layer_norm_eps)
            self.mm_input_projection_weight = nn.Parameter(torch.zeros(vision.hidden_size, width))
        else:
            raise ValueError(f"projector_config.kind is '{self.kind}'; expected linear, mlp or gemma3")

    def forward(self, features):
        blocks = self.blocks(features)
        if self.kind == "gemma3":
            return self.mm_soft_emb_norm(blocks.mean(-2)) @ self.mm_input_projection_weight
        joined = blocks.flatten(-2)
        if self.kind == "linear":
            return self.linear(joined)
        return self.linear_2(F.gelu(self.linear_1(joined)))

    def blocks(self, features):
        """`[images, blocks, patches of a block, width]`, row by row within a block."""
        if self.block == 1:
            return features.unsqueeze(-2)
        images, _, width = features.shape
        down, across = (side // self.block for side in self.grid)
        features = features.view(images, down, self.block, across, self.block, width)
        return features.permute(0, 1, 3, 2, 4, 5).reshape(images, down * across, self.block**2, width)


def grid(vision):
    """Patches down and across."""
    size, patch = vision.image_size, vision.patch_size
    height, width = (size, size) if isinstance(size, int) else size
    patch = patch if isinstance(patch, int) else patch[0]
    return height // patch, width // patch


class FourfoldForConditionalGeneration(PreTrainedModel, GenerationMixin):
    config_class = FourfoldConfig
    base_model_prefix = ""
    main_input_name = "input_ids"
    _supports_sdpa = True
    # Masks are numbers here, which flash attention does not take.
    _supports_flash_attn = False
    _supports_flash_attn_2 = False
    _supports_cache_class = True

    def __init__(self, config):
        super().__init__(config)
        if config.visibility not in VISIBILITIES:
            raise ValueError(f"visibility is '{config.visibility}'; expected one of {', '.join(VISIBILITIES)}")
        older = int(transformers.__version__.split(".")[0]) < 5
        if older and config.text_config.model_type == "gpt2" and config.visibility != "causal":
            raise ValueError(f"a GPT-2 that reads with the visibility '{config.visibility}' needs transformers 5 or newer: "
                             f"{transformers.__version__} always hides what follows a token")
        vision = config.vision_config
        # These two would pool the patches; no weights are trained for that.
        pooled = {"add_pooling_layer": False} if vision.model_type in ("vit", "deit") else {}
        self.vision = AutoModel.from_config(vision, **pooled)
        self.projector = FourfoldProjector(config)
        self.language = AutoModelForCausalLM.from_config(config.text_config)
        tied = getattr(self.language, "_tied_weights_keys", None)
        # Newer versions (a dict) look into the parts themselves.
        if isinstance(tied, list):
            self._tied_weights_keys = [f"language.{name}" for name in tied]
        names = inspect.signature(self.language.forward).parameters
        self.cache_name = "cache" if "cache" in names else "past_key_values"
        self.keeps_logits = "logits_to_keep" in names
        self.post_init()

    def get_input_embeddings(self):
        return self.language.get_input_embeddings()

    def set_input_embeddings(self, value):
        self.language.set_input_embeddings(value)

    def get_output_embeddings(self):
        return self.language.get_output_embeddings()

    def set_output_embeddings(self, value):
        self.language.set_output_embeddings(value)

    @property
    def visual_tokens(self):
        """How many visual tokens an image becomes."""
        vision, block = self.config.vision_config, self.config.projector_config["pixel_shuffle"]
        down, across = grid(vision)
        return down * across // block**2 + bool(getattr(vision, "keep_class_token", False))

    def get_image_features(self, pixel_values):
        """Images `[images, 3, height, width]`, normalised, to visual tokens `[images, visual tokens, width]`."""
        vision = self.config.vision_config
        clip = vision.model_type == "clip_vision_model"
        normed = getattr(vision, "final_norm", not clip)
        output = self.vision(pixel_values=pixel_values.to(self.dtype), output_hidden_states=not normed, return_dict=True)
        features = output.last_hidden_state if normed else output.hidden_states[-1]
        if clip and normed:
            # CLIP's own class norms the class token alone.
            features = getattr(self.vision, "vision_model", self.vision).post_layernorm(features)
        down, across = grid(vision)
        before = features.shape[1] - down * across
        patches = features[:, before:]
        if getattr(vision, "keep_class_token", False):
            patches = torch.cat([features[:, :1], patches], dim=1)
        return self.projector(patches)

    def forward(self, input_ids=None, pixel_values=None, attention_mask=None, position_ids=None, inputs_embeds=None,
                past_key_values=None, cache=None, labels=None, prompt_lengths=None, logits_to_keep=0, **kwargs):
        """Logits `[batch, tokens, vocabulary]`, and the loss where there are `labels`.

        `pixel_values`: all images of the batch in the order of their tokens. `attention_mask`: 0 where `input_ids` are
        padding. `prompt_lengths`: of each row, how many tokens the prompt has, for the visibility "prefix-lm"; without
        it a prompt ends where the first label is, and everything is prompt where there are no labels.
        """
        cache = past_key_values if cache is None else cache
        seen = cache.get_seq_length() if cache is not None else 0
        if inputs_embeds is None:
            inputs_embeds = self.get_input_embeddings()(input_ids)
            if pixel_values is not None and seen == 0:
                inputs_embeds = self.placed(inputs_embeds, input_ids, self.get_image_features(pixel_values))
        mask = attention_mask
        if seen == 0:
            real = torch.ones(inputs_embeds.shape[:2]) if attention_mask is None else attention_mask
            real = real.to(inputs_embeds.device).bool()
            # What is read later sees all that came before, which is what the language model does by itself.
            if self.config.visibility != "causal":
                ends = self.prompt_ends(real, labels, prompt_lengths)
                mask = self.masks(input_ids, real, ends, inputs_embeds.dtype)
            if position_ids is None:
                position_ids = (real.long().cumsum(-1) - 1).clamp(min=0)
        if logits_to_keep is not None and self.keeps_logits:
            kwargs["logits_to_keep"] = logits_to_keep
        kwargs[self.cache_name] = cache
        return self.language(inputs_embeds=inputs_embeds, attention_mask=mask, position_ids=position_ids, labels=labels,
                             **kwargs)

    def _expand_inputs_for_generation(self, expand_size=1, is_encoder_decoder=False, input_ids=None, **inputs):
        """What each of several beams begins with: its row of the text, and all images of that row."""
        images = inputs.pop("pixel_values", None)
        if images is not None:
            counts = (input_ids == self.config.image_token_id).sum(-1) // self.visual_tokens
            of_rows = images.split(counts.tolist())
            images = torch.cat([each for of_row in of_rows for each in [of_row] * expand_size])
        input_ids, inputs = super()._expand_inputs_for_generation(
            expand_size=expand_size, is_encoder_decoder=is_encoder_decoder, input_ids=input_ids, **inputs)
        return input_ids, inputs if images is None else {**inputs, "pixel_values": images}

    def placed(self, embedded, input_ids, visual):
        """Embedded text with visual tokens in the places that are kept for them."""
        places = input_ids == self.config.image_token_id
        wanted, given = int(places.sum()), visual.shape[0] * visual.shape[1]
        if wanted != given:
            raise ValueError(f"input_ids keep {wanted} places for visual tokens (token {self.config.image_token_id}), but "
                             f"the {visual.shape[0]} images become {given}: {visual.shape[1]} each")
        return embedded.masked_scatter(places.unsqueeze(-1), visual.to(embedded.dtype))

    def prompt_ends(self, real, labels, prompt_lengths):
        """Of each row of the batch, the column at which its prompt ends."""
        start = real.long().argmax(-1)
        if prompt_lengths is not None:
            return start + torch.as_tensor(prompt_lengths, device=real.device)
        everything = torch.full_like(start, real.shape[1])
        if labels is None:
            return everything
        target = labels.to(real.device) != -100
        return torch.where(target.any(-1), target.long().argmax(-1), everything)

    def masks(self, input_ids, real, prompt_ends, dtype):
        """The mask of a prompt, `[batch, 1, rows, columns]`: 0 where the row sees the column. Where some layers have a
        window, a mask for each kind of layer."""
        text = self.config.text_config
        images = self.image_numbers(input_ids, real)
        full = self.mask(images, real, prompt_ends, dtype, None)
        kinds = getattr(text, "layer_types", None) or []
        if "sliding_attention" not in kinds:
            return full
        sliding = self.mask(images, real, prompt_ends, dtype, text.sliding_window)
        return {"full_attention": full, "sliding_attention": sliding}

    def image_numbers(self, input_ids, real):
        """For each token the number of the image that it belongs to, counted from 0; -1 for text."""
        if input_ids is None:
            return torch.full_like(real, -1, dtype=torch.long)
        place = input_ids == self.config.image_token_id
        return torch.where(place, (place.long().cumsum(-1) - 1) // self.visual_tokens, -1)

    def mask(self, images, real, prompt_ends, dtype, window):
        length, visibility = real.shape[1], self.config.visibility
        column = torch.arange(length, device=real.device)
        row = column[:, None]
        sees = ((column <= row) & (window is None or column > row - (window or 0)))[None]
        of_image = images[:, :, None] >= 0
        same_image = of_image & (images[:, :, None] == images[:, None, :])
        if visibility == "image-bidirectional":
            sees = sees | same_image
        elif visibility == "image-isolated":
            sees = torch.where(of_image, same_image, sees)
        else:
            ends = prompt_ends[:, None, None]
            ahead = (row[None] < ends) & (column[None, None] < ends) & (column > row)[None]
            sees = sees | ahead
        # A row of padding sees itself: a softmax over nothing has no value.
        sees = (sees & real[:, None, :]) | torch.eye(length, dtype=torch.bool, device=real.device)
        nothing = torch.zeros(sees.shape, dtype=dtype, device=real.device)
        return nothing.masked_fill(~sees, torch.finfo(dtype).min)[:, None]
