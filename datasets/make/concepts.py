"""Concepts: the emoji of Unicode without skin tones, each with the drawings that the vendors have of it."""

import json
from dataclasses import dataclass
from pathlib import Path

VENDORS = ("noto", "twemoji", "fluent")


@dataclass(frozen=True)
class Concept:
    """One emoji. `hexcode` is its code points joined by '-', without variation selectors."""

    hexcode: str
    label: str
    group: str
    subgroup: str
    tags: tuple[str, ...]
    drawings: dict[str, Path]


def bare(hexcode: str) -> str:
    """A hexcode without U+FE0F, upper case: the form in which the sources agree."""
    return "-".join(part for part in hexcode.upper().split("-") if part != "FE0F")


def datasource(folder: Path, vendor: str) -> dict[str, Path]:
    """Drawings of an emoji-datasource package (64 px PNG), by bare hexcode."""
    entries = json.loads((folder / "emoji.json").read_text("utf-8"))
    images = folder / "img" / vendor / "64"
    return {bare(e["unified"]): images / e["image"] for e in entries if e[f"has_img_{vendor}"]}


def fluent(folder: Path) -> dict[str, Path]:
    """Drawings of the Fluent 3D package (256 px WebP), by bare hexcode."""
    return {bare(path.stem): path for path in (folder / "assets").glob("*.webp")}


def load(folders: dict[str, Path]) -> list[Concept]:
    """All concepts drawn by at least two vendors, in Unicode's order.

    The component group (skin tones, hair) and regional indicators are no concepts of their own; skin-tone variants
    share their base concept and are left out as images.
    """
    drawings = {
        "noto": datasource(folders["noto"], "google"),
        "twemoji": datasource(folders["twemoji"], "twitter"),
        "fluent": fluent(folders["fluent"]),
    }
    entries = json.loads((folders["emojibase"] / "en" / "data.json").read_text("utf-8"))
    names = json.loads((folders["emojibase"] / "meta" / "groups.json").read_text("utf-8"))
    concepts = []
    for entry in sorted(entries, key=lambda e: e.get("order", 1 << 30)):
        group = names["groups"].get(str(entry.get("group")))
        if group is None or group == "component":
            continue
        hexcode = bare(entry["hexcode"])
        found = {v: drawings[v][hexcode] for v in VENDORS if hexcode in drawings[v] and drawings[v][hexcode].exists()}
        if len(found) >= 2:
            concepts.append(Concept(hexcode, entry["label"], group, names["subgroups"][str(entry["subgroup"])],
                                    tuple(entry.get("tags", ())), found))
    return concepts
