import re

import numpy as np
import pytest
import torch
from conftest import make_single
from PIL import Image

from cut.config import SingleDataConfig
from cut.data.loader import batches
from cut.data.single import SingleStream, random_places
from cut.errors import UserError


def stream_of(paths, seed=0, batches_per_step=1, **settings):
    settings = {"crop_px": 8, "batch_size": 4, "crops_per_epoch": 40, "num_workers": 0} | settings
    config = SingleDataConfig(a=str(paths["a"]), b=str(paths["b"]), **settings)
    return SingleStream(config, seed, batches_per_step)


def numbered_pictures(folder, width=40, height=32):
    """Pictures whose colours tell where a pixel is: red its column, green its row."""
    folder.mkdir()
    row, column = np.mgrid[:height, :width]
    Image.fromarray(np.stack([column, row, 0 * row], 2).astype(np.uint8)).save(folder / "p.png")
    return {"a": folder / "p.png", "b": folder / "p.png"}


def places(crops):
    """Top left corners of crops from a numbered picture that was not zoomed."""
    values = ((crops[:, :2, 0, 0] + 1) * 127.5).round().int().tolist()
    return [(row, column) for column, row in values]


@pytest.mark.parametrize("count", [1, 12, 20])
def test_places_do_not_overlap_unless_there_are_more_than_fit(count):
    seen = set()
    for seed in range(30):
        corners = random_places(33, 38, 8, count, np.random.default_rng(seed))
        seen.update(corners)
        assert len(corners) == count
        first = corners[:16]  # 4 rows and 4 columns of crops
        covered = {(top + y, left + x) for top, left in first for y in range(8) for x in range(8)}
        assert len(covered) == 64 * len(first) and min(min(p) for p in covered) >= 0
        assert max(y for y, _ in covered) < 33 and max(x for _, x in covered) < 38
    assert {top % 8 for top, _ in seen} == {0, 1} and {left % 8 for _, left in seen} == set(range(7))


def test_crops_are_pieces_of_the_picture_that_share_no_pixel(tmp_path):
    stream = stream_of(numbered_pictures(tmp_path / "p"), zoom_max=1.0, flip=False, batch_size=16)
    for domain in "ab":
        crops = torch.stack([stream[n][f"real_{domain}"] for n in range(16)])
        pixels = ((crops[:, :2] + 1) * 127.5).round().permute(0, 2, 3, 1).reshape(-1, 2)
        assert len({tuple(p) for p in pixels.tolist()}) == 16 * 64
        assert crops.dtype == torch.float32 and crops[:, 2].eq(-1).all()
    assert places(torch.stack([stream[n]["real_a"] for n in range(16)])) != places(crops)


def test_mirrored_about_half_of_the_time(tmp_path):
    stream = stream_of(numbered_pictures(tmp_path / "p"), zoom_max=1.0)
    mirrored = [bool(stream[n]["real_a"][0, 0, 0] > stream[n]["real_a"][0, 0, 7]) for n in range(80)]
    assert 20 < sum(mirrored) < 60


def test_zoom_is_shared_in_a_step_and_differs_between_steps_domains_and_sides(tmp_path):
    stream = stream_of(numbered_pictures(tmp_path / "p", 120, 96), flip=False)
    scales = []
    for step in range(10):
        samples = [stream[n] for n in range(4 * step, 4 * step + 4)]
        for domain in ("real_a", "real_b"):
            steps = [
                ((s[domain][0, 4, 6] - s[domain][0, 4, 2]), (s[domain][1, 6, 4] - s[domain][1, 2, 4])) for s in samples
            ]
            for across, down in steps:  # the colours' slope is the zoom; rounding to 8 bits is one part in 255
                assert abs(across - steps[0][0]) < 2.1 / 127.5 and abs(down - steps[0][1]) < 2.1 / 127.5
            scales += [(float(across) * 127.5 / 4, float(down) * 127.5 / 4) for across, down in steps[:1]]
    flat = [s for pair in scales for s in pair]
    assert 0.7 < min(flat) < 1.4 and 2.2 < max(flat) < 3.4
    assert max(abs(across - down) for across, down in scales) > 0.5
    assert max(abs(a[0] - b[0]) for a, b in zip(scales[::2], scales[1::2], strict=True)) > 0.5


