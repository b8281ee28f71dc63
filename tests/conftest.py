"""What many tests share: golden files, tiny pictures, tiny configs."""

import atexit
import functools
import gzip
import importlib.metadata
import os
import shutil
import struct
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch: tiny tensors gain nothing from threads, parallel tests lose much
# Fabric reads those of all packages whenever it is made, thousands of times.
importlib.metadata.entry_points = functools.cache(importlib.metadata.entry_points)
os.fsync = lambda file: None  # no test cuts the power, and a disk takes milliseconds for each of thousands of files

# Tests leave nothing in the user's cache; what others keep there stays in use.
for variable, name in (("TORCH_HOME", "torch"), ("MPLCONFIGDIR", "matplotlib")):
    os.environ.setdefault(variable, str(Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / name))
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp()
atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)

# Not torch, which takes seconds: the process that deals out the tests to others needs none of it.
import numpy as np  # noqa: E402
import pytest  # noqa: E402
from PIL import Image  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))  # `from fixed import ...` in any test folder

from fault_fixtures import (  # noqa: E402
    forks,  # noqa: F401
    pytest_collection_finish,  # noqa: F401
    pytest_sessionfinish,  # noqa: F401
    pytest_terminal_summary,  # noqa: F401
    pytest_testnodedown,  # noqa: F401
    straight,  # noqa: F401
    tally,  # noqa: F401
    tiny,  # noqa: F401
)

GOLDEN = Path(__file__).parent / "golden"
REPOSITORY = Path(__file__).parent.parent


@pytest.fixture
def golden():
    """Reads `tests/golden/<name>.pt`."""
    import torch

    return lambda name: torch.load(GOLDEN / f"{name}.pt", weights_only=True)


@pytest.fixture(autouse=True)
def blank_losses(monkeypatch):
    """Leaves losses.png blank: matplotlib takes longer for it than a tiny run for its steps.

    The tests of what it shows, and the few programs that no fork runs, draw it.
    """
    monkeypatch.setattr("cut.train.plots._figure", blank_figure)


def blank_figure(curves):
    return BlankFigure()


class BlankFigure:
    def savefig(self, file, format, dpi):
        Image.new("L", (dpi, dpi)).save(file, format)


@pytest.fixture
def double():
    """float64: a few steps amplify what float32 rounds off, which the order of a sum decides, to percents."""
    import torch

    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def switches(monkeypatch):
    """Sets torch's switches for the whole process back, which `train.deterministic` and its like turn."""
    import torch

    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")  # so that it is set back, too
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    yield
    torch.use_deterministic_algorithms(False)
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = False, False, True, False


def make_unpaired(root: Path, count: int = 4, size: int = 40) -> Path:
    """Writes random pictures into `root/{train,test}{A,B}`; those of testA and testB share names."""
    rng = np.random.default_rng(0)
    for folder, tint in (("trainA", 40), ("trainB", 200), ("testA", 40), ("testB", 200)):
        (root / folder).mkdir(parents=True)
        for index in range(count):
            pixels = np.clip(rng.normal(tint, 30, (size, size, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / folder / f"{index}.png")
    return root


def make_masks(folder: Path, count: int = 4, size: int = 40) -> Path:
    """Writes masks that are white on the left, on 1 / 2, 1 / 3 and so on of the width."""
    folder.mkdir(parents=True)
    for index in range(count):
        mask = np.zeros((size, size), np.uint8)
        mask[:, : size // (index + 2)] = 255
        Image.fromarray(mask).save(folder / f"{index}.png")
    return folder


def make_paired(root: Path, count: int = 4, size: int = 40) -> Path:
    """Writes pictures A|B of noise into `root/{train,test}`: A is dark, B bright where A is dark."""
    rng = np.random.default_rng(0)
    for folder in ("train", "test"):
        (root / folder).mkdir(parents=True)
        for index in range(count):
            a = rng.integers(0, 100, (size, size, 3), dtype=np.uint8)
            Image.fromarray(np.hstack([a, 255 - a])).save(root / folder / f"{index}.png")
    return root


def make_idx(root: Path, split: str = "train", pixels: np.ndarray | None = None) -> Path:
    """Writes pictures `(N, H, W)` as MNIST does, by default 16 random ones of 28 px, and their labels, 0 to 9."""
    root.mkdir(parents=True, exist_ok=True)
    if pixels is None:
        pixels = np.random.default_rng(0).integers(0, 256, (16, 28, 28), dtype=np.uint8)
    header = bytes([0, 0, 8, 3]) + struct.pack(">3I", *pixels.shape)
    (root / f"{split}-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + pixels.tobytes()))
    labels = bytes(number % 10 for number in range(len(pixels)))
    header = bytes([0, 0, 8, 1]) + struct.pack(">I", len(labels))
    (root / f"{split}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(header + labels))
    return root


def make_labelled(root: Path, classes: Iterable[str] = "abc", count: int = 3, size: int = 32) -> Path:
    """Writes random pictures into `root/train/<class>`."""
    rng = np.random.default_rng(0)
    for name in classes:
        (root / "train" / name).mkdir(parents=True)
        for index in range(count):
            pixels = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "train" / name / f"{index}.png")
    return root


def make_single(folder: Path, width: int = 60, height: int = 48) -> dict[str, Path]:
    """Writes a dark and a bright picture; returns their paths as `data.a` and `data.b`."""
    folder.mkdir(parents=True)
    rng, paths = np.random.default_rng(0), {"a": folder / "photo.png", "b": folder / "painting.png"}
    for path, tint in zip(paths.values(), (60, 190), strict=True):
        pixels = np.clip(rng.normal(tint, 30, (height, width, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(path)
    return paths


@pytest.fixture
def unpaired(tmp_path):
    """A folder of four 40-px pictures per split and domain."""
    return make_unpaired(tmp_path / "data")


@pytest.fixture
def tiny_dcgan_yaml(tmp_path):
    """A DCGAN config that trains on 16 pictures of noise in well under a second."""
    path = tmp_path / "tiny_dcgan.yaml"
    path.write_text(
        f"""
method:
  name: dcgan
  discriminator_steps: 2
  generator: {{name: dcgan, latent_size: 8, base_channels: 4}}
  discriminator: {{name: dcgan, base_channels: 4}}
data: {{name: idx, root: "{make_idx(tmp_path / "digits")}", batch_size: 2, num_workers: 0}}
schedule: {{name: constant, total_steps: 10}}
train: {{log_every_steps: 2, sample_every_steps: 100, checkpoint_every_steps: 5, num_samples: 2, accelerator: cpu}}
"""
    )
    return path


@pytest.fixture
def tiny_yaml(tmp_path, unpaired):
    """A CUT config that trains on `unpaired` in well under a second."""
    path = tmp_path / "tiny.yaml"
    path.write_text(
        f"""
method: {{name: cut, num_patches: 16, head_channels: 8, nce_layers: [0, 4, 8, 12, 14]}}
generator: {{name: resnet, base_channels: 2, num_blocks: 4}}
discriminator: {{name: patch, base_channels: 2, num_layers: 2}}
data: {{name: unpaired, root: "{unpaired}", load_px: 36, crop_px: 32, num_workers: 0}}
schedule: {{name: constant, total_steps: 6}}
train: {{log_every_steps: 2, sample_every_steps: 3, checkpoint_every_steps: 2, num_samples: 2, accelerator: cpu}}
"""
    )
    return path
