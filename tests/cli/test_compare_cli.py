"""cut-compare: rows, means and spreads, what it takes up again, what it does with a run that fails."""

import csv
import io
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from conftest import REPOSITORY
from forks import is_running
from PIL import Image
from programs import fails, inside, start, told

from cut.build import read_config
from cut.cli import compare as compare_cli
from cut.cli import eval as eval_cli
from cut.compare import pace, programs, runs
from cut.compare.contenders import plan_contenders
from cut.compare.runs import Outcome
from cut.compare.table import markdown_table
from cut.errors import UserError
from cut.runtime import children
from cut.runtime.signals import Stopped
from cut.storage.written import temporary_name


@pytest.fixture
def two_yamls(tiny_yaml):
    """The tiny CUT, and one with focal PatchNCE."""
    other = tiny_yaml.with_name("focal.yaml")
    other.write_text("base: tiny.yaml\nmethod: {nce_loss: {name: focal, gamma: 2.0, alpha: 0.25}}\n")
    return [tiny_yaml, other]


@pytest.fixture
def in_process(monkeypatch):
    """Calls the programs in this process, and lists what was called."""
    called = []

    def call_inside(self, program, run_dir, *arguments):
        called.append(program)
        run_dir.parent.mkdir(parents=True, exist_ok=True)
        if program == "eval":
            from cut.cli import eval as module

            module._evaluate(module._parse([str(a) for a in arguments]))
        else:
            inside(program, *arguments)

    monkeypatch.setattr(runs.Runner, "_call", call_inside)
    return called


def compare(output, *arguments):
    return [*("--output", output, "--metrics", "ssim,l1", "--set", "train.tensorboard=false"), *arguments]


def rows(output):
    with open(output / "table.csv") as file:
        return list(csv.DictReader(file))


def test_a_table_of_two_configs_and_two_seeds(two_yamls, in_process, tmp_path, capsys):
    arguments = compare(tmp_path / "out", "--configs", *two_yamls, "--seeds", 2, "--steps", 2)
    inside("compare", *arguments)
    assert in_process == ["eval", "eval"] + ["train", "test", "eval"] * 4
    found = rows(tmp_path / "out")
    assert [(row["method"], row["seed"]) for row in found[:4]] == [
        ("tiny", "0"),
        ("tiny", "1"),
        ("focal", "0"),
        ("focal", "1"),
    ]
    assert found[4]["method"] == "input, untranslated" and float(found[4]["l1"]) > 0.3
    assert found[5]["method"] == "input, colour transfer" and 0.05 < float(found[5]["l1"]) < 0.2
    values = [float(row["l1"]) for row in found[:2]]
    assert values[0] != values[1]  # two seeds
    printed = capsys.readouterr().out
    assert f"{statistics.mean(values):.3f}" in printed and f"± {statistics.stdev(values):.3f}" in printed
    assert (tmp_path / "out" / "table.md").read_text() in printed
    assert {row["steps"] for row in found[:4]} == {"2"}
    assert all(float(row["seconds_per_step"]) > 0 and float(row["peak_mib"]) > 50 for row in found[:4])


def test_equal_minutes_give_the_slower_method_fewer_steps(two_yamls, in_process, tmp_path, monkeypatch, capsys):
    """Whoever reads a table of equal time must find that time in it, and the same command the same lengths."""
    paces = {"tiny": 0.5, "focal": 0.25}
    monkeypatch.setattr(pace, "_measure", lambda contenders, output, train: {c.name: paces[c.name] for c in contenders})
    arguments = [*compare(tmp_path / "out", "--configs", *two_yamls), "--seeds", 1, "--minutes", 0.02]
    inside("compare", *arguments)
    assert [row["steps"] for row in rows(tmp_path / "out")[:2]] == ["2", "5"]  # of 1.2 s
    said = capsys.readouterr().err
    assert "tiny: 0.500 s/step, so 2 steps in 0.02 min" in said and "differ in length" not in said
    in_process.clear()
    monkeypatch.setattr(pace, "_measure", lambda contenders, output, train: pytest.fail("timed again"))
    inside("compare", *arguments)
    assert in_process == []


def test_the_pace_is_the_median_of_what_short_runs_log(two_yamls, tmp_path):
    """The first window of a run, and one that something else slowed down, do not count."""
    seconds, trained = [9.0, 0.2, 0.2, 7.0, 0.2, 0.2], []

    def train(contender, run_dir):
        run_dir.mkdir(parents=True)
        trained.append((contender.name, contender.config.schedule.total_steps, contender.config.eval))
        lines = [{"step": 5 * n, "time/seconds_per_step": value} for n, value in enumerate(seconds, start=1)]
        (run_dir / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))

    contenders = plan_contenders(two_yamls, ["eval={every_steps: 1, metrics: [l1]}"], None)
    fitted = pace.with_equal_time(contenders, 0.5, tmp_path, train)
    assert trained == [("tiny", 30, None), ("focal", 30, None)] * 2, "in turn, and without evaluations"
    assert [contender.config.schedule.total_steps for contender in fitted] == [150, 150]
    assert all(contender.config.eval for contender in fitted)


