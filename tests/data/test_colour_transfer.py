"""Colour transfer alone: its formula, and whose statistics it takes."""

import numpy as np
import pytest
from conftest import make_paired, make_single, make_unpaired
from PIL import Image

from cut.config import PairedDataConfig, SingleDataConfig, UnpairedDataConfig
from cut.data.colour_transfer import colours_of, training_colours, transfer_colours
from cut.data.images import list_images


def pixels(paths):
    return np.concatenate([np.asarray(Image.open(path)).reshape(-1, 3) for path in paths]).astype(float)


def test_transferred_pictures_have_the_mean_and_deviation_of_the_target_domain(tmp_path):
    root = make_unpaired(tmp_path)
    a, b = (list_images(root / name) for name in ("testA", "testB"))
    transfer_colours(root / "testA", tmp_path / "out", colours_of(a), colours_of(b))
    made, target, source = pixels(list_images(tmp_path / "out")), pixels(b), pixels(a)
    assert [path.name for path in list_images(tmp_path / "out")] == [path.name for path in a]
    assert abs(source.mean(0) - target.mean(0)).min() > 100
    expected = np.clip((source - source.mean(0)) * target.std(0) / source.std(0) + target.mean(0), 0, 255)
    assert abs(made - expected).max() <= 0.5 + 1e-6  # rounded to 8 bits


def test_pictures_of_one_name_but_for_the_suffix_stay_two(tmp_path):
    root = make_unpaired(tmp_path, count=2)
    Image.open(root / "testA/0.png").save(root / "testA/0.bmp")
    colours = colours_of(list_images(root / "testA"))
    transfer_colours(root / "testA", tmp_path / "out", colours, colours)
    assert [path.name for path in list_images(tmp_path / "out")] == ["0.png", "0.png.png", "1.png"]


def test_statistics_are_those_of_the_training_pictures_of_both_domains(tmp_path):
    root, pairs = make_unpaired(tmp_path / "unpaired"), make_paired(tmp_path / "paired")
    own_size = {"root": str(root), "load_px": 40, "crop_px": 32}
    given = {
        "unpaired": UnpairedDataConfig(**own_size),
        "b to a": UnpairedDataConfig(**own_size, direction="BtoA"),
        "paired": PairedDataConfig(name="paired", root=str(pairs)),
        "single": SingleDataConfig(name="single", **{k: str(p) for k, p in make_single(tmp_path / "s").items()}),
    }
    found = {name: training_colours(config) for name, config in given.items()}
    a, b = (pixels(list_images(root / name)) for name in ("trainA", "trainB"))
    for domain, statistics in zip((a, b), found["unpaired"], strict=True):
        assert statistics.mean == pytest.approx(domain.mean(0) / 127.5 - 1, abs=1e-9)
        assert statistics.deviation == pytest.approx(domain.std(0) / 127.5, abs=1e-9)
    assert found["b to a"] == found["unpaired"][::-1]
    halves = [np.asarray(Image.open(path)) for path in list_images(pairs / "train")]
    left = np.concatenate([picture[:, : picture.shape[1] // 2].reshape(-1, 3) for picture in halves])
    assert found["paired"][0].mean == pytest.approx(left.mean(0) / 127.5 - 1, abs=1e-9)
    assert found["paired"][1].mean == pytest.approx((255.0 - left.mean(0)) / 127.5 - 1, abs=1e-9)
    assert found["single"][0].mean == pytest.approx(pixels([given["single"].a]).mean(0) / 127.5 - 1, abs=1e-9)
