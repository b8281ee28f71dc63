"""What the tests of whole training steps share: a trainer without data, and how weights are compared."""

import pytest
import torch
from lightning_fabric import Fabric

from cut.config import AdamConfig, ConstantScheduleConfig, RunConfig, TrainConfig
from cut.runtime.processes import Processes
from cut.train.schedules import Schedule
from cut.train.trainer import Trainer

LR = 2e-4


def trainer_of(method, num_steps, lr=LR, betas=(0.5, 0.999)):
    """A trainer on the CPU for `train_step` alone, by default with the papers' Adam."""
    fabric = Fabric(accelerator="cpu", devices=1)
    networks = {}
    for player in method.players():
        networks.setdefault(player.name, []).extend(player.networks)
    optimizers = {
        name: fabric.setup_optimizers(
            torch.optim.Adam(list(dict.fromkeys(p for n in trained for p in n.parameters())), lr, betas)
        )
        for name, trained in networks.items()
    }
    config = RunConfig.model_construct(optim=AdamConfig(lr=lr), train=TrainConfig())
    schedule = Schedule(ConstantScheduleConfig(total_steps=num_steps), 1)
    return Trainer(config, method, optimizers, schedule, None, [], fabric, Processes(fabric))


def losses_of_step(trainer, batch):
    """Term -> value of one training step; terms must have names of their own over all players."""
    trainer.train_step(batch)
    losses = {key.split("/")[-1]: value.item() for key, value in trainer.losses.means().items()}
    trainer.losses.reset()
    return losses


def assert_equal_weights(network, expected, steps):
    """`expected` holds the norm of each tensor (`norms`) and its first eight values, one after another (`heads`)."""
    heads = iter(expected["heads"])
    for (key, tensor), norm in zip(network.state_dict().items(), expected["norms"], strict=True):
        head = torch.stack([next(heads) for _ in range(min(8, tensor.numel()))]).to(tensor)
        if key.endswith("bias") and _before_instance_norm(network, key):
            # Its gradient is rounding noise, whose sign Adam turns into whole steps of the learning rate.
            assert (tensor.flatten()[:8] - head).abs().max() <= 2 * LR * steps * 1.01
            continue
        # Adam's first steps have the size of the learning rate, 2e-4, whatever the gradient's: where that is
        # small, rounding shows. Half a step for single values, 1e-3 for norms.
        assert float(tensor.norm()) == pytest.approx(float(norm), rel=1e-3, abs=1e-5), key
        torch.testing.assert_close(tensor.flatten()[:8], head, rtol=1e-3, atol=1e-4, msg=key)


def _before_instance_norm(network, key):
    parent, _, index = key.removesuffix(".bias").rpartition(".")
    if not index.isdecimal():  # no layer of a sequence
        return False
    siblings = network.get_submodule(parent)
    following = int(index) + 1
    return following < len(siblings) and isinstance(siblings[following], torch.nn.InstanceNorm2d)
