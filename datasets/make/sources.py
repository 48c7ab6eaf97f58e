"""Download the pinned inputs with the package managers' own clients, check them, unpack them."""

import hashlib
import subprocess
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Package:
    """One package, named and pinned: the file that the client leaves behind must have this hash."""

    client: str
    name: str
    version: str
    file: str
    sha256: str


PACKAGES = {
    "noto": Package(
        "npm", "emoji-datasource-google", "16.0.0", "emoji-datasource-google-16.0.0.tgz",
        "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438"),
    "twemoji": Package(
        "npm", "emoji-datasource-twitter", "16.0.0", "emoji-datasource-twitter-16.0.0.tgz",
        "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877"),
    "fluent": Package(
        "npm", "@lobehub/fluent-emoji-3d", "1.1.0", "lobehub-fluent-emoji-3d-1.1.0.tgz",
        "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58"),
    "emojibase": Package(
        "npm", "emojibase-data", "17.0.0", "emojibase-data-17.0.0.tgz",
        "d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a"),
    "easy-vqa": Package(
        "pip", "easy-vqa", "1.0", "easy_vqa-1.0-py3-none-any.whl",
        "fcb51b309b78c7b00f97b64cdbcbcf5c105f94da1b39c0796cee5a787c4f650f"),
    "wordnet": Package(
        "apt", "wordnet-base", "1:3.0-37", "wordnet-base_1%3a3.0-37_all.deb",
        "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752"),
}


def command(package: Package, folder: Path) -> list[str]:
    """The client's command that puts the package's archive into `folder`."""
    if package.client == "npm":
        return ["npm", "pack", "--silent", "--pack-destination", str(folder), f"{package.name}@{package.version}"]
    if package.client == "pip":
        return ["python3", "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder),
                f"{package.name}=={package.version}"]
    return ["apt-get", "download", f"{package.name}={package.version}"]


def fetch(package: Package, cache: Path) -> Path:
    """The checked archive of a package; downloaded unless an earlier run left it in `cache`."""
    archive = cache / package.file
    if not archive.exists():
        print(f"download {package.name} {package.version}", flush=True)
        subprocess.run(command(package, cache), cwd=cache, check=True, stdout=subprocess.DEVNULL)
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != package.sha256:
        raise SystemExit(f"{archive}: sha256 is {found}, the pin says {package.sha256}. Delete the file and run again; "
                         "if it differs again, the package was changed after it was pinned.")
    return archive


def unpack(archive: Path, folder: Path) -> Path:
    """The archive's files under `folder`, unpacked once."""
    done = folder / ".unpacked"
    if done.exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as z:
            z.extractall(folder)
    elif archive.suffix == ".deb":
        subprocess.run(["dpkg-deb", "-x", str(archive), str(folder)], check=True)
    else:
        with tarfile.open(archive) as t:
            t.extractall(folder, filter="data")
    done.touch()
    return folder


def open_all(cache: Path) -> dict[str, Path]:
    """Every package's unpacked folder, by its key in `PACKAGES`."""
    cache.mkdir(parents=True, exist_ok=True)
    folders = {}
    for key, package in PACKAGES.items():
        folder = unpack(fetch(package, cache), cache / key)
        folders[key] = folder / "package" if package.client == "npm" else folder
    return folders
