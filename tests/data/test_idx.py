"""Sets in MNIST's format: whole ones are read, all others are refused in one line."""

import gzip
import re
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_idx

from cut.config import IDXDataConfig
from cut.data import idx
from cut.data.idx import IDXStream, read_idx
from cut.data.kinds import open_stream, with_classes
from cut.datasets.check import check_folder
from cut.datasets.check_idx import with_idx_files
from cut.errors import UserError

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 10, 12), dtype=np.uint8)


def encoded(array, kind=8):
    return bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def refused(path, **options):
    with pytest.raises(UserError) as caught:
        read_idx(path, **options)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


def stream(root, **settings):
    return IDXStream(IDXDataConfig(root=str(root), **({"batch_size": 2} | settings)), seed=0)


@pytest.mark.parametrize("suffix, pack", [("", bytes), (".gz", gzip.compress)])
def test_pictures_are_read_packed_or_not(tmp_path, suffix, pack):
    path = tmp_path / f"train-images-idx3-ubyte{suffix}"
    path.write_bytes(pack(encoded(PIXELS)))
    assert np.array_equal(read_idx(path, 3), PIXELS)


def test_mnists_own_header_is_understood(tmp_path):
    """The first 16 bytes of train-images-idx3-ubyte, as its authors print them."""
    path = tmp_path / "a-ubyte"
    path.write_bytes(bytes.fromhex("00000803 0000ea60 0000001c 0000001c") + bytes(60_000 * 784))
    assert read_idx(path).shape == (60_000, 28, 28)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gz"])
@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "begins with the bytes ''"),
        (b"<html>", "begins with the bytes '3c 68 74 6d'"),
        (encoded(PIXELS, kind=0x0D), "holds 32-bit floats, and only unsigned bytes are read; scale them"),
        (encoded(PIXELS[0, 0]), "has 1 dimensions instead of 3; gray pictures have 3"),
        (bytes([0, 0, 8, 255]) + bytes(2000), "255 dimensions"),
        (encoded(PIXELS)[:9], "ends inside its header"),
        (encoded(PIXELS)[:-1], "promises 6x10x12 = 720 bytes, 719 bytes follow"),
        (encoded(PIXELS) + b"x", "more follow"),
        (bytes([0, 0, 8, 3]) + b"\xff" * 12, "promises 4294967295x4294967295x4294967295 bytes, more than"),
        (bytes([0, 0, 8, 3]) + struct.pack(">3I", 9, 0, 9), "holds no number (9x0x9)"),
        (bytes([0, 0, 8, 3]) + struct.pack(">3I", 1000, 1000, 4000) + b"short", "5 bytes follow"),
    ],
)
def test_hostile_headers_are_refused_in_one_line(tmp_path, content, reason, pack):
    path = tmp_path / ("a-ubyte.gz" if pack is gzip.compress else "a-ubyte")
    path.write_bytes(pack(content))
    assert reason in refused(path, num_dimensions=3)


def test_damaged_gzip_is_refused(tmp_path):
    path = tmp_path / "a-ubyte.gz"
    whole = gzip.compress(encoded(PIXELS))
    for damaged in (b"\x1f\x8bno gzip", whole[:-20], whole[:40] + b"\xff" * 40 + whole[80:], whole[:-8] + b"\0" * 8):
        path.write_bytes(damaged)
        assert "not a whole IDX file" in refused(path)


def test_a_packed_bomb_is_read_no_further_than_its_header_allows(tmp_path, monkeypatch):
    path = tmp_path / "a-ubyte.gz"
    path.write_bytes(gzip.compress(encoded(PIXELS) + bytes(50_000_000)))
    read = []
    monkeypatch.setattr(gzip.GzipFile, "read", lambda s, n, _read=gzip.GzipFile.read: read.append(n) or _read(s, n))
    assert "more follow" in refused(path)
    assert sum(read) < 1000


def test_samples_are_the_files_pictures_each_once_per_epoch(tmp_path):
    make_idx(tmp_path, pixels=PIXELS[:, :, :10])
    data = stream(tmp_path, crop_px=12, batch_size=1)
    assert data[0]["real"].shape == (1, 12, 12)  # scaled
    data = IDXStream(IDXDataConfig.model_construct(root=str(tmp_path), crop_px=10, batch_size=2, num_channels=3), 0)
    samples = [data[n]["real"] for n in range(6)]
    assert sorted(data.picture_of(n) for n in range(6)) == list(range(6)) and data.steps_per_epoch == 3
    for n, sample in enumerate(samples):
        expected = torch.from_numpy(PIXELS[data.picture_of(n), :, :10].astype(np.float32)) / 127.5 - 1
        torch.testing.assert_close(sample, expected.expand(3, 10, 10))
    assert torch.equal(data[4]["real"], samples[4])  # whatever was read between


