"""Checkpoints: whole or not at all, and never code."""

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
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == [path.name]


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
