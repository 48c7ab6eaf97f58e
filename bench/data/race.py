"""Lets Fourfold's loader and PyTorch's take turns at the same files and writes data.json and data.md.

One process each, a round of the one, a round of the other, so that whatever else the machine does hits both; a first round
of each warms up and is not counted. All are bound to the same two cores and told to use two threads or workers. Fourfold
starts a loader anew in each round; PyTorch's workers stay.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

from measures import fill_lines, fills, scale, scale_lines

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FOURFOLD = ROOT / "target" / "release" / "fourfold"
FILES = ROOT / "target" / "bench-data"
RESULTS = HERE.parent / "results"
ROUNDS = int(os.environ.get("ROUNDS", "7"))
SAMPLES, BATCH, THREADS = 1024, 32, 2
WANTED = 2.0
TITLES = {
    "siglip": "SigLIP: resized to 224 by 224 pixels",
    "clip": "CLIP: the shorter edge resized to 224 pixels, then the centre cut out",
}


class Contender:
    """A process that does a round for each line it reads."""

    def __init__(self, command):
        self.process = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.rates = []

    def round(self, counts=True):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args} ended")
        done = json.loads(line)
        if counts:
            self.rates.append(done["samples"] / done["seconds"])

    def end(self):
        self.process.stdin.close()
        self.process.wait()

    def median(self):
        return statistics.median(self.rates)


def load():
    """Programs that want a core, on average of the last minute: what else the machine does."""
    return os.getloadavg()[0]


def race(kind, where):
    ours = Contender(
        [FOURFOLD, "data", "bench", HERE / f"{kind}.toml", "--samples", SAMPLES, "--batch", BATCH]
        + ["--threads", THREADS, "--turns"]
    )
    theirs = Contender([sys.executable, HERE / "contender.py", kind, FILES, SAMPLES, BATCH, where])
    try:
        for contender in (ours, theirs):
            contender.round(counts=False)
        for _ in range(ROUNDS):
            ours.round()
            theirs.round()
    finally:
        ours.end()
        theirs.end()
    return {
        "work": kind,
        "processor": where,
        "fourfold": round(ours.median(), 1),
        "pytorch": round(theirs.median(), 1),
        "ratio": round(ours.median() / theirs.median(), 3),
        "fourfold_rounds": [round(rate, 1) for rate in ours.rates],
        "pytorch_rounds": [round(rate, 1) for rate in theirs.rates],
    }


def machine():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"


def versions():
    import PIL
    import torch
    import torchvision
    import transformers

    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=HERE)
    version = subprocess.run([FOURFOLD, "--version"], capture_output=True, text=True, check=True)
    return (
        f"{version.stdout.strip()} at {commit.stdout.strip() or 'an unknown commit'}, PyTorch {torch.__version__}, "
        f"torchvision {torchvision.__version__}, transformers {transformers.__version__}, Pillow {PIL.__version__}, "
        f"Python {platform.python_version()}"
    )


def page(rows, before, described, filled, large):
    files = sorted(FILES.glob("*.jpg"))
    size = sum(file.stat().st_size for file in files) / len(files) / 1e3
    lines = [
        "# Loading data",
        "",
        f"Machine: {machine()}. {described}. Written by `bench/data/run` on {time.strftime('%Y-%m-%d')}; medians of "
        f"{ROUNDS} rounds in turn, {SAMPLES} samples each in batches of {BATCH}, {THREADS} threads or workers on the same "
        f"{THREADS} cores.",
        "",
        f"{len(files)} JPEGs of about 500 by 375 pixels and {size:.0f} KB on average (`bench/data/make.py`), each with a "
        "caption, from the file system's cache to batches of pixels, tokens and targets. PyTorch: `DataLoader`, Pillow, "
        "`transformers`' fast image processor, on one image at a time (`sample`) or on a whole batch (`batch`), both in the "
        "workers (`bench/data/contender.py`). Fourfold: `fourfold data bench`, whose pixels are those of the image "
        "processor with Pillow.",
        "",
        "| work | PyTorch's processor | Fourfold, samples/s | PyTorch, samples/s | ratio | wanted |",
        "|---|---|--:|--:|--:|---|",
    ]
    for row in rows:
        held = "held" if row["ratio"] >= WANTED else "**missed**"
        lines.append(
            f"| {TITLES[row['work']]} | {row['processor']} | {row['fourfold']:.0f} | {row['pytorch']:.0f} "
            f"| {row['ratio']:.2f} | {WANTED:.1f}: {held} |"
        )
    if before > 0.5:
        lines += [
            "",
            f"Other programs ran at the same time (load {before:.1f} before the race), which slows both and makes ratios "
            "uncertain.",
        ]
    lines += fill_lines(filled) + scale_lines(large)
    return "\n".join(lines) + "\n"


def main():
    before = load()
    # Before anything is written: it names the commit, and whether the tree is as committed.
    described = versions()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
    rows = []
    for kind in TITLES:
        for where in ("sample", "batch"):
            rows.append(race(kind, where))
            print(f"{kind} {where}: {rows[-1]['fourfold']} against {rows[-1]['pytorch']}, {rows[-1]['ratio']}", flush=True)
    filled, large = fills(FOURFOLD, ROOT), scale(ROOT)
    results = {"race": rows, "fill": filled, "scale": large}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "data.json").write_text(json.dumps(results, indent=1) + "\n")
    (RESULTS / "data.md").write_text(page(rows, before, described, filled, large))
    print(RESULTS / "data.md")


if __name__ == "__main__":
    main()
