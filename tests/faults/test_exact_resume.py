"""From any checkpoint, with any number of loader workers, a run ends as if it had never stopped."""

import shutil

import pytest
import yaml
from conftest import make_idx, make_paired, make_single, make_unpaired
from same_runs import assert_same_end, differing

from cut.storage.checkpoint import list_checkpoints, load_checkpoint

_SMALL = {"generator": {"name": "resnet", "base_channels": 2, "num_blocks": 2}}
_SMALL |= {"discriminator": {"name": "patch", "base_channels": 2, "num_layers": 2}}
_UNPAIRED = (make_unpaired, {"name": "unpaired", "load_px": 20, "crop_px": 16})
_CUT = {"name": "cut", "num_patches": 8, "head_channels": 8, "nce_layers": [0, 4, 8]}
# What each method keeps from step to step: pools, queues, averages of batch norms, dropout, noise.
METHODS = {
    "cut": (_CUT | {"pool_size": 2}, _SMALL, *_UNPAIRED),
    "cut_queue_momentum": (
        _CUT | {"negatives": "image_and_external", "queue_size": 20, "momentum_encoder": 0.9},
        _SMALL,
        *_UNPAIRED,
    ),
    "fastcut": (_CUT | {"nce_idt": False, "flip_equivariance": True}, _SMALL, *_UNPAIRED),
    "cyclegan": ({"name": "cyclegan", "pool_size": 2}, _SMALL, *_UNPAIRED),
    "pix2pix": (
        {"name": "pix2pix"},
        {"generator": {"name": "unet", "base_channels": 2, "image_px": 64}, "discriminator": _SMALL["discriminator"]},
        make_paired,
        {"name": "paired", "load_px": 66, "crop_px": 64},
    ),
    "sincut": (
        {"name": "sincut"},
        {
            "generator": {"name": "stylegan2", "base_channels": 4, "num_blocks": 4},
            "discriminator": {"name": "stylegan2", "base_channels": 4},
        },
        make_single,
        {"name": "single", "crop_px": 16, "batch_size": 2, "crops_per_epoch": 8},
    ),
    "dcgan": (
        {
            "name": "dcgan",
            "discriminator_steps": 2,
            "generator": {"name": "dcgan", "base_channels": 2},
            "discriminator": {"name": "dcgan", "base_channels": 2},
        },
        {},
        make_idx,
        {"name": "idx", "batch_size": 2},
    ),
}


def _write(name, folder):
    method, networks, make, data = METHODS[name]
    made = make(folder / "data")
    data = data | ({key: str(path) for key, path in made.items()} if isinstance(made, dict) else {"root": str(made)})
    train = {"log_every_steps": 2, "sample_every_steps": 100, "checkpoint_every_steps": 1, "num_samples": 1}
    train |= {"accelerator": "cpu", "tensorboard": False, "ema_decay": 0.5, "keep_checkpoints": 10}
    schedule = {"name": "linear", "constant_steps": 2, "decay_steps": 3}
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump({"method": method, **networks, "data": data, "schedule": schedule, "train": train}))
    return path


_CASES = [pytest.param(name, (1, 2, 3, 4), marks=pytest.mark.soak) for name in METHODS]


@pytest.mark.parametrize(("name", "steps"), _CASES)
def test_a_run_resumed_from_its_checkpoints_with_other_workers_equals_the_straight_one(
    name, steps, forks, tally, tmp_path
):
    path, straight = _write(name, tmp_path), tmp_path / "straight"
    start = ("train", "--config", path, "--run-dir")
    forks.run(*start, straight, "--set", "data.num_workers=0").check()
    for step in steps:
        run = tmp_path / f"from_{step}"
        shutil.copytree(straight, run)
        for later in list_checkpoints(run / "checkpoints")[step:]:
            later.unlink()
        ended = forks.run(*start, run, "--set", f"data.num_workers={step % 3}").check()
        assert f"going on from step {step} of 5" in ended.stderr
        assert_same_end(straight, run)
        tally["resumed from a checkpoint, equal bit for bit"] += 1


def test_the_comparison_notices_every_part(straight):
    """Else the tests above could not fail."""
    state = load_checkpoint(list_checkpoints(straight / "checkpoints")[-2])
    assert state["ema"] and state["optimizers"] and state["log"]["sums"]
    assert any("pool" in key for key in state["method"]) and any("queue" in key for key in state["method"])
    for part in ("method", "ema", "optimizers", "random", "log"):
        assert not differing(state, state) and differing(state, state | {part: _changed(state[part])}), part


def _changed(value):
    """The value with its last number changed."""
    if isinstance(value, dict):
        key = list(value)[-1]
        return value | {key: _changed(value[key])}
    if isinstance(value, list):
        return [*value[:-1], _changed(value[-1])] if value else [1]
    return value + 1
