"""Where curves lie on the page's charts."""

import numpy as np
import pytest
from run_folders import make_run, write_lines

from cut.report.charts import HEIGHT, WIDTH, draw_charts
from cut.report.read_run import read_runs
from cut.train.plots import moving_average


def coordinates(points):
    return np.array([[float(number) for number in point.split(",")] for point in points.split()])


def drawn(tmp_path, *values, key="loss/generator/gan"):
    """The one chart of a run that logged these values at steps 1, 2, 3, ..."""
    run = make_run(tmp_path / "run", num_sheets=0)
    write_lines(run, *({"step": step, key: value} for step, value in enumerate(values, 1)))
    (run / "evaluation.json").unlink()
    ((chart,),) = draw_charts(read_runs([run])).values()
    return chart


def test_every_key_has_a_chart_in_its_section_and_every_run_a_line(tmp_path):
    runs = read_runs([make_run(tmp_path / "a"), make_run(tmp_path / "b", num_steps=50)])
    sections = draw_charts(runs)
    assert {title: [chart.title for chart in charts] for title, charts in sections.items()} == {
        "Scores": ["fid"],
        "Losses": ["generator: gan", "generator: nce"],
        "Health": ["output std"],
        "Learning rate, time, memory": ["learning rate", "seconds per step", "peak memory (MiB)"],
    }
    for charts in sections.values():
        for chart in charts:
            assert [line.run for line in chart.lines] == [0, 1]
            ends = [coordinates(line.points)[-1, 0] for line in chart.lines]
            assert ends == [WIDTH, WIDTH / 2]  # 100 and 50 of 100 steps


def test_ticks_lie_where_the_values_that_they_name_do(tmp_path):
    chart = drawn(tmp_path, 0.0, 1.0, 2.0, 3.0)
    places = {label: place for place, label in chart.y_ticks}
    points = coordinates(chart.lines[0].points)
    assert [points[value, 1] for value in (0, 1, 2, 3)] == [places[str(value)] for value in (0, 1, 2, 3)]
    assert (np.diff(points[:, 1]) < 0).all() and 0 < points[:, 1].min() and points[:, 1].max() < HEIGHT
    assert [label for _, label in chart.x_ticks] == ["0", "1", "2", "3", "4"]


def test_a_loss_of_many_magnitudes_is_logarithmic_and_equal_ratios_are_equal_distances(tmp_path):
    chart = drawn(tmp_path, 100.0, 10.0, 1.0, 0.1)
    assert chart.is_log
    assert np.diff(coordinates(chart.lines[0].points)[:, 1]) == pytest.approx([HEIGHT / 1.12 / 3] * 3, abs=0.11)
    assert {"0.1", "1", "10", "100"} <= {label for _, label in chart.y_ticks}


@pytest.mark.parametrize(
    "values, key", [((100.0, 0.1, -1.0), "loss/g/gan"), ((100.0, 0.1), "lr"), ((3, 2), "loss/g/x")]
)
def test_other_axes_are_linear(tmp_path, values, key):
    assert not drawn(tmp_path, *values, key=key).is_log


def test_a_constant_is_a_level_line_in_the_middle_with_every_tick_named_once(tmp_path):
    chart = drawn(tmp_path, *[0.4] * 200)
    assert set(coordinates(chart.lines[0].points)[:, 1]) == {HEIGHT / 2}
    assert len({label for _, label in chart.y_ticks}) == len(chart.y_ticks) >= 2


def test_one_point_is_drawn_as_a_dot(tmp_path):
    (line,) = drawn(tmp_path, 5.0).lines
    assert line.dots == [[f"{WIDTH:g}", f"{HEIGHT / 2:g}"]] and line.values == ["5"]


def test_many_points_are_thinned_out_but_no_spike_is_lost_and_told_values_are_the_moving_average(tmp_path):
    values = np.random.default_rng(0).uniform(1, 2, 5000)
    values[2345] = 3.0
    chart = drawn(tmp_path, *values)
    (line,) = chart.lines
    raw = coordinates(line.raw)
    assert len(line.steps) == len(line.values) == len(coordinates(line.points)) == 300 and len(raw) == 600
    spike = raw[raw[:, 1].argmin()]
    assert spike[0] == pytest.approx(2346 / 5000 * WIDTH, abs=0.1) and spike[1] < -HEIGHT / 2  # above the axis, cut off
    expected = moving_average(values)
    assert [float(value) for value in line.values] == pytest.approx([expected[s - 1] for s in line.steps], rel=1e-3)


def test_of_two_generators_the_moving_average_is_solid_and_the_ring_marks_its_best_step(tmp_path):
    run = make_run(tmp_path / "run")
    write_lines(run, *({"step": s, "eval/last/fid": s, "eval/ema/fid": 100 - s} for s in (10, 70, 100)))
    (chart,) = draw_charts(read_runs([run]))["Scores"]
    last, ema = chart.lines
    assert (last.label, last.stroke, last.best) == ("last weights", "dashed", None)
    assert (ema.label, ema.stroke) == ("moving average", "solid")
    assert ema.best == tuple(coordinates(ema.points)[1])


def test_the_score_of_untranslated_inputs_is_a_level_over_the_whole_run(tmp_path):
    run = make_run(tmp_path / "run")
    write_lines(run, {"step": 0, "eval/input/fid": 7.0}, *({"step": s, "eval/last/fid": s / 10} for s in (50, 100)))
    (chart,) = draw_charts(read_runs([run, make_run(tmp_path / "other")]))["Scores"]
    level, last = chart.lines[:2]
    assert (level.label, level.stroke, last.stroke) == ("run, untranslated input", "dotted", "solid")
    (left, height), (right, same) = coordinates(level.points)
    low, high = coordinates(last.points)[:, 1]
    assert (left, right) == (0, WIDTH) and height == same == pytest.approx(low + (high - low) * 2 / 5, abs=0.1)


def test_a_best_step_that_is_no_number_marks_nothing(tmp_path):
    run = make_run(tmp_path / "run")
    (run / "evaluation.json").write_text('{"generator": "ema", "best": {"metric": "fid", "step": "soon"}}')
    assert draw_charts(read_runs([run]))["Scores"][0].lines[0].best is None


def test_nothing_logged_is_no_chart(tmp_path):
    run = make_run(tmp_path / "run")
    (run / "metrics.jsonl").unlink()
    (run / "evaluation.json").unlink()
    assert draw_charts(read_runs([run])) == {}
