"""Runs that start from the weights of another."""

import pytest
import torch

from cut.build import build_trainer, read_config
from cut.errors import UserError
from cut.train.run_dir import open_run


def opened(yaml, run, *overrides):
    trainer = build_trainer(read_config(yaml, overrides))
    return trainer, open_run(trainer, run, False)


@pytest.fixture
def earlier(tiny_yaml, tmp_path):
    trainer, _ = opened(tiny_yaml, tmp_path / "earlier", "train.max_steps=2")
    trainer.fit(tmp_path / "earlier")
    return trainer


def test_a_new_run_starts_from_all_networks_of_another(tiny_yaml, tmp_path, earlier):
    setting = f"start.file={tmp_path / 'earlier'}"
    trainer, line = opened(tiny_yaml, tmp_path / "run", setting, "seed=5", "train.ema_decay=0.5")
    assert "starts from" in line and "generator, discriminator, patch_head" in line and "new:" not in line
    before = earlier.method.state_dict()
    assert all(torch.equal(value, before[key]) for key, value in trainer.method.state_dict().items())
    averaged = trainer.ema.state_dict()
    assert all(torch.equal(value, before[key]) for key, value in averaged.items())
    trainer.fit(tmp_path / "run")
    assert trainer.step == 6  # of its own


def test_a_generator_alone_starts_a_run_with_a_new_discriminator(tiny_yaml, tmp_path, earlier):
    setting = f"start.file={tmp_path / 'earlier' / 'generator.safetensors'}"
    trainer, line = opened(tiny_yaml, tmp_path / "run", setting, "seed=5")
    assert "new: discriminator, patch_head" in line
    for key, value in trainer.method.generator.state_dict().items():
        assert torch.equal(value, earlier.method.generator.state_dict()[key]), key
    assert not torch.equal(trainer.method.discriminator.layers[0].weight, earlier.method.discriminator.layers[0].weight)


def test_a_run_goes_on_from_its_own_weights_though_the_file_is_gone(tiny_yaml, tmp_path, earlier):
    file = tmp_path / "earlier" / "generator.safetensors"
    trainer, _ = opened(tiny_yaml, tmp_path / "run", f"start.file={file}")
    trainer.last_step = 2
    trainer.fit(tmp_path / "run")
    file.unlink()
    assert "going on from step 2" in opened(tiny_yaml, tmp_path / "run", f"start.file={file}")[1]


def test_networks_are_renamed_and_strangers_refused(tiny_yaml, tmp_path, earlier):
    file = tmp_path / "earlier" / "generator.safetensors"
    with pytest.raises(UserError, match="none of its weights .* it holds other, this run has generator, discrim"):
        opened(tiny_yaml, tmp_path / "run", f"start={{file: {file}, rename: {{generator: other}}}}")
    with pytest.raises(UserError, match="no such file"):
        opened(tiny_yaml, tmp_path / "run", f"start.file={tmp_path / 'nothing.safetensors'}")
