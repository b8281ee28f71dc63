"""Spectral norm in PatchGANs: its bound, and that a run with it is resumed bit for bit."""

import pytest
import torch

from cut.build import build_trainer, read_config
from cut.errors import UserError
from cut.models.patch_discriminator import PatchDiscriminator, PixelDiscriminator
from cut.models.spectral_norm import SpectralConv2d
from cut.train.run_dir import open_run

SPECTRAL = ("discriminator={spectral_norm: true, norm: none, augment: [color, translation, cutout]}",)


@pytest.mark.parametrize("network", [PatchDiscriminator, PixelDiscriminator])
def test_each_convolution_has_a_largest_singular_value_of_one(network):
    torch.manual_seed(0)
    discriminator = network(3, 4, norm="none", spectral_norm=True)
    layers = [layer for layer in discriminator.layers if isinstance(layer, torch.nn.Conv2d)]
    assert all(isinstance(layer, SpectralConv2d) for layer in layers) and len(layers) >= 3
    for _ in range(50):
        discriminator(torch.randn(1, 3, 32, 32))
    for layer in layers:
        weight = layer._normalised(layer.weight).flatten(1).detach()
        assert float(torch.linalg.matrix_norm(weight, 2)) == pytest.approx(1.0, abs=0.02)


def test_strided_and_plain_networks_have_the_same_sizes_and_weights():
    shapes = []
    for spectral in (False, True):
        network = PatchDiscriminator(3, 4, antialias=False, spectral_norm=spectral)
        shapes.append([(name, p.shape) for name, p in network.named_parameters()])
        assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 1, 6, 6)
    assert shapes[0] == shapes[1]


def test_a_resumed_run_equals_a_straight_one_bit_for_bit(tiny_yaml, tmp_path):
    config = read_config(tiny_yaml, [*SPECTRAL, "train.max_steps=4", "train.tensorboard=false"])
    ends = []
    for name, stops in (("straight", (4,)), ("resumed", (2, 4))):
        for stop in stops:
            trainer = build_trainer(config)
            open_run(trainer, tmp_path / name, resume=False)
            trainer.last_step = stop
            trainer.fit(tmp_path / name)
            torch.rand(3)
        ends.append(trainer.method.state_dict())
    assert any(key.endswith("u0") for key in ends[0])
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])


def test_micro_batches_are_refused(tiny_yaml):
    settings = [*SPECTRAL, "data.batch_size=2", "train.num_micro_batches=2"]
    with pytest.raises(UserError, match="use discriminator.spectral_norm: false"):
        build_trainer(read_config(tiny_yaml, settings))
