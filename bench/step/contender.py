"""One PyTorch contender: does a piece of work once for each line of the standard input.

    python contender.py WORK MODE [--geometry 0.9b] [--batch 16]

prints, for each line read, one JSON object with the seconds of a round and the most memory so far. DEVICE=cuda in the
environment computes on a GPU, whose memory it is then. The models are those of `fourfold bench`, in `models.py`; training
is written as users of `transformers` write it: padded batches with an attention mask, scaled-dot-product attention, fused
AdamW, no gradient recorded for frozen parts. What keeps it from a round is its last line on the standard error.
"""

import argparse
import contextlib
import json
import os
import resource
import sys
import time
import traceback

import torch

from geometry import GEOMETRIES, TRAINS, texts
from models import Gpt, VisionLanguageModel, vision_encoder

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
IGNORED = -100
# fp16's first scales of the loss may be too large; each halves the one before.
MOST_SCALES = 40


def token(row, at, geometry):
    return ((row * 1009 + at) * 7919 + 31) % geometry.language.vocabulary


def padded_texts(geometry, batch):
    """Tokens, attention mask and labels of a batch, padded to its longest text; the second half of each is a target."""
    lengths, visual = texts(batch), geometry.visual_tokens
    longest = max(lengths)
    tokens = torch.zeros(batch, longest, dtype=torch.long)
    mask = torch.zeros(batch, visual + longest, dtype=torch.long)
    labels = torch.full((batch, visual + longest), IGNORED)
    for row, length in enumerate(lengths):
        text = torch.tensor([token(row, i, geometry) for i in range(length)])
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

    if scaler.is_enabled():
        settle(step, scaler)
    return step


def settle(step, scaler):
    """Makes steps until one updates the weights: a step whose gradients overflow leaves AdamW out and is no round."""
    for _ in range(MOST_SCALES):
        scale = scaler.get_scale()
        step()
        if scaler.get_scale() >= scale:
            return
    raise ArithmeticError(f"gradients overflow with each of {MOST_SCALES} scales of the loss")


def precision(mode):
    if mode.get("autocast"):
        return torch.autocast(DEVICE.type, dtype=torch.float16 if mode.get("half") else torch.bfloat16)
    return contextlib.nullcontext()


def made(make, mode):
    """The model that `make` makes, on the device from the beginning, which fills its weights faster than a CPU."""
    with DEVICE:
        model = make()
    return model.to(torch.bfloat16) if mode.get("pure") else model


def noise(count, geometry, model):
    size = geometry.vision.image
    return torch.randn(count, geometry.vision.channels, size, size).to(DEVICE, next(model.parameters()).dtype)


def compiled(callable, mode):
    return torch.compile(callable) if mode.get("compile") else callable


def gpt(mode):
    model = made(Gpt, mode)
    ids = torch.tensor([[((t * 1009 + i) * 7919 + 31) % 8192 for i in range(257)] for t in range(8)])
    x, y = ids[:, :-1].contiguous().to(DEVICE), ids[:, 1:].contiguous().to(DEVICE)
    forward = compiled(model, mode)
    return training(model, lambda: forward(x, y), mode)


def vit(mode):
    geometry = GEOMETRIES["222m"]
    model = made(lambda: vision_encoder(geometry.vision), mode).eval()
    images = noise(8, geometry, model)
    forward = compiled(model, mode)

    def step():
        with torch.inference_mode(), precision(mode):
            return forward(images).last_hidden_state.float().sum().item()

    return step


def vlm(trains, geometry, batch, mode):
    model = made(lambda: VisionLanguageModel(geometry), mode)
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name.split(".")[0] in trains
    images = noise(batch, geometry, model)
    tokens, mask, labels = padded_texts(geometry, batch)
    forward = compiled(model, mode)
    return training(model, lambda: forward(images, tokens, mask, labels), mode)


def caption(count, mode):
    geometry = GEOMETRIES["222m"]
    model = made(lambda: VisionLanguageModel(geometry), mode).eval()
    images = noise(count, geometry, model)
    prompts = torch.tensor([[token(row, i, geometry) for i in range(8)] for row in range(count)]).to(DEVICE)

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
    "caption-1": lambda mode: caption(1, mode),
    "caption-16": lambda mode: caption(16, mode),
}


def work(name, mode, geometry, batch):
    return vlm(TRAINS[name], geometry, batch, mode) if name in TRAINS else WORKS[name](mode)


def most_memory_mib():
    if DEVICE.type == "cuda":
        return torch.cuda.max_memory_allocated(DEVICE) / (1 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def rounds(arguments):
    mode = MODES[arguments.mode]
    torch.manual_seed(1)
    if mode.get("medium"):
        torch.set_float32_matmul_precision("medium")
    step = work(arguments.work, mode, GEOMETRIES[arguments.geometry], arguments.batch)
    for _ in sys.stdin:
        begin = time.perf_counter()
        value = step()
        if DEVICE.type == "cuda":
            torch.cuda.synchronize(DEVICE)
        seconds = time.perf_counter() - begin
        peak = most_memory_mib()
        print(json.dumps({"seconds": seconds, "peak_mib": round(peak, 1), "value": value}), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("work", choices=[*WORKS, *TRAINS])
    parser.add_argument("mode", choices=MODES)
    parser.add_argument("--geometry", choices=GEOMETRIES, default="222m")
    parser.add_argument("--batch", type=int, default=16)
    try:
        rounds(parser.parse_args())
    except Exception as failure:
        traceback.print_exc()
        said = str(failure).strip().split("\n")[0]
        sys.exit(f"error: {type(failure).__name__}: {said}")


if __name__ == "__main__":
    main()
