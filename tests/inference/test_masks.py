"""cut-test --mask: outside of masks the input is kept."""

from pathlib import Path

import numpy as np
import pytest
from conftest import make_masks
from PIL import Image
from torch import nn

from cut.config.bands import Bands
from cut.data.images import write_image
from cut.errors import UserError
from cut.inference.masks import keep_outside, with_masks
from cut.inference.output_folder import OutputFolder
from cut.inference.request import Request
from cut.inference.translate import plan_jobs, translate
from cut.methods.translator import Translator
from cut.runtime.fabric import build_fabric


class Inverter(Translator):
    goes_one_by_one = False

    def __init__(self):
        super().__init__()
        self.generator = nn.Identity()

    def forward(self, image):
        return -image


def run(unpaired, output, masks, request=None):
    jobs = with_masks(plan_jobs(unpaired / "testA", output), masks)
    return translate(Inverter(), jobs, 3, build_fabric("cpu", "32-true"), 4, OutputFolder(output), None, request)


def pixels(path):
    return np.array(Image.open(path))


def test_black_stays_and_white_is_translated(unpaired, tmp_path):
    masks = make_masks(tmp_path / "masks")
    run(unpaired, tmp_path / "out", masks)
    for number in range(4):
        before, after = (pixels(folder / f"{number}.png") for folder in (unpaired / "testA", tmp_path / "out"))
        edge = 40 // (number + 2)
        assert np.array_equal(after[:, edge:], before[:, edge:])
        assert np.array_equal(after[:, :edge], 255 - before[:, :edge])


def test_one_mask_serves_all_and_is_scaled_with_the_picture(unpaired, tmp_path):
    mask = make_masks(tmp_path / "masks", count=1) / "0.png"  # the left half
    half = Request(prepare=lambda picture: picture[::2, ::2])
    run(unpaired, tmp_path / "out", mask, half)
    before, after = pixels(unpaired / "testA" / "3.png")[::2, ::2], pixels(tmp_path / "out" / "3.png")
    assert np.array_equal(after, np.hstack([255 - before[:, :10], before[:, 10:]]))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("channels", "written"), [(3, 3), (1, 3), (3, 1)])
def test_gray_of_the_mask_mixes(tmp_path, dtype, channels, written):
    write_image(tmp_path / "mask.png", np.full((2, 2, 1), 204, np.uint8))  # 4 / 5
    picture, translation = np.full((2, 2, channels), 100, dtype), np.full((2, 2, written), 200, dtype)
    found = keep_outside(picture, translation, tmp_path / "mask.png")
    assert found.dtype == dtype and np.array_equal(found, np.full((2, 2, written), 180))


def test_missing_mask_stops_before_anything_is_written(unpaired, tmp_path):
    masks = make_masks(tmp_path / "masks", count=2)
    with pytest.raises(UserError, match=r"--mask .*masks: no mask of the same name for .*2\.png; .*3\.png; add it"):
        run(unpaired, tmp_path / "out", masks)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        (Bands(6, (0, 10000)), Bands(1, (-1024, 3071)), "6 bands from 0 to 10000 into 1 band from -1024 to 3071;"),
        (Bands(3, (0, 4095)), Bands(3), "3 bands from 0 to 4095 into 3 bands;"),
        (Bands(6), Bands(3), "6 bands into 3 bands;"),
        (Bands(6, (0, 10000)), Bands(6, (0, 10000)), None),
        (Bands(1), Bands(3), None),
    ],
)
def test_numbers_that_mean_something_else_in_the_translation_are_not_kept(tmp_path, source, target, said):
    if said is None:
        assert with_masks([], make_masks(tmp_path / "masks"), source, target) == []
        return
    with pytest.raises(UserError, match=f"keeps a part of the input, but this model turns {said}"):
        with_masks([], tmp_path, source, target)


def test_mask_of_other_numbers_is_one_line_of_advice_for_masks(unpaired, tmp_path):
    np.save(tmp_path / "mask.npy", np.ones((40, 40), bool))
    with pytest.raises(UserError, match=r"mask\.npy: this mask holds bool numbers; save it in 8 bits \(uint8, 255"):
        run(unpaired, tmp_path / "out", tmp_path / "mask.npy")
    np.save(tmp_path / "mask.npy", np.full((40, 40), 255, np.uint8))
    run(unpaired, tmp_path / "out", tmp_path / "mask.npy")
    assert np.array_equal(pixels(tmp_path / "out" / "0.png"), 255 - pixels(unpaired / "testA" / "0.png"))


def test_mask_that_does_not_exist_is_one_line():
    with pytest.raises(UserError, match=r"^--mask none\.png: no such file or folder$"):
        with_masks([], Path("none.png"))


def test_mask_of_another_size_leaves_its_picture_out_untranslated(unpaired, tmp_path, monkeypatch):
    masks = make_masks(tmp_path / "masks", size=40)
    write_image(masks / "1.png", np.full((8, 9, 1), 255, np.uint8))
    seen: list[int] = []
    monkeypatch.setattr(Inverter, "forward", lambda self, image: seen.append(len(image)) or -image)
    with pytest.raises(
        UserError, match=r"1 of 4 pictures were left out: .*1\.png: a mask of 9x8 px for a picture of 40x40 px"
    ):
        run(unpaired, tmp_path / "out", masks)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.png", "2.png", "3.png"]
    assert sum(seen) == 3
