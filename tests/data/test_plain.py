"""Any folder of pictures as training data."""

import numpy as np
import pytest
import torch
from PIL import Image

from cut.config import ImagesDataConfig
from cut.data.plain import ImagesStream
from cut.errors import UserError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "below").mkdir()
    for index in range(5):
        pixels = np.full((20, 30, 3), (index * 50, 10, 200), dtype=np.uint8)
        pixels[:, :5] = 255
        Image.fromarray(pixels).save(tmp_path / ("below" if index % 2 else ".") / f"{index}.png")
    return tmp_path


def stream(folder, seed=0, **settings):
    given = {"root": str(folder), "load_px": 16, "crop_px": 16, "batch_size": 2} | settings
    return ImagesStream(ImagesDataConfig(**given), seed)


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_of_folders_below_are_cropped_to_one_size(folder, channels):
    data = stream(folder, num_channels=channels)
    assert data.num_pictures == 5 and data.steps_per_epoch == 2
    samples = [data[n]["real"] for n in range(4)]
    assert all(s.shape == (channels, 16, 16) and s.abs().max() <= 1 for s in samples)
    assert len({data.picture_of(n) for n in range(4)}) == 4


def test_a_sample_depends_on_seed_and_number_alone(folder):
    first, second, other = stream(folder, 1), stream(folder, 1), stream(folder, 2)
    numbers = range(20)
    ahead = {n: second[n]["real"] for n in reversed(numbers)}
    assert all(torch.equal(first[n]["real"], ahead[n]) for n in numbers)
    assert not all(torch.equal(first[n]["real"], other[n]["real"]) for n in numbers)


def test_flip_mirrors_half_of_the_time(folder):
    def bright_left(data):
        return sum((data[n]["real"][:, :, 0] > data[n]["real"][:, :, -1]).any().item() for n in range(60))

    settings = {"preprocess": "resize_and_crop"}
    assert bright_left(stream(folder, flip=False, **settings)) == 60
    assert 15 < bright_left(stream(folder, flip=True, **settings)) < 45


def test_mistakes_are_told(folder):
    with pytest.raises(UserError, match="data.root: .*no such folder; set data.root to a folder of pictures"):
        stream(folder / "none")
    assert isinstance(stream(folder, preprocess="crop", crop_px=24)[0], UserError)
    with pytest.raises(ValueError, match="scale_width"):
        stream(folder, preprocess="none")
    for path in folder.rglob("*.png"):
        path.write_bytes(b"broken")
    assert isinstance(stream(folder)[0], UserError)
