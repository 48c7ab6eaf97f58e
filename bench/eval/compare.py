"""Holds Fourfold's caption metrics to pycocoevalcap's, lets both take turns, and writes eval.json and eval.md.

The race comes first, so that the machine's load then is other programs'. Fourfold is timed as a command, started anew each
time; pycocoevalcap stays started and has its captions in memory.
"""

import importlib.metadata
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import bad
import page
import reference
import sentences

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
RESULTS = HERE.parent / "results"
FILES = Path(os.environ.get("FILES", ROOT / "target" / "bench-eval")).resolve()
FOURFOLD = Path(os.environ.get("FOURFOLD") or ROOT / "target" / "release" / "fourfold").resolve()
DECODE = Path(os.environ.get("DECODE") or ROOT / "target" / "release" / "examples" / "decode").resolve()
TOKENIZE = Path(os.environ.get("TOKENIZE") or ROOT / "target" / "release" / "examples" / "tokenize").resolve()
ROUNDS = int(os.environ.get("ROUNDS", "5"))
RACED, SCORED, NOISY = 40_000, 20_000, 20_000
NEUTRAL = "cat"


def load():
    """Programs that want a core, on average of the last minute."""
    return round(os.getloadavg()[0], 2)


def busy():
    """Seconds that all cores together were busy since the machine started."""
    user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def ours(texts, neutral=None):
    """Fourfold's words of each text, as `reference.words` gives the other's."""
    lines = reference.lines(texts, neutral)
    said = subprocess.run([TOKENIZE], input="\n".join(lines) + "\n", capture_output=True, check=True, text=True).stdout
    said = said.split("\n")[: len(lines)]
    return [reference.split(line) for line in (said if neutral is None else said[::2])]


def score(predictions, references, *more):
    command = [FOURFOLD, "score", "--predictions", predictions, "--references", references, "--json", *more]
    said = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    return json.loads(said)["captions"]["model"]


def difference(left, right):
    return {metric: abs(left[metric] - right[metric]) for metric in reference.METRICS}


def race(pool):
    """Rounds of both in turn, a first one of each not counted; and how far their totals are apart."""
    predictions, references = sentences.write(sentences.images(pool, RACED, 1), FILES / "race")
    command = [sys.executable, HERE / "reference.py", predictions, references]
    theirs = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    seconds = {"fourfold": [], "pycocoevalcap": []}
    others = {"fourfold": [], "pycocoevalcap": []}
    for number in range(ROUNDS + 1):
        start, used, all_used = time.perf_counter(), sum(os.times()[2:4]), busy()
        totals = score(predictions, references)
        took, used, all_used = time.perf_counter() - start, sum(os.times()[2:4]) - used, busy() - all_used
        other = max(0.0, all_used - used) / took
        all_used = busy()
        theirs.stdin.write("\n")
        theirs.stdin.flush()
        line = theirs.stdout.readline()
        if not line:
            raise RuntimeError("pycocoevalcap ended; what it said is above")
        said = json.loads(line)
        print(f"round {number}: {took:.2f} s against {said['seconds']:.2f} s", flush=True)
        if number:
            seconds["fourfold"].append(round(took, 3))
            seconds["pycocoevalcap"].append(round(said["seconds"], 3))
            others["fourfold"].append(round(other, 2))
            others["pycocoevalcap"].append(round(max(0.0, busy() - all_used - said["cpu"]) / said["seconds"], 2))
    theirs.stdin.close()
    theirs.wait()
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "images": RACED,
        "seconds": medians,
        "ratio": round(medians["pycocoevalcap"] / medians["fourfold"], 2),
        "rounds": seconds,
        "cores_of_others": others,
        "totals_apart": difference(totals, said["totals"]),
    }


def tokens(found):
    """How many sentences have the same words, and every one that does not."""
    texts = [text for own in found.values() for text in own]
    apart, together = ours(texts, NEUTRAL), ours(texts)
    their_apart, their_together = reference.words(texts, NEUTRAL), reference.words(texts)
    rows, differ, at = [], [], 0
    for name, own in found.items():
        here = range(at, at + len(own))
        at = here.stop
        rows.append({
            "from": name,
            "sentences": len(own),
            "same_apart": sum(apart[i] == their_apart[i] for i in here),
            "same_together": sum(together[i] == their_together[i] for i in here),
        })
        for i in here:
            if apart[i] != their_apart[i]:
                differ.append({"text": texts[i], "read": "apart", "fourfold": apart[i], "pycocoevalcap": their_apart[i]})
            elif together[i] != their_together[i]:
                said = {"fourfold": together[i], "pycocoevalcap": their_together[i]}
                differ.append({"text": texts[i], "read": "together"} | said)
    return rows, differ


