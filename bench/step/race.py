"""Lets Fourfold and PyTorch take turns at the same work and writes step.json and step.md.

Each opponent is raced alone: one process of Fourfold, one of PyTorch, a round of the one, a round of the other, so that
whatever else the machine does hits both. A first round of each warms up and is not counted. The ratio of an opponent is
of the medians of their own race, which step.json holds side by side: each of Fourfold's rows says whom it raced.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FOURFOLD = ROOT / "target" / "release" / "fourfold"
# What both compute on; a GPU as in `DEVICE=cuda python bench/step/race.py`, whose page goes to target/bench.
DEVICE = os.environ.get("DEVICE", "cpu")
ROUNDS = int(os.environ.get("ROUNDS", "5"))

TRAINING = ["f32", "f32-medium", "bf16", "bf16-compile"]
# What runs without training can be in 16 bits throughout; those who generate do so.
INFERENCE = ["f32", "f32-medium", "bf16", "bf16-compile", "bf16-pure", "bf16-pure-compile"]
GENERATION = ["f32", "bf16", "bf16-pure"]

# (work, precision of Fourfold) -> opponents and the ratio that each is to be beaten by.
RACES = {
    ("gpt", "bf16"): [(mode, 1.8 if mode == "bf16-compile" else None) for mode in TRAINING],
    ("gpt", "f32"): [("f32", 2.0), ("f32-medium", 1.25)],
    ("vit-b-16", "bf16"): [(mode, 1.4 if mode == "bf16-compile" else None) for mode in INFERENCE],
    ("vlm-all", "bf16"): [(mode, 2.5) for mode in TRAINING],
    ("vlm-frozen-language", "bf16"): [(mode, 2.8) for mode in TRAINING],
    ("vlm-projector", "bf16"): [(mode, 3.2) for mode in TRAINING],
    ("caption-1", "bf16"): [(mode, 2.0) for mode in GENERATION],
    ("caption-16", "bf16"): [(mode, 2.0) for mode in GENERATION],
}
if DEVICE != "cpu":
    # Against compiled PyTorch in the same format.
    BARS = {"vlm-all": 1.0, "vlm-frozen-language": 1.3, "vlm-projector": 1.3}
    RACES = {
        (work, precision): [(precision, None), (f"{precision}-compile", bar)]
        for work, bar in BARS.items()
        for precision in ("bf16", "fp16")
    }
LEGEND = """\
Ratios are times of PyTorch over times of Fourfold in the same race: above 1 Fourfold is faster. *Wanted* is what this
project set out to reach before the first race, on a machine without AMX; *memory* is Fourfold's peak over PyTorch's,
below 1 Fourfold takes less. PyTorch's modes: `f32`; `f32-medium`, f32 with `set_float32_matmul_precision("medium")`,
which allows products in 16 bits; `bf16`, autocast; `pure`, weights and all else in bf16, for what does not train;
`compile`, `torch.compile`. All use `scaled_dot_product_attention`, the fused AdamW and as many threads as cores.

The 222 M model has the shape of SigLIP-B/16 at 224 pixels, a projector that makes 49 tokens of an image, and the shape of
SmolLM2-135M, all with random weights.
"""
TITLES = {
    "gpt": "GPT step: 6 layers, width 384, 8 texts of 256 tokens, vocabulary 8192",
    "vit-b-16": "ViT-B/16 at 224 pixels, forward, 8 images",
    "vlm-all": "222 M model, step on 16 images with texts, all of it trains",
    "vlm-frozen-language": "the same, language model frozen",
    "vlm-projector": "the same, only the projector trains",
    "caption-1": "24 tokens of caption for 1 image, same model, key-value cache",
    "caption-16": "24 tokens of caption for each of 16 images",
}
# Peak memory of the steps of the 222 M model is to be at most this share of the fastest opponent's.
MEMORY_BAR = 0.6


class Contender:
    """A process that does a round for each line it reads."""

    def __init__(self, command):
        self.errors = open(os.devnull, "w") if "QUIET" in os.environ else None
        self.process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        self.seconds, self.peak_mib = [], 0.0

    def round(self, counts=True):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args} ended")
        done = json.loads(line)
        self.peak_mib = max(self.peak_mib, done["peak_mib"] or 0.0)
        if counts:
            self.seconds.append(done["seconds"])

    def end(self):
        self.process.stdin.close()
        self.process.wait()

    def median(self):
        return statistics.median(self.seconds)


def race(work, precision, mode):
    """Rounds in turn: (Fourfold, PyTorch)."""
    ours = Contender([FOURFOLD, "bench", work, "--precision", precision, "--turns", "--device", DEVICE])
    theirs = Contender([sys.executable, HERE / "contender.py", work, mode])
    try:
        for contender in (ours, theirs):
            contender.round(counts=False)
        # A second round for what compiles on its first two.
        theirs.round(counts=False)
        for _ in range(ROUNDS):
            ours.round()
            theirs.round()
    finally:
        ours.end()
        theirs.end()
    return ours, theirs


def row(work, contender, against, precision, seconds, peak_mib):
    return {
        "work": work,
        "contender": contender,
        "against": against,
        "precision": precision,
        "seconds_min": round(min(seconds), 5),
        "seconds_median": round(statistics.median(seconds), 5),
        "peak_mib": round(peak_mib, 1),
        "rounds": len(seconds),
    }


def run(works):
    rows, ratios = [], []
    for (work, precision), opponents in RACES.items():
        if work not in works:
            continue
        for mode, bar in opponents:
            begin = time.monotonic()
            try:
                ours, theirs = race(work, precision, mode)
            except (RuntimeError, BrokenPipeError) as failure:
                print(f"{work} against {mode}: {failure}", file=sys.stderr)
                ratios.append(dict(work=work, precision=precision, mode=mode, bar=bar, ratio=None, memory=None))
                continue
            torch = f"pytorch {mode}"
            rows.append(row(work, "fourfold", torch, precision, ours.seconds, ours.peak_mib))
            rows.append(row(work, torch, "fourfold", mode.split("-")[0], theirs.seconds, theirs.peak_mib))
            ratio = theirs.median() / ours.median()
            ratios.append(
                dict(
                    work=work,
                    precision=precision,
                    mode=mode,
                    bar=bar,
                    ratio=ratio,
                    memory=ours.peak_mib / theirs.peak_mib,
                    ours=ours.median(),
                    theirs=theirs.median(),
                    theirs_mib=theirs.peak_mib,
                    ours_mib=ours.peak_mib,
                )
            )
            took = time.monotonic() - begin
            print(
                f"{work} {precision}: {ours.median():.4f} s, pytorch {mode} {theirs.median():.4f} s, "
                f"ratio {ratio:.2f} ({took:.0f} s)",
                file=sys.stderr,
            )
    return rows, ratios


def machine():
    name, flags = platform.processor() or platform.machine(), ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            name = line.split(":", 1)[1].strip()
        if line.startswith("flags"):
            flags = line
    sets = [flag for flag in ("amx_bf16", "avx512_bf16", "avx512f", "avx2") if f" {flag}" in flags]
    return f"{name}, {os.cpu_count()} cores, {', '.join(sets) or 'no vector extensions known here'}"


def versions():
    import torch
    import transformers

    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=HERE)
    version = subprocess.run([FOURFOLD, "--version"], capture_output=True, text=True)
    return (
        f"{version.stdout.strip()} at {commit.stdout.strip() or 'an unknown commit'}, PyTorch {torch.__version__}, "
        f"transformers {transformers.__version__}, Python {platform.python_version()}"
    )


def fastest(ratios):
    """PyTorch's fastest mode."""
    return min((r for r in ratios if r["ratio"]), key=lambda r: r["theirs"], default=None)


