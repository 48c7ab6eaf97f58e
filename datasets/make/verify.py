"""Check the committed data: `python datasets/make/verify.py`. Prints every figure it checks; stops at the first lie."""

import hashlib
import io
import json
import re
from collections import Counter, defaultdict
from pathlib import Path

import pyarrow.parquet as pq
from PIL import Image

import questions
from families import family
from texts import normal

DATASETS = Path(__file__).resolve().parent.parent
BUDGET = 24_000_000
TEXTS = ("name", "keywords", "description")
SENTENCE = re.compile(r"[A-Z][A-Za-z0-9 ,;:'\-.\"&/%+#!?]*\.")


def need(true: bool, claim: str) -> None:
    """Say what holds; stop where it does not."""
    if not true:
        raise SystemExit(f"FAILED: {claim}")
    print(f"ok: {claim}")


def rows(path: str) -> list[dict]:
    return pq.read_table(DATASETS / path).to_pylist()


def pixel_hash(row: dict) -> str:
    with Image.open(io.BytesIO(row["image"]["bytes"])) as image:
        assert image.size == (64, 64) and image.mode == "RGB", row["image"]["path"]
        return hashlib.sha256(image.tobytes()).hexdigest()


def check_files() -> None:
    listed = dict(reversed(line.split("  ")) for line in (DATASETS / "checksums.txt").read_text().splitlines())
    found = {p.relative_to(DATASETS).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
             for p in DATASETS.glob("*/*.parquet")}
    need(found == listed, f"checksums.txt lists the {len(found)} Parquet files as they are")
    cache = DATASETS / "make" / ".cache"
    size = sum(p.stat().st_size for p in DATASETS.rglob("*") if p.is_file() and cache not in p.parents)
    need(size <= BUDGET, f"everything under datasets/ is {size:,} bytes, at most {BUDGET:,}")
    for path in sorted(DATASETS.glob("*/*.parquet")):
        meta = pq.ParquetFile(path).metadata
        chunks = [meta.row_group(g).column(c) for g in range(meta.num_row_groups) for c in range(meta.num_columns)]
        need({c.compression for c in chunks} == {"SNAPPY"}
             and {e for c in chunks for e in c.encodings} <= {"PLAIN", "RLE", "PLAIN_DICTIONARY", "RLE_DICTIONARY"},
             f"{path.name}: {meta.num_rows} rows in {meta.num_row_groups} row groups, snappy, plain encodings")
        if path.parent.name != "text":
            features = json.loads(pq.read_schema(path).metadata[b"huggingface"])["info"]["features"]
            need(features["image"] == {"_type": "Image"}, f"{path.name}: marked as an image data set")


def check_emoji(data: dict[str, list[dict]]) -> None:
    train, style, unseen = data["train"], data["test-style"], data["test-concept"]
    hashes = {split: {pixel_hash(row) for row in part} for split, part in data.items()}
    stored = {split: {hashlib.sha256(row["image"]["bytes"]).hexdigest() for row in part} for split, part in data.items()}
    for kind, table in (("decoded", hashes), ("stored", stored)):
        need(not table["train"] & (table["test-style"] | table["test-concept"])
             and not table["test-style"] & table["test-concept"], f"no {kind} picture is in two splits")
    known = {row["concept"] for row in train}
    need({row["concept"] for row in style} <= known, "every test-style concept is in train")
    need(not {row["concept"] for row in unseen} & (known | {row["concept"] for row in style}),
         "no test-concept concept is in another split")
    need(not {family(row["concept"]) for row in unseen} & {family(row["concept"]) for row in train + style},
         "nor another form of one")
    pairs = [(row["concept"], row["vendor"]) for part in data.values() for row in part]
    need(len(pairs) == len(set(pairs)), "a concept has one drawing a vendor")

    taught = {normal(row[column]) for row in train + style for column in TEXTS}
    held = {normal(row[column]) for row in unseen for column in TEXTS}
    need(not taught & held, f"none of the {len(held)} test-concept texts is a text of another split")
    language = {normal(row["text"]) for s in ("train", "valid") for row in rows(f"text/wordnet-{s}.parquet")}
    need(not language & held, "none of them is a line of the WordNet text")
    need(not any(part in line for line in language for part in
                 {normal(row["description"]) for row in unseen}), "nor a description part of one")

    concepts = {row["concept"]: row for part in data.values() for row in part}
    need(len(concepts) >= 1600, f"{len(concepts)} concepts, at least 1,600")
    need(len({row["concept"] for row in unseen}) >= 140 and len(style) >= 440,
         f"{len(style)} test-style pictures, {len({row['concept'] for row in unseen})} test concepts")
    vendors = Counter(row["vendor"] for row in style)
    need(max(vendors.values()) - min(vendors.values()) <= 2, f"test-style is even over vendors: {dict(vendors)}")
    names = Counter(normal(row["name"]) or row["name"] for row in concepts.values())
    need(all(row[c].isascii() for row in concepts.values() for c in TEXTS), "texts are ASCII")
    need(len({row["name"].lower() for row in concepts.values()}) == len(concepts), f"names are unique ({len(names)} in normal form)")
    described = [row["description"] for row in concepts.values()]
    need(len({normal(text) for text in described}) == len(described), "descriptions are unique")
    lengths = [len(text.split()) for text in described]
    need(min(lengths) >= 12 and max(lengths) <= 30, f"descriptions have {min(lengths)} to {max(lengths)} words")
    need(all(SENTENCE.fullmatch(text) for text in described), "descriptions are sentences")
    marks = {(row["name_source"], row["keywords_source"], row["description_source"], row["answers_source"])
             for part in data.values() for row in part}
    need(marks == {("human", "derived", "ai-generated", "derived")}, "every row marks the sources of its texts")


def check_questions(split: str, part: list[dict]) -> None:
    need(all(len(row["questions"]) == len(row["answers"]) for row in part), f"{split}: every question has its answer")
    asked = {row["image"]["path"]: list(zip(row["questions"], row["answers"])) for row in part}
    table = questions.majority(asked)
    answers = defaultdict(set)
    for pairs in asked.values():
        for question, answer in pairs:
            answers[question].add(answer)
    for question, (count, answer, share) in table.items():
        need(share <= 0.5 and len(answers[question]) > 1,
             f"{split}: {question} asked {count}, {len(answers[question])} answers, majority {100 * share:.1f} % ({answer})")
    count = sum(c for c, _, _ in table.values())
    blind = sum(c * share for c, _, share in table.values()) / count
    need(blind <= 0.5, f"{split}: {count} questions; the majority answer to each question scores {100 * blind:.1f} %")


def check_easy_vqa() -> None:
    data = {split: rows(f"easy-vqa/{split}.parquet") for split in ("train", "test")}
    images = {split: len(part) for split, part in data.items()}
    asked = sum(len(row["questions"]) for part in data.values() for row in part)
    need(images == {"train": 4000, "test": 1000} and asked == 48248, f"easy-VQA is whole: {images}, {asked} questions")


def main() -> None:
    check_files()
    data = {split: rows(f"emoji/{split}.parquet") for split in ("train", "test-style", "test-concept")}
    check_emoji(data)
    for split, part in data.items():
        check_questions(split, part)
    check_easy_vqa()


if __name__ == "__main__":
    main()
