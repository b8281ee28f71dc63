"""Whole training steps of CUT and FastCUT against the authors' code (tests/golden/README.md)."""

import pytest
import torch
from steps import assert_equal_weights, losses_of_step, trainer_of

import cut.methods.cut as cut_method
import cut.models.patch_head as patch_head
from cut.kernels.instance_norm import InstanceNorm
from cut.methods.cut import CUT, CUTConfig
from cut.models import patch_discriminator
from cut.models import resnet as resnet_generator
from cut.models.patch_discriminator import PatchDiscriminator
from cut.models.resnet import ResnetGenerator

FASTCUT = {"lambda_nce": 10.0, "nce_idt": False, "flip_equivariance": True}
CASES = {"cut": {}, "cut_batch2": {}, "fastcut_flip": FASTCUT, "fastcut_noflip": FASTCUT}


def our_key(key):
    return key.replace("model.", "layers.").replace("conv_block", "layers").replace("mlp_", "mlps.")


def torch_has_the_instance_norm_defect():
    image, gradient = torch.randn(1, 4, 5, 7, requires_grad=True), torch.randn(1, 4, 5, 7)
    results = []
    for layout in (torch.contiguous_format, torch.channels_last):
        normalised = torch.nn.functional.instance_norm(image)
        results += torch.autograd.grad(normalised, image, gradient.contiguous(memory_format=layout))
    return not torch.allclose(*results, atol=1e-4)


def build_trainer(case, steps, initial):
    method = CUT(
        CUTConfig(head_channels=32, **CASES[case]),
        ResnetGenerator(base_channels=8),
        PatchDiscriminator(base_channels=8),
    )
    method.generator.load_state_dict({our_key(k): v for k, v in initial["G"].items()})
    method.discriminator.load_state_dict({our_key(k): v for k, v in initial["D"].items()})
    method.patch_head.load_state_dict({our_key(k): v for k, v in steps["patch_head"].items()})
    return trainer_of(method, len(steps["inputs"]))


def run_steps(case, all_steps, initial, monkeypatch):
    """Losses per step, in the authors' names, and the trained method."""
    steps = all_steps[case]
    trainer, images = build_trainer(case, steps, initial), [i.double() for i in all_steps["images"]]
    layers, losses = len(trainer.method.config.nce_layers), []
    monkeypatch.setattr(torch, "rand", lambda *shape: torch.tensor(0.1 if case == "fastcut_flip" else 0.9))
    for inputs, ids in zip(steps["inputs"], steps["patch_ids"].long(), strict=True):
        drawn = iter([list(ids[:layers]), list(ids[layers:])])  # first those of x, then those of y
        monkeypatch.setattr(cut_method, "random_patch_ids", lambda features, count, drawn=drawn: next(drawn))
        ours = losses_of_step(trainer, {"real_a": images[inputs["A"]], "real_b": images[inputs["B"]]})
        half = 2.0 if "nce_idt" in ours else 1.0  # ours are weighted already
        names = {"G_GAN": "gan", "NCE": "nce", "NCE_Y": "nce_idt", "D_real": "gan_real", "D_fake": "gan_fake"}
        weights = {"nce": half, "nce_idt": half, "gan_real": 2.0, "gan_fake": 2.0}
        losses.append({k: ours[n] * weights.get(n, 1.0) for k, n in names.items() if n in ours})
    return losses, trainer.method


def assert_equal_losses(losses, expected):
    for ours, theirs in zip(losses, expected, strict=True):
        for name in ours:
            # The absolute part is for D_fake alone, the square of scores near 0, beside losses near 1.
            assert ours[name] == pytest.approx(theirs[name], rel=1e-4, abs=1e-6), name


def assert_equal_networks(method, final, steps):
    for letter, network in {"G": method.generator, "D": method.discriminator, "F": method.patch_head}.items():
        assert_equal_weights(network, final[letter], steps)


@pytest.mark.parametrize("case", CASES)
def test_steps_equal_the_authors(case, golden, double, monkeypatch):
    steps = golden("contrastive_steps")
    losses, method = run_steps(case, steps, golden("contrastive_initial"), monkeypatch)
    assert_equal_losses(losses, steps[case]["losses_contiguous"])
    assert_equal_networks(method, steps[case]["final_contiguous"], len(losses))


# Without "cut": its two encodings of batch size 1, which meet the defect, are one of batch size 2 in ours.
@pytest.mark.parametrize("case", [case for case in CASES if case != "cut"])
def test_steps_equal_the_authors_with_their_gradient_layout(case, golden, double, monkeypatch):
    """With torch's instance norm their way of sampling patches meets its defect, and the same numbers come out."""

    def permute_first(feature, ids):
        return feature.permute(0, 2, 3, 1).flatten(1, 2)[:, ids, :]

    monkeypatch.setattr(patch_head, "gather_patches", permute_first)
    monkeypatch.setattr(InstanceNorm, "forward", torch.nn.InstanceNorm2d.forward)
    for module in (resnet_generator, patch_discriminator):
        monkeypatch.setattr(module, "fastest_layout", lambda image: image)
    kind = "" if torch_has_the_instance_norm_defect() else "_contiguous"
    steps = golden("contrastive_steps")
    losses, method = run_steps(case, steps, golden("contrastive_initial"), monkeypatch)
    assert_equal_losses(losses, steps[case][f"losses{kind}"])
    assert_equal_networks(method, steps[case][f"final{kind}"], len(losses))
