"""`cut.stylize`: the picture that cut-test makes, of what a program has."""

import numpy as np
import pytest
import torch
import yaml
from conftest import make_single
from PIL import Image
from programs import inside

import cut

STROTSS = {"name": "strotss", "vgg": "random", "base_channels": 2, "scales": 1, "iterations": 3}


@pytest.fixture
def pictures(tmp_path):
    make_single(tmp_path / "own")
    return tmp_path / "own" / "photo.png", tmp_path / "own" / "painting.png"


def settings(pictures, **data):
    a, b = map(str, pictures)
    return {"method": STROTSS, "data": {"name": "single", "a": a, "b": b, **data}, "train": {"accelerator": "cpu"}}


@pytest.mark.parametrize("data", [{}, {"load_px": 40}])
def test_a_path_gives_the_picture_that_cut_test_writes(pictures, tmp_path, data):
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(settings(pictures, **data)))
    inside("test", "--config", tmp_path / "s.yaml", "--seed", 3, "--output", tmp_path / "out")
    steps = []
    made = cut.stylize(tmp_path / "s.yaml", *pictures, seed=3, device="cpu", report=lambda p: steps.append(p.step))
    assert isinstance(made, Image.Image)
    assert (np.asarray(made) == np.asarray(Image.open(tmp_path / "out" / "photo.png"))).all()
    assert steps == [1, 2, 3]


def test_arrays_and_tensors_come_back_as_they_were_given(pictures):
    photo, painting = (np.array(Image.open(path)) for path in pictures)
    array = cut.stylize(settings(pictures), photo, painting, device="cpu")
    assert array.dtype == np.uint8 and array.shape == photo.shape and (array != photo).any()
    tensors = [torch.from_numpy(picture).permute(2, 0, 1) for picture in (photo, painting)]
    tensor = cut.stylize(settings(pictures), *tensors, device="cpu")
    assert (tensor.permute(1, 2, 0).numpy() == array).all()


def test_what_is_no_stylizer_or_several_pictures_is_refused(pictures):
    with pytest.raises(cut.UserError, match="cut is trained first"):
        cut.stylize("quickstart", *pictures)
    with pytest.raises(cut.UserError, match="takes one photo and one painting, got 2 and 1"):
        cut.stylize(settings(pictures), [pictures[0]] * 2, pictures[1])
    with pytest.raises(cut.UserError, match="take no overrides"):
        cut.stylize(settings(pictures), *pictures, ["seed=1"])
