"""What the race runs on: the machine's name, and the versions of both sides."""

import json
import os
import platform
import subprocess
from pathlib import Path


def processor():
    name, flags = platform.processor() or platform.machine(), ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            name = line.split(":", 1)[1].strip()
        if line.startswith("flags"):
            flags = line
    sets = [flag for flag in ("amx_bf16", "avx512_bf16", "avx512f", "avx2") if f" {flag}" in flags]
    return f"{name}, {os.cpu_count()} cores, {', '.join(sets) or 'no vector extensions known here'}"


def gpu(fourfold, device):
    """What the driver calls the GPU; none on a CPU, or where Fourfold sees no such GPU."""
    if device == "cpu":
        return None
    wanted = device if ":" in device else f"{device}:0"
    listing = subprocess.run([fourfold, "devices", "--json"], capture_output=True, text=True, check=True)
    devices = json.loads(listing.stdout)["devices"]
    return next((entry["name"] for entry in devices if entry["device"] == wanted), None)


def versions(fourfold, root):
    import torch
    import transformers

    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=root)
    version = subprocess.run([fourfold, "--version"], capture_output=True, text=True)
    return (
        f"{version.stdout.strip()} at {commit.stdout.strip() or 'an unknown commit'}, PyTorch {torch.__version__}, "
        f"transformers {transformers.__version__}, Python {platform.python_version()}"
    )
