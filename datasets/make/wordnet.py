"""WordNet: its glosses and examples as lines of text for a language model."""

import re
from pathlib import Path

import pyarrow as pa

import layout
from splits import order
from texts import normal

# Synsets that WordNet itself calls offensive, and words that have no place in a small model's mouth.
OFFENSIVE_GLOSS = re.compile(
    r"\b(ethnic slurs?|slurs?|offensive|obscen\w*|disparag\w*|derogatory|vulgar\w*|taboo|contemptuous\w*|pejorative"
    r"|sexual\w*|genital\w*|intercourse|masturbat\w*|copulat\w*|prostitut\w*|rapes?|raped|rapist|incest\w*|porno\w*"
    r"|penis|vagina\w*|erotic\w*|lewd\w*|suicid\w*|racis[mt]\w*|negro\w*|nazi\w*|orgasm\w*|lust\w*|brothels?)\b", re.I)
OFFENSIVE_WORD = re.compile(
    r"\b(fuck\w*|shit\w*|cunt\w*|nigg\w*|bitch\w*|whor\w*|slut\w*|fagg\w*|fag|dyke|kike|spic|gook|chink|wop|dago|cock"
    r"|prick|dick|twat|tits?|ass|arse\w*|asshole|bastard\w*|piss\w*|turd|crap\w*|damn\w*|screw|hump|whitey|honky|redskin"
    r"|darky|darkie|coon|jap|hun|kraut|wog|pansy|queer|retard\w*|cretin|moron\w*|tramp|hooker|strumpet|bugger\w*"
    r"|sodom\w*|pederast\w*|bondage|sadis\w*|hymie|sheeny|yid|limey|mick|paddy|polack|greaser|wetback|boche|jerry"
    r"|half-breed|half-caste|mulatto|quadroon|octoroon|pickaninny|squaw|coolie|kaffir|paki)\b", re.I)
SENTENCE = re.compile(r"[A-Za-z][A-Za-z0-9 ,;:'()\-/.%&!?]+")


def synsets(folder: Path) -> list[tuple[str, list[str], str]]:
    """Every synset of the database: its key, its words, its gloss (definition and quoted examples)."""
    found = []
    for part in ("noun", "verb", "adj", "adv"):
        for line in (folder / f"data.{part}").read_text("latin-1").splitlines():
            if line.startswith(" "):
                continue
            head, _, gloss = line.partition(" | ")
            fields = head.split(" ")
            words = [fields[4 + 2 * i] for i in range(int(fields[3], 16))]
            clean = [re.sub(r"\((a|p|ip)\)$", "", word).replace("_", " ") for word in words]
            found.append((f"{part}/{fields[0]}", clean, gloss.strip()))
    return found


def lines(key: str, words: list[str], gloss: str) -> list[str]:
    """A definition line "word: gloss." and each example that reads as a sentence; nothing for an offensive synset."""
    if OFFENSIVE_GLOSS.search(gloss) or any(OFFENSIVE_WORD.search(text) for text in (*words, gloss)):
        return []
    definition = re.split(r';?\s*"', gloss, maxsplit=1)[0].strip(" ;:")
    made = []
    word = f"to {words[0]}" if key.startswith("verb/") else words[0]
    if len(definition) >= 12 and SENTENCE.fullmatch(definition.lstrip("(")) and definition.count("(") == definition.count(")"):
        made.append(f"{word}: {definition}.")
    for example in re.findall(r'"([^"]+)"', gloss):
        text = example.strip(" ;,.")
        if len(text.split()) >= 5 and SENTENCE.fullmatch(text):
            made.append(text[0].upper() + text[1:] + ("" if text[-1] in "!?" else "."))
    return made


def write(package: Path, out: Path, never: set[str], limit: int) -> dict[str, int]:
    """Write `train.parquet` and `valid.parquet` (one synset in a hundred); returns rows by split.

    Texts whose normal form is in `never` (test captions) are left out, and repeated ones. At most `limit` bytes of text
    are kept, synsets in hash order.
    """
    seen, kept, total = set(never), {"train": [], "valid": []}, 0
    for key, words, gloss in sorted(synsets(package / "usr" / "share" / "wordnet"), key=lambda s: order("wordnet", s[0])):
        for text in lines(key, words, gloss):
            if normal(text) in seen:
                continue
            seen.add(normal(text))
            total += len(text)
            if total > limit:
                break
            kept["valid" if order("valid", key)[0] * 256 + order("valid", key)[1] < 655 else "train"].append(text)
    for split, texts in kept.items():
        layout.write(out / f"wordnet-{split}.parquet", {"text": (pa.string(), texts)},
                     {"text": "WordNet 3.0 glosses and examples (WordNet licence)"}, 8192)
    return {split: len(texts) for split, texts in kept.items()}