def test_seed_decides_the_order(tmp_path):
    make_idx(tmp_path)
    config = IDXDataConfig(root=str(tmp_path), batch_size=1)
    orders = [[IDXStream(config, seed).picture_of(n) for n in range(12)] for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]


def test_missing_files_are_told_with_what_to_do(tmp_path):
    with pytest.raises(UserError, match="no such folder; fetch it with: cut-data download mnist --output"):
        stream(tmp_path / "mnist")
    with pytest.raises(UserError, match="no such folder; set data.root"):
        stream(tmp_path / "digits")
    make_idx(tmp_path, split="t10k")
    with pytest.raises(UserError, match="neither train-images-idx3-ubyte nor .*; data.split can be t10k here"):
        stream(tmp_path)
    assert stream(tmp_path, split="t10k").num_pictures


def test_a_file_that_a_browser_has_unpacked_is_read_under_its_old_name(tmp_path):
    (tmp_path / "a-ubyte.gz").write_bytes(encoded(PIXELS))
    (tmp_path / "b-ubyte").write_bytes(gzip.compress(encoded(PIXELS)))
    assert all(np.array_equal(read_idx(tmp_path / name, 3), PIXELS) for name in ("a-ubyte.gz", "b-ubyte"))


@pytest.mark.parametrize("inside", ["train-images-idx3-ubyte", "train-images.idx3-ubyte"])
def test_files_in_folders_of_their_names_are_found_as_kaggle_packs_them(tmp_path, inside):
    (tmp_path / "train-images-idx3-ubyte").mkdir()
    (tmp_path / "train-images-idx3-ubyte" / inside).write_bytes(encoded(PIXELS))
    assert np.array_equal(stream(tmp_path).pictures, PIXELS)


def test_advice_about_where_a_file_is_leads_there(tmp_path):
    raw = tmp_path / "MNIST" / "raw"  # as torchvision lays it out
    make_idx(raw)
    (tmp_path / "train-images-idx3-ubyte.gz.part").touch()
    with pytest.raises(UserError) as caught:
        stream(tmp_path)
    found = re.search("there is train-images-idx3-ubyte.gz in (.*); set data.root to that folder", str(caught.value))
    assert stream(Path(found[1])).num_pictures == 16
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "train-images-idx3-ubyte").write_bytes(encoded(PIXELS)[:-1])
    with pytest.raises(
        UserError, match="for the published files delete .*mnist and run: cut-data download mnist --output"
    ):
        stream(tmp_path / "mnist")


def test_checking_keeps_no_number_of_a_file(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a-images-idx3-ubyte.gz").write_bytes(
        gzip.compress(bytes([0, 0, 8, 3]) + struct.pack(">3I", 50_000, 28, 28) + bytes(39_200_000), 1)
    )
    tracemalloc.start()
    report = with_idx_files(check_folder(tmp_path, progress=False))
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()
    assert report.folders[0].name == "sub/a-images-idx3-ubyte.gz" and report.folders[0].num_images == 50_000


def test_a_split_cannot_lead_elsewhere():
    with pytest.raises(ValueError, match="split"):
        IDXDataConfig(root=".", split="../train")


def test_check_reports_idx_files_and_the_broken_ones(tmp_path):
    make_idx(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(encoded(np.zeros(16, dtype=np.uint8)))
    report = with_idx_files(check_folder(tmp_path, progress=False))
    assert not report.has_errors and "IDX files" in report.text() and "16" in report.text()
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(b"html")
    report = with_idx_files(check_folder(tmp_path, progress=False))
    assert report.has_errors and list(report.broken) == ["t10k-images-idx3-ubyte.gz"]


def test_bound_on_bytes_is_above_every_public_set():
    assert idx.MAX_BYTES > 814_255 * 784  # EMNIST, the largest


def test_labels_take_no_more_memory_than_there_are_pictures(tmp_path):
    """40 kB of packed labels took 40 MB, and 4 MB would have taken 4 GB."""
    make_idx(tmp_path)
    packed = gzip.compress(bytes([0, 0, 8, 1]) + struct.pack(">I", 40_000_000) + bytes(40_000_000), 1)
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(packed)
    config = IDXDataConfig(root=str(tmp_path))
    tracemalloc.start()
    for opened in (lambda: with_classes(config), lambda: open_stream(config.model_copy(update={"classes": ("a",)}), 0)):
        with pytest.raises(UserError, match="holds 40000000 labels for 16 pictures; take the two files of one set"):
            opened()
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()
