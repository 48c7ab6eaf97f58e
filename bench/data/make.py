"""Makes the files that the data loaders race over: `python make.py FOLDER [COUNT]`; needs numpy and Pillow.

JPEGs with the size, the file length and the kind of content of COCO's photographs, about 500 by 375 pixels in 40 to 80 KB:
light that changes smoothly, textures whose spectrum falls as that of photographs does, things with edges, and the noise of
a sensor; quality 90, colours at half the resolution, baseline, one in 32 progressive. `captions.jsonl` has a row for each
in Fourfold's layout, `{"image": file, "text": caption}`, captions as long as those that LLaVA is aligned with. The same
seed gives the same pixels; COUNT is 512 when absent.
"""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SEED = 20
SIZES = [(500, 375)] * 5 + [(375, 500)] * 2 + [(500, 333), (480, 360), (500, 400)]
QUALITY = 90
THINGS = "dog cat bus train kite bench pizza horse clock boat bicycle umbrella laptop zebra vase child man woman".split()
KINDS = "small large red blue old wooden shiny striped wet dark bright white".split()
PLACES = "on a table,in the street,near the water,in a field of grass,under a tree,beside a window,in front of a house,at night".split(",")
ACTS = "standing,lying,parked,resting,waiting,seen from above,half hidden,covered in snow".split(",")


def texture(random, height, width, slope):
    """Noise whose amplitude falls with frequency to the power of `slope`, of deviation 1."""
    down, across = np.meshgrid(np.fft.fftfreq(height), np.fft.rfftfreq(width), indexing="ij")
    frequency = np.maximum(np.hypot(down, across), 1 / max(height, width))
    spectrum = np.fft.rfft2(random.standard_normal((height, width))) / frequency**slope
    spectrum[0, 0] = 0
    made = np.fft.irfft2(spectrum, s=(height, width))
    return made / made.std()


def photograph(random, size):
    width, height = size
    light = texture(random, height, width, 2.2)
    # Each thing has a brightness, a colour and a texture of its own within a sharp outline.
    color = random.uniform(60, 190, 3)[None, None] + 45 * light[..., None] * random.uniform(0.6, 1.2, 3)
    for _ in range(random.integers(4, 12)):
        mask = Image.new("L", (width, height))
        draw = ImageDraw.Draw(mask)
        center, radius = random.uniform(0, 1, 2) * size, random.uniform(20, 140, 2)
        if random.random() < 0.5:
            draw.ellipse([*(center - radius), *(center + radius)], fill=255)
        else:
            corners = center + random.uniform(-1, 1, (random.integers(3, 8), 2)) * radius
            draw.polygon([tuple(corner) for corner in corners], fill=255)
        inside = np.asarray(mask)[..., None] / 255
        own = random.uniform(20, 235, 3) + 25 * texture(random, height, width, random.uniform(1.0, 1.8))[..., None]
        color = color * (1 - inside) + own * inside
    color += random.uniform(10, 22) * texture(random, height, width, random.uniform(0.9, 1.3))[..., None]
    color += random.normal(0, 2.5, color.shape)
    return Image.fromarray(np.clip(color, 0, 255).astype(np.uint8))


def caption(random):
    def thing():
        return f"a {random.choice(KINDS)} {random.choice(THINGS)}"

    parts = [f"{thing()} {random.choice(ACTS)} {random.choice(PLACES)}" for _ in range(random.integers(1, 4))]
    return " and ".join(parts) + "."


def main():
    folder, count = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 512
    folder.mkdir(parents=True, exist_ok=True)
    rows, length = [], 0
    for number in range(count):
        random = np.random.default_rng([SEED, number])
        size = SIZES[random.integers(len(SIZES))]
        name = f"{number:06}.jpg"
        photograph(random, size).save(
            folder / name, quality=QUALITY, subsampling="4:2:0", progressive=number % 32 == 31
        )
        length += (folder / name).stat().st_size
        rows.append(json.dumps({"image": name, "text": caption(random)}))
    (folder / "captions.jsonl").write_text("\n".join(rows) + "\n")
    print(f"{count} JPEGs of {length / count / 1e3:.1f} KB on average in {folder}")


if __name__ == "__main__":
    main()
