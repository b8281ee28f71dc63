"""What a run ran on: versions, machine, revision of the code, command."""

import functools
import os
import platform
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from cut.storage.files import write_json

_PACKAGES = ("cut", "torch", "torchvision", "lightning-fabric", "numpy", "Pillow", "scikit-image", "pytorch-fid")


def describe_environment(device: torch.device) -> dict[str, Any]:
    """Plain values, for JSON."""
    machine: dict[str, Any] = {
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": str(device),
    }
    if device.type == "cuda":
        machine |= {"gpu": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
        machine["cudnn"] = torch.backends.cudnn.version()
    return {
        "started": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "versions": {"python": platform.python_version(), **_versions()},
        "machine": machine,
        "git": _git(),
    }


def write_environment(run_dir: Path, values: dict[str, Any]) -> None:
    """Writes environment.json."""
    write_json(run_dir / "environment.json", values, flush_to_disk=True)


@functools.cache
def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # run from its source, or an optional one
            continue
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _git() -> dict[str, Any] | None:
    """The revision of the checkout that this code lies in; None where it is installed."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return None
    words = ["status", "--porcelain=v2", "--branch", "--no-ahead-behind", "--untracked-files=no"]
    try:
        done = subprocess.run(  # noqa: S603
            ["git", "-C", str(folder), *words],  # noqa: S607
            capture_output=True,
            text=True,
            check=True,
            timeout=5,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    lines = done.stdout.splitlines()
    revision = next((line.split()[-1] for line in lines if line.startswith("# branch.oid")), "(initial)")
    if revision == "(initial)":  # nothing is committed
        return None
    return {"revision": revision, "changed_files": sum(not line.startswith("#") for line in lines)}
