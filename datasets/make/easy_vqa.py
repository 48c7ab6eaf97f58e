"""easy-VQA: the package's images byte for byte, its questions beside them, its own split."""

import json
from collections import defaultdict
from pathlib import Path

import pyarrow as pa

import layout

SOURCES = {
    "image": "easy-vqa 1.0, unchanged (MIT)",
    "questions": "easy-vqa 1.0, unchanged (MIT)",
    "answers": "easy-vqa 1.0, unchanged (MIT)",
}


def write(package: Path, out: Path) -> dict[str, tuple[int, int]]:
    """Write one file a split; returns images and questions by split."""
    counts = {}
    for split in ("train", "test"):
        folder = package / "easy_vqa" / "data" / split
        asked = defaultdict(list)
        for question, answer, image in json.loads((folder / "questions.json").read_text("utf-8")):
            asked[image].append((question, answer))
        numbers = sorted(int(path.stem) for path in (folder / "images").glob("*.png"))
        layout.write(out / f"{split}.parquet", {
            "image": (layout.IMAGE, [{"bytes": (folder / "images" / f"{n}.png").read_bytes(), "path": f"{split}/{n}.png"}
                                     for n in numbers]),
            "questions": (layout.STRINGS, [[q for q, _ in asked[n]] for n in numbers]),
            "answers": (layout.STRINGS, [[a for _, a in asked[n]] for n in numbers]),
        }, SOURCES, 1000)
        counts[split] = (len(numbers), sum(map(len, asked.values())))
    return counts
