"""Whole training steps of CycleGAN against the authors' code (tests/golden/README.md)."""

import pytest
import torch
from fixed import fill_by_formula, formula_image
from steps import assert_equal_weights, losses_of_step, trainer_of

from cut.methods.cyclegan import CycleGAN, CycleGANConfig
from cut.models.patch_discriminator import PatchDiscriminator
from cut.models.resnet import ResnetGenerator


def generator(sign):
    network = ResnetGenerator(base_channels=8, num_blocks=6, antialias_down=False, antialias_up=False)
    return signed(network, sign)


def discriminator(sign):
    return signed(PatchDiscriminator(base_channels=8, antialias=False), sign)


def signed(network, sign):
    with torch.no_grad():
        for parameter in fill_by_formula(network).parameters():
            parameter.mul_(sign)
    return network


def test_steps_equal_the_authors(golden, double):
    expected = golden("cyclegan_steps")
    # Their G_A translates a to b, and their D_A judges b.
    networks = {"G_A": generator(1), "G_B": generator(-1), "D_B": discriminator(-1), "D_A": discriminator(1)}
    method = CycleGAN(CycleGANConfig(), *networks.values())
    trainer, images = trainer_of(method, 2), formula_image(4, 3, 32).double()
    for step, theirs in enumerate(expected["losses"]):
        batch = {"real_a": images[step : step + 1], "real_b": images[step + 2 : step + 3].flip(1)}
        with torch.no_grad():
            fake_b = method(batch["real_a"])
        ours = losses_of_step(trainer, batch)
        assert ours["gan_real_b"] + ours["gan_fake_b"] == pytest.approx(theirs["D_A"], rel=1e-4)
        assert ours["gan_real_a"] + ours["gan_fake_a"] == pytest.approx(theirs["D_B"], rel=1e-4)
        names = {"gan_b": "G_A", "gan_a": "G_B", "cycle_a": "cycle_A", "cycle_b": "cycle_B"}
        names |= {"idt_b": "idt_A", "idt_a": "idt_B"}
        for name, their_name in names.items():
            assert ours[name] == pytest.approx(theirs[their_name], rel=1e-4), name
    torch.testing.assert_close(fake_b[:, :, ::5, ::5], expected["fake_b"], rtol=1e-4, atol=1e-5)
    for name, network in networks.items():
        assert_equal_weights(network, expected["final"][name], steps=2)


def test_domains_of_other_channels_need_no_identity_loss():
    one, other = ResnetGenerator(3, 1, 2, 4), ResnetGenerator(1, 3, 2, 4)
    judges = PatchDiscriminator(3, 2, 2), PatchDiscriminator(1, 2, 2)
    with pytest.raises(ValueError, match="lambda_identity must be 0"):
        CycleGAN(CycleGANConfig(), one, other, *judges)
    method = CycleGAN(CycleGANConfig(lambda_identity=0), one, other, *judges)
    losses = losses_of_step(
        trainer_of(method, 1), {"real_a": formula_image(2, 3, 32), "real_b": formula_image(2, 1, 32)}
    )
    assert "cycle_a" in losses and not any(name.startswith("idt") for name in losses)


def test_the_two_directions_are_two_networks():
    method = CycleGAN(CycleGANConfig(), generator(1), generator(-1), discriminator(1), discriminator(-1))
    image, back = formula_image(1, 3, 32), method.directions()["ba"]
    shown = method.visuals({"real_a": image, "real_b": image})
    assert torch.equal(shown["a to b"], method(image)) and torch.equal(shown["b to a"], back(image))
    assert not torch.allclose(shown["a to b"], shown["b to a"])
    assert torch.equal(shown["and back to a"], back(method(image)))
