"""HEIC, with the package that reads it and without."""

import importlib.util

import numpy as np
import pytest
from PIL import Image

from cut.data import folders, formats
from cut.data.folders import list_folder, list_images
from cut.data.images import read_image, stored_size_px
from cut.data.left_out import count_losses
from cut.datasets.check import check_folder
from cut.errors import UserError
from cut.inference.translate import plan_jobs

HEADER = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
needs_heif = pytest.mark.skipif(importlib.util.find_spec("pillow_heif") is None, reason="pillow-heif is an extra")


@pytest.fixture
def without(monkeypatch):
    """As where the package is not installed."""
    monkeypatch.setattr(formats, "HAS_HEIF", False)
    monkeypatch.setattr(folders, "HAS_HEIF", False)
    suffixes = tuple(suffix for suffix in formats.READ_SUFFIXES if suffix not in formats.HEIF_SUFFIXES)
    monkeypatch.setattr(folders, "READ_SUFFIXES", suffixes)


@pytest.fixture
def picture():
    """A gradient, 60 px wide and 40 high."""
    x, y = np.meshgrid(np.linspace(0, 255, 60), np.linspace(0, 255, 40))
    return np.stack([x, y, 255 - x], axis=2).astype(np.uint8)


def save(path, pixels, **options):
    import pillow_heif

    pillow_heif.from_pillow(Image.fromarray(pixels)).save(path, quality=95, **options)


@needs_heif
def test_heic_is_read_upright_and_written_as_png(tmp_path, picture):
    import pillow_heif

    save(tmp_path / "x.heic", picture)
    pillow_heif.register_heif_opener()
    exif = Image.Exif()
    exif[0x112] = 6  # turned
    Image.fromarray(picture).save(tmp_path / "turned.HEIC", format="HEIF", exif=exif.tobytes(), quality=95)
    assert [path.name for path in list_images(tmp_path)] == ["turned.HEIC", "x.heic"]
    read = read_image(tmp_path / "x.heic", 3).astype(int)
    assert read.shape == picture.shape and np.abs(read - picture).mean() < 3
    assert read_image(tmp_path / "turned.HEIC", 1).shape == (60, 40, 1)
    assert stored_size_px(tmp_path / "x.heic") == (60, 40)
    assert {job.output.suffix for job in plan_jobs(tmp_path, tmp_path.parent / "out")} == {".png"}
    assert check_folder(tmp_path, progress=False).folders[0].num_images == 2


@needs_heif
def test_a_damaged_heic_is_refused_and_deep_colours_are_reported(tmp_path, picture):
    save(tmp_path / "x.heic", picture)
    (tmp_path / "x.heic").write_bytes((tmp_path / "x.heic").read_bytes()[:300])
    with pytest.raises(UserError, match=r"x.heic: (is a damaged HEIC|cannot be read)"):
        read_image(tmp_path / "x.heic", 3)
    import pillow_heif

    deep = (picture.astype(np.uint16) * 257).tobytes()
    pillow_heif.encode("RGB;16", (60, 40), deep, tmp_path / "deep.heic")
    assert count_losses([tmp_path / "deep.heic"]) == {"more than 8 bits a channel are read as 8": 1}


def test_without_the_package_its_name_is_told(tmp_path, without):
    (tmp_path / "x.heic").write_bytes(HEADER)
    with pytest.raises(UserError, match=r"1 .heic file, .* .HEIC is read after: pip install pillow-heif"):
        list_images(tmp_path)
    Image.new("RGB", (8, 8)).save(tmp_path / "y.png")
    assert "pip install pillow-heif" in list_folder(tmp_path).left_out()[0]
    assert "pip install pillow-heif" in check_folder(tmp_path, progress=False).text()
    with pytest.raises(UserError, match=r"x.heic: holds HEIC, which is read after: pip install pillow-heif"):
        read_image(tmp_path / "x.heic", 3)


def test_other_files_do_not_name_it(tmp_path, without):
    (tmp_path / "x.txt").write_text("hello")
    with pytest.raises(UserError) as caught:
        list_images(tmp_path)
    assert "heif" not in str(caught.value)
