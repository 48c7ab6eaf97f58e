"""What is tokenised and scored: real sentences, hard ones, and images whose captions are made of them."""

import csv
import json
import random
import re
from pathlib import Path

import pyarrow.parquet

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# What ends a line for Java or for Python: in the middle of a caption it makes two of it.
# What `noisy` puts into sentences.
MARKS = [*".,;:!?'\"()-/& ’“”", "...", "--", "''", "1", "2nd", "5", "%", "$", "1/2", "U.S.", "Dr.", "No.", "St.", "A", "s"]
LINE_BREAK = re.compile("[\n\r\v\f\x85\u2028\u2029]")


def aac(folder, number):
    """The rows of an example of aac-metrics: `(candidate, five references, further candidates)`."""
    with open(folder / "aac_metrics-0.6.0" / "data" / f"example_{number}.csv", encoding="utf-8", newline="") as file:
        rows = []
        for row in csv.DictReader(file):
            references = [row[f"caption_{i}"] for i in range(1, 6) if row[f"caption_{i}"].strip()]
            further = [text for column, text in row.items() if column.startswith("mult_captions")]
            rows.append((row["caption_predicted"], references, further))
    return rows


def wordnet():
    """Sentences of WordNet's glosses and examples."""
    for file in sorted((ROOT / "datasets" / "text").glob("*.parquet")):
        for text in pyarrow.parquet.read_table(file, columns=["text"]).column("text").to_pylist():
            yield from re.split(r"(?<=[.;?!])\s+|\n", text)


def emoji():
    """Descriptions of drawings and lists of their keywords."""
    for file in sorted((ROOT / "datasets" / "emoji").glob("*.parquet")):
        table = pyarrow.parquet.read_table(file, columns=["description", "keywords"])
        for column in table.columns:
            yield from (text for text in column.to_pylist() if text)


def corpora(folder):
    """Sentences, each once, by where they are from."""
    captions = []
    for number in (1, 2):
        for candidate, references, further in aac(folder, number):
            captions += [candidate, *references, *further]
    tests = json.loads((ROOT / "crates/fourfold-eval/tests/fixtures/tokens.json").read_text(encoding="utf-8"))
    hard = (HERE / "hard.txt").read_text(encoding="utf-8").split("\n")
    found = {
        "captions of aac-metrics": captions,
        "glosses and examples of WordNet": wordnet(),
        "descriptions and keywords of emoji": emoji(),
        "Fourfold's tests (`tokens.json`)": [case["text"] for case in tests],
        "`hard.txt`, written to find differences": hard,
    }
    seen = set()
    for name, texts in found.items():
        texts = dict.fromkeys(LINE_BREAK.sub(" ", text) for text in texts if text.strip())
        found[name] = [text for text in texts if text not in seen]
        seen.update(found[name])
    return found


def noisy(texts, count, seed):
    """Texts in which one to three marks are put, swapped for another character or taken out; six in ten between words."""
    rng = random.Random(seed)
    texts = [text for text in texts if 10 < len(text) < 140]
    made = {}
    while len(made) < count:
        text = rng.choice(texts)
        for _ in range(rng.choice([1, 1, 2, 3])):
            at = rng.randrange(len(text))
            if rng.random() < 0.6:
                space = text.find(" ", at)
                at = space if space >= 0 else len(text)
            mark, kind = rng.choice(MARKS), rng.random()
            text = text[:at] + ("" if kind >= 0.8 else mark) + text[at + (kind >= 0.6) :]
        made[text.strip()] = None
    return list(made)


def images(texts, count, seed):
    """Images of five captions, drawn from those of 6 to 19 words: `(candidate, references)`, where the candidate is the
    first reference with one word replaced by a word of another sentence."""
    rng = random.Random(seed)
    texts = [text for text in texts if 5 < len(text.split()) < 20]
    made = []
    for _ in range(count):
        references = [rng.choice(texts) for _ in range(5)]
        words = references[0].split()
        words[rng.randrange(len(words))] = rng.choice(rng.choice(texts).split())
        made.append((" ".join(words), references))
    return made


def write(rows, stem):
    """Writes `(candidate, references)` as COCO's results and annotations; gives both paths."""
    said = [{"image_id": i, "caption": candidate} for i, (candidate, _) in enumerate(rows)]
    annotations = [{"image_id": i, "caption": text} for i, (_, texts) in enumerate(rows) for text in texts]
    for number, annotation in enumerate(annotations):
        annotation["id"] = number
    truth = {"images": [{"id": i} for i in range(len(rows))], "annotations": annotations}
    paths = Path(f"{stem}.predictions.json"), Path(f"{stem}.references.json")
    for path, value in zip(paths, (said, truth)):
        path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return paths
