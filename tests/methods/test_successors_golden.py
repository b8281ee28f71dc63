"""Whole training steps of CUT's successors against the authors' code (tests/golden/README.md)."""

import pytest
import torch
import torch.nn.functional as F
from golden_steps import assert_sketches, load_weights, training_step_of

import cut.methods.cut as cut_method
from cut.config import AdamConfig
from cut.losses.weighted_nce import hdce_loss
from cut.methods import patch_contrast
from cut.methods.cut import CUT, CUTConfig
from cut.models.patch_discriminator import PatchDiscriminator
from cut.models.resnet import ResnetGenerator

NETWORKS = {"G": "generator", "D": "discriminator", "F": "patch_head"}
CASES = {
    "monce": {"nce_loss": {"name": "monce"}},
    "hdce": {"nce_loss": {"name": "hdce"}, "lambda_nce": 0.1, "lambda_src": 0.05},
    "qsattn": {"patches": {"name": "attention"}},
}


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


def cut_of(case, weights):
    config = {"nce_layers": (0, 4, 8, 12, 15), "num_patches": 16, "head_channels": 16} | CASES[case]
    method = CUT.build(CUTConfig.model_validate(config), Networks).to(torch.get_default_dtype())
    load_weights(method, {ours: weights[theirs] for theirs, ours in NETWORKS.items()})
    method.progress = 0.1  # epoch 40 of 400
    return method


def places_of(drawn, case):
    """`random_patch_ids` that gives the stored places; hDCE draws once for x and y."""
    left = list(drawn) * (2 if case == "hdce" else 1)

    def draw(features, count):
        taken, left[: len(features)] = left[: len(features)], []
        return [ids.long() for ids in taken]

    return draw


def log_cross_entropies(monkeypatch):
    """A list of the cross-entropies of each layer, which their code logs where it differentiates the loss of hDCE."""
    logged = []

    def hdce(*arguments, **settings):
        loss = hdce_loss(*arguments, **settings)
        logged.append(F.softplus(loss).mean().item())
        return loss

    monkeypatch.setattr(patch_contrast, "hdce_loss", hdce)
    return logged


def as_they_log(terms, cross_entropies):
    """Our terms by their names and in their weights."""
    losses = {"G_GAN": terms["gan"], "D_real": 2 * terms["gan_real"], "D_fake": 2 * terms["gan_fake"]}
    if "src" not in terms:
        return losses | {"NCE": 2 * terms["nce"], "NCE_Y": 2 * terms["nce_idt"]}
    of_x, of_y = (0.1 * sum(part) / 5 for part in (cross_entropies[:5], cross_entropies[5:]))
    return losses | {"HDCE": of_x, "HDCE_Y": of_y, "SRC": terms["src"]}


@pytest.mark.parametrize("case", CASES)
def test_steps_of_cut_with_another_comparison_equal_the_authors(case, golden, double, monkeypatch):
    g = golden("successor_steps")
    expected, method = g[case], cut_of(case, g["weights"])
    monkeypatch.setattr(torch, "randperm", torch.arange)  # their ties are in the order of the sort
    cross_entropies = log_cross_entropies(monkeypatch)
    step = training_step_of(method, AdamConfig(lr=2e-4))
    for number, drawn in enumerate(expected["ids"]):
        monkeypatch.setattr(cut_method, "random_patch_ids", places_of(drawn, case))
        batch = {key: images[number].double() for key, images in g["images"].items()}
        cross_entropies.clear()
        terms, _ = step(batch, number)
        found = as_they_log(terms[0] | terms[1], cross_entropies)
        theirs = {name: values[number] for name, values in expected["losses"].items() if name != "G"}
        assert found == pytest.approx(theirs, rel=1e-9)
    assert_sketches(method, expected, NETWORKS)
