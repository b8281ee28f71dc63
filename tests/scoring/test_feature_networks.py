"""The user's own TorchScript network behind the Frechet distance."""

import pytest
import torch
from torch import nn

from cut.errors import UserError
from cut.scoring.feature_networks import TorchScriptFeatures

# TorchScript is frozen, but loads on: https://pytorch.org/blog/pytorch-2-11-release-blog/
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit")


def save(network, path):
    torch.jit.script(network).save(str(path))
    return path


@pytest.mark.parametrize("tail", [[], [nn.Flatten()]])
def test_vectors_come_out_whether_or_not_the_network_keeps_two_axes_of_one(tmp_path, tail):
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), *tail)
    features = TorchScriptFeatures(save(network, tmp_path / "net.pt"))
    images = torch.rand(4, 3, 12, 10)
    torch.testing.assert_close(features(images), images.mean(dim=(2, 3)))


def test_the_score_is_named_after_the_file_and_is_never_called_fid(tmp_path):
    path = save(nn.Sequential(nn.AdaptiveAvgPool2d(1)), tmp_path / "resnet.pt")
    assert TorchScriptFeatures(path).score_name == "fd[resnet.pt]"


def test_a_missing_network_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.pt: no such file"):
        TorchScriptFeatures(tmp_path / "none.pt")


@pytest.mark.parametrize("content", ["empty", "junk", "half", "state_dict"])
def test_a_broken_network_file_is_named_and_the_remedy_given(tmp_path, content):
    path = save(nn.Sequential(nn.AdaptiveAvgPool2d(1)), tmp_path / "net.pt")
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "junk": b"junk" * 99}.get(content, whole[: len(whole) // 2]))
    if content == "state_dict":
        torch.save({"weight": torch.zeros(2)}, path)
    with pytest.raises(UserError, match=r"net\.pt: cannot be read as TorchScript .* torch\.jit\.save"):
        TorchScriptFeatures(path)


@pytest.mark.parametrize(
    ("network", "got"),
    [(nn.Identity(), r"\(2, 3, 8, 8\)"), (nn.Flatten(0), r"\(384,\)"), (nn.Flatten(0, 1), r"\(6, 8, 8\)")],
)
def test_a_network_of_another_output_shape_is_refused_with_both_shapes(tmp_path, network, got):
    features = TorchScriptFeatures(save(nn.Sequential(network), tmp_path / "net.pt"))
    with pytest.raises(UserError, match=rf"net\.pt: gives {got} for images of 2x3x8x8; allowed: \(N, D\)"):
        features(torch.rand(2, 3, 8, 8))


def test_a_network_whose_width_depends_on_the_image_size_is_refused(tmp_path):
    features = TorchScriptFeatures(save(nn.Sequential(nn.Flatten()), tmp_path / "net.pt"))
    features(torch.rand(2, 3, 8, 8))
    with pytest.raises(UserError, match="gives 48 features for images of 2x3x4x4 and 192 for others"):
        features(torch.rand(2, 3, 4, 4))


def test_a_network_that_fails_on_the_images_says_why_on_one_line(tmp_path):
    features = TorchScriptFeatures(save(nn.Sequential(nn.Conv2d(1, 4, 3)), tmp_path / "net.pt"))
    with pytest.raises(UserError, match=r"net\.pt: fails on images of 2x3x8x8 .*channels") as caught:
        features(torch.rand(2, 3, 8, 8))
    assert "\n" not in str(caught.value)
