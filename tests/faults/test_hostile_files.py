"""Pictures, sets, archives, checkpoints and weights from anywhere: used, or refused on one line; never run, never hung,
never more memory than a bound, never a file outside the output folder.
"""

import gzip
import io
import json
import pickle
import random
import shutil
import struct
import tarfile
import zipfile
import zlib

import numpy as np
import pytest
import torch
from conftest import make_idx
from damage import damage
from PIL import Image
from safetensors.torch import load_file, save_file

from cut.data.images import write_image
from cut.storage.checkpoint import INFERENCE_FILE, list_checkpoints, load_checkpoint, load_inference_file

_SECONDS, _MEMORY_MIB = 60, 1000  # memory above what the imports take
_MOST_CHARACTERS = 4000


def _few_or_many(few, many):
    return pytest.mark.parametrize("count", [few, pytest.param(many, marks=pytest.mark.soak)])


@pytest.fixture
def attempt(forks, tally):
    """Runs a program on a hostile input; returns whether it was refused."""

    def run(kind, program, *arguments):
        ended = forks.run(program, *arguments, seconds=_SECONDS, memory_mib=_MEMORY_MIB)
        assert ended.status in (0, 2), ended
        assert ended.status == 0 or len(ended.mistake) < _MOST_CHARACTERS
        others = ("step ", "warning: step", "TIFF")  # what a training logs; and libtiff says things of its own
        lines = [line for line in ended.stderr.splitlines() if not line.startswith(others)]
        assert "Traceback" not in ended.stderr and len(lines) <= 3, ended  # what is left out, the scale, the mistake
        assert not list(forks.current.iterdir()), "a file outside the output folder"
        tally[f"hostile inputs: {kind}"] += 1
        return ended.mistake if ended.status else None

    return run


