"""The page of the results, eval.md."""

import difflib
import os
import platform
import statistics
import time
from pathlib import Path

APART, RATIO, SENTENCES, REFILL, BEAMS = 1e-6, 20.0, 20_000, 1.5, 3.5
NAMES = {
    "bleu1": "BLEU-1", "bleu2": "BLEU-2", "bleu3": "BLEU-3", "bleu4": "BLEU-4", "rouge_l": "ROUGE-L", "cider_d": "CIDEr-D"
}
# Differences that the page lists; eval.json has all.
LISTED = 30


def machine():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"


def verdict(held):
    return "held" if held else "**missed**"


def code(text):
    """Text as it is in a cell of a table; ␣ is a no-break space."""
    text = text.replace("|", "\\|").replace("\u00a0", "␣").replace("\u00ad", "⟨soft hyphen⟩")
    if not text.strip():
        return ""
    fence = "``" if "`" in text else "`"
    return f"{fence} {text} {fence}" if fence == "``" else f"`{text}`"


def changed(left, right):
    """The words of each that the other has not, in groups."""
    groups = difflib.SequenceMatcher(None, left, right, autojunk=False).get_opcodes()
    groups = [group for group in groups if group[0] != "equal"]
    return (
        " … ".join(" ".join(left[a:b]) or "(none)" for _, a, b, _, _ in groups),
        " … ".join(" ".join(right[c:d]) or "(none)" for _, _, _, c, d in groups),
    )


