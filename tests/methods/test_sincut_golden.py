"""A whole training step of SinCUT against the authors' code (tests/golden/README.md)."""

import re

import pytest
import torch
from fixed import fill_with_unit_normals, frozen_images
from steps import assert_equal_weights, losses_of_step, trainer_of

import cut.methods.sincut as sincut
from cut.methods.sincut import SinCUT, SinCUTConfig
from cut.models.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator


def our_key(key):
    """The authors' name of a parameter -> ours."""
    key = key.replace("coder.convs", "coder").replace("mlp_", "mlps.").replace("final_conv", "layers.5")
    key = re.sub(r"^convs", "layers", key).replace("final_linear", "linear").replace(".activate.", ".")
    key = key.replace("decoder.3.conv.", "decoder.3.")
    # A convolution and its bias, which belongs to the activation there, are one module here.
    return key if key.startswith(("mlps", "linear")) else re.sub(r"\.[012]\.(weight|bias)$", r".\1", key)


@pytest.fixture
def method():
    method = SinCUT(
        SinCUTConfig(head_channels=32),
        StyleGAN2Generator(base_channels=32),
        StyleGAN2Discriminator(image_px=64, base_channels=4),
    )
    fill_with_unit_normals(method.generator, method.discriminator, method.patch_head)
    return method


def test_step_equals_the_authors(method, golden, monkeypatch):
    expected = golden("sincut_step")
    images = frozen_images(8, 3, 64)
    batch = {"real_a": images[:4], "real_b": images[4:]}
    ids = iter(expected["patch_ids"].split(1))  # one place per layer, first those of x, then those of y
    monkeypatch.setattr(sincut, "random_patch_ids", lambda features, count: [next(ids) for _ in features])
    monkeypatch.setattr(torch, "randn", torch.ones)  # as in the golden run: a constant in the place of noise
    fake_b = method(images[:4])[:, :, ::5, ::5]
    torch.testing.assert_close(fake_b, expected["fake_b"], rtol=1e-4, atol=1e-5)
    ours = losses_of_step(trainer_of(method, 1, lr=2e-3, betas=(0.0, 0.99)), batch)
    # Ours are weighted already: D's two terms halved, the two PatchNCE terms averaged.
    names = {
        "gan": ("G_GAN", 1.0),
        "gan_real": ("D_real", 0.5),
        "gan_fake": ("D_fake", 0.5),
        "r1": ("D_R1", 1.0),
        "nce": ("NCE", 0.5),
        "nce_idt": ("NCE_Y", 0.5),
        "identity": ("idt", 1.0),
    }
    assert ours.keys() == names.keys()
    for name, (theirs, weight) in names.items():
        assert ours[name] == pytest.approx(weight * expected["losses"][theirs], rel=1e-4), name
    networks = {"G": method.generator, "D": method.discriminator, "F": method.patch_head}
    for letter, network in networks.items():
        assert_equal_weights(network, expected["final"][letter], steps=1)
