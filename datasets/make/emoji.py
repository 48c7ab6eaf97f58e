"""The emoji data set: pictures, texts, questions and splits put together."""

from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa

import colors
import concepts as concept_list
import layout
import pictures
import questions
import splits
import texts

SPLITS = ("train", "test-style", "test-concept")
# Mean absolute pixel difference (0..255) below which two drawings count as nearly equal: one seen, both seen.
NEARLY_EQUAL = 3.0
SOURCES = {
    "image": "drawings of Noto (Apache-2.0), Twemoji (CC-BY 4.0) and Fluent 3D (MIT), laid on white at 64 px",
    "concept": "Unicode code points",
    "vendor": "noto, twemoji or fluent",
    "name": "human: Unicode CLDR short name, by way of emojibase-data 17.0.0",
    "group": "Unicode, by way of emojibase-data 17.0.0",
    "subgroup": "Unicode, by way of emojibase-data 17.0.0",
    "keywords": "derived: a sentence made from the keywords of emojibase-data 17.0.0",
    "description": "AI-generated: written for this data set, datasets/emoji/descriptions.tsv",
    "questions": "derived: from group, subgroup, name, keywords and pixels",
    "answers": "derived: from group, subgroup, name, keywords and pixels",
}


# The same marks row by row, so that a reader of any one row knows who wrote what.
MARKS = {"name_source": "human", "keywords_source": "derived", "description_source": "ai-generated",
         "answers_source": "derived"}


def unique_texts(concepts: list, *columns: dict[str, str]) -> set[str]:
    """The hexcodes all of whose texts, in their normal form, belong to no other concept."""
    count = Counter(text for c in concepts for text in {texts.normal(column[c.hexcode]) for column in columns})
    return {c.hexcode for c in concepts if all(count[texts.normal(column[c.hexcode])] == 1 for column in columns)}


def write(folders: dict[str, Path], out: Path) -> tuple[dict, set[str]]:
    """Write one file a split; returns the figures to report and the normal forms of all test-concept texts."""
    concepts = concept_list.load(folders)
    name = {c.hexcode: texts.ascii_only(c.label) for c in concepts}
    keyword = texts.keyword_sentences(concepts)
    description = texts.descriptions(out / "descriptions.tsv", concepts)

    keys = [(c.hexcode, vendor) for c in concepts for vendor in c.drawings]
    with ProcessPoolExecutor() as pool:
        paths = [path for c in concepts for path in c.drawings.values()]
        picture = dict(zip(keys, pool.map(pictures.load, paths, chunksize=32)))
    pixels = np.stack([picture[key].rgb.ravel() for key in keys])
    _, difference = pictures.nearest(pixels, pixels, skip_self=True)
    alone = {key for key, far in zip(keys, difference) if far > NEARLY_EQUAL}

    split = splits.assign(concepts, alone, unique_texts(concepts, name, keyword, description))
    by_code = {c.hexcode: c for c in concepts}
    report = {}
    for part in SPLITS:
        rows = [key for key in keys if split[key] == part]
        asked = {f"{code}/{vendor}": questions.metadata_questions(by_code[code])
                 + questions.color_questions(colors.shares(picture[code, vendor])) for code, vendor in rows}
        asked = questions.balance(asked, part)
        pairs = [asked.get(f"{code}/{vendor}", []) for code, vendor in rows]
        text = pa.string()
        layout.write(out / f"{part}.parquet", {
            "image": (layout.IMAGE, [{"bytes": picture[key].webp, "path": f"{key[1]}/{key[0]}.webp"} for key in rows]),
            "concept": (text, [code for code, _ in rows]),
            "vendor": (text, [vendor for _, vendor in rows]),
            "name": (text, [name[code] for code, _ in rows]),
            "group": (text, [by_code[code].group for code, _ in rows]),
            "subgroup": (text, [by_code[code].subgroup for code, _ in rows]),
            "keywords": (text, [keyword[code] for code, _ in rows]),
            "description": (text, [description[code] for code, _ in rows]),
            "questions": (layout.STRINGS, [[question for question, _ in p] for p in pairs]),
            "answers": (layout.STRINGS, [[answer for _, answer in p] for p in pairs]),
            **{column: (text, [mark] * len(rows)) for column, mark in MARKS.items()},
        }, SOURCES, 512)
        report[part] = {"images": len(rows), "concepts": len({code for code, _ in rows}),
                        "questions": sum(map(len, pairs)), "majority": questions.majority(asked)}
    hidden = {texts.normal(column[code]) for (code, _), part in split.items() if part == "test-concept"
              for column in (name, keyword, description)}
    return report, hidden
