import pickle

import numpy as np
import pytest
import torch

from cut.config import UnpairedDataConfig
from cut.data.images import write_image
from cut.data.loader import batches
from cut.data.transforms import to_picture
from cut.data.unpaired import UnpairedStream, domain_paths, fixed_samples, pictures_of_split
from cut.errors import UserError


def _config(root, **settings):
    return UnpairedDataConfig(**{"root": str(root), "load_px": 12, "crop_px": 8, "num_workers": 0} | settings)


def _write(path, gray, channels=3, size=12, dtype=np.uint8):
    write_image(path, np.full((size, size, channels), gray, dtype=dtype))


def _domains(root, count_a, count_b):
    """Every picture has a gray of its own: those of A from 0 on, those of B from 255 down."""
    for index in range(count_a):
        _write(root / "trainA" / f"{index:02d}.png", index)
    for index in range(count_b):
        _write(root / "trainB" / f"{index:02d}.png", 255 - index)
    return root


def _grays(samples, domain):
    return [int(to_picture(sample[domain])[0, 0, 0]) for sample in samples]


def _equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def _all_equal(some, others):
    return len(some) == len(others) and all(_equal(*pair) for pair in zip(some, others, strict=True))


def test_sample_depends_on_seed_and_number_alone(unpaired):
    config = _config(unpaired, load_px=36, crop_px=16)
    forwards = [UnpairedStream(config, seed=3)[n] for n in range(12)]
    stream = UnpairedStream(config, seed=3)
    stream[100]
    np.random.seed(1)
    torch.manual_seed(1)
    backwards = [stream[n] for n in reversed(range(12))]
    assert _all_equal(forwards, backwards[::-1])
    assert not any(_equal(sample, UnpairedStream(config, seed=4)[n]) for n, sample in enumerate(forwards))


def test_samples_of_one_picture_differ_between_epochs(unpaired):
    config = _config(unpaired, load_px=36, crop_px=16)
    stream = UnpairedStream(config, seed=0)
    samples = [stream[n] for n in range(3 * stream.samples_per_epoch)]
    for i, one in enumerate(samples):
        assert not any(torch.equal(one["real_a"], other["real_a"]) for other in samples[:i])


@pytest.mark.parametrize("batch_size", [1, 3])
def test_two_workers_load_what_none_loads(unpaired, batch_size):
    stream = UnpairedStream(_config(unpaired), seed=0)
    by_itself, by_two = (list(batches(stream, batch_size, range(7 * batch_size), workers)) for workers in (0, 2))
    assert _all_equal(by_itself, by_two)
    assert by_itself[0]["real_a"].shape == by_itself[0]["real_b"].shape == (batch_size, 3, 8, 8)


@pytest.mark.parametrize("workers", [0, 2])
def test_start_at_a_later_step_gives_the_tail_of_a_straight_run(unpaired, workers):
    stream = UnpairedStream(_config(unpaired), seed=0)
    straight = list(batches(stream, 3, range(27), 0))
    tail = list(batches(UnpairedStream(_config(unpaired), seed=0), 3, range(12, 27), workers))
    assert len(straight) == 9 and _all_equal(tail, straight[4:])


def test_loading_leaves_the_runs_random_numbers_alone(unpaired):
    stream = UnpairedStream(_config(unpaired), seed=0)
    before = torch.get_rng_state()
    for workers in (0, 1):
        list(batches(stream, 1, range(2), workers))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
@pytest.mark.parametrize(("count_a", "count_b"), [(7, 3), (3, 7), (5, 5)])
def test_epoch_visits_each_picture_of_the_larger_domain_once(tmp_path, count_a, count_b, direction):
    stream = UnpairedStream(_config(_domains(tmp_path, count_a, count_b), direction=direction), seed=0)
    assert stream.samples_per_epoch == max(count_a, count_b)
    is_source_larger = (count_a >= count_b) == (direction == "AtoB") or count_a == count_b
    larger = "real_a" if is_source_larger else "real_b"
    orders = []
    for epoch in range(3):
        first = epoch * stream.samples_per_epoch
        orders.append(_grays([stream[first + n] for n in range(stream.samples_per_epoch)], larger))
        assert len(set(orders[-1])) == stream.samples_per_epoch
    assert orders[0] != orders[1] != orders[2]  # shuffled anew


