"""One PyTorch contender: does a piece of work once for each line of the standard input.

    python contender.py WORK MODE

prints, for each line read, one JSON object with the seconds of a round and the most memory so far. DEVICE=cuda in the
environment computes on a GPU, whose memory it is then. The models are
those of `fourfold bench`, written as their users write them: `transformers` for the vision encoder and the language
model, padded batches with an attention mask, scaled-dot-product attention, fused AdamW, no gradient recorded for
frozen parts.
"""

import contextlib
import json
import os
import resource
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    SiglipVisionConfig,
    SiglipVisionModel,
)

MODES = {
    "f32": dict(),
    "f32-medium": dict(medium=True),
    "bf16": dict(autocast=True),
    "bf16-compile": dict(autocast=True, compile=True),
    # With the scaled loss that fp16 needs; on a GPU.
    "fp16": dict(autocast=True, half=True),
    "fp16-compile": dict(autocast=True, half=True, compile=True),
    # The whole model in 16 bits: what those do who generate, or who train nothing but a projector.
    "bf16-pure": dict(pure=True),
    "bf16-pure-compile": dict(pure=True, compile=True),
}
DEVICE = torch.device(os.environ.get("DEVICE", "cpu"))
TEXTS = [12, 18, 25, 9, 31, 22, 14, 40, 17, 11, 28, 20, 35, 16, 13, 24]
VOCABULARY = 49152
IGNORED = -100


class Projector(nn.Module):
    """Blocks of 2 x 2 patches become one visual token."""

    def __init__(self, vision_width, width):
        super().__init__()
        self.linear = nn.Linear(4 * vision_width, width)

    def forward(self, features):
        images, patches, width = features.shape
        side = int(patches**0.5) // 2
        features = features.view(images, side, 2, side, 2, width).permute(0, 1, 3, 2, 4, 5)
        return self.linear(features.reshape(images, side * side, 4 * width))


class VisionLanguageModel(nn.Module):
    """SigLIP-B/16-224, a linear projector, SmolLM2-135M; random weights."""

    def __init__(self):
        super().__init__()
        self.vision = SiglipVisionModel(
            SiglipVisionConfig(
                hidden_size=768,
                intermediate_size=3072,
                num_hidden_layers=12,
                num_attention_heads=12,
                image_size=224,
                patch_size=16,
                vision_use_head=False,
            )
        )
        self.projector = Projector(768, 576)
        self.language = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=VOCABULARY,
                hidden_size=576,
                intermediate_size=1536,
                num_hidden_layers=30,
                num_attention_heads=9,
                num_key_value_heads=3,
                max_position_embeddings=8192,
                rms_norm_eps=1e-5,
                rope_theta=100000.0,
                tie_word_embeddings=True,
            )
        )

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


def padded_texts():
    """Tokens, attention mask and labels of a batch, padded to its longest text; the second half of each is a target."""
    longest, visual = max(TEXTS), 49
    tokens = torch.zeros(len(TEXTS), longest, dtype=torch.long)
    mask = torch.zeros(len(TEXTS), visual + longest, dtype=torch.long)
    labels = torch.full((len(TEXTS), visual + longest), IGNORED)
    for row, length in enumerate(TEXTS):
        text = torch.tensor([((row * 1009 + i) * 7919 + 31) % VOCABULARY for i in range(length)])
        tokens[row, :length] = text
        mask[row, : visual + length] = 1
        half = (length + 1) // 2
        labels[row, visual + half : visual + length] = text[half:]
    return tokens.to(DEVICE), mask.to(DEVICE), labels.to(DEVICE)


def optimizer(model):
    trained = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.AdamW(trained, lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)


def training(model, loss_of, mode):
    """A closure that makes one update."""
    update = optimizer(model)
    model.train()
    scaler = torch.amp.GradScaler(DEVICE.type, enabled=mode.get("half", False))

    def step():
        with precision(mode):
            loss = loss_of()
        scaler.scale(loss).backward()
        scaler.step(update)
        scaler.update()
        update.zero_grad(set_to_none=True)
        return loss.item()

    return step


def precision(mode):
    if mode.get("autocast"):
        return torch.autocast(DEVICE.type, dtype=torch.float16 if mode.get("half") else torch.bfloat16)
    return contextlib.nullcontext()


def prepared(model, mode):
    model = model.to(torch.bfloat16) if mode.get("pure") else model
    return model.to(DEVICE)


def compiled(callable, mode):
    return torch.compile(callable) if mode.get("compile") else callable


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


def gpt(mode):
    model = Gpt().to(DEVICE)
    ids = torch.tensor([[((t * 1009 + i) * 7919 + 31) % 8192 for i in range(257)] for t in range(8)])
    x, y = ids[:, :-1].contiguous().to(DEVICE), ids[:, 1:].contiguous().to(DEVICE)
    forward = compiled(model, mode)
    return training(model, lambda: forward(x, y), mode)


def vit(mode):
    model = prepared(VisionLanguageModel().vision.eval(), mode)
    images = torch.randn(8, 3, 224, 224).to(DEVICE, model.dtype)
    forward = compiled(model, mode)

    def step():
        with torch.inference_mode(), precision(mode):
            return forward(images).last_hidden_state.float().sum().item()

    return step


def vlm(trains, mode):
    model = prepared(VisionLanguageModel(), mode)
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name.split(".")[0] in trains
    images = torch.randn(len(TEXTS), 3, 224, 224).to(DEVICE, next(model.parameters()).dtype)
    tokens, mask, labels = padded_texts()
    forward = compiled(model, mode)
    return training(model, lambda: forward(images, tokens, mask, labels), mode)


def caption(count, mode):
    model = prepared(VisionLanguageModel().eval(), mode)
    dtype = next(model.parameters()).dtype
    images = torch.randn(count, 3, 224, 224).to(DEVICE, dtype)
    prompts = torch.tensor([[((row * 1009 + i) * 7919 + 31) % VOCABULARY for i in range(8)] for row in range(count)]).to(DEVICE)

    def step():
        with torch.inference_mode(), precision(mode):
            embedded = model.embed(images, prompts)
            mask = torch.ones(embedded.shape[:2], dtype=torch.long, device=DEVICE)
            answer = model.language.generate(
                inputs_embeds=embedded,
                attention_mask=mask,
                max_new_tokens=24,
                min_new_tokens=24,
                do_sample=False,
                pad_token_id=0,
            )
        return answer.sum().item()

    return step


WORKS = {
    "gpt": gpt,
    "vit-b-16": vit,
    "vlm-all": lambda mode: vlm(("vision", "projector", "language"), mode),
    "vlm-frozen-language": lambda mode: vlm(("vision", "projector"), mode),
    "vlm-projector": lambda mode: vlm(("projector",), mode),
    "caption-1": lambda mode: caption(1, mode),
    "caption-16": lambda mode: caption(16, mode),
}


def most_memory_mib():
    if DEVICE.type == "cuda":
        return torch.cuda.max_memory_allocated() / (1 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main():
    work, mode = sys.argv[1], MODES[sys.argv[2]]
    torch.manual_seed(1)
    if mode.get("medium"):
        torch.set_float32_matmul_precision("medium")
    step = WORKS[work](mode)
    for _ in sys.stdin:
        begin = time.perf_counter()
        value = step()
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - begin
        peak = most_memory_mib()
        print(json.dumps({"seconds": seconds, "peak_mib": round(peak, 1), "value": value}), flush=True)


if __name__ == "__main__":
    main()
