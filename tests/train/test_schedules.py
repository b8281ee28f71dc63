"""Learning-rate schedules against their formulas."""

import math

import pytest

from cut.config import ConstantScheduleConfig, CosineScheduleConfig, LinearScheduleConfig, StepScheduleConfig
from cut.train.schedules import Schedule


def test_linear_in_epochs_is_the_authors_rule():
    schedule = Schedule(LinearScheduleConfig(constant_epochs=3, decay_epochs=2), steps_per_epoch=10)
    assert schedule.total_steps == 50 and schedule.decay_start_step == 30
    # 1 - max(0, e + 1 - 3) / 3 for epochs e = 0 ... 4
    assert [schedule.factor(step) for step in (0, 29, 30, 39, 40, 49)] == pytest.approx(
        [1, 1, 2 / 3, 2 / 3, 1 / 3, 1 / 3]
    )


def test_linear_in_steps_falls_at_every_step():
    schedule = Schedule(LinearScheduleConfig(constant_steps=2, decay_steps=3), steps_per_epoch=10)
    assert schedule.total_steps == 5 and schedule.decay_start_step == 2
    assert [schedule.factor(s) for s in range(5)] == pytest.approx([1, 1, 0.75, 0.5, 0.25])


def test_linear_without_decay_stays():
    schedule = Schedule(LinearScheduleConfig(constant_steps=4), steps_per_epoch=1)
    assert {schedule.factor(s) for s in range(schedule.total_steps)} == {1.0}


def test_cosine_falls_once_from_1_to_its_end():
    schedule = Schedule(CosineScheduleConfig(total_steps=100, final_factor=0.1), steps_per_epoch=1)
    factors = [schedule.factor(s) for s in range(101)]
    assert factors[0] == 1.0 and factors[50] == pytest.approx(0.55) and factors[100] == pytest.approx(0.1)
    assert factors == sorted(factors, reverse=True)
    assert factors[25] == pytest.approx(0.1 + 0.45 * (1 + math.cos(math.pi / 4)))


def test_step_multiplies_after_each_interval():
    schedule = Schedule(StepScheduleConfig(total_epochs=6, every_epochs=2, factor=0.5), steps_per_epoch=3)
    assert schedule.total_steps == 18
    assert [schedule.factor(s) for s in (0, 5, 6, 11, 12, 17)] == [1, 1, 0.5, 0.5, 0.25, 0.25]


def test_constant_stays():
    schedule = Schedule(ConstantScheduleConfig(total_epochs=2), steps_per_epoch=7)
    assert schedule.total_steps == 14 and schedule.factor(13) == 1.0 and schedule.decay_start_step is None
