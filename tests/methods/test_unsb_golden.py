"""UNSB against the authors' code (tests/golden/README.md), which computes `networks: released`."""

from types import MappingProxyType

import pytest
import torch
from golden_steps import assert_sketches, load_weights, training_step_of

from cut.config import AdamConfig
from cut.methods import unsb
from cut.methods.unsb import UNSB, UNSBConfig
from cut.models.unsb import bridge_moves

NETWORKS = {"G": "generator", "F": "patch_head", "D": "discriminator", "E": "critic"}
CONFIG = {
    "networks": "released",
    "generator": {"base_channels": 4, "num_blocks": 2, "noise_layers": 1},
    "discriminator": {"base_channels": 2},
    "nce_layers": (0, 4, 8, 12, 13),
    "num_patches": 16,
    "head_channels": 16,
}


class Networks:
    """Of the size in the golden file."""

    channels = MappingProxyType({"a": 3, "b": 3})

    @staticmethod
    def initialise(network):
        return network


def test_the_bridge_moves_at_the_authors_times():
    times = torch.tensor([0.0, 0.5, 0.74, 0.86, 0.94])  # their float32 numbers, and 1
    lengths, left = times.diff(), 1.0 - times[:-1]
    shares, deviations = zip(*bridge_moves(5, 0.01), strict=True)
    assert shares == pytest.approx((lengths / left).tolist(), rel=1e-6)
    assert deviations == pytest.approx((lengths * (1.0 - lengths / left) * 0.01).sqrt().tolist(), rel=1e-6)


def test_steps_equal_the_authors(golden, double, monkeypatch):
    g = golden("unsb_step")
    method = UNSB.build(UNSBConfig.model_validate(CONFIG), Networks).to(torch.get_default_dtype())
    load_weights(method, {ours: g["weights"][theirs] for theirs, ours in NETWORKS.items()})
    step = training_step_of(method, AdamConfig(lr=2e-4))
    for number, bridge_step in enumerate(g["steps"]):
        noise = iter(g["noise"][number])
        ids = iter([g["ids"][number][:5], g["ids"][number][5:]])
        monkeypatch.setattr(torch, "randint", lambda *_, bridge_step=bridge_step: torch.tensor(bridge_step))
        monkeypatch.setattr(unsb, "draw_rows", lambda draw, rows, noise=noise: _of(next(noise), draw(rows).shape))
        monkeypatch.setattr(unsb, "random_patch_ids", lambda *_, ids=ids: [own.long() for own in next(ids)])
        batch = {key: images[number].double() for key, images in g["images"].items()}
        (discriminator, critic, generator), _ = step(batch, number)
        assert next(noise, None) is next(ids, None) is None
        found = {
            "G_GAN": generator["gan"],
            "NCE": 2 * generator["nce"],
            "NCE_Y": 2 * generator["nce_idt"],
            "SB": generator["way"] + generator["entropy"],
            "D_real": 2 * discriminator["gan_real"],
            "D_fake": 2 * discriminator["gan_fake"],
            "E": sum(critic.values()),
            "G": sum(generator.values()),
        }
        assert found == pytest.approx({name: values[number] for name, values in g["losses"].items()}, rel=1e-8)
    assert_sketches(method, g, NETWORKS)


def _of(numbers, shape):
    assert numbers.shape == shape
    return numbers
