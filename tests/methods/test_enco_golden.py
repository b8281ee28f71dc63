"""EnCo against the authors' code (tests/golden/README.md)."""

import pytest
import torch
from golden_steps import assert_sketches, load_weights, training_step_of

from cut.config import AdamConfig
from cut.methods import enco
from cut.methods.enco import EnCo, EnCoConfig, choose_places
from cut.models.patch_discriminator import PatchDiscriminator
from cut.models.patch_head import gather_patches
from cut.models.resnet import ResnetGenerator

NETWORKS = {"G": "generator", "D": "discriminator", "F_enco": "head"}


class Networks:
    """Of the size in the golden file."""

    @staticmethod
    def generator():
        return ResnetGenerator(base_channels=4, num_blocks=4)

    @staticmethod
    def discriminator():
        return PatchDiscriminator(base_channels=4)

    @staticmethod
    def initialise(network):
        return network


def test_places_equal_the_authors(golden, monkeypatch):
    g = golden("enco_dag")
    drawn = [order.long() for order in g["permutations"]]  # of each image the first and the second
    orders = iter([torch.stack(drawn[::2]), torch.stack(drawn[1::2])])
    monkeypatch.setattr(enco, "random_orders", lambda images, places, device: next(orders))
    config = EnCoConfig(num_patches=int(g["num_patches"]))
    ids = choose_places(g["score"], g["feature"].shape[2:], config)
    assert torch.equal(ids, g["ids"].long())
    patches = gather_patches(g["feature"], ids)
    torch.testing.assert_close(torch.nn.functional.normalize(patches, dim=2), g["sampled"], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("case, progress", [("enco", 0.0), ("enco_late", 0.75)])
def test_steps_equal_the_authors(case, progress, golden, double, monkeypatch):
    """The places are given: where the border repeats scores, rounding decides between equal ones."""
    g = golden("successor_steps")
    expected = g[case]
    config = EnCoConfig(num_patches=16, head_channels=16, layer_pairs=((3, -4), (7, -8), (13, 14)))
    method = EnCo.build(config, Networks).to(torch.get_default_dtype())
    load_weights(method, {ours: g["weights"][theirs] for theirs, ours in NETWORKS.items()})
    method.progress = progress
    step = training_step_of(
        method, AdamConfig.model_validate({"lr": 5e-5, "per_player": {"discriminator": {"lr": 2e-4}}})
    )
    for number, drawn in enumerate(expected["ids"]):
        places = iter([ids.long().unsqueeze(0) for ids in drawn])
        monkeypatch.setattr(enco, "choose_places", lambda scores, size, config, places=places: next(places))
        (discriminator, generator), _ = step({k: v[number].double() for k, v in g["images"].items()}, number)
        weight = 2.0 if progress == 0 else 1.0  # theirs are logged before they are halved
        found = {
            "G_GAN": generator["gan"],
            "BYOL": weight * generator["nce"],
            "BYOL_Y": weight * generator["identity"] if progress == 0 else 0.0,
            "D_real": 2 * discriminator["gan_real"],
            "D_fake": 2 * discriminator["gan_fake"],
            "G": sum(generator.values()),
        }
        assert found == pytest.approx({k: v[number] for k, v in expected["losses"].items()}, rel=1e-9)
    assert_sketches(method, expected, {theirs[0]: ours for theirs, ours in NETWORKS.items()})