def test_a_schedule_that_follows_scores_is_timed_too(tiny_yaml, tmp_path):
    """It cannot be without `eval`, which is left out of the timing of others."""
    evaluated = []

    def train(contender, run_dir):
        run_dir.mkdir(parents=True)
        evaluated.append(contender.config.eval.every_steps)
        lines = [json.dumps({"step": step, "time/seconds_per_step": 1.0}) for step in (5, 10)]
        (run_dir / "metrics.jsonl").write_text("\n".join(lines))

    settings = ["schedule={name: plateau, total_steps: 100}", "eval={every_epochs: 1, metrics: [l1]}"]
    (fitted,) = pace.with_equal_time(plan_contenders([tiny_yaml], settings, None), 0.5, tmp_path, train)
    assert (fitted.config.schedule.name, fitted.config.schedule.total_steps) == ("plateau", 30)
    assert fitted.config.eval.every_epochs == 1 and min(evaluated) > 30, "not within what is timed"


def test_what_cannot_be_timed_is_named(two_yamls, tmp_path):
    def train(contender, run_dir):
        raise UserError("cut-train: error: no such folder (status 2; all of it: pace.log)")

    with pytest.raises(UserError, match="^tiny: cannot be timed, mend or leave it out: cut-train: error: no such"):
        pace.with_equal_time(plan_contenders(two_yamls, [], None), 0.5, tmp_path, train)
    assert not (tmp_path / "pace.json").exists()


@pytest.mark.parametrize(("steps", "rounded"), [(0.3, 1), (7.4, 7), (96.0, 96), (1234.0, 1200), (18.6, 19)])
def test_lengths_of_equal_time_have_two_digits(steps, rounded):
    assert pace._rounded(steps) == rounded


def test_best_checkpoints_have_rows_of_their_own(two_yamls, in_process, tmp_path):
    arguments = compare(tmp_path / "out", "--configs", two_yamls[0], "--seeds", 1, "--steps", 4, "--best")
    assert "tiny: has no eval, and so no best.pt for --best" in told("compare", *arguments)
    arguments += ["--set", "eval={every_steps: 1, metrics: [l1]}"]
    inside("compare", *arguments)
    assert in_process == ["eval", "eval", "train", "test", "eval", "test", "eval"]
    last, best = rows(tmp_path / "out")[:2]
    chosen = json.loads((tmp_path / "out" / "tiny" / "seed_0" / "evaluation.json").read_text())["best"]
    assert (last["method"], best["method"]) == ("tiny", "tiny, best l1")
    assert (last["steps"], best["steps"]) == ("4", str(chosen["step"]))
    assert float(best["l1"]) == pytest.approx(chosen["value"], abs=1e-5)  # best of the same pictures
    in_process.clear()
    inside("compare", *arguments)
    assert in_process == []
    (tmp_path / "out" / "tiny" / "seed_0_best.json").write_text("mine")
    inside("compare", *arguments)
    assert in_process == ["test", "eval"], "a damaged result of the best one is made again"


def test_methods_with_styles_have_a_diversity_and_a_note(tiny_yaml, unpaired, in_process, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))  # no AlexNet
    with pytest.warns((DeprecationWarning, FutureWarning)):
        network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten())
        torch.jit.script(network).save(str(tmp_path / "net.pt"))
    munit = tmp_path / "munit.yaml"
    munit.write_text(
        "method:\n  name: munit\n  generator: {base_channels: 2, num_blocks: 1, style_dim: 4, mlp_channels: 8}\n"
        "  discriminator: {base_channels: 2, num_layers: 2, num_scales: 1}\n"
        f"data: {{root: {unpaired}, load_px: 36, crop_px: 32, num_workers: 0}}\n"
        "schedule: {name: constant, total_steps: 2}\ntrain: {num_samples: 1, accelerator: cpu}\n"
    )
    assert [contender.takes_styles for contender in plan_contenders([tiny_yaml, munit], [], 2)] == [False, True]
    arguments = compare(tmp_path / "out", "--configs", munit, "--seeds", 1, "--steps", 2)
    arguments += ["--metrics", "l1,diversity", "--features", tmp_path / "net.pt"]
    inside("compare", *arguments)
    assert in_process == ["eval", "eval", "train", "test", "eval", "test", "eval"]
    styled, untranslated, _ = rows(tmp_path / "out")
    assert untranslated["diversity[net.pt]"] == "" and float(styled["diversity[net.pt]"]) > 0
    table = (tmp_path / "out" / "table.md").read_text()
    assert "| diversity[net.pt] ↑ |" in table
    note = "munit: scored with one random style per picture, the same for every run, and diversity with 5."
    assert table.endswith(f"|\n\n{note}\n")
    in_process.clear()
    inside("compare", *arguments)
    assert in_process == []
    refused = told("compare", *compare(tmp_path / "other", "--configs", munit), "--metrics", "diversity")
    assert "--metrics diversity: most methods have one output per picture; add another metric" in refused


