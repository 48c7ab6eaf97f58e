"""Splits: which drawings are for training and which are kept for the two tests. By concept, seeded by hash."""

import hashlib
from collections import Counter, defaultdict

from concepts import VENDORS, Concept

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


def draw(candidates: list[Concept], total: int, sizes: dict[str, int], tag: str) -> list[Concept]:
    """About `total` of the candidates, every group in its proportion, in hash order."""
    by_group = defaultdict(list)
    for concept in sorted(candidates, key=lambda c: order(tag, c.hexcode)):
        by_group[concept.group].append(concept)
    return [c for group, share in sorted(quotas(sizes, total).items()) for c in by_group[group][:share]]


def assign(concepts: list[Concept], alone: set[tuple[str, str]], unique_text: set[str]) -> dict[tuple[str, str], str]:
    """The split of every drawing `(hexcode, vendor)`.

    `alone` holds the drawings that no other drawing is nearly equal to: only these may be tested, else the training
    data would hold the test's picture. `unique_text` holds the concepts all of whose texts are theirs alone: only
    these may become test concepts, else training would hold the test's captions.
    """
    sizes = Counter(concept.group for concept in concepts)
    split = {(c.hexcode, v): "train" for c in concepts for v in c.drawings}

    unseen = [c for c in concepts if c.hexcode in unique_text and all((c.hexcode, v) in alone for v in c.drawings)]
    chosen = draw(unseen, TEST_CONCEPTS, sizes, "concept")
    for concept in chosen:
        for vendor in concept.drawings:
            split[concept.hexcode, vendor] = "test-concept"

    taken = {concept.hexcode for concept in chosen}
    seen = [c for c in concepts if c.hexcode not in taken and len(c.drawings) == len(VENDORS)
            and any((c.hexcode, v) in alone for v in VENDORS)]
    held = Counter({vendor: 0 for vendor in VENDORS})
    for concept in sorted(draw(seen, TEST_STYLES, sizes, "style"), key=lambda c: order("vendor", c.hexcode)):
        fit = [v for v in VENDORS if (concept.hexcode, v) in alone]
        vendor = min(fit, key=lambda v: (held[v], order("tie", f"{concept.hexcode}/{v}")))
        held[vendor] += 1
        split[concept.hexcode, vendor] = "test-style"
    return split
