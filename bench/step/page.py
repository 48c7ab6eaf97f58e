"""The page of the race: step.md."""

from geometry import GEOMETRIES, TRAINS
from races import MEMORY_BARS, MFU_BARS

LEGEND = """\
Ratios are times of PyTorch over times of Fourfold in the same race: above 1 Fourfold is faster. *Wanted* is what this
project set out to reach before the first race{without_amx}; *memory* is Fourfold's peak over PyTorch's,
below 1 Fourfold takes less. PyTorch's modes: `f32`; `f32-medium`, f32 with `set_float32_matmul_precision("medium")`,
which allows products in 16 bits; `bf16` and `fp16`, autocast; `pure`, weights and all else in bf16, for what does not
train; `compile`, `torch.compile`. All use `scaled_dot_product_attention`, the fused AdamW and as many threads as cores.
"""
GPU_LEGEND = """\
Both programs hold their memory on the GPU at once; their peaks are what their tensors had at most, without what allocators
keep. In fp16 PyTorch scales its loss and looks for overflows, which Fourfold's benchmark leaves to its training.
"""
MODELS = """\
The 222 M model has the shape of SigLIP-B/16 at 224 pixels, a projector that makes 49 tokens of an image, and the shape of
SmolLM2-135M; the 0.9 B model (917 M) those of SigLIP so400m at 384 pixels, 81 tokens an image, and Qwen2.5-0.5B. All
weights are random. Each sample is an image with a text of 9 to 40 tokens, of which the second half is learnt; *tokens* are
visual ones and those of texts. PyTorch pads texts to the longest, as its users do; padding counts as no token.
"""
MFU = """\
*MFU* is the operations that the step needs (`bench/step/flops.py`, the same for both sides: products and attention, what is
frozen without gradients of its weights, no padding, nothing twice) over time and the peak, {peak:g} TFLOP/s ({source}).
"""
NO_MFU = """\
No *MFU*: the peak of this machine is not known here; `--peak-tflops` says it.
"""
TITLES = {
    "gpt": "GPT step: 6 layers, width 384, 8 texts of 256 tokens, vocabulary 8192",
    "vit-b-16": "ViT-B/16 at 224 pixels, forward, 8 images",
    "vlm-all": "step on {batch} images with texts, all of it trains",
    "vlm-frozen-language": "step on {batch} images with texts, language model frozen",
    "vlm-projector": "step on {batch} images with texts, only the projector trains",
    "caption-1": "24 tokens of caption for 1 image, 222 M model, key-value cache",
    "caption-16": "24 tokens of caption for each of 16 images, 222 M model",
}


def title(race):
    of_model = f"{GEOMETRIES[race.geometry].title}: " if race.work in TRAINS else ""
    return f"{of_model}{TITLES[race.work].format(batch=race.batch)} (Fourfold in {race.precision})"


def held(value, bar, most=False):
    return "held" if (value <= bar if most else value >= bar) else "**missed**"


def fastest(results):
    """The race with PyTorch's fastest mode."""
    return min((r for r in results if not r.theirs.failure), key=lambda r: r.theirs.median, default=None)


def grouped(results):
    """Results of the same work side by side, in the order of their races."""
    groups = {}
    for result in results:
        groups.setdefault(result.race.heading, []).append(result)
    return list(groups.values())


def cell(value, digits):
    return "" if value is None else f"{value:.{digits}f}"


def seconds(contender):
    return "failed" if contender.failure else f"{contender.median:.4f}"


def mib(contender):
    return "" if contender.failure else f"{contender.peak_mib:.0f}"


def wanted(result, best):
    race = result.race
    if not race.bar or (race.of_best and result is not best):
        return ""
    return f"{race.bar:.2f}: {held(result.ratio, race.bar) if result.ratio else '**not decided**'}"


def summary(results):
    """Each work against PyTorch's fastest mode, and what did not run."""
    lines = ["Against the fastest mode of PyTorch:", ""]
    lines += ["| model | work | Fourfold | its opponent | ratio | memory | did not run |", "|---|---|---|---|--:|--:|---|"]
    for group in grouped(results):
        race, best = group[0].race, fastest(group)
        failed = [f"PyTorch {r.race.mode}" for r in group if r.theirs.failure]
        failed += [f"Fourfold beside {r.race.mode}" for r in group if r.ours.failure]
        model = f"{race.geometry}, {race.batch} samples" if race.work in TRAINS else ""
        mode, ratio, memory = (best.race.mode, best.ratio, best.memory) if best else ("none", None, None)
        figures = [model, race.work, race.precision, mode, cell(ratio, 2), cell(memory, 2), ", ".join(failed)]
        lines.append(f"| {' | '.join(figures)} |")
    return [*lines, ""]


def times(group):
    best = fastest(group)
    yield "| PyTorch | Fourfold, s | PyTorch, s | ratio | wanted | Fourfold, MiB | PyTorch, MiB | memory |"
    yield "|---|--:|--:|--:|--:|--:|--:|--:|"
    for r in group:
        name, memory = r.race.mode, cell(r.memory, 2)
        bar = MEMORY_BARS.get(r.race.geometry) if r.race.work in TRAINS and r is best else None
        if bar and r.memory:
            memory += f" (at most {bar}: {held(r.memory, bar, most=True)})"
        name += " (best)" if r is best else ""
        yield (
            f"| {name} | {seconds(r.ours)} | {seconds(r.theirs)} | {cell(r.ratio, 2)} | {wanted(r, best)} | "
            f"{mib(r.ours)} | {mib(r.theirs)} | {memory} |"
        )


def rates(group, peak_tflops, gpu):
    """What each side of each race did in a second, and how much of the peak that is."""
    yield "| race | side | samples/s | tokens/s | MFU | wanted |"
    yield "|---|---|--:|--:|--:|--:|"
    for r in group:
        for name, precision, contender in r.sides:
            found = r.rates(precision, contender, peak_tflops)
            mfu, bar = found.get("mfu"), MFU_BARS.get(r.race.geometry) if gpu and contender is r.ours else None
            bar = f"{bar:.0%}: {held(mfu, bar) if mfu else '**not decided**'}" if bar else ""
            yield (
                f"| {r.race.mode} | {name} | {cell(found.get('samples_per_second'), 1)} | "
                f"{cell(found.get('tokens_per_second'), 0)} | {'' if mfu is None else f'{mfu:.1%}'} | {bar} |"
            )


def failures(group):
    """Why what failed did."""
    for r in group:
        for name, _, contender in r.sides:
            if contender.failure:
                beside = "" if contender is r.theirs else f" beside PyTorch {r.race.mode}"
                yield f"- **{name}{beside} failed**: `{contender.failure}`"


def page(results, about, peak, gpu, roofline):
    """`about` is the line on machine, versions and rounds; `peak` is TFLOP/s and their source."""
    peak_tflops, source = peak
    lines = ["# The race", "", about, "", *summary(results)]
    lines += [LEGEND.format(without_amx="" if gpu else ", on a machine without AMX"), *([GPU_LEGEND] if gpu else []), MODELS]
    lines.append(MFU.format(peak=peak_tflops, source=source) if peak_tflops else NO_MFU)
    for group in grouped(results):
        lines += [f"## {title(group[0].race)}", "", *times(group), ""]
        if group[0].race.work in TRAINS:
            lines += [*rates(group, peak_tflops, gpu), ""]
        why = list(failures(group))
        lines += [*why, ""] if why else []
    if roofline:
        lines += ["## How near to the machine's peak", "", "```text", roofline.strip(), "```", ""]
    return "\n".join(lines)
