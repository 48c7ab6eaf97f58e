"""Checks, without a GPU, what the race rests on: models, operations, and that PyTorch's side learns in 16 bits.

    python bench/step/check.py

Parameters are held to `fourfold plan`'s, operations to PyTorch's counter on small models of the same families and to
Fourfold's own counts of the large ones. It takes some minutes on two cores.
"""

import dataclasses
import json
import subprocess
from pathlib import Path

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import contender
import flops
from geometry import GEOMETRIES, TRAINS, texts
from models import VisionLanguageModel

ROOT = Path(__file__).resolve().parent.parent.parent
FOURFOLD = ROOT / "target" / "release" / "fourfold"
# A model of the 0.9 B geometry, and its stages that train what the works of the race train.
RECIPE = ROOT / "bench" / "memory" / "0.9b.toml"
STAGES = {"vlm-all": "specialise", "vlm-frozen-language": "ground", "vlm-projector": "align"}
# Fourfold's `plan` counts a little differently: half a document's keys for every row, and attention of a frozen language
# model as if it were a matrix.
LIKE_FOURFOLD = 0.005


def fourfold(*arguments):
    done = subprocess.run([FOURFOLD, *arguments, "--json"], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def tell(what, ours, theirs, share):
    assert abs(ours / theirs - 1) <= share, f"{what}: {ours} here, {theirs} there"
    print(f"{what}: {ours:.6g} and {theirs:.6g}")


def parameters(geometry):
    with torch.device("meta"):
        parts = VisionLanguageModel(geometry).named_children()
    return {name: sum(p.numel() for p in part.parameters()) for name, part in parts}


def small(geometry):
    """One of the same family that a CPU multiplies at once, whose head widths and grouped queries stay."""
    vision, language = geometry.vision, geometry.language
    width = vision.width // vision.heads
    vision = dataclasses.replace(vision, width=2 * width, inner=96, layers=2, heads=2, image=geometry.block * 2 * vision.patch)
    queries = language.heads // language.key_value_heads
    language = dataclasses.replace(
        language,
        width=2 * queries * language.head_width,
        inner=160,
        layers=2,
        heads=2 * queries,
        key_value_heads=2,
        vocabulary=512,
    )
    return dataclasses.replace(geometry, vision=vision, language=language)


def padded(geometry, batch):
    """The rows a sample that PyTorch computes: all as long as the longest."""
    return [geometry.visual_tokens + max(texts(batch))] * batch


def counted(geometry, work, batch):
    """Operations that PyTorch's counter sees in a step of its side."""
    step = contender.vlm(TRAINS[work], geometry, batch, contender.MODES["bf16"])
    # Attention as plain products: the fused ones compute scores a second time on the way back, which is counted too.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def check_counter(geometry):
    """PyTorch computes padding, hidden halves of attention and all rows of the head; so counted, both have to be the same."""
    batch = 3
    for work, trains in TRAINS.items():
        lengths = padded(geometry, batch)
        ours = flops.step(geometry, trains, lengths, sum(lengths), keys=lambda rows: rows)
        tell(f"{geometry.name}, {work}, operations of a small one, PyTorch's counter", ours, counted(geometry, work, batch), 0)


def needed(geometry, trains, batch):
    return flops.step(geometry, trains, flops.rows(geometry, batch), flops.targets(batch))


def check_plan():
    geometry = GEOMETRIES["0.9b"]
    batch = 16
    rows, targets = sum(flops.rows(geometry, batch)), flops.targets(batch)
    plan = fourfold("plan", RECIPE, "--assume", f"{rows / batch},{targets / batch},1")
    assert parameters(geometry) == plan["parameters"], (parameters(geometry), plan["parameters"])
    print(f"0.9b, parameters, fourfold plan: {plan['parameters']}")
    for work, name in STAGES.items():
        stage = next(stage for stage in plan["stages"] if stage["name"] == name)
        theirs = stage["operations"] / stage["samples"] * batch
        tell(
            f"0.9b, {work}, operations of {batch} samples, fourfold plan",
            needed(geometry, TRAINS[work], batch),
            theirs,
            LIKE_FOURFOLD,
        )


def check_bench():
    geometry = GEOMETRIES["222m"]
    assert sum(parameters(geometry).values()) // 10**6 == 222, parameters(geometry)
    for work, trains in TRAINS.items():
        theirs = fourfold("bench", work, "--rounds", "1", "--device", "cpu")["operations"]
        tell(f"222m, {work}, operations of 16 samples, fourfold bench", needed(geometry, trains, 16), theirs, LIKE_FOURFOLD)


def check_learning(geometry):
    """A step of each mode on a small model; its loss falls, whose texts are the same again and again."""
    for work in TRAINS:
        for mode in ("bf16", "fp16"):
            step = contender.vlm(TRAINS[work], geometry, 2, contender.MODES[mode])
            first, *_, last = [step() for _ in range(10)]
            assert last < first, f"{geometry.name}, {work}, {mode}: the loss goes from {first} to {last}"
            print(f"{geometry.name}, {work}, {mode}: the loss of a small one goes from {first:.3f} to {last:.3f}")


def main():
    torch.manual_seed(1)
    for geometry in GEOMETRIES.values():
        check_counter(small(geometry))
        check_learning(small(geometry))
    check_plan()
    check_bench()


if __name__ == "__main__":
    main()
