"""What the page says in words and figures."""

import json
import shutil

import pytest
from run_folders import make_run, write_lines, write_picture

from cut.errors import UserError
from cut.report.read_run import read_runs, scores_of
from cut.report.tables import score_table, settings_table, summary


def test_scores_tell_the_final_and_the_best_value_and_the_run_that_ends_best(tmp_path):
    runs = read_runs([make_run(tmp_path / "a"), make_run(tmp_path / "b", lr=4e-4)])
    (row,) = score_table(runs)  # |step - 70| + lr * 1e5: 20 and 40 at step 70, 30 more at step 100
    assert (row.metric, row.generator, row.is_higher_better) == ("fid", "moving average", False)
    assert [(c.final, c.best, c.best_step, c.is_leader) for c in row.cells] == [
        ("50", "20", 70, True),
        ("70", "40", 70, False),
    ]


def test_higher_is_better_where_the_metric_says_so_and_a_run_without_it_has_no_cell(tmp_path):
    a, b, c = (make_run(tmp_path / name) for name in "abc")
    write_lines(a, {"step": 1, "eval/last/ssim": 0.9}, {"step": 2, "eval/last/ssim": 0.5})
    write_lines(b, {"step": 1, "eval/last/ssim": 0.6})
    write_lines(c, {"step": 1, "eval/last/fd[net/x.pt]": 3.0})
    ssim, fid = score_table(read_runs([a, b, c]))
    assert ssim.is_higher_better and ssim.cells[0].best == "0.9" and ssim.cells[0].final == "0.5"
    assert [cell and cell.is_leader for cell in ssim.cells] == [False, True, None]
    assert fid.metric == "fd[net/x.pt]" and not fid.is_higher_better and not fid.cells[2].is_leader


def test_scores_of_one_metric_stand_together(tmp_path):
    run = make_run(tmp_path / "a")
    write_lines(run, {"step": 1, "eval/last/ssim": 1, "eval/last/l1": 1, "eval/ema/ssim": 1, "eval/ema/l1": 1})
    rows = [(row.metric, row.generator) for row in score_table(read_runs([run]))]
    assert rows == [(metric, name) for metric in ("ssim", "l1") for name in ("last weights", "moving average")]


def test_untranslated_inputs_are_shown_beside_and_never_win(tmp_path):
    runs = [make_run(tmp_path / name) for name in "ab"]
    for index, run in enumerate(runs):
        write_lines(run, {"step": 0, "eval/input/ssim": 0.9 - index}, {"step": 5, "eval/last/ssim": 0.5})
    baseline, last = score_table(read_runs(runs))
    assert [(c.final, c.best, c.is_leader) for c in baseline.cells] == [("0.9", "", False), ("-0.1", "", False)]
    assert baseline.generator == "untranslated input" and [cell.is_leader for cell in last.cells] == [True, True]


def test_without_logged_scores_those_of_evaluation_json_are_shown(tmp_path):
    run = make_run(tmp_path / "a")
    write_lines(run, {"step": 5, "lr": 1})
    (read,) = read_runs([run])
    ((metric, generator), (steps, values)), *others = scores_of(read).items()
    assert (metric, generator, steps[-1], values[-1]) == ("fid", "ema", 100, 30.0) and not others


def test_summary_says_what_the_run_is(tmp_path):
    facts = summary(read_runs([make_run(tmp_path / "a", num_steps=200)])[0])
    assert facts == {
        "method": "cut",
        "data": "photos",
        "steps": "200 (10 epochs)",
        "training time": "1 min 40 s",  # 200 steps of half a second
        "speed": "2.00 images/s",
        "peak memory": "1.00 GiB",
        "seed": "0",
        "last logged": "2023-11-14 22:16 UTC",  # 1_700_000_000 is 22:13:20
    }


def test_pauses_between_sessions_are_no_training_time(tmp_path):
    run = make_run(tmp_path / "a")
    speeds = ((10, 1.0, 0), (20, 2.0, 1e6))
    write_lines(run, *({"step": s, "time": t, "time/seconds_per_step": v} for s, v, t in speeds))
    assert summary(read_runs([run])[0])["training time"] == "0 min 30 s"


def test_settings_that_differ_are_found_by_dotted_key():
    rows = settings_table([{"a": {"b": 1, "c": [1, 2]}, "d": None}, {"a": {"b": 1, "c": [1, 3]}, "e": {}}])
    assert [(row.key, row.cells, row.differs) for row in rows] == [
        ("a.b", ["1", "1"], False),
        ("a.c", ["[1, 2]", "[1, 3]"], True),
        ("d", ["null", ""], True),
        ("e", ["", "{}"], True),
    ]


def test_runs_of_one_name_are_told_apart_by_their_paths(tmp_path):
    paths = [make_run(tmp_path / "x" / "run"), make_run(tmp_path / "y" / "run"), make_run(tmp_path / "other")]
    assert [run.label for run in read_runs(paths)] == [str(paths[0]), str(paths[1]), "other"]


def test_what_is_no_run_is_told(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    run = make_run(tmp_path / "run")
    for paths, words in (
        (
            [tmp_path / "empty"],
            "empty: is no run .holds none of config.yaml, metrics.jsonl, samples. and no comparison",
        ),
        ([tmp_path / "file"], "file: is a file, not a run directory"),
        ([tmp_path / "missing"], "missing: no such run directory"),
        ([run, tmp_path / "." / "run"], "is given twice"),
        ([], "no run directory is given"),
    ):
        with pytest.raises(UserError, match=words):
            read_runs(paths)


def test_damaged_parts_become_notes_and_the_rest_is_read(tmp_path):
    run = make_run(tmp_path / "run")
    (run / "config.yaml").write_text("a: [1")
    (run / "environment.json").write_text("[1, 2]")
    (run / "evaluation.json").write_text('{"step": ')
    write_lines(run, {"step": 3, "lr": 1.0}, '{"step": 4, "l', {"step": 5, "warning": "the output is <flat>"})
    (read,) = read_runs([run])
    assert read.last_step == 100 and list(read.curves) == ["lr"]  # the newest sheet is of step 100
    assert len(read.notes) == 5 and read.notes[-1] == "step 5: the output is <flat>"
    for words in (
        "config.yaml: cannot be read",
        "environment.json: holds no mapping",
        "evaluation.json: cannot be read",
        "metrics.jsonl: 1 broken line skipped",
    ):
        assert any(note.startswith(words) for note in read.notes), words


def test_any_part_may_be_missing(tmp_path):
    whole = make_run(tmp_path / "whole")
    for part in ("config.yaml", "metrics.jsonl", "samples", "evaluation.json", "environment.json"):
        run = shutil.copytree(whole, tmp_path / part)
        shutil.rmtree(run / part) if part == "samples" else (run / part).unlink()
        (read,) = read_runs([run])
        assert (bool(read.config), bool(read.sheets)) == (part != "config.yaml", part != "samples")
        assert summary(read) and read.notes == (["metrics.jsonl: nothing is logged yet"] if "metrics" in part else [])


def test_values_of_foreign_types_do_no_harm(tmp_path):
    run = make_run(tmp_path / "run")
    (run / "config.yaml").write_text("method: 3\ndata: [1]\n1: {2: 2020-01-01}\n")
    (run / "evaluation.json").write_text(json.dumps({"step": "x", "best": 3, "pictures": {"a": 1}, "metrics": []}))
    write_picture(run / "samples" / "step_x.png", 4, 4)
    (read,) = read_runs([run])
    assert len(read.sheets) == 3
    assert "method" not in summary(read) and "1.2" in [row.key for row in settings_table([read.config])]
