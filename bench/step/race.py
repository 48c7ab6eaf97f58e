"""Lets Fourfold and PyTorch take turns at the same work and writes step.json and step.md.

    python bench/step/race.py [WORK ...] [--geometry 222m|0.9b|both] [--batch N] [--precision bf16] [--peak-tflops N]

Each opponent is raced alone: one process of Fourfold, one of PyTorch, a round of the one, a round of the other, so that
whatever else the machine does hits both. The first rounds of each warm up and are not counted. The ratio of an opponent is
of the medians of their own race, which step.json holds side by side: each row says whom it raced. What fails is a row
too, with its reason. `DEVICE=cuda` in the environment races on a GPU, both models if nothing else is said, and writes to
target/bench after every race; not yet run on a GPU. ROUNDS is how many rounds count, QUIET=1 keeps PyTorch's notes away.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import machine
from geometry import GEOMETRIES, TRAINS
from page import TITLES, page
from peaks import peak
from races import races
from result import Result
from turns import take_turns

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FOURFOLD = ROOT / "target" / "release" / "fourfold"
DEVICE = os.environ.get("DEVICE", "cpu")
# A round takes seconds on a CPU and parts of one on a GPU.
ROUNDS = int(os.environ.get("ROUNDS", "5" if DEVICE == "cpu" else "20"))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("works", nargs="*", metavar="WORK", help=f"{', '.join(TITLES)}; all when absent")
    parser.add_argument(
        "--geometry",
        choices=[*GEOMETRIES, "both"],
        default=os.environ.get("GEOMETRY", "222m" if DEVICE == "cpu" else "both"),
        help="the vision-language model; 222m on a CPU and both on a GPU when absent, or what GEOMETRY says",
    )
    parser.add_argument("--batch", type=int, help="samples of its steps; what both sides have room for in 80 GB when absent")
    parser.add_argument("--precision", choices=["f32", "bf16", "fp16"], help="Fourfold's; all that are raced when absent")
    parser.add_argument("--peak-tflops", type=float, help="what the machine computes at most in 16 bits, for MFU")
    given = parser.parse_args()
    unknown = [work for work in given.works if work not in TITLES]
    if unknown:
        parser.error(f"unknown work {', '.join(unknown)}; expected some of {', '.join(TITLES)}")
    return given


def commands(race):
    """How each side is started."""
    ours = [FOURFOLD, "bench", race.work, "--precision", race.precision, "--turns", "--device", DEVICE]
    theirs = [sys.executable, HERE / "contender.py", race.work, race.mode]
    if race.work in TRAINS:
        ours += ["--model", race.geometry, "--batch", race.batch]
        theirs += ["--geometry", race.geometry, "--batch", race.batch]
    return ours, theirs


def run(race):
    begin = time.monotonic()
    result = Result(race, *take_turns(commands(race), ROUNDS))
    sides = [f"{name} {side.failure or f'{side.median:.4f} s'}" for name, _, side in result.sides]
    ratio = f", ratio {result.ratio:.2f}" if result.ratio else ""
    where = f"{race.geometry} {race.work} {race.precision}"
    print(f"{where}: {', '.join(sides)}{ratio} ({time.monotonic() - begin:.0f} s)", file=sys.stderr)
    return result


def roofline(asked):
    """Fourfold's own figures beside what loops over registers reach on this processor."""
    said = []
    for geometry in dict.fromkeys(race.geometry for race in asked):
        works = dict.fromkeys(race.work for race in asked if race.geometry == geometry)
        steps = [race for race in asked if race.geometry == geometry and race.work in TRAINS]
        of_model = ["--model", geometry, "--batch", str(steps[0].batch)] if steps else []
        fixed = [work for work in works if work not in TRAINS]
        for some, size in [(fixed, []), ([race for race in works if race in TRAINS], of_model)]:
            if some:
                done = subprocess.run([FOURFOLD, "bench", *some, *size, "--device", DEVICE], capture_output=True, text=True)
                said.append(done.stdout or done.stderr)
    return "\n".join(said)


def main():
    given = arguments()
    geometries = list(GEOMETRIES) if given.geometry == "both" else [given.geometry]
    asked = list(races(DEVICE, geometries, given.batch, given.works, given.precision))
    if not asked:
        sys.exit("nothing is raced so; see --help")
    gpu = machine.gpu(FOURFOLD, DEVICE)
    of_machine = peak(gpu, given.peak_tflops)
    # The page of the repository is of all races, as they are without arguments.
    whole = DEVICE == "cpu" and not sys.argv[1:] and given.geometry == "222m"
    folder = HERE.parent / "results" if whole else ROOT / "target" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    # Before anything is written: it names the commit, and whether the tree is as committed.
    about = (
        f"Machine: {gpu + ', ' if gpu else ''}{machine.processor()}. {machine.versions(FOURFOLD, ROOT)}. Written by "
        f"`bench/run` on {time.strftime('%Y-%m-%d')}; {ROUNDS} rounds in turn for each opponent, medians; see "
        "`bench/step/race.py` for how and `bench/step/contender.py` for PyTorch's side."
    )
    results = []

    def write(roof=None):
        rows = [row for result in results for row in result.rows(of_machine[0])]
        text = page(results, about, of_machine, DEVICE != "cpu", roof)
        (folder / "step.json").write_text(json.dumps(rows, indent=1) + "\n")
        (folder / "step.md").write_text(text + ("\n" + (HERE / "misses.md").read_text() if whole else ""))

    for race in asked:
        results.append(run(race))
        # A race on a GPU that is lent may be cut off.
        if not whole:
            write()
    write(roofline(asked) if DEVICE == "cpu" else None)
    print(folder / "step.md")
    failed = [side.failure for result in results for _, _, side in result.sides if side.failure]
    if failed:
        sys.exit(f"{len(failed)} of {2 * len(results)} sides failed; the page says why")


if __name__ == "__main__":
    main()
