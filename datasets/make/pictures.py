"""Pictures: every drawing as 64x64 RGB on white, stored without loss."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 64


@dataclass(frozen=True)
class Picture:
    """One drawing: `rgb` is [64, 64, 3] as a viewer sees it on white, `alpha` [64, 64] says what is drawn at all."""

    rgb: np.ndarray
    alpha: np.ndarray
    webp: bytes

    @property
    def hash(self) -> str:
        """Hash of the decoded pixels: equal for equal pictures, however they are encoded."""
        return hashlib.sha256(self.rgb.tobytes()).hexdigest()


def load(path: Path) -> Picture:
    """Read a drawing, scale it to 64 px (premultiplied Lanczos), lay it on white, encode it as lossless WebP."""
    with Image.open(path) as image:
        drawn = image.convert("RGBA")
    if drawn.size != (SIDE, SIDE):
        drawn = drawn.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    page = Image.new("RGBA", drawn.size, "white")
    page.alpha_composite(drawn)
    flat = page.convert("RGB")
    out = io.BytesIO()
    flat.save(out, "WEBP", lossless=True, quality=100, method=6)
    return Picture(np.asarray(flat).copy(), np.asarray(drawn)[..., 3].copy(), out.getvalue())


def nearest(queries: np.ndarray, keys: np.ndarray, skip_self: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """For each query picture the nearest key by squared pixel difference.

    Both are [pictures, pixels], uint8. Returns the key's index and the mean absolute difference per value (0..255),
    both [queries]. `skip_self` leaves out the key of the same index.
    """
    keys32 = keys.astype(np.float32)
    norms = (keys32 * keys32).sum(1)
    index = np.empty(len(queries), np.int64)
    for start in range(0, len(queries), 512):
        block = queries[start:start + 512].astype(np.float32)
        distance = norms[None] - 2.0 * block @ keys32.T
        if skip_self:
            rows = np.arange(len(block))
            distance[rows, start + rows] = np.inf
        index[start:start + 512] = distance.argmin(1)
    difference = np.array([np.abs(q.astype(np.int16) - keys[k]).mean() for q, k in zip(queries, index)])
    return index, difference
