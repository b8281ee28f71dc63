"""Scores refuse the network whose features a discriminator saw, and networks of packages are named as such."""

import pytest
import torch
from torch import nn

from cut.build import build_trainer, read_config
from cut.cli.eval_tools import warn_of_seen_features
from cut.config.networks import PatchDiscriminatorConfig, ProjectedDiscriminatorConfig
from cut.errors import UserError
from cut.models.efficientnet import EfficientNetLite
from cut.scoring.feature_networks import PackagedFeatures
from cut.scoring.seen_features import require_unseen
from cut.storage.public_weights import PACKAGED, read_feature_weights
from cut.storage.written import TRANSLATIONS, list_beside, note_features
from cut.train.run_dir import open_run

NAME = "efficientnet_lite0"


class Holder(nn.Module):
    """Somebody's export of a network: some weights under names of its own."""

    def __init__(self, weight):
        super().__init__()
        self.register_buffer("first", weight.clone())

    def forward(self, images):
        return images.mean((2, 3)) + self.first.mean()


@pytest.fixture
def weights():
    pytest.importorskip(PACKAGED[NAME].package)
    return read_feature_weights("discriminator.features", NAME)


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_the_same_network_is_refused_whatever_file_holds_it(weights, tmp_path):
    folded = EfficientNetLite((2,), NAME)
    folded.load(weights)
    held = {"raw": weights["_conv_stem.weight"], "folded": folded.stem.weight, "other": torch.rand(32, 3, 3, 3)}
    for name, weight in held.items():
        torch.jit.script(Holder(weight)).save(tmp_path / f"{name}.pt")
    seen = ProjectedDiscriminatorConfig().seen_features
    for same in (NAME, tmp_path / "raw.pt", tmp_path / "folded.pt"):
        with pytest.raises(UserError, match=f"--features {same}: is the network .* take efficientnet_lite1, or leave"):
            require_unseen("--features", same, seen)
    require_unseen("--features", tmp_path / "other.pt", seen)
    require_unseen("--features", None, seen)
    require_unseen("--features", NAME, PatchDiscriminatorConfig().seen_features)
    require_unseen("--features", NAME, ProjectedDiscriminatorConfig(features="random").seen_features)


def test_a_run_is_not_scored_by_what_its_discriminator_sees(weights, tiny_yaml, tmp_path):
    settings = [f"discriminator={{name: projected, features: {NAME}}}", "train.tensorboard=false"]
    settings += [f"eval={{every_steps: 2, metrics: [kid], features: {NAME}}}"]
    trainer = build_trainer(read_config(tiny_yaml, settings))
    open_run(trainer, tmp_path / "run", resume=False)
    with pytest.raises(UserError, match=f"eval.features {NAME}: is the network whose features the discriminator saw"):
        trainer.fit(tmp_path / "run")


def test_networks_of_packages_give_the_pooled_features_at_224_px(weights):
    network, image = PackagedFeatures(NAME), torch.rand(1, 3, 224, 224)
    plain = EfficientNetLite((32,), NAME, has_head=True)
    plain.load(weights)
    assert network.score_name == f"fd[{NAME}]"
    torch.testing.assert_close(network(image), plain.pooled(image * 2 - 1))
    assert network(torch.rand(2, 3, 20, 30)).shape == (2, 1280)
    assert network.digest == plain.digest and len(network.digest) == 64


def test_cut_eval_warns_where_cut_test_noted_the_network(weights, unpaired, capsys):
    list_beside(unpaired / "testA", kind=TRANSLATIONS)
    for seen in (NAME, "gone.pth"):
        note_features(unpaired / "testA", seen)
    for features, count in ((NAME, 1), (None, 0)):
        warn_of_seen_features(features, [unpaired / "testA", unpaired / "testB"])
        said = capsys.readouterr().err.splitlines()
        assert len(said) == count, said
        assert all(f"{unpaired / 'testA'}: --features {NAME}: is the network" in line for line in said)
