"""Several outputs of one picture, beside the authors' LPIPS package and SciPy."""

from unittest import mock

import lpips
import numpy as np
import pytest
import torch
import torchvision
from scipy.spatial.distance import pdist
from torch import nn

from cut.data.images import write_image
from cut.errors import UserError
from cut.metrics.diversity import cosine_distance, mean_pairwise
from cut.scoring.evaluator import Evaluator
from cut.scoring.perceptual import Lpips
from cut.scoring.scoring_files import ScoringFiles


class Means(nn.Module):
    """Means of regions of 32 x 32 px, as a network of a user's own file."""

    score_name = "fd[means.pt]"

    def forward(self, images):
        return nn.functional.avg_pool2d(images, 32).flatten(1)


@pytest.fixture
def outputs(tmp_path):
    """Two pictures with three outputs each `(2, 3, 64, 64, 3)`, in a folder beside their targets."""
    rng = np.random.default_rng(0)
    smooth = rng.random((2, 3, 4, 4, 3)).repeat(16, 2).repeat(16, 3)
    pictures = (255 * smooth * np.array([1.0, 0.3]).reshape(2, 1, 1, 1, 1)).astype(np.uint8)
    for name, group in zip(("here/tile_7", "there"), pictures, strict=True):
        write_image(tmp_path / "target" / f"{name}.png", group[0])
        for number, picture in enumerate(group):
            write_image(tmp_path / "generated" / f"{name}_{number}.png", picture)
    return pictures


def test_diversity_is_the_mean_of_the_packages_distances(outputs, tmp_path):
    torch.manual_seed(0)
    alexnet = torchvision.models.alexnet(weights=None)
    torch.save({k: v for k, v in alexnet.state_dict().items() if k.startswith("features.")}, tmp_path / "alexnet.pth")
    with mock.patch.object(torchvision.models, "alexnet", lambda **_: alexnet):
        theirs = lpips.LPIPS(net="alex", verbose=False)
    images = torch.from_numpy(outputs).permute(0, 1, 4, 2, 3).float() / 255
    first, second = torch.triu_indices(3, 3, offset=1)
    with torch.no_grad():
        expected = [float(theirs(group[first], group[second], normalize=True).mean()) for group in images]
    result = Evaluator(tmp_path / "target", ["diversity"], lpips=Lpips(tmp_path / "alexnet.pth")).score(
        tmp_path / "generated"
    )
    score = result.scores["diversity"]
    assert expected[0] > 1e-4 and score.value == pytest.approx(np.mean(expected), rel=1e-5)
    assert score.std == pytest.approx(np.std(expected), rel=1e-4) and score.count == 2
    assert score.low is not None and score.low <= score.value <= score.high


def test_without_lpips_it_is_a_distance_of_features_and_named_so(outputs, tmp_path):
    result = Evaluator(tmp_path / "target", ["fid", "diversity"], Means()).score(tmp_path / "generated")
    assert list(result.scores) == ["fd[means.pt]", "diversity[means.pt]"]
    means = outputs.reshape(2, 3, 2, 32, 2, 32, 3).mean((3, 5)).transpose(0, 1, 4, 2, 3).reshape(2, 3, -1)
    expected = np.mean([pdist(group, "cosine").mean() for group in means])
    assert result.scores["diversity[means.pt]"].value == pytest.approx(expected, rel=1e-5)


def test_equal_outputs_have_no_diversity_and_zeros_no_direction():
    assert mean_pairwise(cosine_distance, [np.ones(3)] * 4) == pytest.approx(0.0, abs=1e-15)
    assert cosine_distance(np.zeros(3), np.ones(3)) == 0.0


def test_lpips_goes_first_and_features_stand_in_for_missing_weights(outputs, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    with pytest.warns((DeprecationWarning, FutureWarning)):
        torch.jit.script(nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())).save(str(tmp_path / "net.pt"))
    chosen = ScoringFiles(features=tmp_path / "net.pt").arguments(["diversity"])
    assert chosen["lpips"] is None
    result = Evaluator(tmp_path / "target", ["diversity"], **chosen).score(tmp_path / "generated")
    assert list(result.scores) == ["diversity[net.pt]"]
    with pytest.raises(UserError, match=r"gone\.pth: no such file"):  # named, so nothing stands in for it
        ScoringFiles(features=tmp_path / "net.pt", lpips_backbone=tmp_path / "gone.pth").arguments(["diversity"])
    with pytest.raises(UserError, match=r"^diversity: needs LPIPS or a feature network; lpips: .*; .*gone\.pt"):
        ScoringFiles(features=tmp_path / "gone.pt").arguments(["diversity"])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["there"], r"there\.png: is the only output of its picture; .* cut-test --num-outputs 5"),
        (["tile_0", "tile_1"], r"tile_0\.png: is the only output"),  # of targets of these names
        (["n02381460_1000", "n02381460_1010"], r"n02381460_1000\.png: is the only output"),
        (["there_1", "there_2"], r"there_1\.png: is the only output"),
        (["a_0", "a_1", "b_0", "b_1", "b_2"], r"holds 2 outputs of a and 3 of b; translate again"),
    ],
)
def test_single_outputs_are_refused(names, message, tmp_path):
    picture = np.zeros((64, 64, 3), np.uint8)
    for name in ("there", "tile_0", "tile_1"):
        write_image(tmp_path / "target" / f"{name}.png", picture)
    for name in names:
        write_image(tmp_path / "generated" / f"{name}.png", picture)
    with pytest.raises(UserError, match=message):
        Evaluator(tmp_path / "target", ["diversity"], Means()).score(tmp_path / "generated")


def test_outputs_of_two_sizes_are_refused_by_lpips_in_one_line(outputs, tmp_path):
    write_image(tmp_path / "generated" / "here" / "tile_7_2.png", np.zeros((64, 96, 3), np.uint8))
    network = Lpips.__new__(Lpips)  # never called
    nn.Module.__init__(network)
    with pytest.raises(UserError, match=r"tile_7_2\.png: differs in size from .*tile_7_0\.png"):
        Evaluator(tmp_path / "target", ["diversity"], lpips=network).score(tmp_path / "generated")