def test_partners_are_drawn_from_the_whole_smaller_domain(tmp_path):
    stream = UnpairedStream(_config(_domains(tmp_path, 3, 8)), seed=0)
    samples = [stream[n] for n in range(40)]
    assert set(_grays(samples, "real_a")) == {0, 1, 2}
    pairs = set(zip(_grays(samples, "real_a"), _grays(samples, "real_b"), strict=True))
    assert len(pairs) > 16  # of 24: no picture has the same partner always


def test_direction_swaps_the_domains(tmp_path):
    _domains(tmp_path, 4, 4)
    forth = [UnpairedStream(_config(tmp_path), seed=0)[n] for n in range(4)]
    back = [UnpairedStream(_config(tmp_path, direction="BtoA"), seed=0)[n] for n in range(4)]
    assert max(_grays(forth, "real_a")) < 4 and min(_grays(forth, "real_b")) > 250
    assert min(_grays(back, "real_a")) > 250 and max(_grays(back, "real_b")) < 4


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_domains_have_their_own_numbers_of_channels(unpaired, direction):
    config = _config(unpaired, channels_a=1, channels_b=3, direction=direction)
    expected = (1, 3) if direction == "AtoB" else (3, 1)
    sample = UnpairedStream(config, seed=0)[0]
    shown = fixed_samples(config, 1)[0]
    assert tuple(config.channels.values()) == expected
    assert (sample["real_a"].shape[0], sample["real_b"].shape[0]) == expected
    assert (shown["real_a"].shape[0], shown["target"].shape[0]) == expected


def test_16_bit_pictures_keep_their_steps(tmp_path):
    for folder in ("trainA", "trainB"):
        _write(tmp_path / folder / "x.png", 30_001, dtype=np.uint16)
    sample = UnpairedStream(_config(tmp_path, preprocess="crop"), seed=0)[0]
    assert (to_picture(sample["real_a"], np.uint16) == 30_001).all()


def test_whole_pictures_begin_at_the_given_sample(tmp_path):
    ramp = np.tile(np.arange(0, 240, 10, dtype=np.uint8)[None, :, None], (24, 1, 3))
    for folder in ("trainA", "trainB"):
        write_image(tmp_path / folder / "x.png", ramp)
    config = _config(tmp_path, load_px=24, crop_px=8, flip=False)
    stream = UnpairedStream(config, seed=0)
    stream.whole_from = 5
    # a crop spans a third of the ramp, the whole of it nearly all
    spans = [float(stream[n]["real_a"].max() - stream[n]["real_a"].min()) * 127.5 for n in range(8)]
    assert max(spans[:5]) < 80 and min(spans[5:]) > 180


def test_stream_crosses_into_a_new_process(unpaired):
    stream = UnpairedStream(_config(unpaired), seed=0)
    stream.whole_from = 2
    assert all(_equal(pickle.loads(pickle.dumps(stream))[n], stream[n]) for n in range(4))


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_picture_is_one_line_in_the_main_process(unpaired, workers):
    path = unpaired / "trainA/2.png"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError) as caught:
        list(batches(UnpairedStream(_config(unpaired), seed=0), 2, range(16), workers))
    text = str(caught.value)
    assert text.startswith(f"{path}: cannot be read") and "\n" not in text


def test_picture_below_the_crop_is_one_line_with_workers(unpaired):
    _write(unpaired / "trainB/1.png", 0, size=6)
    with pytest.raises(UserError, match=r"1\.png: 6x6 px is smaller than the crop of 8 px"):
        list(batches(UnpairedStream(_config(unpaired, preprocess="crop"), seed=0), 1, range(30), 2))


@pytest.mark.parametrize("name", ["horse2zebra", "earth2map"])
def test_missing_known_data_set_names_the_command_that_fetches_it(tmp_path, name):
    command = {"horse2zebra": "cut-data download horse2zebra", "earth2map": "cut-data earth2map --output"}[name]
    with pytest.raises(UserError, match=f"data.root: .*{name}: no such folder; fetch it with: {command}"):
        domain_paths(_config(tmp_path / name), "train")


def test_missing_folder_of_ones_own_says_what_it_must_hold(tmp_path):
    with pytest.raises(UserError, match="my_data: no such folder; it must hold trainA and trainB"):
        UnpairedStream(_config(tmp_path / "my_data"), seed=0)