def _pictures():
    """A small picture in every format that is read, and in their rarer forms."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)
    picture, found = Image.fromarray(pixels), {}
    exif = Image.Exif()
    exif[0x0112] = 6
    forms = {
        "a.png": (picture, {}),
        "b.png": (picture.quantize(8), {"transparency": 3}),
        "c.png": (picture.convert("LA"), {}),
        "d.jpg": (picture, {"exif": exif}),
        "e.jpg": (picture.convert("CMYK"), {"progressive": True}),
        "f.tif": (picture, {"compression": "tiff_lzw"}),
        "g.tif": (picture.convert("L"), {"compression": "tiff_adobe_deflate"}),
        "h.bmp": (picture.convert("P"), {}),
        "i.webp": (picture, {"lossless": True}),
        "j.ppm": (picture, {}),
    }
    for name, (form, options) in forms.items():
        buffer = io.BytesIO()
        form.save(buffer, Image.registered_extensions()[name[1:]], **options)
        found[name] = buffer.getvalue()
    return found


def _deep_pictures(folder):
    pixels = np.random.default_rng(0).integers(0, 65536, (24, 20, 3), dtype=np.uint16)
    for name, array in (("k.png", pixels), ("l.tif", pixels), ("m.ppm", pixels), ("n.png", pixels[..., :1])):
        write_image(folder / name, array)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@_few_or_many(14, 560)
def test_damaged_pictures(count, straight, attempt, tmp_path):
    pictures = _pictures() | _deep_pictures(tmp_path / "deep")
    rng, refused = random.Random(count), 0
    for number in range(count):
        name = list(pictures)[number % len(pictures)]
        data = pictures[name]
        head = rng.choice([len(data), 120])  # where the sizes stand
        for _ in range(rng.randint(1, 3)):
            data = damage(data[:head] or b"x", rng)[1] + data[head:]
        (tmp_path / name).write_bytes(data)
        arguments = ("--run", straight, "--input", tmp_path / name, "--output", tmp_path / "out")
        refused += bool(attempt("pictures", "test", *arguments))
    assert 0 < refused < count, "all refused, or none"
    assert {p.name for p in tmp_path.iterdir()} <= {*pictures, "deep", "out", "out_sheet.png", ".cut-written-out"}


def _chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width, height, *more):
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + _chunk(b"IEND", b"")


def _tiff_of_many_tags():
    entries = b"".join(struct.pack("<HHII", 40000 + n, 2, 2**31, 8) for n in range(20_000))
    return b"II*\0" + struct.pack("<IH", 8, 20_000) + entries


def test_pictures_that_stand_for_more_than_they_are(straight, attempt, forks, tally, tmp_path):
    bomb = zlib.compress(bytes(50_000_000))
    kinds = {
        "claims 2.5 gigapixels": _png(50_000, 50_000, _chunk(b"IDAT", zlib.compress(bytes(1000)))),
        "claims 178 megapixels": _png(13_000, 13_700, _chunk(b"IDAT", zlib.compress(bytes(1000)))),
        "text of 50 MB": _png(8, 8, _chunk(b"zTXt", b"k\0\0" + bomb), _chunk(b"IDAT", zlib.compress(bytes(200)))),
        "profile of 50 MB": _png(8, 8, _chunk(b"iCCP", b"k\0\0" + bomb), _chunk(b"IDAT", zlib.compress(bytes(200)))),
        "many tags": _tiff_of_many_tags(),
        "a program for a printer": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n",
    }
    for kind, data in kinds.items():
        (tmp_path / "x.png").write_bytes(data)
        said = attempt(
            "bombs in pictures", "test", "--run", straight, "--input", tmp_path / "x.png", "--output", tmp_path / "out"
        )
        assert said or "50 MB" in kind, kind
    Image.new("RGB", (1100, 1000)).save(tmp_path / "large.png")
    check = ("data", "check", tmp_path, "--max-megapixels")
    assert "larger than 1 megapixels" in forks.run(*check, 1).stdout
    assert "larger than" not in forks.run(*check, 1.2).stdout
    for wrong in ("0", "nan", "-1", "1e9"):
        assert "--max-megapixels" in forks.run(*check[:3], f"--max-megapixels={wrong}").mistake


@_few_or_many(8, 160)
def test_damaged_idx_files(count, tiny_dcgan_yaml, attempt, tmp_path):
    path = make_idx(tmp_path / "set") / "train-images-idx3-ubyte.gz"
    packed = path.read_bytes()
    plain, rng, refused = gzip.decompress(packed), random.Random(count), 0
    path.unlink()
    for number in range(count):
        file = path if number % 2 else path.with_suffix("")
        head = rng.choice([1000, 20])
        data = plain if number % 4 < 2 else packed
        data = damage(data[:head], rng)[1] + data[head:]
        file.write_bytes(gzip.compress(data, 1) if number % 4 == 1 else data)
        arguments = ("--config", tiny_dcgan_yaml, "--dry-run", "--set", f"data.root={tmp_path / 'set'}")
        refused += bool(attempt("IDX files", "train", *arguments))
        file.unlink()
    assert 0 < refused < count, "all refused, or none"


def test_an_idx_file_that_unpacks_beyond_the_bound_is_refused(tiny_dcgan_yaml, attempt, tmp_path):
    path = make_idx(tmp_path / "set") / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(bytes([0, 0, 8, 3]) + struct.pack(">3I", 200_000, 28, 28) + bytes(156_800_000), 1))
    start = ("--config", tiny_dcgan_yaml, "--dry-run", "--set", f"data.root={tmp_path / 'set'}")
    said = attempt("bombs in IDX files", "train", *start, "--set", "data.max_megapixels=100")
    assert "data.max_megapixels" in said


@pytest.fixture
def archives():
    """A zip and a tar of a few pictures."""
    files = {f"set/trainA/{n}.jpg": bytes(range(256)) * 8 for n in range(3)} | {"set/trainB/0.jpg": b"zebra"}
    packed = {}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    packed["horse2zebra.zip"] = buffer.getvalue()
    packed["facades_aligned.tar.gz"] = _tar([_tar_file(name, data) for name, data in files.items()])
    return packed


def _tar_file(name, data=b"", **how):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in how.items():
        setattr(info, key, value)
    return info, data


def _tar(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        for info, data in files:
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _unpack(attempt, kind, name, data, root):
    root.mkdir()
    (root / name).write_bytes(data)
    said = attempt(kind, "data", "download", name.partition(".")[0], "--output", root, "--max-gb", "0.05")
    left = {path.name for path in root.iterdir()}
    assert left <= {name, name.partition(".")[0]}, left
    assert not any(path.is_symlink() for path in root.rglob("*"))
    return said


@_few_or_many(8, 200)
def test_damaged_archives(count, archives, attempt, tmp_path):
    rng, refused = random.Random(count), 0
    for number in range(count):
        name = list(archives)[number % 2]
        data = archives[name]
        if name.endswith("gz") and number % 4 == 1:  # below the checksum of gzip, at which all others end
            data = gzip.compress(damage(gzip.decompress(data), rng)[1], 1)
        else:
            data = damage(data, rng)[1]
        refused += bool(_unpack(attempt, "archives", name, data, tmp_path / str(number)))
    assert 0 < refused, "none was refused"
    assert {path.name for path in tmp_path.iterdir()} == set(map(str, range(count)))


def test_archives_that_reach_for_more_than_their_folder(attempt, tmp_path):
    long = b"x" * 4_000_000
    files = {
        "above": [_tar_file("../evil", b"x")],
        "absolute": [_tar_file("/tmp/evil", b"x")],
        "of Windows": [_tar_file("C:\\evil", b"x")],
        "link out": [_tar_file("a", type=tarfile.SYMTYPE, linkname=".."), _tar_file("a/evil", b"x")],
        "hard link": [_tar_file("a", type=tarfile.LNKTYPE, linkname="../../evil")],
        "device": [_tar_file("a", type=tarfile.CHRTYPE)],
        "pipe": [_tar_file("a", type=tarfile.FIFOTYPE)],
        "a name of 4 MB": [_tar_file("name", long, type=tarfile.GNUTYPE_LONGNAME), _tar_file("a", b"x")],
        "attributes of 4 MB": [_tar_file("name", long, type=tarfile.XHDTYPE), _tar_file("a", b"x")],
        "60 MB of zeros": [_tar_file("a", bytes(60_000_000))],
        "folder and file": [_tar_file("a", b"x"), _tar_file("a/b", b"x")],
        "long path": [_tar_file("/".join(["d" * 200] * 30)[1:], b"x")],
        "nothing": [],
    }
    for number, (kind, members) in enumerate(files.items()):
        said = _unpack(attempt, "archives", "facades_aligned.tar.gz", _tar(members), tmp_path / str(number))
        assert said, kind
        if "MB" in kind:
            assert "claims 4000000 bytes" in said or "bound of 0.05 GB" in said


_JUNK = (None, -1, 10**30, True, 1.5, float("nan"), "x", [], {}, [[1]], {"a": {"b": 1}}, torch.tensor(0.5))
_JUNK += (torch.zeros(3), torch.zeros(1).expand(10**6, 10**6), torch.zeros(2, dtype=torch.int64), torch.zeros(0, 5))


def _spoiled(value, rng):
    """The nest of dicts, lists and tensors with something in it exchanged, lost or added."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key, copy = rng.choice(list(value)), dict(value)
        if rng.random() < 0.15:
            del copy[key]
        elif rng.random() < 0.1:
            copy[rng.choice([0, "x", None])] = rng.choice(_JUNK)
        else:
            copy[key] = _spoiled(value[key], rng)
        return copy
    if isinstance(value, list) and value and rng.random() < 0.8:
        place = rng.randrange(len(value))
        return [*value[:place], _spoiled(value[place], rng), *value[place + 1 :]]
    return rng.choice(_JUNK)


