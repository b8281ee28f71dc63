"""Paired data: both layouts, and that both halves of a pair see the same crop and mirroring."""

import numpy as np
import pytest
import torch

from cut.config import PairedDataConfig
from cut.data.evaluation_set import evaluation_set
from cut.data.images import write_image
from cut.data.paired import PairedStream, find_pairs
from cut.datasets.pair_and_split import split_folder
from cut.errors import UserError


def config_of(root, **settings):
    return PairedDataConfig(**{"root": str(root), "load_px": 20, "crop_px": 16, "num_workers": 0} | settings)


def coordinates(number, width=24, height=24):
    """Every pixel says where it is: red its column, green its row, blue the picture's number."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 4, y * 4, np.full_like(x, number)], axis=2).astype(np.uint8)


def combined(root, split="train", count=5, size=24):
    """Halves that are equal but for B's blue, which is 100 more."""
    for number in range(count):
        a, b = coordinates(number, size, size), coordinates(number + 100, size, size)
        write_image(root / split / f"sub{number % 2}" / f"{number}.png", np.hstack([a, b]))
    return root


def same_view(sample):
    """Whether both halves show the same pixels of the same pair, whatever the crop and mirroring."""
    a, b = sample["real_a"], sample["real_b"]
    blue = ((b[2] - a[2]) * 127.5).round()
    return torch.equal(a[:2], b[:2]) and bool((blue.abs() == 100).all())


@pytest.mark.parametrize(
    "preprocess", ["resize_and_crop", "crop", "scale_width_and_crop", "scale_shortside_and_crop", "none"]
)
def test_crop_and_mirroring_are_the_same_for_both_halves(tmp_path, preprocess):
    stream = PairedStream(config_of(combined(tmp_path), preprocess=preprocess), seed=0)
    samples = [stream[n] for n in range(40)]
    assert all(same_view(sample) for sample in samples)
    columns = {tuple(sample["real_a"][0, 0].tolist()) for sample in samples}
    rising = {bool(sample["real_a"][0, 0, 0] < sample["real_a"][0, 0, -1]) for sample in samples}
    assert rising == {True, False}  # mirrored and not
    assert len(columns) > 2 or preprocess == "none"  # several crops


def test_both_layouts_give_the_same_samples(tmp_path):
    combined(tmp_path / "one")
    split_folder(tmp_path / "one/train", tmp_path / "two")
    one, two = (PairedStream(config_of(tmp_path / name), seed=3) for name in ("one", "two"))
    assert one.num_pictures == two.num_pictures == 5
    for n in range(10):
        assert all(torch.equal(one[n][key], two[n][key]) for key in ("real_a", "real_b"))


def test_direction_exchanges_the_halves_and_channels_follow(tmp_path):
    combined(tmp_path)
    forth = PairedStream(config_of(tmp_path, channels_a=1), seed=0)
    back = PairedStream(config_of(tmp_path, channels_a=1, direction="BtoA"), seed=0)
    for n in range(5):
        assert torch.equal(forth[n]["real_a"], back[n]["real_b"]) and torch.equal(forth[n]["real_b"], back[n]["real_a"])
    assert forth[0]["real_a"].shape == (1, 16, 16) and back[0]["real_a"].shape == (3, 16, 16)
    assert back.config.channels == {"a": 3, "b": 1}


def test_sample_depends_on_seed_and_number_alone(tmp_path):
    config = config_of(combined(tmp_path))
    stream = PairedStream(config, seed=3)
    samples = [stream[n] for n in range(12)]
    again = PairedStream(config, seed=3)
    assert all(torch.equal(again[n]["real_a"], samples[n]["real_a"]) for n in reversed(range(12)))
    other = PairedStream(config, seed=4)
    assert not all(torch.equal(other[n]["real_a"], samples[n]["real_a"]) for n in range(12))
    numbers = [int(((sample["real_a"][2, 0, 0] + 1) * 127.5).round()) for sample in samples[:5]]
    assert sorted(numbers) == [0, 1, 2, 3, 4]  # an epoch shows each pair once


def test_no_crop_in_decay_scales_to_the_crop(tmp_path):
    stream = PairedStream(config_of(combined(tmp_path), flip=False), seed=0)
    stream.whole_from = 5
    assert len({tuple(stream[n]["real_a"][0, 0].tolist()) for n in range(5, 10)}) == 1
    assert len({tuple(stream[n]["real_a"][0, 0].tolist()) for n in range(5)}) > 1