def token_lines(results):
    rows, noisy = results["tokens"], results["noisy"]
    total = {key: sum(row[key] for row in rows) for key in ("sentences", "same_apart", "same_together")}
    same = total["sentences"] == total["same_apart"] == total["same_together"]
    lines = [
        "",
        "## Words",
        "",
        "Sentences, each once, as `fourfold_eval::tokenize` and pycocoevalcap's `PTBTokenizer` split them. The latter "
        "reads all captions as one text, so that a caption's words may hang on the next caption: once a line `cat` stands "
        "behind each sentence (apart), once they follow one another, as when captions are scored (together). "
        f"Wanted: at least {SENTENCES:,} sentences, all the same "
        f"({verdict(same and total['sentences'] >= SENTENCES)}). Beside them, and not counted in: captions, descriptions and "
        "glosses in which one to three marks were put, swapped or taken out at random places.",
        "",
        "| sentences from | sentences | same words, apart | same words, together | differ, apart | differ, together |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for row in rows + [{"from": "all"} | total, noisy]:
        lines.append(
            f"| {row['from']} | {row['sentences']} | {row['same_apart']} | {row['same_together']} "
            f"| {row['sentences'] - row['same_apart']} | {row['sentences'] - row['same_together']} |"
        )
    if not results["differ"]:
        return lines
    listed = results["differ"][:LISTED]
    lines += [
        "",
        f"Differences, the first {len(listed)} of {len(results['differ'])} (eval.json has all), real sentences before those "
        "with marks put in. Only words are shown that the other has not.",
        "",
        "| sentence | differs | pycocoevalcap | Fourfold |",
        "|---|---|---|---|",
    ]
    for case in listed:
        theirs, ours = changed(case["pycocoevalcap"], case["fourfold"])
        lines.append(f"| {code(case['text'])} | {case['read']} | {code(theirs)} | {code(ours)} |")
    return lines


def metric_lines(rows):
    lines = [
        "",
        "## Metrics",
        "",
        "The largest absolute difference between `fourfold score` and pycocoevalcap through its own tokenizer, of all "
        "images together and of a single one (`--samples`). An example of aac-metrics has a candidate and five references a "
        "row; the others are images of five sentences of WordNet and of emoji's texts, where the candidate is the first with "
        "one word replaced: as they come, and without the images that have a caption with other words (see Words). "
        "CIDEr-D weighs words by the references of all images, so that one such caption moves the scores of others too. "
        f"Wanted: at most {APART:.0e}.",
        "",
        "| captions | images | with other words | score of | " + " | ".join(NAMES.values()) + " | wanted |",
        "|---|--:|--:|---|" + "--:|" * len(NAMES) + "---|",
    ]
    for row in rows:
        for which, name in (("totals_apart", "all"), ("images_apart", "an image")):
            apart = row[which]
            cells = " | ".join(f"{apart[metric]:.1e}" for metric in NAMES)
            beyond = f", {row['images_beyond']} images" if which == "images_apart" and row["images_beyond"] else ""
            lines.append(
                f"| {row['captions']} | {row['images']} | {row['images_with_other_words']} | {name} | {cells} "
                f"| {verdict(max(apart.values()) <= APART)}{beyond} |"
            )
    return lines


def bad_lines(rows):
    lines = [
        "",
        "## Bad input",
        "",
        "Three images of two references. pycocoevalcap: `COCO`, `loadRes`, then what `COCOEvalCap.evaluate` does, without "
        "METEOR and SPICE. What ends a line in the middle of a caption moves pycocoevalcap's later captions to the wrong "
        "images, in silence; a newline alone it replaces.",
        "",
        "| what is wrong | Fourfold | pycocoevalcap |",
        "|---|---|---|",
    ]
    return lines + [f"| {row['wrong']} | {row['fourfold']} | {row['pycocoevalcap']} |" for row in rows]


def speed_lines(results, rounds):
    speed = results["speed"]
    fourfold, theirs = (speed["seconds"][name] for name in ("fourfold", "pycocoevalcap"))
    apart = max(speed["totals_apart"].values())
    why = ", by captions with other words" if apart > APART else ""
    each = "; ".join(f"{name} {' '.join(f'{value:.2f}' for value in values)}" for name, values in speed["rounds"].items())
    others = "; ".join(f"{name} {' '.join(map(str, values))}" for name, values in speed["cores_of_others"].items())
    busy = max(value for values in speed["cores_of_others"].values() for value in values) > 0.1
    busy = ", which slows both and makes the ratio uncertain" if busy else ""
    return [
        "",
        "## Speed",
        "",
        f"{speed['images']} images of five references, medians of {rounds} rounds in turn. Fourfold: the whole command, "
        "which reads JSON, splits captions into words, scores BLEU, CIDEr-D and ROUGE-L and draws the intervals. pycocoevalcap: "
        "tokenizer, `Bleu(4)`, `Cider` and `Rouge`, with Python started and captions in memory.",
        "",
        "| Fourfold | pycocoevalcap | ratio | wanted |",
        "|--:|--:|--:|---|",
        f"| {fourfold:.2f} s | {theirs:.2f} s | {speed['ratio']:.1f} | {RATIO:.0f}: {verdict(speed['ratio'] >= RATIO)} |",
        "",
        f"Rounds in seconds: {each}. Cores that other programs kept busy meanwhile: {others}{busy}. Load "
        f"{results['load_before']:.1f} before the race, {results['load_after_race']:.1f} after it (the race itself among it). "
        f"Totals are apart by at most {apart:.1e}{why}.",
    ]


def decode_lines(machines):
    lines = [
        "",
        "## Decoding",
        "",
        "SigLIP-B/16 with SmolLM2-135M, weights random (`cargo run --release -p fourfold-train --example decode`); medians of "
        "rounds in turn, prompts included, the images encoded before. 320 answers to open questions have 48 tokens on "
        "average, at most 256, five questions to an image; 128 captions 4 to 18, one to an image. Without refill, all that "
        "began together have to be complete before others begin. Three beams and one line say 24 tokens to 42 prompts.",
        "",
        "| machine | answers | side by side | with | without | ratio | wanted |",
        "|---|---|--:|--:|--:|--:|---|",
    ]
    for machine in machines:
        seconds = {case["name"]: statistics.median(case["seconds"]) for case in machine["cases"]}
        where = f"{machine['machine']}, {machine['precision'].lower()}, {machine['date']}"
        where += f" ({machine['note']})" if "note" in machine else ""
        for kind, wanted in (("open", REFILL), ("captions", None)):
            for sequences in (16, 64):
                refill, waits = (seconds.get(f"{kind}, {how}, {sequences}") for how in ("refill", "no refill"))
                if refill is None:
                    continue
                judged = f"{wanted}: {verdict(waits / refill >= wanted)}" if wanted else ""
                lines.append(
                    f"| {where} | {kind}, refill | {sequences} | {refill:.2f} s | {waits:.2f} s | {waits / refill:.2f} "
                    f"| {judged} |"
                )
        beams, greedy = seconds["three beams, 24 tokens"], seconds["greedy, 24 tokens"]
        judged = f"at most {BEAMS}: {verdict(beams / greedy <= BEAMS)}"
        lines.append(
            f"| {where} | three beams | 64 | {beams:.2f} s | {greedy:.2f} s | {beams / greedy:.2f} | {judged} |"
        )
    return lines


def page(results, rounds):
    lines = [
        "# Metrics and decoding",
        "",
        f"Machine: {results['machine']}. {results['versions']}. Written by `bench/eval/run` on {time.strftime('%Y-%m-%d')}.",
    ]
    lines += metric_lines(results["metrics"]) + speed_lines(results, rounds)
    lines += decode_lines(results["decode"])
    lines += bad_lines(results["bad_input"]) + token_lines(results)
    return "\n".join(lines) + "\n"
