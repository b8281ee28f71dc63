"""The network that judges generated digits: it learns to read them, and its file serves cut-eval."""

import importlib.util

import numpy as np
import pytest
import torch
from conftest import REPOSITORY, make_idx
from PIL import Image

from cut.scoring.torchscript import load_network

spec = importlib.util.spec_from_file_location("digit_features", REPOSITORY / "scripts" / "digit_features.py")
digit_features = importlib.util.module_from_spec(spec)
spec.loader.exec_module(digit_features)


def strokes(count):
    """Digit d, the number modulo 10, as a bright bar whose height says which it is."""
    pixels = np.zeros((count, 28, 28), np.uint8)
    for number, picture in enumerate(pixels):
        picture[2 + number % 10 * 2 : 6 + number % 10 * 2, number % 7 : number % 7 + 14] = 255
    return pixels


@pytest.mark.filterwarnings("ignore:`torch.jit.script`")  # deprecated, but cut-eval reads what it writes
@pytest.mark.parametrize("learns", [True, False])
def test_it_reads_what_can_be_read_and_writes_network_and_pictures(tmp_path, learns, monkeypatch):
    monkeypatch.setattr(digit_features, "_EPOCHS", 12 if learns else 0)
    monkeypatch.setattr(digit_features, "_SHIFT_PX", 0)
    make_idx(tmp_path / "set", "train", strokes(200))
    make_idx(tmp_path / "set", "t10k", strokes(20))
    rightly = digit_features.main(
        str(tmp_path / "set"), str(tmp_path / "new" / "digits.pt"), str(tmp_path / "pictures")
    )
    assert rightly > 0.8 if learns else rightly < 0.4
    written = sorted((tmp_path / "pictures").iterdir())
    assert len(written) == 20 and np.array_equal(np.asarray(Image.open(written[3])), strokes(20)[3])
    network = load_network(tmp_path / "new" / "digits.pt")
    assert network(torch.rand(3, 3, 28, 28)).shape == (3, 64)