@_few_or_many(10, 260)
def test_checkpoints_with_foreign_content(count, tiny, straight, attempt, tmp_path):
    """Their checksums are right."""
    state = load_checkpoint(list_checkpoints(straight / "checkpoints")[-2])
    rng, refused, run = random.Random(count), 0, tmp_path / "run"
    for number in range(count):
        shutil.rmtree(run, ignore_errors=True)
        (run / "checkpoints").mkdir(parents=True)
        path = run / "checkpoints" / "step_00000014.pt"
        torch.save(_spoiled(state, rng), path)
        if number % 2:
            data = tiny.parent / "data" / "testA" / "0.png"
            arguments = ("test", "--checkpoint", path, "--input", data, "--output", tmp_path / "out")
        else:
            arguments = ("train", "--config", tiny, "--run-dir", run)
        refused += bool(attempt("checkpoints", *arguments))
    assert 0 < refused < count, "all refused, or none"


@_few_or_many(8, 160)
def test_inference_files_with_foreign_content(count, tiny, straight, attempt, tmp_path):
    tensors, config, _ = load_inference_file(straight / INFERENCE_FILE)
    rng, refused, path = random.Random(count), 0, tmp_path / "x.safetensors"
    arguments = ("--input", tiny.parent / "data" / "testA" / "0.png", "--output", tmp_path / "out")
    for number in range(count):
        if number % 3:
            text = {"config": json.dumps(_plain(config, rng)), "step": "1", "schema_version": "1"}
            if number % 3 == 2:
                key = rng.choice(list(text))
                text[key] = rng.choice(["", "x", "[" * 5000, "-1", '{"a":' * 3000, "null", '"' + "x" * 10**6])
            save_file(tensors, path, text)
        else:
            path.write_bytes(damage((straight / INFERENCE_FILE).read_bytes(), rng)[1])
        refused += bool(attempt("inference files", "test", "--checkpoint", path, *arguments))
    assert 0 < refused < count or count < 10, "all refused, or none"
    assert load_file(straight / INFERENCE_FILE)


