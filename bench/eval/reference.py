"""What pycocoevalcap says. As a program: scores captions once for each line it reads, and says how long that took and
how much of the cores, Java's included.

    reference.py PREDICTIONS REFERENCES
"""

import contextlib
import io
import json
import os
import sys
import time
from pathlib import Path

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

METRICS = ("bleu1", "bleu2", "bleu3", "bleu4", "rouge_l", "cider_d")


def split(line):
    """The words of a tokenised caption. Not at every white space: a word may have a no-break space in it."""
    return [word for word in line.split(" ") if word]


def lines(texts, neutral=None):
    """The texts; with a neutral one, that is put behind each, so that no text is the other's neighbour."""
    return [line for text in texts for line in ((text,) if neutral is None else (text, neutral))]


def words(texts, neutral=None):
    """The words of each text."""
    said = PTBTokenizer().tokenize({i: [{"caption": line}] for i, line in enumerate(lines(texts, neutral))})
    said = [said[i][0] for i in range(len(said))]
    if neutral is not None:
        if set(said[1::2]) != {neutral}:
            raise RuntimeError("pycocoevalcap's lines are not the captions' lines any more")
        said = said[::2]
    return [split(line) for line in said]


def scores(truth, said):
    """Of `{id: [{"caption": text}]}`: the totals and the scores of each image by metric, and the tokenised captions."""
    tokenizer = PTBTokenizer()
    truth, said = tokenizer.tokenize(truth), tokenizer.tokenize(said)
    total, each = Bleu(4).compute_score(truth, said, verbose=0)
    rouge, rouges = Rouge().compute_score(truth, said)
    cider, ciders = Cider().compute_score(truth, said)
    totals = dict(zip(METRICS, [*total, float(rouge), float(cider)]))
    images = dict(zip(METRICS, [*each, rouges.tolist(), ciders.tolist()]))
    return totals, images, (truth, said)


def captions(path, key=None):
    """Captions of a file as pycocoevalcap wants them, by image."""
    found = {}
    rows = json.loads(Path(path).read_text(encoding="utf-8"))
    for row in rows[key] if key else rows:
        found.setdefault(row["image_id"], []).append({"caption": row["caption"]})
    return found


def coco(predictions, references, own):
    """The totals by COCO's classes, as `COCOEvalCap.evaluate` takes their captions (METEOR and SPICE left out); `own`: of
    the images that have a prediction, as pycocoevalcap's example has it."""
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(references))
        said = truth.loadRes(str(predictions))
    ids = said.getImgIds() if own else truth.getImgIds()
    return scores({i: truth.imgToAnns[i] for i in ids}, {i: said.imgToAnns[i] for i in ids})[0]


def main():
    predictions, references = sys.argv[1:]
    said, truth = captions(predictions), captions(references, "annotations")
    for _ in sys.stdin:
        start, used = time.perf_counter(), sum(os.times()[:4])
        totals = scores(truth, said)[0]
        seconds, used = time.perf_counter() - start, sum(os.times()[:4]) - used
        print(json.dumps({"seconds": seconds, "cpu": used, "totals": totals}), flush=True)


if __name__ == "__main__":
    main()
