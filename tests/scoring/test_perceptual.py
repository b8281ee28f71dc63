"""LPIPS beside its authors' package, with random weights for AlexNet's published ones."""

from unittest import mock

import lpips
import numpy as np
import pytest
import torch
import torchvision

from cut.errors import UserError
from cut.scoring.perceptual import Lpips


@pytest.fixture(scope="module")
def alexnet():
    torch.manual_seed(0)
    return torchvision.models.alexnet(weights=None)


@pytest.fixture(scope="module")
def backbone(alexnet, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    # The rest, a classifier of 58 million weights, LPIPS does not use.
    torch.save({name: value for name, value in alexnet.state_dict().items() if name.startswith("features.")}, path)
    return path


@pytest.fixture(scope="module")
def network(backbone):
    return Lpips(backbone)


def test_the_distance_is_that_of_the_package(alexnet, network):
    pictures = np.random.default_rng(0).random((2, 70, 64, 3))
    with mock.patch.object(torchvision.models, "alexnet", lambda **_: alexnet):
        theirs = lpips.LPIPS(net="alex", verbose=False)
    x, y = (torch.from_numpy(p).float().permute(2, 0, 1)[None] for p in pictures)
    with torch.no_grad():
        expected = float(theirs(x, y, normalize=True))
    assert expected > 1e-4
    assert network(*pictures) == pytest.approx(expected, rel=1e-6)


def test_equal_pictures_are_at_distance_zero_and_worse_ones_further_away(network):
    picture, noise = np.random.default_rng(1).random((2, 64, 64, 3))
    distances = [network(picture * (1 - share) + noise * share, picture) for share in (0.0, 0.2, 0.6)]
    assert distances[0] == 0.0 and distances == sorted(distances)


def test_weights_are_taken_from_torch_hubs_folder_and_never_downloaded(backbone, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    place = tmp_path / "home" / "hub" / "checkpoints" / "alexnet-owt-7be5be79.pth"
    with pytest.raises(UserError, match=r"alexnet-owt-7be5be79\.pth: no such file; put https://.* --lpips-backbone"):
        Lpips()
    place.parent.mkdir(parents=True)
    place.write_bytes(backbone.read_bytes())
    picture = np.random.default_rng(2).random((64, 64, 3))
    assert Lpips()(picture, picture[::-1].copy()) > 0


@pytest.mark.parametrize("content", ["junk", "other_network"])
def test_a_file_that_holds_something_else_is_named(tmp_path, content):
    path = tmp_path / "alex.pth"
    path.write_bytes(b"junk" * 99)
    if content == "other_network":
        torch.save({"weight": torch.zeros(2)}, path)
    with pytest.raises(UserError, match=r"lpips: .*alex\.pth: does not hold torchvision's weights of AlexNet"):
        Lpips(path)


def test_a_missing_package_is_one_line_with_the_command_that_installs_it(backbone):
    with mock.patch.dict("sys.modules", {"lpips": None}), pytest.raises(UserError, match=r"pip install 'cut\[lpips\]'"):
        Lpips(backbone)


def test_a_picture_too_small_for_alexnet_is_a_users_mistake(network):
    with pytest.raises(UserError, match="picture of 70x40 px is smaller than the 64 px of lpips; leave the metric out"):
        network(np.zeros((40, 70, 3)), np.zeros((40, 70, 3)))