def _plain(config, rng):
    """The config with a setting exchanged for something that JSON holds."""
    section = rng.choice([key for key, value in config.items() if isinstance(value, dict)])
    key = rng.choice(list(config[section]))
    junk = rng.choice([None, -1, 10**9, 10**30, 1.5, "x", "os:system", [], {}, [[[]]], {"name": "x"}, True])
    return config | {section: config[section] | {key: junk}}


@_few_or_many(8, 160)
def test_foreign_weights(count, attempt, tmp_path):
    path, rng = tmp_path / "latest_net_G.pth", random.Random(count)
    weights = {f"model.{n}.weight": torch.randn(4, 3, 7, 7) for n in (1, 4, 7)} | {"model.1.bias": torch.zeros(4)}
    torch.save(weights, path)
    new = path.read_bytes()
    torch.save(weights, path, _use_new_zipfile_serialization=False)
    old = path.read_bytes()
    Image.new("RGB", (20, 20)).save(tmp_path / "x.png")
    for number in range(count):
        if number % 4 == 0:
            torch.save(_spoiled(weights, rng), path, _use_new_zipfile_serialization=bool(number % 8))
        else:
            path.write_bytes(damage(new if number % 4 == 1 else old, rng)[1])
        arguments = ("--import", path, "--input", tmp_path / "x.png", "--output", tmp_path / "out")
        assert attempt("weights of others", "test", *arguments)
    assert {p.name for p in tmp_path.iterdir()} == {path.name, "x.png"}


class _Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_no_file_runs_code(tiny, straight, attempt, forks, tmp_path):
    owned, path, run = tmp_path / "owned", tmp_path / "x.pt", tmp_path / "run"
    state = load_checkpoint(list_checkpoints(straight / "checkpoints")[-1])
    module = tmp_path / "evil.py"
    module.write_text(f"open({str(owned)!r}, 'w')\n")
    picture = ("--input", tiny.parent / "data" / "testA" / "0.png", "--output", tmp_path / "out")
    (run / "checkpoints").mkdir(parents=True)
    named = state | {"config": state["config"] | {"method": {"name": "evil:Method"}}}
    for content in (_Evil(owned), state | {"log": _Evil(owned)}, {"model.1.weight": _Evil(owned)}, named):
        torch.save(content, path)
        shutil.copy(path, run / "checkpoints" / "step_00000002.pt")
        assert attempt("code in files", "test", "--checkpoint", path, *picture)
        assert attempt("code in files", "test", "--import", path, *picture)
        assert attempt("code in files", "train", "--config", tiny, "--run-dir", run)
    path.write_bytes(pickle.dumps(_Evil(owned)))
    assert attempt("code in files", "test", "--checkpoint", path, *picture)
    assert attempt("code in files", "test", "--import", path, *picture)
    assert not owned.exists()


def test_a_packed_checkpoint_is_refused_before_it_is_unpacked(tiny, straight, attempt, tmp_path):
    whole, packed = list_checkpoints(straight / "checkpoints")[-1], tmp_path / "x.pt"
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for part in source.infolist():
            target.writestr(part.filename, source.read(part))
        target.writestr("archive/data/999", bytes(200_000_000))
    assert packed.stat().st_size < 1_000_000
    picture = ("--input", tiny.parent / "data" / "testA" / "0.png", "--output", tmp_path / "out")
    for option in ("--checkpoint", "--import"):
        assert "damaged" in attempt("bombs in checkpoints", "test", option, packed, *picture)
