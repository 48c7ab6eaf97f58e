"""Which races there are, and by how much each is to be won."""

from dataclasses import dataclass

from geometry import GEOMETRIES, TRAINS

TRAINING = ["f32", "f32-medium", "bf16", "bf16-compile"]
# What runs without training can be in 16 bits throughout; those who generate do so.
INFERENCE = ["f32", "f32-medium", "bf16", "bf16-compile", "bf16-pure", "bf16-pure-compile"]
GENERATION = ["f32", "bf16", "bf16-pure"]

# On a CPU: (work, precision of Fourfold) -> opponents and the ratio that each is to be beaten by.
ON_CPU = {
    ("gpt", "bf16"): [(mode, 1.8 if mode == "bf16-compile" else None) for mode in TRAINING],
    ("gpt", "f32"): [("f32", 2.0), ("f32-medium", 1.25)],
    ("vit-b-16", "bf16"): [(mode, 1.4 if mode == "bf16-compile" else None) for mode in INFERENCE],
    ("vlm-all", "bf16"): [(mode, 2.5) for mode in TRAINING],
    ("vlm-frozen-language", "bf16"): [(mode, 2.8) for mode in TRAINING],
    ("vlm-projector", "bf16"): [(mode, 3.2) for mode in TRAINING],
    ("caption-1", "bf16"): [(mode, 2.0) for mode in GENERATION],
    ("caption-16", "bf16"): [(mode, 2.0) for mode in GENERATION],
}
# On a GPU, against compiled PyTorch in the same format.
ON_GPU = {"vlm-all": 1.0, "vlm-frozen-language": 1.3, "vlm-projector": 1.3}
# Of what a GPU can compute, Fourfold is to use this share on the large model.
MFU_BARS = {"0.9b": 0.45}
# Peak memory of the steps of the 222 M model is to be at most this share of the fastest opponent's.
MEMORY_BARS = {"222m": 0.6}


@dataclass(frozen=True)
class Race:
    geometry: str
    batch: int
    work: str
    precision: str
    # PyTorch's; `page.py` says what each means.
    mode: str
    # The ratio that is wanted; `of_best` if only where this mode is PyTorch's fastest.
    bar: float | None
    of_best: bool = False

    @property
    def heading(self):
        """What the races of one table have in common."""
        return self.geometry, self.batch, self.work, self.precision


def on_cpu(geometry, batch):
    for (work, precision), opponents in ON_CPU.items():
        trains = work in TRAINS
        # The bars are those of the smaller model, and the other works do not come in two sizes.
        if geometry != "222m" and not trains:
            continue
        for mode, bar in opponents:
            of_best = work not in ("gpt", "vit-b-16")
            yield Race(geometry, batch, work, precision, mode, bar if geometry == "222m" else None, of_best)


def on_gpu(geometry, batch):
    for work, bar in ON_GPU.items():
        for precision in ("bf16", "fp16"):
            yield Race(geometry, batch, work, precision, precision, None)
            yield Race(geometry, batch, work, precision, f"{precision}-compile", bar)


def races(device, geometries, batch=None, works=None, precision=None):
    """All of `device` on these geometries, or those of some works and one of Fourfold's precisions."""
    gpu = device != "cpu"
    for name in geometries:
        geometry = GEOMETRIES[name]
        size = batch or (geometry.gpu_batch if gpu else geometry.cpu_batch)
        for race in (on_gpu if gpu else on_cpu)(name, size):
            if (not works or race.work in works) and (not precision or race.precision == precision):
                yield race
