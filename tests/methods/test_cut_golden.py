"""Whole training steps of CUT and FastCUT against the authors' code (tests/golden/README.md)."""

import pytest
import torch
from lightning_fabric import Fabric

import cut.methods.cut as cut_method
import cut.models.patch_head as patch_head
from cut.config import AdamConfig, ConstantScheduleConfig, RunConfig, TrainConfig
from cut.engine.schedules import Schedule
from cut.engine.trainer import Trainer
from cut.methods.cut import CUT, CUTConfig
from cut.models.patch_discriminator import PatchDiscriminator
from cut.models.resnet_generator import ResnetGenerator

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
    fabric = Fabric(accelerator="cpu", devices=1)
    optimizers = {
        player.name: fabric.setup_optimizers(
            torch.optim.Adam([p for n in player.networks for p in n.parameters()], 2e-4, (0.5, 0.999))
        )
        for player in method.players()
    }
    config = RunConfig.model_construct(optim=AdamConfig(), train=TrainConfig())
    schedule = Schedule(ConstantScheduleConfig(total_steps=len(steps["inputs"])), 1)
    return Trainer(config, method, optimizers, schedule, None, [], fabric)


def run_steps(case, all_steps, initial, monkeypatch):
    """Losses per step, in the authors' names, and the trained method."""
    steps = all_steps[case]
    trainer = build_trainer(case, steps, initial)
    layers, losses = len(trainer.method.config.nce_layers), []
    monkeypatch.setattr(torch, "rand", lambda *shape: torch.tensor(0.1 if case == "fastcut_flip" else 0.9))
    for inputs, ids in zip(steps["inputs"], steps["patch_ids"].long(), strict=True):
        drawn = iter([list(ids[:layers]), list(ids[layers:])])  # first those of x, then those of y
        monkeypatch.setattr(cut_method, "random_patch_ids", lambda features, count, drawn=drawn: next(drawn))
        trainer.train_step({"real_a": all_steps["images"][inputs["A"]], "real_b": all_steps["images"][inputs["B"]]})
        ours = {key.split("/")[-1]: value.item() for key, value in trainer._sums.items()}
        trainer._sums = {}
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


def assert_equal_weights(method, final, steps):
    networks = {"G": method.generator, "D": method.discriminator, "F": method.patch_head}
    for letter, network in networks.items():
        tensors = network.state_dict()
        heads = iter(final[letter]["heads"])
        for (key, tensor), norm in zip(tensors.items(), final[letter]["norms"], strict=True):
            head = torch.stack([next(heads) for _ in range(min(8, tensor.numel()))])
            if key.endswith("bias") and before_instance_norm(network, key):
                # Its gradient is rounding noise, whose sign Adam turns into whole steps of the learning rate.
                assert (tensor.flatten()[:8] - head).abs().max() <= 2 * 2e-4 * steps * 1.01
                continue
            # Adam's first steps have the size of the learning rate, 2e-4, whatever the gradient's: where that is
            # small, rounding shows. Half a step for single values, 1e-3 for norms.
            assert float(tensor.norm()) == pytest.approx(float(norm), rel=1e-3, abs=1e-5), key
            torch.testing.assert_close(tensor.flatten()[:8], head, rtol=1e-3, atol=1e-4, msg=f"{letter} {key}")


def before_instance_norm(network, key):
    parent, _, index = key.removesuffix(".bias").rpartition(".")
    siblings = network.get_submodule(parent)
    following = int(index) + 1
    return following < len(siblings) and isinstance(siblings[following], torch.nn.InstanceNorm2d)


@pytest.mark.parametrize("case", CASES)
def test_steps_equal_the_authors(case, golden, monkeypatch):
    steps = golden("contrastive_steps")
    losses, method = run_steps(case, steps, golden("contrastive_initial"), monkeypatch)
    assert_equal_losses(losses, steps[case]["losses_contiguous"])
    assert_equal_weights(method, steps[case]["final_contiguous"], len(losses))


@pytest.mark.parametrize("case", CASES)
def test_steps_equal_the_authors_with_their_gradient_layout(case, golden, monkeypatch):
    """Sampling patches their way meets torch's instance-norm defect, and then the same numbers come out."""

    def permute_first(feature, ids):
        return feature.permute(0, 2, 3, 1).flatten(1, 2)[:, ids, :]

    monkeypatch.setattr(patch_head, "gather_patches", permute_first)
    kind = "" if torch_has_the_instance_norm_defect() else "_contiguous"
    steps = golden("contrastive_steps")
    losses, method = run_steps(case, steps, golden("contrastive_initial"), monkeypatch)
    assert_equal_losses(losses, steps[case][f"losses{kind}"])
    assert_equal_weights(method, steps[case][f"final{kind}"], len(losses))