def test_the_same_command_does_nothing_anew_and_other_metrics_only_score(two_yamls, in_process, tmp_path):
    arguments = compare(tmp_path / "out", "--configs", two_yamls[0], "--seeds", 1, "--steps", 2)
    inside("compare", *arguments)
    before = (tmp_path / "out" / "table.csv").read_text()
    in_process.clear()
    inside("compare", *arguments)
    assert in_process == [] and (tmp_path / "out" / "table.csv").read_text() == before
    inside("compare", *arguments, "--metrics", "psnr")
    assert "psnr" in rows(tmp_path / "out")[0]


def test_a_run_that_fails_is_counted_and_the_others_go_on(two_yamls, in_process, tmp_path, capsys):
    broken = two_yamls[0].with_name("broken.yaml")
    broken.write_text("base: tiny.yaml\ndata: {root: nowhere}\n")
    arguments = compare(tmp_path / "out", "--configs", two_yamls[0], broken, "--seeds", 1, "--steps", 2)
    inside("compare", *arguments)
    assert [bool(row["error"]) for row in rows(tmp_path / "out")] == [False, True, False, False]
    assert "nowhere: no such folder" in rows(tmp_path / "out")[1]["error"]
    captured = capsys.readouterr()
    assert "| broken | 0 (1 failed) |" in captured.out and "failed: data.root" in captured.err


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_methods_from_noise_are_compared_with_training_pictures(tiny_dcgan_yaml, in_process, tmp_path):
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    torch.jit.trace(network, torch.rand(1, 3, 28, 28)).save(tmp_path / "means.pt")
    arguments = compare(tmp_path / "out", "--configs", tiny_dcgan_yaml, "--seeds", 1, "--steps", 2)
    inside("compare", *arguments, "--metrics", "fid", "--features", tmp_path / "means.pt")
    (row,) = rows(tmp_path / "out")
    assert float(row["fd[means.pt]"]) > 0
    assert len(list((tmp_path / "out" / "tiny_dcgan" / "seed_0_pictures").glob("*.png"))) == 16


def test_an_overlay_goes_over_every_row_of_a_comparison(tiny_yaml, in_process, tmp_path):
    overlay = tmp_path / "short.yaml"
    overlay.write_text("schedule: {total_steps: 2}\ntrain: {tensorboard: false}\n")
    other = tiny_yaml.with_name("other.yaml")
    other.write_text("base: tiny.yaml\nschedule: {total_steps: 4}\n")
    output = ["--output", tmp_path / "out", "--seeds", 1, "--metrics", "l1"]
    inside("compare", "--configs", tiny_yaml, other, "--config", overlay, *output)
    found = [(row["method"], row["steps"]) for row in rows(tmp_path / "out")[:2]]
    assert found == [("tiny", "2"), ("other", "2")]
    assert read_config(tmp_path / "out/other/seed_0/config.yaml").train.tensorboard is False


def wait_for(text, log, process):
    deadline = time.monotonic() + 300
    while not (log.exists() and text in log.read_text()):
        if time.monotonic() > deadline:
            process.send(signal.SIGKILL)
            pytest.fail(f"no {text!r} in {log}")
        time.sleep(0.05)


def interrupt_after(text, log, arguments):
    """Starts a comparison, interrupts it as soon as the log says `text`, and returns what it said."""
    process = start("compare", *arguments)
    wait_for(text, log, process)
    process.send(signal.SIGINT)
    ended = process.wait()
    assert ended.status == 130
    return ended.stderr


def test_a_killed_comparison_leaves_no_orphan_and_goes_on_until_it_is_stopped(tiny_yaml, tmp_path):
    arguments = ["--configs", tiny_yaml, "--output", tmp_path / "out", "--seeds", 1, "--metrics", "l1"]
    arguments += ["--steps", 1_000_000, "--set", "train.checkpoint_every_steps=1000000"]
    run, log = tmp_path / "out" / "tiny" / "seed_0", tmp_path / "out" / "tiny" / "seed_0.log"
    killed = start("compare", *arguments)
    wait_for("step 2/1000000", log, killed)
    orphan = int((run / ".lock").read_text().removeprefix("pid "))
    killed.send(signal.SIGKILL)
    killed.wait()
    said = interrupt_after("going on from step", log, arguments)
    assert "failed" not in said and "goes on from there" in said and "stopped and saved at step" in log.read_text()
    deadline = time.monotonic() + 10  # it lets go of its lock before it ends, and is then a zombie for a while
    while is_running(orphan):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextmanager
