"""Colours: how much of a drawing has which named colour, for questions whose answer nobody would dispute."""

import numpy as np

from pictures import Picture

NAMES = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "gray", "white", "unclear")
# Colours no question asks for: white cannot be told from the page; tans and dark muted tones have no one name.
UNASKED = ("white", "unclear")
# What a viewer may also call "some red": a question about a colour is only asked where its neighbours are absent too.
NEIGHBORS = {
    "red": ("orange", "pink", "brown", "purple", "unclear"),
    "yellow": ("orange", "brown", "green", "unclear"),
    "green": ("yellow", "blue"),
    "blue": ("green", "purple", "gray"),
}


def named(rgb: np.ndarray) -> np.ndarray:
    """The index in `NAMES` of each pixel of [..., 3] uint8. Hues are whole degrees, borders in hue, saturation, value."""
    r, g, b = (rgb[..., i].astype(np.int32) for i in range(3))
    high, low = np.maximum(np.maximum(r, g), b), np.minimum(np.minimum(r, g), b)
    spread = high - low
    safe = np.maximum(spread, 1)
    hue = np.where(high == r, (60 * (g - b)) // safe,
                   np.where(high == g, 120 + (60 * (b - r)) // safe, 240 + (60 * (r - g)) // safe)) % 360
    saturation = 100 * spread // np.maximum(high, 1)
    value = 100 * high // 255

    def name(text: str) -> int:
        return NAMES.index(text)

    out = np.full(hue.shape, name("red"))
    out[(hue >= 14) & (hue < 40)] = name("orange")
    out[(hue >= 40) & (hue < 68)] = name("yellow")
    out[(hue >= 68) & (hue < 170)] = name("green")
    out[(hue >= 170) & (hue < 255)] = name("blue")
    out[(hue >= 255) & (hue < 300)] = name("purple")
    out[(hue >= 300) & (hue < 345)] = name("pink")
    out[((hue >= 345) | (hue < 14)) & (saturation < 55) & (value > 75)] = name("pink")
    out[(hue >= 8) & (hue < 46) & (saturation < 62)] = name("unclear")
    out[((hue >= 345) | (hue < 46)) & (value < 72) & (saturation >= 20)] = name("brown")
    out[((hue >= 348) | (hue < 5)) & (value < 72) & (value >= 45) & (saturation >= 72)] = name("red")
    out[(value < 45) & (saturation < 50)] = name("unclear")
    out[(saturation < 14) | ((saturation < 34) & (hue >= 165) & (hue < 300) & (value >= 45))] = name("gray")
    out[(saturation < 12) & (value >= 88)] = name("white")
    out[(value < 24)] = name("black")
    return out


def shares(picture: Picture) -> dict[str, float]:
    """The part of the drawn area (alpha above one half) that has each colour."""
    drawn = picture.alpha > 127
    count = np.bincount(named(picture.rgb[drawn]), minlength=len(NAMES))
    return {name: float(count[i]) / max(int(drawn.sum()), 1) for i, name in enumerate(NAMES)}


def main_color(share: dict[str, float]) -> str | None:
    """The colour of at least 55 % of the drawing and of at least thrice the next one's area, if it is one to ask for."""
    first, second = sorted(share, key=lambda name: (-share[name], name))[:2]
    clear = share[first] >= 0.55 and share[first] >= 3 * share[second]
    return first if clear and first not in UNASKED else None


def has_color(share: dict[str, float], color: str) -> bool | None:
    """Whether the drawing has the colour: yes from 15 % on, no if it and its neighbours are all but absent, else unsure."""
    if share[color] >= 0.15:
        return True
    if share[color] <= 0.003 and all(share[name] <= 0.03 for name in NEIGHBORS[color]):
        return False
    return None