def test_a_small_picture_is_not_zoomed_below_the_crop(tmp_path):
    stream = stream_of(make_single(tmp_path / "p", 12, 8), crop_px=8)
    assert all(stream[n]["real_a"].shape == (3, 8, 8) for n in range(12))


def test_samples_depend_on_seed_and_number_alone(tmp_path):
    paths = make_single(tmp_path / "p")
    straight, backwards, other = stream_of(paths), stream_of(paths), stream_of(paths, seed=1)
    samples = [straight[n] for n in range(12)]
    for n in reversed(range(12)):
        assert all(torch.equal(samples[n][key], backwards[n][key]) for key in samples[n])
    assert not torch.equal(samples[0]["real_a"], other[0]["real_a"])


def test_workers_change_nothing(tmp_path):
    stream = stream_of(make_single(tmp_path / "p"), batches_per_step=2)
    assert stream.samples_per_step == 8 and stream.steps_per_epoch == 10
    alone, two = ([b["real_b"] for b in batches(stream, 8, range(8, 32), workers)] for workers in (0, 2))
    assert len(alone) == 3 and all(torch.equal(a, b) for a, b in zip(alone, two, strict=True))


def test_fixed_sample_is_the_whole_picture_with_the_style_beside_it(tmp_path, monkeypatch):
    paths = make_single(tmp_path / "p", 61, 47)
    (sample,) = stream_of(paths).fixed_samples(8)
    assert sample["real_a"].shape == sample["real_b"].shape == (3, 48, 60) and sample["name"] == "photo.png"
    assert sample["real_a"].mean() < sample["real_b"].mean()
    monkeypatch.setattr("cut.data.single.SHEET_PX", 32)
    assert stream_of(paths).fixed_samples(8)[0]["real_a"].shape == (3, 24, 32)


def test_load_px_bounds_the_longer_side(tmp_path):
    paths = make_single(tmp_path / "p", 60, 40)
    assert stream_of(paths, load_px=30).pictures["a"].shape == (3, 20, 30)
    assert stream_of(paths, load_px=90).pictures["a"].shape == (3, 40, 60)


def test_sixteen_bits_and_gray_are_read(tmp_path):
    paths = make_single(tmp_path / "p")
    Image.fromarray(np.full((20, 20), 40000, np.uint16)).save(tmp_path / "deep.png")
    stream = stream_of(paths | {"a": tmp_path / "deep.png"}, channels_a=1, channels_b=1)
    assert stream[0]["real_a"].shape == (1, 8, 8)
    torch.testing.assert_close(stream[0]["real_a"], torch.full((1, 8, 8), 40000 / 32767.5 - 1))


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("no.jpg", "no such picture; put a picture there, or set data.a to yours"),
        ("single_image_monet_etretat/trainB/no.jpg", "fetch it with: cut-data download single_image_monet_etretat"),
        (".", "is a folder"),
        ("small.png", "4x4 px, smaller than data.crop_px 8; take a larger picture"),
    ],
)
def test_what_is_wrong_with_a_picture_is_said_in_one_line(tmp_path, name, line):
    paths = make_single(tmp_path / "p")
    Image.new("RGB", (4, 4)).save(tmp_path / "small.png")
    with pytest.raises(UserError, match=line) as error:
        stream_of(paths | {"a": tmp_path / name})
    assert str(error.value).startswith("data.a: ") and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("width", "height", "load_px"), [(100, 50, None), (100, 50, 256), (300, 200, 90), (70, 6, None)]
)
def test_every_advice_about_a_picture_that_is_too_small_helps(tmp_path, width, height, load_px):
    paths = make_single(tmp_path / "p", width, height)
    settings = {"load_px": load_px, "crop_px": 64}
    with pytest.raises(UserError) as caught:
        stream_of(paths, **settings)
    advice = dict(re.findall(r"data\.(\w+) to (\d+)", str(caught.value)))
    wanted = {"crop_px"} if height >= 8 else set()
    assert set(advice) == wanted | ({"load_px"} if load_px == 90 else set()) and "larger picture" in str(caught.value)
    for key, value in advice.items():
        assert stream_of(paths, **settings | {key: int(value)})[0]["real_a"].shape[1] <= 64
