"""Reading metrics.jsonl, whole or cut off."""

import os
import threading

import pytest

from cut.train.history import curves_of, is_number, is_step, read_entries
from cut.train.log import RunLog


def test_broken_lines_are_counted_and_the_others_read(tmp_path):
    path = tmp_path / "metrics.jsonl"
    texts = ['{"step": -1}', '{"step": 1.5}', '{"step": true}', '{"step": 1e308}', '{"step": null}', "[" * 100_000]
    texts += ['{"step": 1, "lr": 2}', "[1]", "{}", '{"step": "2"}', "", '{"step": 3, "x": "\u2028"}', '{"step": 4, "l']
    path.write_text("\n".join(texts), encoding="utf-8")
    entries, broken = read_entries(path)
    assert [entry["step"] for entry in entries] == [1, 3] and broken == 10


def test_bytes_that_are_no_text_spoil_their_own_line_only(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n\xff\xfe\x00\n{"step": 2}\n')
    entries, broken = read_entries(path)
    assert [entry["step"] for entry in entries] == [1, 2] and broken == 1


def test_a_file_that_is_missing_has_no_lines(tmp_path):
    assert read_entries(tmp_path / "metrics.jsonl") == ([], 0)


def test_curves_ascend_and_the_later_of_two_values_at_a_step_counts():
    entries = [
        {"step": 2, "time": 9.0, "lr": 1.0},
        {"step": 3, "lr": 5.0},
        {"step": 1, "lr": 4.0},
        {"step": 3, "lr": 6},
    ]
    (key, (steps, values)), *others = curves_of(entries).items()
    assert key == "lr" and not others
    assert steps.tolist() == [1, 2, 3] and values.tolist() == [4.0, 1.0, 6.0]


def test_what_is_no_finite_number_is_no_point():
    values = [float("nan"), float("inf"), 1e308, -1e101, "text", None, True, [1], 10**400]
    assert curves_of([{"step": step, "x": value} for step, value in enumerate(values)]) == {}


@pytest.mark.parametrize(
    "value, expected",
    [(0, True), (-1.5, True), (3e38, True), (4e38, False), (10**400, False), (False, False), ("1", False)],
)
def test_numbers_are_told_from_others(value, expected):
    assert is_number(value) is expected


@pytest.mark.parametrize("value, expected", [(0, True), (2**53, True), (2**53 + 1, False), (-1, False), (None, False)])
def test_steps_are_told_from_other_numbers(value, expected):
    assert is_step(value) is expected


def test_a_resumed_run_keeps_the_whole_lines_up_to_its_step_and_nothing_else(tmp_path):
    path = tmp_path / "metrics.jsonl"
    kept = ['{"step": 1, "x": "\u2028\x85"}', '{"step": 2, "loss/g/a": 1e308}', '{"step": 2}']
    broken = [
        '{"step": "x"}',
        '{"step": null}',
        "[" * 100_000,
        '{"step": 1',
        "",
        "nonsense",
        '{"step": 3}',
        '{"step": 2}}',
    ]
    for end in ("", "\n"):
        path.write_text("\n".join([*broken, *kept]) + end, encoding="utf-8")
        RunLog(tmp_path, 2, 5, tensorboard=False).close()
        assert path.read_text(encoding="utf-8") == "".join(f"{line}\n" for line in kept)
    path.unlink()
    RunLog(tmp_path, 2, 5, tensorboard=False).close()
    assert path.read_text() == ""


def test_a_pipe_in_place_of_the_log_is_refused_and_hangs_nothing(tmp_path):
    os.mkfifo(tmp_path / "metrics.jsonl")
    with pytest.raises(OSError, match="it is a pipe, not a regular file"):
        RunLog(tmp_path, 2, 5, tensorboard=False)


def test_the_thread_of_tensorboard_shows_no_traceback_and_others_do(tmp_path, monkeypatch):
    """On a full disk, which the next use of the writer reports."""
    shown = []
    monkeypatch.setattr(threading, "excepthook", lambda failed: shown.append(failed.thread.name))
    RunLog(tmp_path, 0, 5, tensorboard=True).close()

    def fail(self):
        raise OSError(28, "No space left on device")

    for name in ("_AsyncWriterThread", "Another"):
        thread = type(name, (threading.Thread,), {"run": fail})(name=name)
        thread.start()
        thread.join()
    assert shown == ["Another"]
