"""What counts as training, and what as waiting for pictures."""

import json

import pytest

from cut.build import build_trainer, read_config
from cut.train.log import RunLog
from cut.train.run_dir import open_run
from cut.train.stopwatch import Stopwatch


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("cut.train.stopwatch.time.perf_counter", clock)
    return clock


def test_pauses_do_not_count_and_waiting_is_a_part_of_the_time(clock):
    stopwatch = Stopwatch()
    clock.now += 3.0
    with stopwatch.waiting():
        clock.now += 2.0
    with stopwatch.paused():
        clock.now += 100.0
    assert stopwatch.lap() == (5.0, 2.0)
    clock.now += 1.0
    assert stopwatch.lap() == (1.0, 0.0)


def test_a_run_whose_pictures_come_slowly_logs_and_says_so(tiny_yaml, tmp_path, clock, capsys):
    trainer = build_trainer(read_config(tiny_yaml, ["train.max_steps=1"]))
    step, loaded = trainer.train_step, trainer.stream.__class__.__getitem__

    class SlowStream(trainer.stream.__class__):
        def __getitem__(self, number):
            clock.now += 3.0
            return loaded(self, number)

    def timed_step(batch):
        clock.now += 9.0
        step(batch)

    trainer.stream.__class__, trainer.train_step = SlowStream, timed_step
    open_run(trainer, tmp_path / "run", False)
    trainer.fit(tmp_path / "run")
    lines = map(json.loads, (tmp_path / "run/metrics.jsonl").read_text().splitlines())
    (last,) = (line for line in lines if "lr" in line)
    assert (last["time/seconds_per_step"], last["time/loading_share"]) == (12.0, 0.25)
    assert "12.00 s/step, 0.1 images/s (25% of the time waiting for pictures)" in capsys.readouterr().err


def test_a_little_waiting_is_not_worth_a_word(tmp_path, capsys):
    figures = {"time/seconds_per_step": 1.0, "time/images_per_second": 1.0, "memory/peak_mib": 1.0}
    log = RunLog(tmp_path, 0, 2, False, [], {})
    log.metrics(1, {**figures, "time/loading_share": 0.09})
    log.close()
    said = capsys.readouterr().err
    assert "1.00 s/step" in said and "waiting" not in said
