"""PyTorch's models, as users of `transformers` write them: random weights, scaled-dot-product attention."""

import contextlib

import torch
import torch.nn.functional as F
from torch import nn
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    SiglipVisionConfig,
    SiglipVisionModel,
)

LANGUAGES = {"llama": (LlamaForCausalLM, LlamaConfig), "qwen2": (Qwen2ForCausalLM, Qwen2Config)}


def vision_encoder(shape):
    return SiglipVisionModel(
        SiglipVisionConfig(
            hidden_size=shape.width,
            intermediate_size=shape.inner,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            image_size=shape.image,
            patch_size=shape.patch,
            num_channels=shape.channels,
            vision_use_head=False,
            attn_implementation="sdpa",
        )
    )


def language_model(shape):
    model, config = LANGUAGES[shape.family]
    return model(
        config(
            vocab_size=shape.vocabulary,
            hidden_size=shape.width,
            intermediate_size=shape.inner,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.key_value_heads,
            max_position_embeddings=shape.positions,
            rms_norm_eps=shape.epsilon,
            rope_parameters={"rope_type": "default", "rope_theta": shape.theta},
            tie_word_embeddings=True,
            attn_implementation="sdpa",
        )
    )


class Projector(nn.Module):
    """Blocks of patches become one visual token each."""

    def __init__(self, geometry):
        super().__init__()
        self.block = geometry.block
        width = geometry.language.width
        widths = [geometry.block**2 * geometry.vision.width] + geometry.projector_layers * [width]
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in zip(widths, widths[1:]))

    def forward(self, features):
        images, patches, width = features.shape
        side = int(patches**0.5) // self.block
        features = features.view(images, side, self.block, side, self.block, width).permute(0, 1, 3, 2, 4, 5)
        hidden = self.layers[0](features.reshape(images, side * side, self.block**2 * width))
        for layer in self.layers[1:]:
            hidden = layer(F.gelu(hidden))
        return hidden


class VisionLanguageModel(nn.Module):
    def __init__(self, geometry):
        super().__init__()
        self.vision = vision_encoder(geometry.vision)
        self.projector = Projector(geometry)
        self.language = language_model(geometry.language)

    def embed(self, images, tokens):
        # A frozen encoder needs no graph.
        frozen = not self.vision.parameters().__next__().requires_grad
        with torch.no_grad() if frozen else contextlib.nullcontext():
            features = self.vision(images).last_hidden_state
        visual = self.projector(features)
        text = self.language.get_input_embeddings()(tokens)
        return torch.cat([visual.to(text.dtype), text], dim=1)

    def forward(self, images, tokens, mask, labels):
        embedded = self.embed(images, tokens)
        return self.language(inputs_embeds=embedded, attention_mask=mask, labels=labels, use_cache=False).loss


class Block(nn.Module):
    """A transformer block as hand-written trainers have it."""

    def __init__(self, width, heads, causal):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        x = x + self.out(seen.transpose(1, 2).reshape(b, t, d))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x)), approximate="tanh"))


class Gpt(nn.Module):
    """As hand-written trainers have it, leaner than that of `transformers`."""

    def __init__(self):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(8192, 384), nn.Embedding(256, 384)
        for table in (self.tokens, self.positions):
            nn.init.normal_(table.weight, std=0.02)
        self.blocks = nn.ModuleList(Block(384, 6, True) for _ in range(6))
        self.norm = nn.LayerNorm(384)

    def forward(self, x, y):
        hidden = self.tokens(x) + self.positions(torch.arange(x.shape[1], device=x.device))
        for block in self.blocks:
            hidden = block(hidden)
        logits = F.linear(self.norm(hidden), self.tokens.weight)
        return F.cross_entropy(logits.float().view(-1, logits.shape[-1]), y.view(-1))