def test_missing_and_empty_domains_are_named(unpaired):
    for path in (unpaired / "trainB").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="trainB: holds no picture"):
        UnpairedStream(_config(unpaired), seed=0)
    (unpaired / "trainB").rmdir()
    with pytest.raises(UserError, match="trainB: no such folder"):
        UnpairedStream(_config(unpaired), seed=0)


def _split(root, split, gray):
    """Three pictures in nested folders; two of them have a partner of another format."""
    for name in ("sub/1.5x.png", "sub/deep/2.png", "3.png"):
        _write(root / f"{split}A" / name, gray)
    for name in ("sub/1.5x.bmp", "sub/deep/2.png", "sub/3.png"):
        _write(root / f"{split}B" / name, gray + 100)
    return root


def test_partners_of_sheets_are_found_by_name_in_nested_folders(tmp_path):
    samples = fixed_samples(_config(_split(tmp_path, "val", 10)), 8)
    assert [(sample["name"], "target" in sample) for sample in samples] == [
        ("3.png", False),
        ("1.5x.png", True),
        ("2.png", True),
    ]
    assert _grays(samples, "real_a") == [10] * 3 and _grays(samples[1:], "target") == [110] * 2


def test_name_with_dots_has_no_partner_that_is_called_otherwise(tmp_path):
    _write(tmp_path / "valA/1.5.png", 1)
    _write(tmp_path / "valB/1.6.png", 2)
    assert "target" not in fixed_samples(_config(tmp_path), 1)[0]


def test_files_beside_the_targets_are_no_partners(tmp_path):
    _write(tmp_path / "valA/1.png", 1)
    _write(tmp_path / "valB/2.png", 2)
    (tmp_path / "valB/1.json").write_text("{}")
    (tmp_path / "valB/.1.png").write_text("hidden")
    assert "target" not in fixed_samples(_config(tmp_path), 1)[0]


def test_sheets_swap_the_domains_with_the_direction(tmp_path):
    samples = fixed_samples(_config(_split(tmp_path, "val", 10), direction="BtoA"), 8)
    assert _grays(samples, "real_a") == [110] * 3
    assert _grays([sample for sample in samples if "target" in sample], "target") == [10] * 2


def test_sheets_show_val_else_test_else_train(tmp_path):
    for split, gray in (("train", 30), ("test", 20), ("val", 10)):  # the better one comes later
        _split(tmp_path, split, gray)
        assert set(_grays(fixed_samples(_config(tmp_path), 2), "real_a")) == {gray}


def test_empty_val_folder_falls_back_too(tmp_path):
    _split(tmp_path, "test", 20)
    (tmp_path / "valA").mkdir()
    assert _grays(fixed_samples(_config(tmp_path), 1), "real_a") == [20]


@pytest.mark.parametrize(
    ("count", "expected"), [(1, [0]), (3, [0, 4, 9]), (10, list(range(10))), (99, list(range(10)))]
)
def test_sheets_show_pictures_from_all_over_the_folder(tmp_path, count, expected):
    for index in range(10):
        _write(tmp_path / "testA" / f"{index}.png", index)
    assert _grays(fixed_samples(_config(tmp_path), count), "real_a") == expected


def test_broken_picture_of_a_sheet_is_one_line(tmp_path):
    _split(tmp_path, "val", 10)
    (tmp_path / "valB/sub/deep/2.png").write_text("no picture")
    with pytest.raises(UserError, match=r"2\.png: cannot be read"):
        fixed_samples(_config(tmp_path), 8)


def test_a_folder_test_in_one_of_two_folders_is_no_test_split(unpaired):
    """Its pictures are trained on."""
    (unpaired / "testA").rename(unpaired / "trainA" / "test")
    (unpaired / "testB").rename(unpaired / "trainB" / "test")
    config = UnpairedDataConfig(a=str(unpaired / "trainA"), b=str(unpaired / "trainB"), load_px=32, crop_px=32)
    with pytest.raises(UserError, match="data.a, data.b: have no test split besides what data.held_back keeps"):
        pictures_of_split(config, "test")
    assert len(pictures_of_split(config, "train")[0]) == 8
    held = config.model_copy(update={"held_back": 0.25})
    assert [len(pictures_of_split(held, split)[0]) for split in ("train", "test")] == [6, 2]
    assert len(fixed_samples(config, 8)) == 8
