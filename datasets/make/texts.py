"""Texts: the short name, a sentence from the keywords, the written description of each concept."""

import re
import unicodedata
from collections import Counter
from pathlib import Path

from concepts import Concept

QUOTES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2212": "-"})
WORD = re.compile(r"[A-Za-z][A-Za-z' -]*[A-Za-z]")
MAX_KEYWORDS = 6

# Keywords that say nothing of the picture, or that nobody wants to hear as a caption: chat shorthand and slurs.
LEFT_OUT = frozenset(
    "143 ily omg lol lmao rofl wtv smh brb btw tbt idk fml tmi bff xoxo bae ikr sms cya gtg omw jel awk af lit bs "
    "bet thx ttyl ass jew 5-0 not whatever feels over epic dead lust drunk flirt dating horny sexy sex sexual".split())


def ascii_only(text: str) -> str:
    """`text` with curly quotes made straight and accents dropped."""
    plain = unicodedata.normalize("NFKD", text.translate(QUOTES))
    return "".join(c for c in plain if c.isascii())


def normal(text: str) -> str:
    """The form in which two texts count as the same: lower case, letters and digits only."""
    return re.sub(r"[^a-z0-9]+", " ", text.lower()).strip()


def keywords(concept: Concept) -> list[str]:
    """The usable keywords of a concept. A flag's only keyword besides "flag" is a country code: its country replaces it."""
    if concept.subgroup in ("country-flag", "subdivision-flag"):
        return ["flag", ascii_only(concept.label).removeprefix("flag: ")]
    words = []
    for tag in concept.tags:
        word = ascii_only(tag)
        if WORD.fullmatch(word) and word.lower() not in LEFT_OUT and word not in words:
            words.append(word)
    return words


def keyword_sentences(concepts: list[Concept]) -> dict[str, str]:
    """One sentence a concept, its commonest keywords first so that it goes from the general to the particular."""
    common = Counter(word for concept in concepts for word in keywords(concept))
    sentences = {}
    for concept in concepts:
        words = sorted(keywords(concept), key=lambda word: (-common[word], word)) or [ascii_only(concept.label)]
        words = words[:MAX_KEYWORDS]
        listed = words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]
        sentences[concept.hexcode] = f"A picture about {listed}."
    return sentences


def descriptions(path: Path, concepts: list[Concept]) -> dict[str, str]:
    """The written descriptions by hexcode, from lines `hexcode<TAB>description`; '#' begins a comment line."""
    found = {}
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        fields = line.split("\t")
        if len(fields) != 2 or fields[0] in found:
            raise SystemExit(f"{path}:{number}: expected a new hexcode, a tab and a description")
        found[fields[0]] = fields[1]
    wanted = {concept.hexcode for concept in concepts}
    if missing := sorted(wanted - found.keys()):
        raise SystemExit(f"{path}: no description for {', '.join(missing[:10])} ({len(missing)} in all)")
    if unknown := sorted(found.keys() - wanted):
        raise SystemExit(f"{path}: no such concept: {', '.join(unknown[:10])} ({len(unknown)} in all)")
    return found