def metrics(name, rows):
    """How far the metrics of these captions are apart, and which captions have other words in Fourfold."""
    predictions, references = sentences.write(rows, FILES / "scored")
    samples = FILES / "scored.samples.jsonl"
    totals = score(predictions, references, "--force", "--samples", samples)
    each = {}
    for line in samples.read_text(encoding="utf-8").splitlines():
        sample = json.loads(line)
        each[int(sample["id"])] = sample["scores"]
    truth, said = reference.captions(references, "annotations"), reference.captions(predictions)
    their_totals, their_each, (truth, said) = reference.scores(truth, said)
    apart = [
        difference(each[i], {metric: their_each[metric][at] for metric in reference.METRICS}) for at, i in enumerate(truth)
    ]
    own = ours([candidate for candidate, _ in rows]), ours([text for _, texts in rows for text in texts])
    theirs = ([reference.split(line) for i in range(len(rows)) for line in lines[i]] for lines in (said, truth))
    same = [[left == right for left, right in zip(*pair, strict=True)] for pair in zip(own, theirs)]
    of_references = iter(same[1])
    other = [
        not all([alike, *itertools.islice(of_references, len(texts))]) for alike, (_, texts) in zip(same[0], rows)
    ]
    result = {
        "captions": name,
        "images": len(rows),
        "references": sum(len(texts) for _, texts in rows),
        "images_with_other_words": sum(other),
        "totals_apart": difference(totals, their_totals),
        "images_apart": {metric: max(row[metric] for row in apart) for metric in reference.METRICS},
        "images_beyond": sum(max(row.values()) > page.APART for row in apart),
    }
    return result, other


def everything(pool):
    """The metrics of aac-metrics' examples, and of images made of sentences: with and without other words."""
    rows = []
    for number in (1, 2):
        examples = [(candidate, texts) for candidate, texts, _ in sentences.aac(FILES, number)]
        rows.append(metrics(f"example {number} of aac-metrics", examples)[0])
    made = sentences.images(pool, SCORED, 2)
    result, other = metrics("made of sentences", made)
    rows.append(result)
    if any(other):
        left = [row for row, has in zip(made, other) if not has]
        rows.append(metrics("the same without images that have other words", left)[0])
    return rows


def described():
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=HERE)
    version = subprocess.run([FOURFOLD, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    java = subprocess.run(["java", "-version"], capture_output=True, text=True, check=True).stderr.splitlines()[0]
    packages = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("pycocoevalcap", "pycocotools", "numpy"))
    given = " (given by FOURFOLD, not built from it)" if os.environ.get("FOURFOLD") else ""
    return (
        f"{version} at {commit.stdout.strip() or 'an unknown commit'}{given}, {packages}, Python {platform.python_version()}, "
        f"{java.replace(chr(34), '')}"
    )


def decode():
    """Decoding with and without refill, and three beams, on this machine and as it was noted on others."""
    run = subprocess.run([DECODE, str(max(2, ROUNDS // 2))], capture_output=True, text=True, check=True)
    here = json.loads(run.stdout) | {"machine": page.machine(), "date": time.strftime("%Y-%m-%d")}
    elsewhere = sorted(RESULTS.glob("eval-decode-*.json"))
    return [here] + [json.loads(path.read_text(encoding="utf-8")) for path in elsewhere]


def main():
    # Before anything is written: it names the commit, and whether the tree is as committed.
    results = {"versions": described(), "machine": page.machine(), "load_before": load()}
    found = sentences.corpora(FILES)
    pool = found["glosses and examples of WordNet"] + found["descriptions and keywords of emoji"]
    results["speed"] = race(pool)
    results["load_after_race"] = load()
    results["tokens"], results["differ"] = tokens(found)
    real = list(found["captions of aac-metrics"]) + pool
    (results["noisy"],), differ = tokens({"marks put in": sentences.noisy(real, NOISY, 3)})
    results["differ"] += differ
    results["metrics"] = everything(pool)
    results["bad_input"] = bad.cases(FOURFOLD, FILES / "bad")
    results["decode"] = decode()
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(results, indent=1, ensure_ascii=False) + "\n"
    (RESULTS / "eval.json").write_text(text, encoding="utf-8")
    (RESULTS / "eval.md").write_text(page.page(results, ROUNDS), encoding="utf-8")
    print(RESULTS / "eval.md")


if __name__ == "__main__":
    main()
