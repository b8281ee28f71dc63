"""Masks and partners: found by name, and cropped and mirrored as the picture that they belong to."""

import numpy as np
import pytest
import torch
from PIL import Image

from cut.config import UnpairedDataConfig
from cut.data.beside import read_mask
from cut.data.images import write_image
from cut.data.transforms import to_picture
from cut.data.unpaired import UnpairedStream
from cut.errors import UserError

BOTH = frozenset({"partner_a", "partner_b", "mask_a", "mask_b"})


def coordinates(number, size=24):
    """Every pixel says where it is: red its column, green its row, blue the picture's number."""
    y, x = np.mgrid[:size, :size]
    return np.stack([x * 4, y * 4, np.full_like(x, number)], axis=2).astype(np.uint8)


def halves(size=24):
    """A mask that is white on the left of column 12."""
    mask = np.zeros((size, size, 1), np.uint8)
    mask[:, : size // 2] = 255
    return mask


@pytest.fixture
def root(tmp_path):
    """Pictures 0 to 4 of A and 3 to 7 of B, of which 3 and 4 belong together; masks of all of A."""
    for number in range(5):
        write_image(tmp_path / f"trainA/sub/{number}.png", coordinates(number))
        write_image(tmp_path / f"trainB/sub/{number + 3}.bmp", coordinates(100 + number + 3))
        write_image(tmp_path / f"maskA/sub/{number}.png", halves())
    return tmp_path


def stream_of(root, wanted=BOTH, **settings):
    config = UnpairedDataConfig(**{"root": str(root), "load_px": 24, "crop_px": 16, "num_workers": 0} | settings)
    stream = UnpairedStream(config, seed=0)
    stream.read_beside(wanted)
    return stream


def number_of(image):
    return int(to_picture(image)[0, 0, 2])


@pytest.mark.parametrize("preprocess", ["resize_and_crop", "crop", "scale_shortside_and_crop", "none"])
def test_partners_have_the_pictures_crop_and_mirroring(root, preprocess):
    stream = stream_of(root, preprocess=preprocess)
    samples, found = [stream[n] for n in range(30)], {"a": 0, "b": 0}
    for sample in samples:
        for domain, target, apart in (("a", "b", 100), ("b", "a", -100)):
            image, partner = sample[f"real_{domain}"], sample[f"partner_{target}"]
            has_one = number_of(image) % 100 in (3, 4)
            assert sample[f"has_partner_{target}"] == has_one
            if has_one:
                assert number_of(partner) - number_of(image) == apart
                assert torch.equal(partner[:2], image[:2])
                found[domain] += 1
            else:
                assert partner.shape == image.shape and not partner.any()
    assert min(found.values()) > 4
    assert {bool(s["real_a"][0, 0, 0] < s["real_a"][0, 0, -1]) for s in samples} == {True, False}


def test_masks_have_the_pictures_crop_and_mirroring(root):
    stream = stream_of(root)
    for sample in (stream[n] for n in range(20)):
        columns = to_picture(sample["real_a"])[:, :, 0].astype(int) // 4
        assert torch.equal(sample["mask_a"][0], torch.from_numpy((columns < 12).astype(np.float32)))
    assert "mask_b" not in stream[0]  # there is no maskB


def test_what_lies_beside_changes_no_sample(root):
    plain, full = stream_of(root, wanted=()), stream_of(root)
    for n in range(12):
        assert set(plain[n]) == {"real_a", "real_b"}
        assert all(torch.equal(plain[n][key], full[n][key]) for key in plain[n])


def test_direction_takes_the_masks_of_the_source(root):
    for number in range(3, 8):
        write_image(root / f"maskB/sub/{number}.png", 255 - halves())
    sample = stream_of(root, direction="BtoA", flip=False, preprocess="none")[0]
    assert torch.equal(sample["mask_a"][0, 0], (torch.arange(24) >= 12).float())
    assert torch.equal(sample["mask_b"][0, 0], (torch.arange(24) < 12).float())
    assert number_of(sample["real_a"]) > 100 > number_of(sample["real_b"])


def test_what_was_found_is_said_and_kept_with_the_run(root):
    stream = stream_of(root, {"partner_b", "mask_a"})
    assert stream.notes() == [
        f"masks: 5 of {root / 'maskA'}",
        f"pairs: 2 pictures have one name among the 5 of {root / 'trainA'} and the 5 of {root / 'trainB'}",
    ]
    assert stream.picture_list()["maskA"][0] == 5
    assert stream.sources("train")[2:] == [root / "maskA"]
    assert "partner_a" not in stream[0] and "has_partner_a" not in stream[0]
    assert stream_of(root, ()).notes() == [f"{root / 'maskA'}: not used, because this method uses no masks"]
    assert stream_of(root, masks=False).notes()[0].startswith("pairs")


def test_masks_lie_beside_own_folders_too(root):
    stream = stream_of("", a=str(root / "trainA"), b=str(root / "trainB"))
    assert "mask_a" in stream[0]


@pytest.mark.parametrize("masks", [None, True])
def test_missing_mask_is_one_line(root, masks):
    (root / "maskA/sub/2.png").unlink()
    with pytest.raises(UserError, match=r"maskA: no mask of the same name for .*2\.png; add it .*data.masks=false"):
        stream_of(root, masks=masks)
    assert "mask_a" not in stream_of(root, masks=False)[0]


def test_masks_that_are_asked_for_must_be_there(root):
    assert "mask_a" in stream_of(root, masks=True)[0]
    with pytest.raises(UserError, match="data.masks: this method uses no masks"):
        stream_of(root, (), masks=True)
    (root / "maskA").rename(root / "masks")
    with pytest.raises(UserError, match="maskA: no such folder"):
        stream_of(root, masks=True)


def test_mask_of_class_numbers_is_refused(root):
    for number in range(5):
        write_image(root / f"maskA/sub/{number}.png", halves() // 255)
    error = stream_of(root)[0]
    assert isinstance(error, UserError) and "brightest place of this mask is 1 of 255" in str(error)


def test_mask_that_is_transparent_in_places_is_refused(root):
    path = root / "maskA/sub/0.png"
    white = Image.new("RGBA", (24, 24), "white")
    white.save(path)
    assert read_mask(path).min() == 255
    white.putpixel((0, 0), (255, 255, 255, 0))
    white.save(path)
    with pytest.raises(UserError, match=r"0\.png: this mask is transparent in places"):
        read_mask(path)
    np.save(root / "0.npy", halves())
    assert np.array_equal(read_mask(root / "0.npy"), halves())


def test_mask_of_another_size_is_refused(root):
    for number in range(5):
        write_image(root / f"maskA/sub/{number}.png", halves(20))
    error = stream_of(root, preprocess="none")[0]
    assert isinstance(error, UserError) and "of different sizes (24x24 and 20x20 px" in str(error)


def test_not_one_pair_is_one_line(root):
    (root / "trainB").rename(root / "other")
    for number in range(5):
        write_image(root / f"trainB/{number}.png", coordinates(number))  # not in a folder `sub`
    with pytest.raises(UserError, match="lambda_paired: no picture of .*trainA has the name of one of .*trainB"):
        stream_of(root)
    assert "mask_a" in stream_of(root, {"mask_a"})[0]
