"""Pictures kept on disk: nothing changes in what is sampled, whatever happens to the files."""

import os
import resource
import zlib

import numpy as np
import pytest
import torch

from cut.config import ImagesDataConfig, PairedDataConfig, UnpairedDataConfig
from cut.data import cache, decode, paired
from cut.data.images import write_image
from cut.data.loader import batches
from cut.data.paired import PairedStream
from cut.data.plain import ImagesStream
from cut.data.unpaired import UnpairedStream
from cut.errors import UserError

MODES = ["resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "scale_shortside_and_crop", "none"]
SMALL = {"load_px": 20, "crop_px": 16, "num_workers": 0}


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    """The user's cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    return tmp_path / "user" / "cut" / "pictures"


def noise(path, height=24, width=28, channels=3, dtype=np.uint8, seed=0):
    numbers = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (height, width, channels), endpoint=True)
    write_image(path, numbers.astype(dtype))


def domains(root, dtype=np.uint8, channels=3, count=3, suffix="png", **size):
    for seed in range(2 * count):
        path = root / f"train{'AB'[seed % 2]}" / f"{seed // 2}.{suffix}"
        noise(path, channels=channels, dtype=dtype, seed=seed, **size)
    return root


def unpaired_stream(root, **settings):
    return UnpairedStream(UnpairedDataConfig(**{"root": str(root), **SMALL} | settings), seed=1)


def samples(stream, count=8):
    found = [stream[n] for n in range(count)]
    assert not [sample for sample in found if isinstance(sample, UserError)], found
    return found


def assert_equal(some, others):
    for one, other in zip(some, others, strict=True):
        assert one.keys() == other.keys()
        assert all(one[key].dtype == torch.float32 and torch.equal(one[key], other[key]) for key in one)


def refuse(*_):
    raise AssertionError("a picture was decoded again")


@pytest.mark.parametrize("preprocess", MODES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("whole_from", [None, 0])
def test_kept_pictures_give_the_same_samples(tmp_path, monkeypatch, preprocess, dtype, channels, whole_from):
    root, settings = domains(tmp_path, dtype, channels), {"preprocess": preprocess, "channels_b": channels}
    made = unpaired_stream(root, cache_mib=0, **settings)
    keeping = unpaired_stream(root, **settings)
    reading = unpaired_stream(root, **settings)
    made.whole_from = keeping.whole_from = reading.whole_from = whole_from
    assert_equal(samples(made), samples(keeping))
    monkeypatch.setattr(cache, "read_image", refuse)
    assert_equal(samples(keeping), samples(reading))


@pytest.mark.parametrize("layout", ["two folders", "one picture"])
@pytest.mark.parametrize("dtype_b", [np.uint8, np.uint16])
@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_kept_pairs_give_the_same_samples(tmp_path, monkeypatch, layout, dtype_b, direction):
    if layout == "one picture":
        for number in range(3):
            noise(tmp_path / f"train/{number}.png", width=48, dtype=dtype_b, seed=number)
    else:
        domains(tmp_path)
        for number in range(3):
            noise(tmp_path / f"trainB/{number}.png", dtype=dtype_b, seed=9 + number)
    settings = {"root": str(tmp_path), "direction": direction, "channels_a": 1, **SMALL}
    keeping, reading = (PairedStream(PairedDataConfig(**settings), seed=1) for _ in range(2))
    made = samples(PairedStream(PairedDataConfig(**settings, cache_mib=0), seed=1))
    assert_equal(made, samples(keeping))
    assert [len(made[0][key]) for key in ("real_a", "real_b")] == ([1, 3] if direction == "AtoB" else [3, 1])
    monkeypatch.setattr(paired, "read_image", refuse)
    assert_equal(made, samples(reading))


def test_a_kept_folder_gives_the_same_samples(tmp_path, monkeypatch):
    settings = {"root": str(domains(tmp_path)), "batch_size": 2, "num_channels": 1, "load_px": 20, "crop_px": 16}
    made = samples(ImagesStream(ImagesDataConfig(**settings, cache_mib=0), seed=1))
    assert_equal(made, samples(ImagesStream(ImagesDataConfig(**settings), seed=1)))
    monkeypatch.setattr(cache, "read_image", refuse)
    assert_equal(made, samples(ImagesStream(ImagesDataConfig(**settings), seed=1)))


def test_other_settings_do_not_meet_in_the_cache(tmp_path):
    domains(tmp_path)
    several = [{}, {"load_px": 22}, {"crop_px": 12}, {"channels_a": 1}, {"direction": "BtoA", "channels_b": 1}]
    for settings in [*several, *({"preprocess": mode} for mode in MODES)]:
        assert_equal(
            samples(unpaired_stream(tmp_path, cache_mib=0, **settings)), samples(unpaired_stream(tmp_path, **settings))
        )


def test_workers_that_fill_it_at_once_change_nothing(tmp_path):
    domains(tmp_path)
    made = list(batches(unpaired_stream(tmp_path, cache_mib=0), 2, range(16), num_workers=0))
    filled = zip(*(batches(unpaired_stream(tmp_path), 2, range(16), num_workers=2) for _ in range(2)), strict=True)
    for expected, (one, other) in zip(made, filled, strict=True):
        assert_equal([expected, expected], [one, other])


def test_a_changed_picture_is_read_again(tmp_path):
    stream = unpaired_stream(domains(tmp_path, suffix="ppm"))
    before, path = samples(stream), tmp_path / "trainA" / "0.ppm"
    stat = path.stat()
    noise(path, seed=99)  # a ppm is as long as before
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as copying programs set it
    assert path.stat().st_size == stat.st_size
    after = samples(stream)
    assert_equal(after, samples(unpaired_stream(tmp_path, cache_mib=0)))
    assert not all(torch.equal(one["real_a"], other["real_a"]) for one, other in zip(before, after, strict=True))


def test_a_changed_picture_takes_the_place_of_the_old_one(tmp_path, store):
    stream = unpaired_stream(domains(tmp_path))
    samples(stream)
    entries = {path for path in store.rglob("*") if path.is_file()}
    noise(tmp_path / "trainA" / "0.png", seed=99)
    samples(stream)
    assert {path for path in store.rglob("*") if path.is_file()} == entries and len(entries) == 6


def test_a_deleted_or_broken_picture_is_named(tmp_path):
    stream = unpaired_stream(domains(tmp_path, count=1))
    samples(stream)
    path = tmp_path / "trainA" / "0.png"
    path.write_bytes(b"no picture")
    assert str(stream[0]) == f"{path}: cannot be read as a picture (it is damaged, or of no format that is known here)"
    path.unlink()
    assert str(stream[0]) == f"{path}: no such file"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    "damage", [lambda data: b"", lambda data: data[:30], lambda data: data[:-1], lambda data: data[:-9] + bytes(9)]
)
def test_a_damaged_entry_is_made_anew(tmp_path, store, damage, dtype):
    made = samples(unpaired_stream(domains(tmp_path, dtype)))
    entries = [path for path in store.rglob("*") if path.is_file()]
    whole = [path.read_bytes() for path in entries]
    for path in entries:
        path.write_bytes(damage(path.read_bytes()))
    assert_equal(made, samples(unpaired_stream(tmp_path)))
    assert [path.read_bytes() for path in entries] == whole


def _with_shape(data, *shape, more=b""):
    """An entry that says it has another shape, with the checksum that fits."""
    body = cache._SHAPE.pack(*shape) + data[cache._HEADER.size + cache._SHAPE.size :] + more
    return cache._HEADER.pack(data[:16], zlib.crc32(body)) + body


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: _with_shape(data, 1, 3, 20, 21),
        lambda data: _with_shape(data, 1, 2**31, 2**31, 3),
        lambda data: _with_shape(data, 7, 3, 20, 20),
        lambda data: _with_shape(data, 4, 3, 20, 20),
        lambda data: _with_shape(data, 1, 3, 20, 20, more=bytes(400)),
        lambda data: _with_shape(data, 1, 3, 20, 20, more=bytes(2**21)),
    ],
)
def test_an_entry_that_says_it_has_another_shape_is_made_anew(tmp_path, store, spoil):
    made = samples(unpaired_stream(domains(tmp_path)))
    for path in [path for path in store.rglob("*") if path.is_file()]:
        path.write_bytes(spoil(path.read_bytes()))
    assert_equal(made, samples(unpaired_stream(tmp_path, cache_mib=1)))


def test_a_pipe_or_a_circle_in_place_of_an_entry_hangs_nothing(tmp_path, store):
    made = samples(unpaired_stream(domains(tmp_path)))
    for number, path in enumerate([path for path in store.rglob("*") if path.is_file()]):
        path.unlink()
        os.mkfifo(path) if number % 2 else path.symlink_to(path.name)
    assert_equal(made, samples(unpaired_stream(tmp_path)))


def test_what_is_read_in_another_way_is_another_entry(tmp_path, store, monkeypatch):
    samples(unpaired_stream(domains(tmp_path)))
    assert cache._VERSION[0] == decode.VERSION
    monkeypatch.setattr(cache, "_VERSION", ("another", *cache._VERSION[1:]))
    samples(unpaired_stream(tmp_path))
    assert len(list(store.iterdir())) == 2


def test_what_is_cut_off_while_it_is_written_is_no_entry(tmp_path, store, monkeypatch):
    domains(tmp_path)

    def is_killed(one, other):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", is_killed)
        samples(unpaired_stream(tmp_path))
    assert not [path for path in store.rglob("*") if path.is_file()]


def test_where_nothing_can_be_written_one_line_says_so(tmp_path, store, capsys):
    store.parent.parent.write_text("a file in the place of the cache folder")
    stream = unpaired_stream(domains(tmp_path))
    assert_equal(samples(unpaired_stream(tmp_path, cache_mib=0)), samples(stream))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"data.cache_mib: {store}") and "cannot be kept there (Not a directory)" in line


def test_a_disk_that_is_full_ends_nothing(tmp_path, store, capsys):
    stream = unpaired_stream(domains(tmp_path))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))  # bytes; an entry has 1200
    try:
        found = samples(stream)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert_equal(samples(unpaired_stream(tmp_path, cache_mib=0)), found)
    assert "cannot be kept there (File too large)" in capsys.readouterr().err
    assert not [path for path in store.rglob("*") if path.is_file()]


def test_without_a_bound_nothing_is_kept(tmp_path, store):
    samples(unpaired_stream(domains(tmp_path), cache_mib=0))
    assert not store.exists()


def test_the_bound_holds_and_what_fits_is_kept(tmp_path, store):
    root = domains(tmp_path / "data", count=10, height=160, width=160)  # 20 pictures of 75 KiB
    samples(unpaired_stream(root, preprocess="none", cache_mib=1), 60)
    kept = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
    assert 0.5 * 2**20 < kept <= 2**20


@pytest.mark.parametrize("idle_seconds, stays", [(3600, False), (60, True)])
def test_sets_that_nobody_uses_make_room(tmp_path, store, idle_seconds, stays):
    other, foreign = store / ("0" * 32), store / "my pictures"
    for folder in (other, foreign):
        folder.mkdir(parents=True)
    (other / "entry").write_bytes(bytes(2**20))
    used = other.stat().st_mtime - idle_seconds
    for folder in (other, foreign):
        os.utime(folder, (used, used))
    samples(unpaired_stream(domains(tmp_path / "data"), cache_mib=1))
    assert other.exists() == stays and foreign.exists()
    assert any(store.glob("*/" + "[0-9a-f]" * 32)) != stays  # what is in use is not pushed out


def test_a_set_that_is_read_is_in_use(tmp_path, store):
    samples(unpaired_stream(domains(tmp_path)))
    (folder,) = store.iterdir()
    os.utime(folder, (0, 0))
    samples(unpaired_stream(tmp_path))
    assert folder.stat().st_mtime > 0