@pytest.mark.parametrize("splits, shown", [(("val", "test"), "val"), (("test",), "test"), ((), "train")])
def test_fixed_samples_are_pairs_of_the_first_split_that_is_there(tmp_path, splits, shown):
    for number, split in enumerate(("train", *splits)):
        combined(tmp_path, split, count=3 + number)
    samples = PairedStream(config_of(tmp_path), seed=0).fixed_samples(4)
    assert len(samples) == min(4, len(find_pairs(config_of(tmp_path), shown)))
    for sample in samples:
        assert same_view(sample) and torch.equal(sample["target"], sample["real_b"])
        assert (tmp_path / shown / sample["name"]).is_file()


def test_halves_of_different_sizes_are_scaled_together_or_named(tmp_path):
    write_image(tmp_path / "trainA/1.png", coordinates(0, 24, 24))
    write_image(tmp_path / "trainB/1.png", coordinates(0, 48, 48))
    sample = PairedStream(config_of(tmp_path), seed=0)[0]
    torch.testing.assert_close(sample["real_a"].shape, sample["real_b"].shape)
    error = PairedStream(config_of(tmp_path, preprocess="crop"), seed=0)[0]
    assert isinstance(error, UserError)
    assert "a pair of different sizes (24x24 and 48x48 px after data.preprocess)" in str(error)


def test_an_odd_width_is_one_line_that_names_the_picture(tmp_path):
    write_image(tmp_path / "train/1.png", coordinates(0, 49, 24))
    error = PairedStream(config_of(tmp_path), seed=0)[0]
    assert isinstance(error, UserError) and "1.png: 49x24 px cannot be two pictures A|B" in str(error)


def test_missing_data_names_the_command(tmp_path):
    def message(name):
        with pytest.raises(UserError) as error:
            PairedStream(config_of(tmp_path / name), seed=0)
        assert "\n" not in str(error.value)
        return str(error.value)

    assert f"cut-data download facades_aligned --output {tmp_path}" in message("facades_aligned")
    assert f"cut-data earth2map --paired --output {tmp_path}/earth2map_paired" in message("earth2map_paired")
    assert "it must hold train with pictures A|B, or trainA and trainB" in message("mine")
    assert "it must hold train" in message("maps")  # the set of this name is unpaired


def test_folders_that_are_no_pairs_are_told_apart(tmp_path):
    write_image(tmp_path / "earth2map/trainA/1.png", coordinates(0))
    write_image(tmp_path / "earth2map/trainB/2.png", coordinates(0))
    with pytest.raises(UserError, match=r"no partner of the same name for .*trainA/1.png, .*trainB/2.png.*--paired"):
        PairedStream(config_of(tmp_path / "earth2map"), seed=0)
    combined(tmp_path / "earth2map")
    with pytest.raises(UserError, match="holds train and trainA; move one of the two layouts"):
        PairedStream(config_of(tmp_path / "earth2map"), seed=0)
    (tmp_path / "half/trainA").mkdir(parents=True)
    with pytest.raises(UserError, match="holds neither train nor trainA and trainB"):
        PairedStream(config_of(tmp_path / "half"), seed=0)


def test_halves_of_arrays_are_pairs_and_stay_arrays_where_they_are_scored(tmp_path):
    numbers = np.random.default_rng(0).uniform(-2, 5, (40, 80, 4)).astype(np.float32)
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        np.save(tmp_path / split / "x.npy", numbers)
    bands = {"channels_a": 4, "range_a": (-2, 5), "channels_b": 4, "range_b": (-4, 10)}
    config = config_of(tmp_path, **bands, preprocess="none", flip=False)
    sample, halves = PairedStream(config, seed=0)[0], (numbers[:, :40], numbers[:, 40:])
    for key, half, low, high in (("real_a", halves[0], -2, 5), ("real_b", halves[1], -4, 10)):
        assert np.allclose(sample[key].permute(1, 2, 0), (half - low) * (2 / (high - low)) - 1, atol=1e-5)
    found = evaluation_set(config, tmp_path / "scored", "test")
    for folder, half in zip((found.inputs, found.targets), halves, strict=True):
        assert np.allclose(np.load(folder / "x.npy"), half, atol=1e-5)
