"""The models that are raced, in numbers, and the documents of a step. `fourfold bench --model` has the same ones."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Vision:
    width: int
    inner: int
    layers: int
    heads: int
    image: int
    patch: int
    channels: int = 3

    @property
    def patches(self):
        """Pixels behind the last whole patch count for nothing."""
        return (self.image // self.patch) ** 2


@dataclass(frozen=True)
class Language:
    # Its class in `transformers`: "llama", or "qwen2" with biases at queries, keys and values.
    family: str
    width: int
    inner: int
    layers: int
    heads: int
    key_value_heads: int
    vocabulary: int
    positions: int
    theta: float
    epsilon: float

    @property
    def head_width(self):
        return self.width // self.heads


@dataclass(frozen=True)
class Geometry:
    name: str
    title: str
    vision: Vision
    # A visual token is made of so many patches squared, by one matrix, or by two with a GELU between.
    block: int
    projector_layers: int
    language: Language
    # Samples of a step on a GPU and on a CPU. On a GPU both sides hold their memory at once and are to fit into 80 GB: with
    # all of it training, `fourfold plan` foresees 17 and 26 GiB for Fourfold, and eager PyTorch keeps about 36 and 33 GiB
    # (its tensors forwards, counted without a GPU, with weights, moments and the logits' gradients; not yet run on a GPU).
    gpu_batch: int
    cpu_batch: int

    @property
    def visual_tokens(self):
        return self.vision.patches // self.block**2


GEOMETRIES = {
    "222m": Geometry(
        name="222m",
        title="222 M model (SigLIP-B/16 at 224 pixels, SmolLM2-135M)",
        vision=Vision(width=768, inner=3072, layers=12, heads=12, image=224, patch=16),
        block=2,
        projector_layers=1,
        language=Language(
            family="llama",
            width=576,
            inner=1536,
            layers=30,
            heads=9,
            key_value_heads=3,
            vocabulary=49152,
            positions=8192,
            theta=100000.0,
            epsilon=1e-5,
        ),
        gpu_batch=128,
        cpu_batch=16,
    ),
    # The backbones and the projector of recipes/fourfold-0.9b.toml.
    "0.9b": Geometry(
        name="0.9b",
        title="0.9 B model (SigLIP so400m at 384 pixels, Qwen2.5-0.5B)",
        vision=Vision(width=1152, inner=4304, layers=27, heads=16, image=384, patch=14),
        block=3,
        projector_layers=2,
        language=Language(
            family="qwen2",
            width=896,
            inner=4864,
            layers=24,
            heads=14,
            key_value_heads=2,
            vocabulary=151936,
            positions=32768,
            theta=1000000.0,
            epsilon=1e-6,
        ),
        gpu_batch=12,
        cpu_batch=4,
    ),
}

# Tokens of text that the samples of a step have, each after its image, over and over; the second half of each are targets.
TEXTS = [12, 18, 25, 9, 31, 22, 14, 40, 17, 11, 28, 20, 35, 16, 13, 24]


def texts(batch):
    return [TEXTS[number % len(TEXTS)] for number in range(batch)]


# The parts that learn in each work, by the names of their modules.
TRAINS = {
    "vlm-all": ("vision", "projector", "language"),
    "vlm-frozen-language": ("vision", "projector"),
    "vlm-projector": ("projector",),
}
