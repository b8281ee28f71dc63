"""Checkpoints: whole or not at all, and never code."""

import os
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from cut.errors import UserError
from cut.storage import checkpoint
from cut.storage.checkpoint import (
    list_checkpoints,
    load_checkpoint,
    load_inference_file,
    save_checkpoint,
    save_inference_file,
)
from cut.storage.written import LIST

OTHERS: dict[str, dict] = {key: {} for key in ("ema", "optimizers", "precision", "random", "log")}
STATE = {"method": {"w": torch.arange(1000.0)}, "config": {"a": 1}, **OTHERS}


def test_round_trip_and_only_the_newest_are_kept(tmp_path):
    for step in (1, 2, 10, 20):
        save_checkpoint(tmp_path, step, STATE, keep=2)
    assert [p.name for p in list_checkpoints(tmp_path)] == ["step_00000010.pt", "step_00000020.pt"]
    state = load_checkpoint(tmp_path / "step_00000020.pt")
    assert state["step"] == 20 and torch.equal(state["method"]["w"], STATE["method"]["w"])


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = save_checkpoint(tmp_path, 1, STATE, keep=3)
    before = path.read_bytes()

    def full_disk(state, file):
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(UserError, match="cannot be written .No space left on device"):
        save_checkpoint(tmp_path, 1, STATE, keep=3)
    assert path.read_bytes() == before and sorted(p.name for p in tmp_path.iterdir()) == [LIST, path.name]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_cut_checkpoint_is_refused_on_one_line(tmp_path, share):
    path = save_checkpoint(tmp_path, 1, STATE, keep=1)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UserError, match="damaged or not a checkpoint") as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_single_flipped_bit_is_noticed(tmp_path):
    path = save_checkpoint(tmp_path, 1, STATE, keep=1)
    data = bytearray(path.read_bytes())
    data[data.index(torch.arange(1000.0).numpy().tobytes()) + 123] ^= 4
    path.write_bytes(data)
    with pytest.raises(UserError, match="damaged"):
        load_checkpoint(path)


def test_pruning_never_deletes_what_was_just_written(tmp_path):
    save_checkpoint(tmp_path, 6, STATE, keep=1)  # a damaged one, say, from which the run had to go back
    path = save_checkpoint(tmp_path, 5, STATE, keep=1)
    assert path.exists()


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    path = tmp_path / "evil.pt"
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(UserError):
        load_checkpoint(path)
    torch.save({"schema_version": 1, "method": Evil()}, path)
    with pytest.raises(UserError):
        load_checkpoint(path)
    assert not (tmp_path / "owned").exists()


def test_another_programs_file_and_another_schema_are_told(tmp_path):
    torch.save({"weights": torch.zeros(1)}, tmp_path / "a.pt")
    with pytest.raises(UserError, match="not a checkpoint of this program"):
        load_checkpoint(tmp_path / "a.pt")
    torch.save({**STATE, "schema_version": 99}, tmp_path / "b.pt")
    with pytest.raises(UserError, match="schema version 99; this program reads 1"):
        load_checkpoint(tmp_path / "b.pt")
    with pytest.raises(UserError, match="no such checkpoint"):
        load_checkpoint(tmp_path / "c.pt")


def test_inference_file_round_trip_and_damage(tmp_path):
    network = nn.Linear(2, 3)
    path = tmp_path / checkpoint.INFERENCE_FILE
    save_inference_file(path, {"generator": network}, {"a": [1]}, step=7)
    tensors, config, step = load_inference_file(path)
    assert config == {"a": [1]} and step == 7 and torch.equal(tensors["generator.weight"], network.weight)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(UserError, match="damaged or not an inference file"):
        load_inference_file(path)
    with pytest.raises(UserError, match="no such file"):
        load_inference_file(tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"step": True}, "step or num_processes"),
        ({"step": 10**13}, "step or num_processes"),
        ({"num_processes": "two"}, "step or num_processes"),
        ({"log": {"sums": {"lr": torch.zeros(())}}}, "sums of losses"),
        ({"log": {"sums": {"loss/g/a": torch.zeros(2)}}}, "sums of losses"),
        ({"log": {"sums": {"loss/g/a": torch.zeros((), dtype=torch.int64)}}}, "sums of losses"),
        ({"log": {"sums": {"loss/g/a": torch.tensor(float("inf"))}}}, "sums of losses"),
        ({"log": {"steps": -1}}, "sums of losses"),
        ({"method": {0: torch.zeros(2)}}, "weights without a name"),
        ({"optimizers": None}, "optimizers is None"),
        ({"x": [[[[torch.zeros(1).expand(10**6)]]]]}, "its tensors claim"),
    ],
)
def test_a_checkpoint_whose_parts_hold_something_else_is_refused_on_one_line(tmp_path, change, reason):
    path = save_checkpoint(tmp_path, 1, STATE | {"log": {"sums": {"loss/g/a": torch.zeros(())}, "steps": 3}}, keep=1)
    load_checkpoint(path)
    torch.save(torch.load(path, weights_only=True) | change, path)
    with pytest.raises(UserError, match=reason) as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["method", "ema"])
@pytest.mark.parametrize("number", [float("nan"), float("-inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path, part, number):
    path = save_checkpoint(tmp_path, 1, STATE | {part: {"generator.w": torch.tensor([1.0, number])}}, keep=1)
    with pytest.raises(UserError, match="'generator.w' holds numbers that are not finite"):
        load_checkpoint(path)
    network = nn.Linear(2, 3)
    network.weight.data[0] = number
    save_inference_file(tmp_path / "x.safetensors", {"generator": network}, {}, step=1)
    with pytest.raises(UserError, match="'generator.weight' holds numbers that are not finite"):
        load_inference_file(tmp_path / "x.safetensors")


def test_an_inference_file_whose_name_is_no_utf_8_is_read(tmp_path):
    """It was called damaged, because the library opens no such path."""
    path = tmp_path / os.fsdecode(b"caf\xe9") / "generator.safetensors"
    save_inference_file(path, {"generator": nn.Linear(2, 2)}, {"a": 1}, step=3)
    tensors, config, step = load_inference_file(path)
    assert set(tensors) == {"generator.weight", "generator.bias"} and (config, step) == ({"a": 1}, 3)


def test_an_inference_file_with_an_enormous_header_is_refused_before_it_is_read(tmp_path):
    (tmp_path / "x.safetensors").write_bytes((2**24 + 1).to_bytes(8, "little") + b" " * (2**24 + 1))
    with pytest.raises(UserError, match="damaged or not an inference file of this program .ValueError"):
        load_inference_file(tmp_path / "x.safetensors")


def test_a_checkpoint_of_somebody_else_is_neither_overwritten_nor_deleted(tmp_path):
    for step in (1, 2):
        (tmp_path / f"step_{step:08}.pt").write_bytes(b"mine")
    for step in (2, 3, 4):
        save_checkpoint(tmp_path, step, STATE, keep=1)
    mine = ["step_00000001.pt", "step_00000002.kept.pt"]
    assert sorted(path.name for path in tmp_path.glob("*.pt")) == [*mine, "step_00000004.pt"]
    assert all((tmp_path / name).read_bytes() == b"mine" for name in mine)
    (tmp_path / "step_00000005.pt").write_bytes(b"mine")
    (tmp_path / "step_00000005.kept.pt").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"step_00000005\.pt: it is there already, as step_00000005\.kept\.pt is"):
        save_checkpoint(tmp_path, 5, STATE, keep=1)
