"""Features of target sets kept on disk."""

import io
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from conftest import REPOSITORY

from cut.scoring import feature_store
from cut.scoring.feature_store import default_store, entry_name, load_entry, save_entry

FEATURES = np.arange(12, dtype=np.float32).reshape(4, 3)
STATISTICS = FEATURES.mean(axis=0), np.cov(FEATURES, rowvar=False)


def test_what_was_saved_is_loaded_bit_for_bit(tmp_path):
    save_entry(tmp_path / "store", "a", FEATURES, *STATISTICS)
    loaded = load_entry(tmp_path / "store", "a", 4)["features"]
    assert loaded.dtype == np.float32 and np.array_equal(loaded, FEATURES)
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["a.npz"]


def test_of_too_many_features_the_statistics_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(feature_store, "_MOST_FEATURES_BYTES", 47)
    save_entry(tmp_path, "a", FEATURES, *STATISTICS)
    loaded = load_entry(tmp_path, "a", 4)
    assert "features" not in loaded
    np.testing.assert_array_equal(loaded["mean"], STATISTICS[0])
    np.testing.assert_array_equal(loaded["covariance"], STATISTICS[1])


def test_what_killed_writers_left_is_cleared_away_and_what_is_being_written_is_not(tmp_path):
    left, now, foreign = f".cut-{0:016x}.part", f".cut-{1:016x}.part", ".mine.part"
    for name in (left, now, foreign):
        (tmp_path / name).write_bytes(b"half")
    for name in (left, foreign):
        os.utime(tmp_path / name, (0, 0))
    save_entry(tmp_path, "a", FEATURES, *STATISTICS)
    assert {path.name for path in tmp_path.iterdir()} == {now, foreign, "a.npz"}


@pytest.mark.parametrize("damage", ["half", "flipped", "junk", "empty", "missing"])
def test_a_damaged_entry_counts_as_none(tmp_path, damage):
    save_entry(tmp_path, "a", FEATURES, *STATISTICS)
    path = tmp_path / "a.npz"
    whole = path.read_bytes()
    place = whole.index(FEATURES.tobytes())
    flipped = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
    path.write_bytes({"half": whole[: len(whole) // 2], "flipped": flipped, "junk": b"junk" * 99}.get(damage, b""))
    if damage == "missing":
        path.unlink()
    assert load_entry(tmp_path, "a", 4) is None


def _npy(array, shape=None):
    """An array as NumPy writes it, which may claim another shape."""
    file = io.BytesIO()
    header = np.lib.format.header_data_from_array_1_0(array) | ({"shape": shape} if shape else {})
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + array.tobytes()


@pytest.mark.parametrize(
    ("parts", "method"),
    [
        ({"features": _npy(FEATURES, (4, 10**12))}, zipfile.ZIP_STORED),
        ({"features": _npy(FEATURES, (4, 2))}, zipfile.ZIP_STORED),
        ({"features": _npy(FEATURES)}, zipfile.ZIP_DEFLATED),
        ({"features": _npy(FEATURES.astype(object))}, zipfile.ZIP_STORED),
        ({"features": _npy(FEATURES.astype(complex))}, zipfile.ZIP_STORED),
        ({"features": _npy(FEATURES * np.nan)}, zipfile.ZIP_STORED),
        ({"features": _npy(FEATURES[0])}, zipfile.ZIP_STORED),
        ({"features": _npy(FEATURES), "more": _npy(FEATURES)}, zipfile.ZIP_STORED),
        ({"mean": _npy(FEATURES[0]), "covariance": _npy(FEATURES), "count": _npy(np.array(4))}, zipfile.ZIP_STORED),
        ({"mean": _npy(FEATURES[0]), "covariance": _npy(FEATURES[:3]), "count": _npy(FEATURES)}, zipfile.ZIP_STORED),
        ({"features": b"\x93NUMPY\x09\x00junk"}, zipfile.ZIP_STORED),
        ({str(n): _npy(FEATURES) for n in range(9)}, zipfile.ZIP_STORED),
        ({}, zipfile.ZIP_STORED),
    ],
)
def test_an_entry_that_claims_or_holds_something_else_counts_as_none(tmp_path, parts, method):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as archive:
        for name, data in parts.items():
            archive.writestr(f"{name}.npy", data)
    assert load_entry(tmp_path, "a", 4) is None


def test_a_pipe_in_place_of_an_entry_hangs_nothing(tmp_path):
    os.mkfifo(tmp_path / "a.npz")
    assert load_entry(tmp_path, "a", 4) is None


def test_an_entry_of_another_number_of_pictures_counts_as_none(tmp_path):
    save_entry(tmp_path, "a", FEATURES, *STATISTICS)
    assert load_entry(tmp_path, "a", 5) is None


def test_the_name_tells_networks_devices_and_pictures_apart_but_not_their_order():
    name = entry_name("net", "cpu", ["x", "y"])
    assert name == entry_name("net", "cpu", ["y", "x"])
    others = [("net2", "cpu", ["x", "y"]), ("net", "cuda", ["x", "y"]), ("net", "cpu", ["x"]), ("net", "cpu", ["xy"])]
    assert len({name, *(entry_name(*other) for other in others)}) == 5


def test_entries_not_used_for_longest_go_first(tmp_path, monkeypatch):
    a, b, c, d = (letter * 64 for letter in "abcd")
    (tmp_path / "mine.npz").write_bytes(bytes(10_000))  # the folder may be the user's
    feature_store.os.utime(tmp_path / "mine.npz", (0, 0))
    for age, name in enumerate((a, b, c)):
        save_entry(tmp_path, name, FEATURES, *STATISTICS)
        feature_store.os.utime(tmp_path / f"{name}.npz", (1000 + age, 1000 + age))
    assert load_entry(tmp_path, a, 4)  # used now
    size = (tmp_path / f"{a}.npz").stat().st_size
    monkeypatch.setattr(feature_store, "_MOST_BYTES", 3 * size)
    save_entry(tmp_path, d, FEATURES, *STATISTICS)
    assert sorted(path.stem for path in tmp_path.iterdir()) == [a, c, d, "mine"]


def test_processes_that_write_and_read_one_entry_at_once_never_see_half_of_it(tmp_path):
    code = """
import sys, numpy as np
from pathlib import Path
from cut.scoring.feature_store import load_entry, save_entry
features = np.arange(300_000, dtype=np.float32).reshape(1000, 300)
for _ in range(15):
    save_entry(Path(sys.argv[1]), "a", features, features[0], features[:300])
    entry = load_entry(Path(sys.argv[1]), "a", 1000)
    assert entry is not None and np.array_equal(entry["features"], features)
"""
    commands = [[sys.executable, "-c", code, str(tmp_path / "store")]] * 3
    writers = [subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True) for command in commands]
    for writer in writers:
        assert writer.communicate(timeout=60)[1] == "" and writer.returncode == 0
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["a.npz"]


def test_the_default_place_is_the_users_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_store() == tmp_path / "cut" / "statistics"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert default_store() == tmp_path / ".cache" / "cut" / "statistics"
