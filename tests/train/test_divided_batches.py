"""A batch that is shared among processes, or worked on in micro-batches, trains as the whole one does."""

import pytest
import torch
from divided import CASES, largest_difference, make_data, train
from programs import start
from steps import trainer_of
from torch import nn

from cut.errors import UserError
from cut.methods import trained_methods
from cut.methods.base import Method, Player
from cut.runtime.launch import _free_port
from cut.train.step import TrainingStep


def test_every_method_has_a_case():
    assert {settings["method.name"] for settings in CASES.values()} == set(trained_methods()), "add one to divided.py"


def test_two_processes_equal_one_with_the_whole_batch(monkeypatch, tmp_path):
    make_data(tmp_path)
    both = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    started = []
    with monkeypatch.context() as environment:
        for rank in ("0", "1"):
            for name, value in (both | {"RANK": rank, "LOCAL_RANK": rank}).items():
                environment.setenv(name, value)
            started.append(start("divided", tmp_path))
    for process in started:
        process.wait(300).check()
    two, second = (torch.load(tmp_path / f"found_{rank}.pt", weights_only=True) for rank in (0, 1))
    # In float32 Adam makes whole steps of what is rounded off where a gradient is nothing else.
    apart = {name: largest_difference(train(tmp_path, CASES[name]), two[name]) for name in CASES}
    assert max(apart.values()) < 1e-6, apart
    assert all(largest_difference(two[name], second[name]) == 0 for name in CASES)
    agreed = {
        "largest": 4.0,
        "picture": "PictureError: 1.png is broken",
        "mistake": "UserError: no such folder",
        "first": "from 0",
        "first fails": "UserError: the disk is full",
        "equal": "None",
        "same settings": "None",
        "other settings": "UserError: process 1 has other settings than process 0 (optim.lr: 0 -> 1); start all "
        "processes with the same command, config and files",
    }
    for found in (two["agreements"], second["agreements"]):
        assert "weights differ between process 0 and 1" in found.pop("unequal")
        assert found == agreed


@pytest.mark.parametrize(
    "name", ["cut", "cut: penalties, pool, flips, identity", "cyclegan", "pix2pix", "munit", "drit"]
)
def test_micro_batches_equal_the_whole_batch(tmp_path, name):
    make_data(tmp_path)
    settings = CASES[name] | {"data.batch_size": 4}
    if name == "pix2pix":  # with its dropout
        settings |= {"generator.norm": "instance", "discriminator.norm": "instance"}
    most = 2 if name == "drit" else 4  # which translates every second image
    whole, parts = (train(tmp_path, settings | {"train.num_micro_batches": count}) for count in (1, most))
    assert largest_difference(whole, parts) < 1e-6


class TwoGenerators(Method):
    """Two players whose gradients both flow through one translation."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1)

    def inference_networks(self):
        return {"first": self.first}

    def translate(self, batch):
        return self.second(self.first(batch["real"]))

    def players(self):
        return tuple(
            Player(name, (getattr(self, name),), lambda image: {"loss": image.square().mean()}, True)
            for name in ("first", "second")
        )


def test_micro_batches_are_refused_where_two_players_learn_through_one_translation():
    trainer = trainer_of(TwoGenerators(), 1)
    rates = dict.fromkeys(trainer.optimizers, 1e-4)
    with pytest.raises(UserError, match="several players of this method learn through"):
        TrainingStep(trainer.method, trainer.optimizers, rates, trainer.fabric, trainer.processes, num_micro_batches=2)
