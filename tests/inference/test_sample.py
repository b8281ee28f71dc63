"""Images drawn from noise: the same seed draws the same ones."""

import numpy as np
import pytest
import torch
from PIL import Image

from cut.build import build_fabric, build_method, read_config
from cut.data.images import list_images
from cut.errors import UserError
from cut.inference.output_folder import OutputFolder
from cut.inference.sample import plan_draws, sample


@pytest.fixture
def draw(tiny_dcgan_yaml, tmp_path):
    torch.manual_seed(0)
    method = build_method(read_config(tiny_dcgan_yaml)).prepare_inference()
    fabric = build_fabric("cpu", "32-true")

    def call(name, count=5, seed=0, batch_size=4, suffix=".png"):
        folder = tmp_path / name
        output = OutputFolder(folder)
        draws = plan_draws(folder, count, suffix)
        output.check([draw.path for draw in draws])
        sample(method, draws, seed, fabric, batch_size, output)
        return [np.asarray(Image.open(path)).astype(int) for path in list_images(folder)]

    return call


def test_same_seed_same_images_whatever_the_batch_and_the_number(draw):
    first = draw("a", batch_size=4)
    for other in (draw("b", batch_size=1), draw("c", count=3), draw("d", count=12, batch_size=12)):
        for one, two in zip(first, other, strict=False):
            assert np.abs(one - two).max() <= 1  # another batch size may round the other way


def test_seeds_and_numbers_differ(draw):
    first, other = draw("a", count=3), draw("b", count=3, seed=1)
    images = [*first, *other]
    assert all((images[i] != images[j]).any() for i in range(6) for j in range(i))


def test_files_are_numbered_and_a_sheet_lies_beside_the_folder(draw, tmp_path):
    images = draw("a", count=70, batch_size=32)
    assert [p.name for p in list_images(tmp_path / "a")][::69] == ["00000.png", "00069.png"]
    assert images[0].shape == (28, 28)
    with Image.open(tmp_path / "a_sheet.png") as sheet:
        assert sheet.width > 8 * 28 and sheet.height > 8 * 28


def test_mistakes_are_one_line(draw, tmp_path):
    with pytest.raises(UserError, match="--format xyz: not a known picture format"):
        draw("a", suffix=".xyz")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file; --output must name a folder"):
        draw("file")
