"""Splits: which drawings are for training and which are kept for the two tests. By concept, seeded by hash.

Training must hold a test concept in no form: of a man who is a scientist it would learn what to say of a woman who is.
So the concepts of one family (`families.py`) are kept out together.
"""

import hashlib
from collections import Counter, defaultdict

from concepts import VENDORS, Concept
from families import family

SEED = "fourfold-1"
TEST_CONCEPTS = 150
TEST_STYLES = 450


def order(tag: str, key: str) -> bytes:
    """A pseudo-random sort key that depends on nothing but its arguments and the seed."""
    return hashlib.sha256(f"{SEED}/{tag}/{key}".encode()).digest()


def quotas(sizes: dict[str, int], total: int) -> dict[str, int]:
    """`total` shared out over groups in proportion to their sizes (largest remainder)."""
    whole = sum(sizes.values())
    exact = {group: total * size / whole for group, size in sizes.items()}
    shares = {group: int(x) for group, x in exact.items()}
    rest = sorted(exact, key=lambda group: (shares[group] - exact[group], group))
    for group in rest[:total - sum(shares.values())]:
        shares[group] += 1
    return shares


def draw(families: list[list[Concept]], total: int, sizes: dict[str, int], tag: str) -> list[Concept]:
    """About `total` concepts by whole families in hash order, every group in its proportion.

    A family that is larger than what is left of its group's share is passed over.
    """
    left = quotas(sizes, total)
    chosen = []
    for members in sorted(families, key=lambda f: order(tag, f[0].hexcode)):
        if len(members) <= left[members[0].group]:
            left[members[0].group] -= len(members)
            chosen += members
    return chosen


def assign(concepts: list[Concept], alone: set[tuple[str, str]], unique_text: set[str]) -> dict[tuple[str, str], str]:
    """The split of every drawing `(hexcode, vendor)`.

    `alone` holds the drawings that no other drawing is nearly equal to: only these may be tested, else the training
    data would hold the test's picture. `unique_text` holds the concepts all of whose texts are theirs alone: only
    these may become test concepts, else training would hold the test's captions.
    """
    sizes = Counter(concept.group for concept in concepts)
    split = {(c.hexcode, v): "train" for c in concepts for v in c.drawings}

    unseen = {c.hexcode for c in concepts if c.hexcode in unique_text and all((c.hexcode, v) in alone for v in c.drawings)}
    families = defaultdict(list)
    for concept in concepts:
        families[family(concept.hexcode)].append(concept)
    whole = [members for members in families.values() if unseen.issuperset(c.hexcode for c in members)]
    chosen = draw(whole, TEST_CONCEPTS, sizes, "concept")
    for concept in chosen:
        for vendor in concept.drawings:
            split[concept.hexcode, vendor] = "test-concept"

    taken = {concept.hexcode for concept in chosen}
    seen = [c for c in concepts if c.hexcode not in taken and len(c.drawings) == len(VENDORS)
            and any((c.hexcode, v) in alone for v in VENDORS)]
    held = Counter({vendor: 0 for vendor in VENDORS})
    for concept in sorted(draw([[c] for c in seen], TEST_STYLES, sizes, "style"), key=lambda c: order("vendor", c.hexcode)):
        fit = [v for v in VENDORS if (concept.hexcode, v) in alone]
        vendor = min(fit, key=lambda v: (held[v], order("tie", f"{concept.hexcode}/{v}")))
        held[vendor] += 1
        split[concept.hexcode, vendor] = "test-style"
    return split
