"""A user's own segmentation network."""

import pytest
import torch
from torch import nn

from cut.errors import UserError
from cut.scoring.segmenter import Segmenter

# TorchScript is frozen, but loads on: https://pytorch.org/blog/pytorch-2-11-release-blog/
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit")


class Scores(nn.Module):
    """Twice the colour channels as class scores, at half the size, in the form asked for."""

    def forward(self, images):
        return 2.0 * nn.functional.avg_pool2d(images, 2)


class Dictionary(Scores):
    def forward(self, images):
        return {"out": 2.0 * nn.functional.avg_pool2d(images, 2)}


class Pair(Scores):
    def forward(self, images):
        return torch.log_softmax(2.0 * nn.functional.avg_pool2d(images, 2), dim=1), images


def segmenter(network, tmp_path, num_classes=3):
    torch.jit.script(network).save(str(tmp_path / "net.pt"))
    return Segmenter(tmp_path / "net.pt", num_classes)


@pytest.mark.parametrize("network", [Scores(), Dictionary(), Pair()])
def test_labels_and_log_odds_come_at_the_size_of_the_label_picture(network, tmp_path):
    images = torch.rand(2, 3, 8, 12)
    labels, log_odds = segmenter(network, tmp_path)(images, (16, 20))
    scores = nn.functional.interpolate(Scores()(images).double(), size=(16, 20), mode="bilinear")
    assert torch.equal(labels, scores.argmax(dim=1))
    probability = scores.softmax(dim=1)
    torch.testing.assert_close(log_odds, (probability / (1 - probability)).log(), rtol=1e-4, atol=1e-4)


def test_pixels_that_are_all_but_certain_still_differ(tmp_path):
    images = torch.tensor([30.0, 31.0]).view(1, 1, 1, 2) * torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    _, log_odds = segmenter(nn.Sequential(nn.Identity()), tmp_path)(images, (1, 2))  # p is 1 - 2e-13 and less
    assert log_odds[0, 0, 0].diff() == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize(("network", "got"), [(nn.Flatten(), r"\(2, 192\)"), (nn.Conv2d(3, 5, 1), r"\(2, 5, 8, 8\)")])
def test_another_output_is_refused_with_both_shapes(network, got, tmp_path):
    with pytest.raises(UserError, match=rf"net\.pt: gives {got} for images of 2x3x8x8; .*\(N, 3, H, W\)"):
        segmenter(nn.Sequential(network), tmp_path)(torch.rand(2, 3, 8, 8), (8, 8))


def test_scores_that_are_not_finite_are_refused(tmp_path):
    with pytest.raises(UserError, match="not finite"):
        segmenter(nn.Sequential(nn.Identity()), tmp_path)(torch.full((1, 3, 2, 2), torch.nan), (2, 2))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.pt: no such file"):
        Segmenter(tmp_path / "none.pt", 3)
