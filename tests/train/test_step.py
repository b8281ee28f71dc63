"""The step: what a player may ask of it, and what the trainer tells a method."""

import pytest
import torch
from steps import trainer_of
from torch import nn

from cut.build import build_optimizers, build_trainer, read_config
from cut.config import AdamConfig
from cut.errors import UserError
from cut.methods.base import Method, Player
from cut.runtime.fabric import build_fabric


class TwoWeights(Method):
    """Pulls two numbers towards 0; `turns` says which networks stand in the step, and how they are updated."""

    def __init__(self, *turns):
        super().__init__()
        self.first, self.second = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        self.turns = turns
        for network in (self.first, self.second):
            nn.init.constant_(network.weight, 1.0)

    def translate(self, batch):
        return batch["real"]

    def terms(self, image):
        return {"loss": 100.0 * (self.first(image).square() + self.second(image).square()).sum()}

    def players(self):
        return tuple(
            Player("both", tuple(getattr(self, name) for name in names), self.terms, **settings)
            for names, settings in self.turns
        )


def weights_after(method, steps=1, **settings):
    trainer = trainer_of(method, steps, **settings)
    for _ in range(steps):
        trainer.train_step({"real": torch.ones(1, 1)})
    return method.first.weight.item(), method.second.weight.item()


def test_a_player_of_several_networks_has_one_optimizer_over_all_of_them():
    method = TwoWeights((("first", "second"), {}), (("second",), {}))
    optimizer = build_optimizers(method, AdamConfig(), build_fabric("cpu", "32-true"))["both"]
    assert {id(p) for group in optimizer.param_groups for p in group["params"]} == {id(p) for p in method.parameters()}
    first, second = weights_after(method)
    assert second < first < 1.0  # the second was updated twice
    untouched = dict(method.named_parameters())["first.weight"]
    assert untouched.grad is None  # in the second turn, so that Adam passes over it


def test_a_network_that_joins_later_stays_as_it_is_until_then():
    turns = ((("first", "second"), {"joins": {"second": 2}}),)
    first, second = weights_after(TwoWeights(*turns), steps=2)
    assert first < 1.0 and second == 1.0
    assert weights_after(TwoWeights(*turns), steps=3)[1] < 1.0


def test_a_rate_factor_scales_one_player_alone():
    full, half = (weights_after(TwoWeights((("first",), {"lr_factor": factor})))[0] for factor in (1.0, 0.5))
    assert 1.0 - half == pytest.approx((1.0 - full) / 2, rel=1e-3)


def test_a_clipped_gradient_has_the_largest_norm_allowed():
    method = TwoWeights((("first", "second"), {"clip_norm": 0.25}))
    weights_after(method)
    norm = torch.stack([method.first.weight.grad, method.second.weight.grad]).norm().item()
    assert norm == pytest.approx(0.25, rel=1e-4)
    unclipped = TwoWeights((("first", "second"), {}))
    weights_after(unclipped)
    assert unclipped.first.weight.grad.item() == 200.0


def test_a_player_may_have_settings_of_its_own(tiny_yaml):
    trainer = build_trainer(
        read_config(tiny_yaml, ["optim.lr=1e-3", "optim.per_player={discriminator: {lr: 5e-4, betas: [0.0, 0.9]}}"])
    )
    trainer.train_step(next(trainer.batches(1)))
    groups = {name: optimizer.param_groups[0] for name, optimizer in trainer.optimizers.items()}
    assert groups["discriminator"]["lr"] == 5e-4 and groups["discriminator"]["betas"] == (0.0, 0.9)
    assert groups["generator"]["lr"] == 1e-3 and groups["generator"]["betas"] == (0.5, 0.999)
    with pytest.raises(UserError, match=r"optim.per_player: no player 'critic' \(this method has: discriminator, gen"):
        build_trainer(read_config(tiny_yaml, ["optim.per_player={critic: {lr: 5e-4}}"]))


def test_a_method_knows_how_much_of_the_run_is_done(tiny_yaml):
    trainer = build_trainer(read_config(tiny_yaml, ["schedule={name: constant, total_steps: 8}"]))
    seen = []
    for batch in trainer.batches(3):
        trainer.train_step(batch)
        seen.append(trainer.method.progress)
    assert seen == [0.0, 1 / 8, 2 / 8]


def test_a_method_observes_other_samples_once_and_changes_no_training(tiny_yaml, tmp_path, monkeypatch):
    from cut.methods.cut import CUT
    from cut.train.run_dir import open_run

    def weights(run, stop=None):
        trainer = build_trainer(read_config(tiny_yaml, [f"train.max_steps={stop}"] if stop else []))
        open_run(trainer, run, True)
        trainer.fit(run)
        return trainer.method.state_dict()

    plain = weights(tmp_path / "plain")
    observed = []
    monkeypatch.setattr(CUT, "observes_batches", 2)
    monkeypatch.setattr(
        CUT, "observe", lambda self, batches: observed.extend(torch.rand(1) + b["real_a"] for b in batches)
    )
    weights(tmp_path / "run", stop=2)
    assert len(observed) == 2
    resumed = weights(tmp_path / "run")
    assert len(observed) == 2, "observed again after resuming"
    assert all(torch.equal(value, resumed[key]) for key, value in plain.items())


class TwoTurns(TwoWeights):
    """One player, whose turns have one term in common and one each of their own."""

    def __init__(self):
        super().__init__()

    def players(self):
        def terms(value, own):
            return lambda image: {
                "common": self.first(image).sum() * 0 + value,
                own: self.first(image).sum() * 0 + value,
            }

        return (Player("both", (self.first,), terms(1.0, "early")), Player("both", (self.first,), terms(3.0, "late")))


def test_a_term_is_logged_as_its_mean_over_the_turns_that_have_it():
    trainer = trainer_of(TwoTurns(), 1)
    trainer.train_step({"real": torch.ones(1, 1)})
    logged = {key: value.item() for key, value in trainer.losses.means().items()}
    assert logged == {"loss/both/common": 2.0, "loss/both/early": 1.0, "loss/both/late": 3.0}
