"""Make the embedded data: `python datasets/make/make.py` from the repository root. Same inputs, same bytes."""

import argparse
import hashlib
from pathlib import Path

import easy_vqa
import emoji
import sources
import wordnet

DATASETS = Path(__file__).resolve().parent.parent
WORDNET_BYTES = 7_000_000


def checksums(folder: Path) -> None:
    """List the sha256 of every Parquet file, in the format that `sha256sum -c` reads."""
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n"
             for path in sorted(folder.glob("*/*.parquet"))]
    (folder / "checksums.txt").write_text("".join(lines), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=Path(__file__).resolve().parent / ".cache",
                        help="folder for downloads (140 MB; default: %(default)s)")
    folders = sources.open_all(parser.parse_args().cache.resolve())
    report, hidden = emoji.write(folders, DATASETS / "emoji")
    for split, figures in report.items():
        print(f"emoji {split}: {figures['images']} images, {figures['concepts']} concepts, {figures['questions']} questions")
        for question, (count, answer, share) in figures["majority"].items():
            print(f"    {question:40} asked {count:5}, majority answer {100 * share:5.1f} % ({answer})")
    for split, (images, asked) in easy_vqa.write(folders["easy-vqa"], DATASETS / "easy-vqa").items():
        print(f"easy-vqa {split}: {images} images, {asked} questions")
    for split, rows in wordnet.write(folders["wordnet"], DATASETS / "text", hidden, WORDNET_BYTES).items():
        print(f"text wordnet-{split}: {rows} rows")
    checksums(DATASETS)
    total = sum(path.stat().st_size for path in DATASETS.glob("*/*.parquet"))
    print(f"Parquet in all: {total / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