def summary(ratios):
    """Each work against PyTorch's fastest mode."""
    lines = ["Against the fastest mode of PyTorch:", "", "| work | Fourfold | its opponent | ratio | memory |", "|---|---|---|--:|--:|"]
    for work, precision in RACES:
        best = fastest([r for r in ratios if (r["work"], r["precision"]) == (work, precision)])
        if best:
            lines.append(f"| {work} | {precision} | {best['mode']} | {best['ratio']:.2f} | {best['memory']:.2f} |")
    return [*lines, ""]


def page(ratios, roofline):
    lines = [
        "# The race",
        "",
        f"Machine: {machine()}. {versions()}. Written by `bench/run` on {time.strftime('%Y-%m-%d')}; "
        f"{ROUNDS} rounds in turn for each opponent, medians; see `bench/step/race.py` for how and "
        "`bench/step/contender.py` for PyTorch's side.",
        "",
        *summary(ratios),
        LEGEND,
    ]
    for work, precision in RACES:
        of_work = [r for r in ratios if (r["work"], r["precision"]) == (work, precision)]
        if not of_work:
            continue
        best = fastest(of_work)
        best = best and best["mode"]
        lines += [
            f"## {TITLES[work]} (Fourfold in {precision})",
            "",
            "| PyTorch | Fourfold, s | PyTorch, s | ratio | wanted | Fourfold, MiB | PyTorch, MiB | memory |",
            "|---|--:|--:|--:|--:|--:|--:|--:|",
        ]
        for r in of_work:
            name = r["mode"] + (" (best)" if r["mode"] == best else "")
            if not r["ratio"]:
                lines.append(f"| {name} | | | failed | | | | |")
                continue
            # The bar of the larger models is against PyTorch's best mode alone.
            binding = r["bar"] if r["bar"] and (work in ("gpt", "vit-b-16") or r["mode"] == best) else None
            wanted = ""
            if binding:
                wanted = f"{binding:.2f}: {'held' if r['ratio'] >= binding else '**missed**'}"
            memory = f"{r['memory']:.2f}"
            if work.startswith("vlm") and r["mode"] == best:
                memory += f" (at most {MEMORY_BAR}: {'held' if r['memory'] <= MEMORY_BAR else '**missed**'})"
            lines.append(
                f"| {name} | {r['ours']:.4f} | {r['theirs']:.4f} | {r['ratio']:.2f} | {wanted} | "
                f"{r['ours_mib']:.0f} | {r['theirs_mib']:.0f} | {memory} |"
            )
        lines.append("")
    lines += ["## How near to the machine's peak", "", "```text", roofline.strip(), "```", ""]
    return "\n".join(lines)


def main():
    works = sys.argv[1:] or list(dict.fromkeys(work for work, _ in RACES))
    unknown = [work for work in works if work not in TITLES]
    if unknown:
        sys.exit(f"unknown work {', '.join(unknown)}; expected some of {', '.join(TITLES)}")
    rows, ratios = run(works)
    roofline = subprocess.run([FOURFOLD, "bench", *works, "--device", DEVICE], capture_output=True, text=True, check=True).stdout
    whole = DEVICE == "cpu" and not sys.argv[1:]
    results = HERE.parent / "results" if whole else ROOT / "target" / "bench"
    results.mkdir(parents=True, exist_ok=True)
    # Before anything is written: it names the commit, and whether the tree is as committed.
    text = page(ratios, roofline)
    (results / "step.json").write_text(json.dumps(rows, indent=1) + "\n")
    if whole:
        text += "\n" + (HERE / "misses.md").read_text()
    (results / "step.md").write_text(text)
    print(results / "step.md")


if __name__ == "__main__":
    main()