def held(folder, seconds):
    """Inside, another process holds the lock of a folder, and lets it go after some seconds."""
    code = f"""
import time
from pathlib import Path
from cut.runtime.run_lock import run_lock
with run_lock(Path({str(folder)!r})):
    print("held", flush=True)
    time.sleep({seconds})
"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY, text=True, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == "held\n"
        yield holder
        holder.kill()


def test_a_run_that_somebody_else_trains_is_waited_for(two_yamls, in_process, tmp_path, capsys):
    with held(tmp_path / "out" / "tiny" / "seed_0", 3) as holder:
        inside("compare", *compare(tmp_path / "out", "--configs", two_yamls[0], "--seeds", 1, "--steps", 2))
        assert holder.wait(1) == 0  # not ended, and over when the run began
        assert f"another process (pid {holder.pid}) is still training here; waiting" in capsys.readouterr().err
    assert [row["error"] for row in rows(tmp_path / "out")] == ["", "", ""]


def test_a_second_comparison_of_one_output_is_refused(two_yamls, in_process, tmp_path):
    with held(tmp_path / "out", 60) as holder:
        said = told("compare", *compare(tmp_path / "out", "--configs", two_yamls[0]))
    assert (
        f"another process (pid {holder.pid}) is comparing here; wait for it, stop it, or choose another --out" in said
    )


def test_a_signal_that_comes_when_a_program_has_just_ended_stops_the_comparison():
    child = children.start_child(["-c", "import time; time.sleep(0.5)"])  # it does not listen
    timer = threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGTERM])
    timer.start()
    with pytest.raises(Stopped) as stopped:
        programs.wait(child)
    assert stopped.value.signum == signal.SIGTERM and child.returncode == 0


def test_whatever_ends_the_wait_ends_the_program_too(monkeypatch):
    def fail(child):
        raise MemoryError

    monkeypatch.setattr(programs, "wait_in_parts", fail)
    child = children.start_child(["-c", "import time; time.sleep(1000)"])
    with pytest.raises(MemoryError):
        programs.wait(child)
    assert child.returncode == -signal.SIGKILL


@pytest.mark.parametrize("foreign", ["[", {"generated": 1}, {"generated": {"scores": {"l1": {"value": "low"}}}}])
def test_a_damaged_result_is_no_result(foreign, two_yamls, in_process, tmp_path, capsys):
    arguments = compare(tmp_path / "out", "--configs", two_yamls[0], "--seeds", 1, "--steps", 2)
    inside("compare", *arguments)
    for name in ("input.json", "tiny/seed_0.json"):
        path = tmp_path / "out" / name
        known = json.loads(path.read_text())
        path.write_text(foreign if isinstance(foreign, str) else json.dumps(known | foreign))
    spoiled = path.read_text()
    in_process.clear(), capsys.readouterr()
    inside("compare", *arguments)
    assert in_process == ["eval", "train", "test", "eval"] and float(rows(tmp_path / "out")[0]["l1"]) > 0
    assert path.with_name("seed_0.changed.json").read_text() == spoiled, "it may be the user's by now"
    assert capsys.readouterr().err.count("seed_0.json: damaged, or changed since; it is seed_0.changed.json now") == 1
    in_process.clear()
    inside("compare", *arguments)
    assert not in_process and "changed" not in capsys.readouterr().err
    path.write_text(spoiled)
    assert f"{path}: is there already" in told("compare", *arguments), "nor is the one before overwritten"


def test_foreign_figures_do_not_end_a_comparison(two_yamls, in_process, tmp_path):
    arguments = compare(tmp_path / "out", "--configs", two_yamls[0], "--seeds", 1, "--steps", 2)
    inside("compare", *arguments)
    run = tmp_path / "out" / "tiny" / "seed_0"
    line = {"step": 1, "time/seconds_per_step": "quick", "memory/peak_mib": None}
    with open(run / "metrics.jsonl", "a") as log:
        print(json.dumps(line), file=log)
    (run / "environment.json").write_text(json.dumps({"parameters": {"generator": "many", "other": 5}}))
    inside("compare", *arguments)
    assert rows(tmp_path / "out")[0]["parameters"] == "5" and rows(tmp_path / "out")[0]["steps"] == "2"


def test_other_test_pictures_are_scored_again(two_yamls, in_process, unpaired, tmp_path):
    arguments = compare(tmp_path / "out", "--configs", two_yamls[0], "--seeds", 1, "--steps", 2)
    inside("compare", *arguments)
    before = rows(tmp_path / "out")
    for domain in "AB":
        shutil.copyfile(unpaired / f"test{domain}" / "0.png", unpaired / f"test{domain}" / "x.png")
    in_process.clear()
    inside("compare", *arguments)
    assert in_process == ["eval", "eval", "train", "test", "eval"]
    assert all(one["l1"] != other["l1"] for one, other in zip(before, rows(tmp_path / "out"), strict=True))


def test_other_training_pictures_are_said(two_yamls, in_process, unpaired, tmp_path, capsys):
    arguments = compare(tmp_path / "out", "--configs", two_yamls[0], "--seeds", 1, "--steps", 4)
    run = tmp_path / "out" / "tiny" / "seed_0"
    inside("compare", *arguments)
    for left in ("seed_0.json", "seed_0/checkpoints/step_00000004.pt"):  # as where it was stopped at step 2
        (run.parent / left).unlink()
    shutil.copyfile(unpaired / "trainA" / "0.png", unpaired / "trainA" / "x.png")
    capsys.readouterr()
    inside("compare", *arguments)
    assert "trainA: 4 -> 5 pictures, so the run is no longer the one that began" in capsys.readouterr().err
    in_process.clear()
    (unpaired / "trainB" / "3.png").unlink()
    inside("compare", *arguments)
    assert in_process == ["eval"]  # of the colour transfer, which has other statistics
    assert f"trainB: 4 -> 3 pictures since {run} was trained" in capsys.readouterr().err


def test_results_of_one_split_are_not_those_of_another(two_yamls, in_process, unpaired, tmp_path):
    for domain in "AB":  # other pictures, of other names
        (unpaired / f"val{domain}").mkdir()
        for path in list((unpaired / f"test{domain}").iterdir())[:2]:
            shutil.copyfile(path, unpaired / f"val{domain}" / f"val{path.name}")
    arguments = compare(tmp_path / "out", "--configs", two_yamls[0], "--seeds", 1, "--steps", 2)
    inside("compare", *arguments)
    of_test = rows(tmp_path / "out")
    inside("compare", *arguments, "--split", "val")
    of_val = rows(tmp_path / "out")
    assert all(one["l1"] != other["l1"] for one, other in zip(of_test, of_val, strict=True))
    kept = tmp_path / "out" / "tiny" / "seed_0_pictures"
    assert {path.name for path in kept.glob("*.png")} == {path.name for path in (unpaired / "valA").iterdir()}


def test_a_time_that_no_number_of_steps_fills_is_refused(tiny_yaml, tmp_path):
    for minutes in ("1e308", "inf", "nan", "0", "-1"):
        with pytest.raises(UserError, match="must be above 0, and at most 1000000"):
            inside("compare", "--configs", tiny_yaml, *compare(tmp_path / "out", f"--minutes={minutes}"))


def test_tables_that_were_edited_are_told_before_anything_is_trained(two_yamls, in_process, tmp_path):
    arguments = compare(tmp_path / "out", "--configs", two_yamls[0], "--steps", 2, "--seeds")
    inside("compare", *arguments, 1)
    for name in ("table.md", "table.csv", "sheet.png"):
        path = tmp_path / "out" / name
        known = path.read_bytes()
        path.write_bytes(known + b"mine")
        in_process.clear()
        assert f"{path}: is there already" in told("compare", *arguments, 2)
        assert not in_process and path.read_bytes() == known + b"mine"
        path.rename(path.with_name(f"my_{name}"))  # as the line says
    inside("compare", *arguments, 1)


def test_the_best_checkpoint_of_another_run_is_not_scored_as_this_ones(tiny_yaml, in_process, tmp_path):
    settings = ("--set", "eval={every_steps: 1, metrics: [l1]}", "--best", "--steps", 1, "--seeds", 2)
    arguments = compare(tmp_path / "out", "--configs", tiny_yaml, *settings)
    inside("compare", *arguments)
    of_runs = [tmp_path / "out" / "tiny" / f"seed_{seed}" for seed in (0, 1)]
    shutil.copyfile(of_runs[1] / "best.pt", of_runs[0] / "best.pt")
    (tmp_path / "out" / "tiny" / "seed_0_best.json").unlink()
    inside("compare", *arguments)
    errors = [row["error"] for row in rows(tmp_path / "out")]
    assert "best.pt: is of step 1 with seed 1, but the best of this run is of step 1 with seed 0; put that" in errors[2]
    assert not any(errors[:2] + errors[3:])


def test_paces_of_configs_that_are_left_out_once_are_kept(two_yamls, tmp_path, monkeypatch):
    """Else their runs would change their length, and could not be resumed."""
    monkeypatch.setattr(pace, "_measure", lambda contenders, output, train: {c.name: 0.5 for c in contenders})
    both = plan_contenders(two_yamls, [], None)
    for contenders in ([both[0]], [both[1]]):
        pace.with_equal_time(contenders, 0.5, tmp_path, None)
    monkeypatch.setattr(pace, "_measure", lambda contenders, output, train: pytest.fail("timed again"))
    assert [c.name for c in pace.with_equal_time(both, 0.5, tmp_path, None)] == ["tiny", "focal"]


@pytest.mark.parametrize("inside_of", ["trainA", "testA", "testB"])
def test_a_comparison_does_not_go_among_its_pictures(tiny_yaml, unpaired, inside_of):
    """In testA the first training went to its end before cut-test refused."""
    output = unpaired / inside_of / "compared"
    assert f"--output {output}: lies in {unpaired / inside_of}, " in told(
        "compare", "--configs", tiny_yaml, *compare(output)
    )
    assert not output.exists()


def test_pictures_that_cannot_be_scored_are_told_before_the_first_training(two_yamls, in_process, unpaired, tmp_path):
    (unpaired / "testA" / "0.png").rename(unpaired / "testA" / "alone.png")
    arguments = compare(tmp_path / "out", "--configs", two_yamls[0], "--seeds", 1, "--steps", 2)
    assert "no partner" in told("compare", *arguments)
    assert in_process == ["eval"]


def test_ctrl_c_while_the_inputs_are_scored_ends_the_comparison(two_yamls, monkeypatch, tmp_path, capsys):
    def stopped(self):
        raise Stopped(signal.SIGINT, "stopped; the same command goes on from there")

    monkeypatch.setattr(runs.Runner, "baseline", stopped)
    arguments = [str(a) for a in compare(tmp_path / "out", "--configs", two_yamls[0])]
    assert compare_cli._main(compare_cli._parse(arguments)) == 130
    assert "goes on from there" in capsys.readouterr().err


def test_configs_of_other_data_are_told(two_yamls, in_process, tmp_path, capsys):
    two_yamls[1].write_text("base: tiny.yaml\ndata: {direction: BtoA}\n")
    inside("compare", *compare(tmp_path / "out", "--configs", *two_yamls, "--seeds", 1, "--steps", 2))
    said = capsys.readouterr().err
    assert "focal: data.direction is BtoA, not AtoB; it is scored on the pictures of tiny" in said


def test_a_method_of_ones_own_is_compared(tiny_yaml, in_process, monkeypatch, tmp_path):
    (tmp_path / "compared_method.py").write_text("from cut.methods.cut import CUT\n\n\nclass Own(CUT):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    tiny_yaml.write_text(tiny_yaml.read_text().replace("name: cut", 'name: "compared_method:Own"'))
    inside("compare", *compare(tmp_path / "out", "--configs", tiny_yaml, "--seeds", 1, "--steps", 2))
    assert [row["error"] for row in rows(tmp_path / "out")] == ["", "", ""]


def test_a_run_that_ends_by_patience_before_its_first_log_has_its_costs(tiny_yaml, in_process, tmp_path, monkeypatch):
    from cut.train.validation import Validation

    values = iter([0.9, 0.3, 0.4])
    monkeypatch.setattr(Validation, "_score", lambda self, folder: {"l1": next(values)})
    settings = ("--set", "eval={every_steps: 1, metrics: [l1], patience: 1}", "--set", "train.log_every_steps=50")
    inside("compare", *compare(tmp_path / "out", "--configs", tiny_yaml, "--seeds", 1, *settings))
    assert rows(tmp_path / "out")[0]["steps"] == "2"


def test_a_run_without_its_log_is_a_failed_one(tiny_yaml, in_process, tmp_path):
    arguments = compare(tmp_path / "out", "--configs", tiny_yaml, "--seeds", 1, "--steps", 2)
    inside("compare", *arguments)
    (tmp_path / "out" / "tiny" / "seed_0" / "metrics.jsonl").unlink()
    inside("compare", *arguments)
    assert "metrics.jsonl" in rows(tmp_path / "out")[0]["error"]


def test_small_scores_keep_their_digits():
    costs = {"seconds_per_step": 0.5, "peak_mib": 2048, "parameters": 1_500_000, "steps": 10}
    outcomes = [Outcome(name, 0, {"kid": {"value": value}}, costs) for name, value in (("a", 0.0012), ("b", 0.0014))]
    table = markdown_table(outcomes, {"input, untranslated": {"kid": {"value": 0.00004}}})
    assert "**0.00120**" in table and "| 0.00140 |" in table and "| 0.000040 |" in table


def test_a_budget_scales_every_schedule_in_proportion(tiny_yaml):
    for schedule, expected in (
        ("{name: linear, constant_epochs: 200, decay_epochs: 100}", {"constant_steps": 60, "decay_steps": 30}),
        ("{name: linear, constant_steps: 7, decay_steps: 0}", {"constant_steps": 90, "decay_steps": 0}),
        (
            "{name: linear, warmup_epochs: 10, constant_epochs: 100, decay_epochs: 100}",
            {"warmup_steps": 4, "constant_steps": 45, "decay_steps": 45},
        ),
        ("{name: step, total_epochs: 9, every_epochs: 3}", {"total_steps": 90, "every_steps": 30}),
        ("{name: cosine, total_steps: 11}", {"total_steps": 90}),
        ("{name: linear, decay_steps: 5}", {"decay_steps": 90}),
    ):
        (contender,) = plan_contenders([tiny_yaml], [f"schedule={schedule}"], 90)
        found = contender.config.schedule.model_dump()
        assert {k: v for k, v in found.items() if k.endswith(("_steps", "_epochs")) and v is not None} == expected
    assert plan_contenders([tiny_yaml], [], None)[0].config == read_config(tiny_yaml)


def test_equal_file_names_are_told_apart_by_their_folders(tiny_yaml, tmp_path):
    other = tmp_path / "other" / "tiny.yaml"
    other.parent.mkdir()
    other.write_text(tiny_yaml.read_text())
    names = [contender.name for contender in plan_contenders([tiny_yaml, other], [], None)]
    assert names == [f"{tmp_path.name}_tiny", "other_tiny"]
    third = tmp_path / "third" / "other" / "tiny.yaml"
    third.parent.mkdir(parents=True)
    third.write_text(tiny_yaml.read_text())
    names = [contender.name for contender in plan_contenders([other, third], [], None)]
    assert names == [f"{tmp_path.name}_other_tiny", "third_other_tiny"]
    with pytest.raises(UserError, match="given twice"):
        plan_contenders([tiny_yaml, tiny_yaml], [], None)


def test_the_best_mean_is_bold_in_the_direction_of_the_metric():
    costs = {"seconds_per_step": 0.5, "peak_mib": 2048, "parameters": 1_500_000, "steps": 10}
    outcomes = [
        Outcome("a", 0, {"fd[net.pt]": {"value": 120.0}, "ssim": {"value": 0.5}}, costs),
        Outcome("a", 1, {"fd[net.pt]": {"value": 100.0}, "ssim": {"value": 0.7}}, costs),
        Outcome("b", 0, {"fd[net.pt]": {"value": 115.0}, "ssim": {"value": 0.65}}, costs),
    ]
    table = markdown_table(outcomes, {"input, untranslated": {"ssim": {"value": 0.1}}}).splitlines()
    assert table[0].startswith("| method | seeds | fd[net.pt] ↓ | ssim ↑ | s/iter |")
    assert table[2] == "| a | 2 | **110.0** ± 14.1 | 0.600 ± 0.141 | 0.500 | 2.00 | 1.50 | 10 |"
    assert table[3].startswith("| b | 1 | 115.0 | **0.650** |")
    assert table[4] == "| input, untranslated |  |  | 0.100 |  |  |  |  |"


def test_features_that_a_discriminator_saw_are_refused(tiny_yaml, tmp_path):
    weights = tmp_path / "weights.pth"
    torch.save({"_conv_stem.weight": torch.rand(32, 3, 3, 3)}, weights)
    projected = tiny_yaml.with_name("projected.yaml")
    projected.write_text(f"base: tiny.yaml\ndiscriminator: {{name: projected, features: {weights}}}\n")
    arguments = ["--configs", tiny_yaml, projected, "--output", tmp_path / "out", "--features", weights]
    said = told("compare", *arguments, "--metrics", "kid")
    assert f"projected: --features {weights}: is the network whose features the discriminator saw" in said
    assert "take efficientnet_lite0 or efficientnet_lite1" in said


def test_mistakes_are_told_before_anything_is_trained(tiny_yaml, tmp_path):
    output = ["--output", tmp_path / "out"]
    assert "did you mean ssim" in fails("compare", "--configs", tiny_yaml, *output, "--metrics", "ssmi")
    assert "must be at least 1" in told("compare", "--configs", tiny_yaml, *output, "--seeds", 0)
    assert "no such config file" in told("compare", "--configs", tiny_yaml, "absent.yaml", *output)
    assert not (tmp_path / "out").exists()


def test_a_result_is_kept_only_with_what_it_is_the_result_of(two_yamls, in_process, tmp_path):
    arguments = compare(tmp_path / "out", "--configs", two_yamls[0], "--seeds", 1, "--steps", 2)
    inside("compare", *arguments)
    result = json.loads((tmp_path / "out" / "tiny" / "seed_0.json").read_text())
    assert result["config"]["schedule"]["total_steps"] == 2 and result["scoring"] == [
        "--no-intervals",
        "--metrics",
        "ssim,l1",
    ]
    table, run = (tmp_path / "out" / "table.csv").read_text(), tmp_path / "out" / "tiny" / "seed_0"
    in_process.clear()
    said = told("compare", *arguments, "--set", "optim.lr=0.1")  # the run directory holds another config
    assert f"{run} (optim.lr: 0.0002 -> 0.1): was trained with other settings; choose another --output, or" in said
    assert (tmp_path / "out" / "table.csv").read_text() == table and in_process == []
    shutil.rmtree(run)  # which is the advice
    inside("compare", *arguments)
    assert in_process == ["train", "test", "eval"], "its result alone is no row"
    assert [row["l1"] for row in rows(tmp_path / "out")] == [row["l1"] for row in csv.DictReader(io.StringIO(table))]


@pytest.mark.parametrize("name", ["table.md", "input_colour_transfer", "pace.json", ".lock"])
def test_a_row_has_no_name_of_the_comparisons_own(name, tiny_yaml, in_process, tmp_path):
    """Its folder would be in the way of the table, after it was trained."""
    yaml = tiny_yaml.rename(tiny_yaml.with_name(f"{name}.yaml"))
    said = told("compare", *compare(tmp_path / "out", "--configs", yaml))
    assert said == f"--configs: {name}: is the name of something else in {tmp_path / 'out'} too; rename the YAML"
    assert not in_process


def test_timing_leaves_nothing_and_removes_what_a_killed_one_left(tiny_yaml, tmp_path):
    left = tmp_path / "out" / temporary_name() / "run" / "checkpoints"
    left.mkdir(parents=True)
    (left / "step_00000030.pt").write_text("large")
    used = []

    def train(contender, run_dir):
        used.append(run_dir.is_relative_to(tmp_path / "out"))  # as large a disk as the runs have
        run_dir.mkdir(parents=True)
        lines = [json.dumps({"step": step, "time/seconds_per_step": 1.0}) for step in (5, 10)]
        (run_dir / "metrics.jsonl").write_text("\n".join(lines))

    pace.with_equal_time(plan_contenders([tiny_yaml], [], None), 0.5, tmp_path / "out", train)
    assert used == [True, True]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".cut-written", "pace.json"]


@pytest.mark.parametrize("name", ["-dash", "--", "~", "\udcff"])
def test_programs_take_paths_of_any_name(name, tmp_path, monkeypatch):
    """Which cut-compare was given as `--output=-dash`, or as `./~`: to another program it would be an option."""
    monkeypatch.chdir(tmp_path)
    started = []
    monkeypatch.setattr(programs, "start_child", lambda words, output: started.append(words))
    monkeypatch.setattr(programs, "wait", lambda child: 0)
    generated, file = Path(name, "in"), Path(f"{name}.pt")
    arguments = ["--generated", generated, "--target", generated, f"--features={file}", "--metrics", "l1"]
    programs.call("eval", Path(name, "x.log"), arguments)
    read = eval_cli._parse(started[0][2:])
    assert (Path(read.generated), Path(read.target), Path(read.features)) == (generated, generated, file)
    assert Path(name, "x.log").read_text().startswith("$ cut-eval --generated ")


def test_settings_that_a_comparison_makes_itself_are_refused(tiny_yaml, tmp_path):
    arguments = compare(tmp_path / "out", "--configs", tiny_yaml, "--steps", 2)
    said = told("compare", *arguments, "--set", "seed=7")
    assert said == "--set seed=7: the runs of a config have seeds of their own; --seeds N says how many"
    said = told("compare", *arguments, "--set", "train.max_steps=1")
    assert said == "--set train.max_steps=1: --steps and --minutes decide that; leave one of them out"


def test_what_has_no_test_split_has_no_best_checkpoint(tiny_yaml, tmp_path):
    """The advice to give `eval` would lead to that of leaving it out."""
    for name in ("a", "b"):
        Image.new("RGB", (64, 64)).save(tmp_path / f"{name}.png")
    yaml = tmp_path / "single.yaml"
    yaml.write_text(
        "method: {name: sincut}\ngenerator: {name: stylegan2}\ndiscriminator: {name: stylegan2}\n"
        f"data: {{name: single, a: {tmp_path}/a.png, b: {tmp_path}/b.png}}\n"
        "schedule: {name: constant, total_steps: 2}\n"
    )
    said = told("compare", "--configs", tiny_yaml, yaml, "--output", tmp_path / "out", "--best", "--set", "eval=null")
    assert said.startswith("tiny: has no eval, and so no best.pt for --best; give one")
    said = told("compare", "--configs", yaml, "--output", tmp_path / "out", "--best")
    assert said == "single: its data have no test split, and so no best.pt; leave out --best"
