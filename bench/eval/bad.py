"""What both do with captions and ids that are not as they should be."""

import json
import subprocess
import traceback

import reference

REFERENCES = {
    0: ["a small dog runs on the grass", "the dog is running"],
    1: ["a red bus in a street", "the bus is red"],
    2: ["two people eat a pizza", "people at a table"],
}
GOOD = [(0, "a dog runs on grass"), (1, "a red bus on a street"), (2, "two people eat pizza")]
# Each: what is wrong, the predictions, references in place of the usual ones, whether ids without prediction are left out.
CASES = [
    ("nothing", GOOD, {}, False),
    ("a caption is empty", [(0, "")] + GOOD[1:], {}, False),
    ("the last caption is empty", GOOD[:2] + [(2, "")], {}, False),
    ("a caption is punctuation alone: `. , ...`", [(0, ". , ...")] + GOOD[1:], {}, False),
    ("a caption is punctuation alone: `?!`", [(0, "?!")] + GOOD[1:], {}, False),
    ("an image that the references lack", GOOD + [(9, "a cat")], {}, False),
    ("an image without prediction", GOOD[:2], {}, False),
    ("the same with `--subset`; pycocoevalcap with the predictions' ids, as its example has it", GOOD[:2], {}, True),
    ("an image with two predictions", GOOD + [(2, "a cat")], {}, False),
    ("a reference is empty", GOOD, {0: ["", "the dog is running"]}, False),
    ("a caption with a line separator (U+2028) in it", [(0, "a dog\u2028runs on grass")] + GOOD[1:], {}, False),
    ("a caption with a carriage return in it", [(0, "a dog\rruns on grass")] + GOOD[1:], {}, False),
]


def write(folder, said, other):
    truth = REFERENCES | other
    annotations = [{"image_id": i, "caption": text} for i, texts in truth.items() for text in texts]
    for number, annotation in enumerate(annotations):
        annotation["id"] = number
    references = {"images": [{"id": i} for i in truth], "annotations": annotations}
    predictions = [{"image_id": i, "caption": text} for i, text in said]
    (folder / "predictions.json").write_text(json.dumps(predictions))
    (folder / "references.json").write_text(json.dumps(references))


def figures(totals):
    names = {"bleu1": "BLEU-1", "bleu4": "BLEU-4", "rouge_l": "ROUGE-L", "cider_d": "CIDEr-D"}
    return ", ".join(f"{name} {totals[metric]:.4f}" for metric, name in names.items())


def ours(fourfold, folder, subset):
    """Fourfold's totals, or what it says in refusal. Both files are named as the folder has them."""
    command = [fourfold, "score", "--predictions", "predictions.json", "--references", "references.json", "--json"]
    done = subprocess.run(command + ["--subset"] * subset, capture_output=True, text=True, cwd=folder)
    if done.returncode == 0:
        return figures(json.loads(done.stdout)["captions"]["model"])
    return f"refused (status {done.returncode}): {' '.join(done.stderr.split())}"


def theirs(folder, subset):
    """pycocoevalcap's totals, or the exception that ends it."""
    try:
        return figures(reference.coco(folder / "predictions.json", folder / "references.json", subset))
    except Exception as error:
        line = traceback.extract_tb(error.__traceback__)[-1].line
        return f"{type(error).__name__}: {str(error) or line}"


def cases(fourfold, folder):
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for wrong, said, other, subset in CASES:
        write(folder, said, other)
        rows.append({"wrong": wrong, "fourfold": ours(fourfold, folder, subset), "pycocoevalcap": theirs(folder, subset)})
    return rows
