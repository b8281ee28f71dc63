"""What every method and every YAML must do; both are found by themselves."""

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from conftest import REPOSITORY, make_unpaired

from cut.build import build_method, build_trainer, load_translator, open_run, read_config
from cut.engine.checkpoint import INFERENCE_FILE
from cut.methods import find_method, known_methods

YAMLS = sorted((REPOSITORY / "configs").rglob("*.yaml"))
SHRINK = (
    "generator.base_channels=4",
    "generator.num_blocks=4",
    "discriminator.base_channels=4",
    "discriminator.num_layers=2",
    "data.load_px=36",
    "data.crop_px=32",
    "data.num_workers=0",
    "train.accelerator=cpu",
    "train.max_steps=4",
    "train.checkpoint_every_steps=2",
    "train.num_samples=1",
    "train.tensorboard=false",
)


def yaml_id(path):
    return path.relative_to(REPOSITORY / "configs").as_posix()


def tiny_config(path, root):
    return read_config(path, [*SHRINK, f"data.root={root}"])


def snapshot(network):
    return {key: value.clone() for key, value in network.state_dict().items()}


def differing(before, after):
    return {key for key in before if not torch.equal(before[key], after[key])}


def test_every_method_has_a_config_that_names_it():
    for name in known_methods():
        assert find_method(name).Config.model_fields["name"].default == name


def test_every_method_has_a_yaml(tmp_path):
    root = make_unpaired(tmp_path / "data")
    assert {tiny_config(path, root).method.name for path in YAMLS} == set(known_methods())


@pytest.mark.parametrize("path", YAMLS, ids=yaml_id)
def test_yaml_opens_with_its_command(path):
    comment = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert f"cut-train --config {path.relative_to(REPOSITORY).as_posix()}" in " ".join(comment)


@pytest.mark.parametrize("path", YAMLS, ids=yaml_id)
def test_one_step_changes_exactly_the_players_parameters(path, tmp_path):
    trainer = build_trainer(tiny_config(path, make_unpaired(tmp_path / "data")))
    before = snapshot(trainer.method)
    batch = next(trainer._batches(1))
    assert {key: tuple(batch[key].shape[1:]) for key in ("real_a", "real_b")} == dict.fromkeys(
        ("real_a", "real_b"), (3, 32, 32)
    )
    trainer.train_step(batch)
    changed = differing(before, snapshot(trainer.method))
    owned = {id(p) for player in trainer.players for network in player.networks for p in network.parameters()}
    names = {name for name, parameter in trainer.method.named_parameters() if id(parameter) in owned}
    assert changed & dict(trainer.method.named_parameters()).keys() == names
    assert all(p.requires_grad for p in trainer.method.parameters())
    assert trainer._sums and all(torch.isfinite(value) for value in trainer._sums.values())
    assert {key.split("/")[1] for key in trainer._sums} == {player.name for player in trainer.players}


@pytest.mark.parametrize("path", YAMLS, ids=yaml_id)
def test_each_player_changes_only_its_own_networks(path, tmp_path):
    trainer = build_trainer(tiny_config(path, make_unpaired(tmp_path / "data")))
    batch, players = next(trainer._batches(1)), trainer.players
    for player in players:
        trainer.players = (player,)
        before = snapshot(trainer.method)
        trainer.train_step(batch)
        own = {id(p) for network in player.networks for p in network.parameters()}
        names = {name for name, parameter in trainer.method.named_parameters() if id(parameter) in own}
        assert differing(before, snapshot(trainer.method)) & dict(trainer.method.named_parameters()).keys() <= names


@pytest.mark.parametrize("path", YAMLS, ids=yaml_id)
def test_resumed_run_equals_straight_run_bit_for_bit(path, tmp_path):
    config = tiny_config(path, make_unpaired(tmp_path / "data"))
    straight = build_trainer(config)
    open_run(straight, tmp_path / "straight", resume=False)
    straight.fit(tmp_path / "straight")

    first = build_trainer(config)
    open_run(first, tmp_path / "resumed", resume=False)
    first.last_step = 2  # ends here, as a killed process would have
    first.fit(tmp_path / "resumed")
    torch.rand(7)  # the streams of the new process are elsewhere
    second = build_trainer(config)
    assert "going on from step 2 of 4" in open_run(second, tmp_path / "resumed", resume=False)
    second.fit(tmp_path / "resumed")
    assert not differing(snapshot(straight.method), snapshot(second.method))


@pytest.mark.parametrize("path", YAMLS, ids=yaml_id)
def test_inference_file_translates_as_the_trained_method_does(path, tmp_path):
    trainer = build_trainer(tiny_config(path, make_unpaired(tmp_path / "data")))
    trainer.train_step(next(trainer._batches(1)))
    checkpoint = trainer.save(tmp_path / "run")
    image = torch.linspace(-1, 1, 3 * 32 * 32).view(1, 3, 32, 32)
    trainer.method.eval()
    for file in (tmp_path / "run" / INFERENCE_FILE, checkpoint):
        method, config = load_translator(file)
        assert config == trainer.config
        averaged = trainer.ema.applied(trainer.method) if trainer.ema else nullcontext()
        with averaged, torch.inference_mode():
            assert torch.equal(method(image), trainer.method(image))


def test_inference_file_holds_the_generator_alone(tmp_path):
    from safetensors import safe_open

    path = Path(REPOSITORY / "configs" / "quickstart.yaml")
    trainer = build_trainer(tiny_config(path, make_unpaired(tmp_path / "data")))
    trainer.save(tmp_path)
    with safe_open(tmp_path / INFERENCE_FILE, framework="pt") as file:
        assert {key.split(".")[0] for key in file.keys()} == {"generator"}  # noqa: SIM118


def test_same_seed_same_weights_other_seed_other_weights(tmp_path):
    path, root = REPOSITORY / "configs" / "quickstart.yaml", make_unpaired(tmp_path / "data")
    builds = []
    for seed in (1, 1, 2):
        config = read_config(path, [*SHRINK, f"data.root={root}", f"seed={seed}"])
        builds.append(snapshot(build_trainer(config).method))
    assert not differing(builds[0], builds[1])
    assert differing(builds[0], builds[2])
    assert build_method(config).config.name == "cut"
