"""Runs that start from the weights of another."""

import re

import pytest
import torch
from conftest import make_paired
from programs import saved_run
from public_weights import formula_state_dict

from cut.api.start import read_start, start_settings
from cut.build import build_trainer, read_config
from cut.cli.train import _parse, _plan
from cut.errors import UserError
from cut.train.run_dir import open_run


def opened(yaml, run, *overrides):
    trainer = build_trainer(read_config(yaml, overrides))
    return trainer, open_run(trainer, run, False, read_start)


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


@pytest.mark.parametrize("matches", [True, False])
def test_networks_that_know_matched_colours_go_on_to_see_such(tiny_yaml, tmp_path, matches):
    trainer, _ = opened(tiny_yaml, tmp_path / "run", "train.max_steps=1", f"data.match_colours={matches}")
    trainer.fit(tmp_path / "run")
    assert ("data.match_colours=true" in start_settings(tmp_path / "run", networks=True)) == matches
    assert len(start_settings(tmp_path / "run", networks=False)) == 1


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


def test_a_generator_alone_is_taken_from_a_whole_run_where_that_is_asked_for(tiny_yaml, tmp_path, earlier):
    settings = (f"start.file={tmp_path / 'earlier'}", "start.networks=generator", "seed=5")
    trainer, line = opened(tiny_yaml, tmp_path / "run", *settings)
    assert "generator (" in line and "new: discriminator, patch_head" in line
    assert not torch.equal(trainer.method.discriminator.layers[0].weight, earlier.method.discriminator.layers[0].weight)


@pytest.mark.parametrize("micro", [1, 2])
def test_a_generator_stays_as_it_is_for_the_first_steps(tiny_yaml, tmp_path, earlier, micro):
    settings = (f"start.file={tmp_path / 'earlier'}", "start.freeze_generator_steps=2", "data.batch_size=2")
    trainer, _ = opened(tiny_yaml, tmp_path / "run", *settings, f"train.num_micro_batches={micro}")
    before = {key: value.clone() for key, value in trainer.method.state_dict().items()}
    moved = []
    for batch in trainer.batches(3):
        trainer.train_step(batch)
        state = trainer.method.state_dict()
        moved.append({key.partition(".")[0] for key, value in state.items() if not torch.equal(value, before[key])})
    assert moved[0] == moved[1] == {"discriminator", "patch_head"} and "generator" in moved[2]


def test_a_player_that_waits_as_a_whole_is_logged_all_the_same(tmp_path):
    (tmp_path / "p.yaml").write_text(
        "method: {name: pix2pix}\ngenerator: {base_channels: 2, image_px: 32}\ndiscriminator: {base_channels: 2}\n"
        f'data: {{root: "{make_paired(tmp_path / "pairs")}", crop_px: 32, load_px: 32, num_workers: 0}}\n'
        "train: {accelerator: cpu}\n"
    )
    run = saved_run(tmp_path / "p.yaml", tmp_path / "earlier")
    trainer, _ = opened(tmp_path / "p.yaml", tmp_path / "run", f"start={{file: {run}, freeze_generator_steps: 1}}")
    before = trainer.method.generator.up[0][1].weight.clone()
    batches = trainer.batches(2)
    trainer.train_step(next(batches))
    assert torch.equal(trainer.method.generator.up[0][1].weight, before)
    assert trainer.losses.means()["loss/generator/l1"] > 0
    trainer.train_step(next(batches))
    assert not torch.equal(trainer.method.generator.up[0][1].weight, before)


def test_what_has_another_shape_is_named_with_the_settings_that_differ(tiny_yaml, tmp_path, earlier):
    setting = f"start.file={tmp_path / 'earlier'}"
    _, line = opened(tiny_yaml, tmp_path / "wide", setting, "generator.num_blocks=5", "data.crop_px=36")
    assert "in part: generator (" in line and "generator.num_blocks: 4 -> 5" in line
    _, line = opened(tiny_yaml, tmp_path / "larger", setting, "data.load_px=60", "data.crop_px=52")
    assert "generator, discriminator, patch_head (" in line and "; new: " not in line  # any size


def test_a_public_generator_and_one_of_another_method_start_a_run(tiny_yaml, tmp_path, golden):
    state = formula_state_dict(golden("public_generators")["resnet6_strided"]["keys"])
    for name in ("latest_net_G_A.pth", "latest_net_G_B.pth"):
        torch.save(state, tmp_path / name)
    networks = ("generator.antialias_down=false", "generator.antialias_up=false", "generator.num_blocks=6")
    networks += ("generator.base_channels=4",)
    trainer, line = opened(tiny_yaml, tmp_path / "run", f"start.file={tmp_path / 'latest_net_G_A.pth'}", *networks)
    assert "generator (generator_ab of the file)" in line and "new: discriminator, patch_head" in line
    first = next(iter(state.values()))
    assert torch.equal(trainer.method.generator.layers[1].weight, first)
    tiny_yaml.write_text(re.sub("name: cut, [^}]*", "name: cyclegan", tiny_yaml.read_text()))
    trainer, line = opened(tiny_yaml, tmp_path / "back", f"start.file={tmp_path / 'latest_net_G_B.pth'}", *networks)
    assert torch.equal(trainer.method.generator_ba.layers[1].weight, first)
    assert not torch.equal(trainer.method.generator_ab.layers[1].weight, first) and "new: generator_ab" in line


def test_the_option_starts_a_run_of_a_yaml_too(tiny_yaml, tmp_path, earlier):
    args = _parse(["--config", str(tiny_yaml), "--start", str(tmp_path / "earlier")])
    _plan(args)
    config = read_config(args.config, args.set)
    assert config.start.file == str(tmp_path / "earlier")
    assert config.method == read_config(tiny_yaml).method


def test_fine_tuning_on_other_folders_takes_the_networks_of_the_file(unpaired, tmp_path, earlier):
    args = _parse(["--start", str(tmp_path / "earlier"), "--data", str(unpaired)])
    _plan(args)
    config = read_config(args.config, args.set)
    assert config.generator == earlier.config.generator and config.method == earlier.config.method
    assert config.start.file == str(tmp_path / "earlier") and config.data.load_px == 160
