"""What `race.py` measures beside the race: how full packs are, and memory and rate of large sources."""

import json
import subprocess

BUDGETS = (512, 1024, 2048, 4096)
# More than documents fit in a pack, so that tokens alone limit it.
IMAGES = 4096


def fills(fourfold, root):
    """The filled part of the quickstart's packs: `[{"tokens": budget, stage: part, …}, …]`."""
    rows = []
    for tokens in BUDGETS:
        command = [fourfold, "data", "stats", root / "recipes" / "quickstart.toml", "--json"]
        command += ["--pack-tokens", str(tokens), "--pack-images", str(IMAGES)]
        stats = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
        rows.append({"tokens": tokens} | {stage["stage"]: stage["fill"] for stage in stats["stages"]})
    return rows


def scale(root):
    """What the example `scale` of fourfold-data prints."""
    command = ["cargo", "run", "--release", "--quiet", "--package", "fourfold-data", "--example", "scale"]
    printed = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, cwd=root).stdout
    return [json.loads(line) for line in printed.splitlines()]


def fill_lines(rows):
    stages = [key for key in rows[0] if key != "tokens"]
    lines = [
        "",
        "## Fill of packs",
        "",
        "The embedded captions and questions as the quickstart's stages mix them, one pass, in packs that tokens alone limit "
        f"(`fourfold data stats recipes/quickstart.toml --pack-tokens N --pack-images {IMAGES}`); wanted: above 97 %.",
        "",
        "| tokens of a pack | " + " | ".join(stages) + " |",
        "|--:|" + "--:|" * len(stages),
    ]
    for row in rows:
        parts = " | ".join(f"{100 * row[stage]:.1f} %" for stage in stages)
        lines.append(f"| {row['tokens']} | {parts} |")
    return lines


def scale_lines(rows):
    lines = [
        "",
        "## Large sources",
        "",
        "Opened and gone through once by the loader (`cargo run --release -p fourfold-data --example scale`); memory is the "
        "most that the process held up to there, wanted: below 500 MiB.",
        "",
        "| source | samples | MiB | opened in | samples/s | memory |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        lines.append(
            f"| {row['source']} | {row['samples']} | {row['file_mib']} | {row['open_seconds']:.1f} s "
            f"| {row['samples_per_second']:.0f} | {row['peak_memory_mib']} MiB |"
        )
    return lines
