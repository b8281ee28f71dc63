"""The programs overwrite and delete only what they wrote themselves, and the same command may be given again."""

import importlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import make_paired
from PIL import Image
from programs import inside, saved_run, told

from cut.data.images import list_images, read_image
from cut.storage.written import LIST

POSIX = pytest.mark.skipif(os.name != "posix", reason="links of POSIX")


@pytest.fixture
def run(tiny_yaml, tmp_path):
    return saved_run(tiny_yaml, tmp_path / "run")


def _picture(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((16, 16, 3), value, np.uint8)).save(path)
    return path.read_bytes()


def _translate(run, source, output, *arguments):
    return ("test", "--run", run, "--input", source, "--output", output, *arguments)


def test_targets_and_inputs_are_never_overwritten(run, unpaired, tmp_path):
    before = {path: path.read_bytes() for path in list_images(unpaired)}
    same = _translate(run, unpaired / "testA", unpaired / "testB", "--target", unpaired / "testB")
    for arguments in (same, (*same, "--overwrite")):
        assert "is one of the pictures that are read; choose another --output" in told(*arguments)
    one = _translate(run, unpaired / "testA" / "0.png", unpaired / "testA", "--overwrite")
    assert "testA/0.png: would be overwritten" in told(*one)
    assert {path: path.read_bytes() for path in list_images(unpaired)} == before


def test_foreign_pictures_and_a_foreign_sheet_are_named_and_kept(run, unpaired, tmp_path, capsys):
    output, arguments = tmp_path / "out", _translate(run, unpaired / "testA", tmp_path / "out")
    mine = _picture(output / "1.png")
    assert f"{output / '1.png'}: is there already, and cut-test did not write it" in told(*arguments)
    assert (output / "1.png").read_bytes() == mine and not (output / "0.png").exists()
    (output / "1.png").unlink()
    sheet = _picture(tmp_path / "out_sheet.png")
    assert "out_sheet.png: is there already" in told(*arguments) and "add --overwrite" in told(*arguments)
    assert (tmp_path / "out_sheet.png").read_bytes() == sheet
    inside(*arguments, "--overwrite")
    assert (tmp_path / "out_sheet.png").read_bytes() != sheet
    capsys.readouterr()
    names = sorted(path.name for path in list_images(unpaired / "testA"))
    assert sorted(os.listdir(output)) == names, "whoever lists the folder finds pictures alone"
    inside(*arguments)  # again, without an option
    assert "4 pictures translated" in capsys.readouterr().out


def test_a_translation_that_the_user_has_changed_is_kept(run, unpaired, tmp_path):
    output, arguments = tmp_path / "out", _translate(run, unpaired / "testA", tmp_path / "out")
    inside(*arguments)
    retouched = _picture(output / "2.png", 255)
    assert "2.png: is there already" in told(*arguments) and (output / "2.png").read_bytes() == retouched


def test_pictures_of_an_earlier_run_are_named_and_removed_on_request(run, unpaired, tmp_path, capsys):
    output = tmp_path / "out"
    inside(*_translate(run, unpaired / "testA", output))
    mine = _picture(output / "mine.png")
    _picture(tmp_path / "few" / "new.png")
    capsys.readouterr()
    inside(*_translate(run, tmp_path / "few", output))
    said = capsys.readouterr().out
    assert "1 pictures translated" in said and "also holds 5 other pictures (0.png; 1.png; 2.png; and 2 more)" in said
    assert "--remove-old" in said
    inside(*_translate(run, tmp_path / "few", output, "--remove-old"))
    assert "also holds 1 other picture (mine.png)" in capsys.readouterr().out
    assert [path.name for path in list_images(output)] == ["mine.png", "new.png"]
    assert (output / "mine.png").read_bytes() == mine


def test_images_from_noise_overwrite_no_picture_and_earlier_ones_are_named(tiny_dcgan_yaml, tmp_path, capsys):
    run, output = saved_run(tiny_dcgan_yaml, tmp_path / "run"), tmp_path / "out"
    mine = _picture(output / "00001.png")
    assert "00001.png: is there already" in told("test", "--run", run, "--num-images", 3, "--output", output)
    assert (output / "00001.png").read_bytes() == mine
    (output / "00001.png").unlink()
    for count in (5, 3):
        inside("test", "--run", run, "--num-images", count, "--output", output)
    assert "also holds 2 other pictures (00003.png; 00004.png)" in capsys.readouterr().out


def test_no_sheet_is_written_beside_a_folder_without_a_name(run, unpaired, tmp_path, monkeypatch):
    for name in (".", ".."):
        folder = tmp_path / f"work{len(name)}" / "here" / "deep"
        folder.mkdir(parents=True)
        monkeypatch.chdir(folder)
        inside(*_translate(run, unpaired / "testA", name))
        assert len(list_images(folder / name)) == 4
        assert not list((tmp_path / f"work{len(name)}").rglob("*_sheet.png"))


def test_names_that_differ_in_the_case_of_their_suffix_stay_two_pictures(run, tmp_path):
    for number in range(6):
        for suffix in (".png", ".PNG"):
            _picture(tmp_path / "in" / f"{number}{suffix}", 20 * number + 100 * (suffix == ".PNG"))
    if len(list_images(tmp_path / "in")) < 12:
        pytest.skip("this disk does not tell capital letters apart")
    inside(*_translate(run, tmp_path / "in", tmp_path / "all"))
    for path in list_images(tmp_path / "in"):
        inside(*_translate(run, path, tmp_path / "one" / path.name))
        alone = read_image(tmp_path / "one" / path.name / path.name, 3)
        assert np.abs(alone.astype(int) - read_image(tmp_path / "all" / path.name, 3)).max() <= 1


@POSIX
def test_a_name_of_255_bytes_is_translated_and_one_that_gets_too_long_is_reported(run, unpaired, tmp_path):
    longest = "k" * 251 + ".png"
    shutil.copy(unpaired / "testA" / "0.png", unpaired / "testA" / longest)
    output = tmp_path / ("o" * 255)
    inside(*_translate(run, unpaired / "testA", output))
    assert len(list_images(output)) == 5 and len([p for p in tmp_path.iterdir() if p.name.endswith("_sheet.png")]) == 1
    said = told(*_translate(run, unpaired / "testA", tmp_path / "tiff", "--format", "tiff"))
    assert "1 of 5 pictures were left out" in said and "kkk.tiff: cannot be written (File name too long)" in said
    assert len(list_images(tmp_path / "tiff")) == 4


@pytest.mark.parametrize("count", [10, 13])
def test_all_that_is_left_out_is_named_or_counted(run, unpaired, tmp_path, count):
    for number in range(count):
        (unpaired / "testA" / f"broken_{number:02}.png").write_text("no")
    if os.name == "posix":
        (unpaired / "testA" / "broken_00.png").unlink()
        (unpaired / "testA" / "broken_00.png").symlink_to("broken_00.png")
    said = told(*_translate(run, unpaired / "testA", tmp_path / "out"))
    assert f"{count} of {count + 4} pictures were left out" in said
    assert said.count("broken_") == 10 and ("and 3 more" in said) == (count == 13)
    assert "4 pictures translated" in said and len(list_images(tmp_path / "out")) == 4


@POSIX
def test_a_line_break_or_an_escape_in_a_name_harms_nothing(run, tiny_yaml, unpaired, tmp_path, capsys):
    name = "new\nline\x1b[31m.png"
    for folder in ("trainA", "testA", "testB"):
        os.rename(unpaired / folder / "0.png", unpaired / folder / name)
    output = tmp_path / "out"
    inside(*_translate(run, unpaired / "testA", output, "--target", unpaired / "testB"))
    assert (output / name).is_file()
    settings = ("eval={metrics: [l1], every_steps: 6}", "train.tensorboard=true")
    inside("train", "--config", tiny_yaml, "--run-dir", tmp_path / "new", *(a for s in settings for a in ("--set", s)))
    page = (tmp_path / "new" / "report.html").read_text(encoding="utf-8")
    assert "new\\nline\\x1b[31m" in page and "\x1b" not in page
    assert _ended("data", "check", unpaired) == 0
    assert _ended("eval", "--generated", output, "--target", unpaired / "testB", "--metrics", "l1") == 0
    assert "\x1b" not in "".join(capsys.readouterr())


def _ended(program, *arguments):
    """The exit status of a program, run in this process."""
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"cut.cli.{program}").main([str(argument) for argument in arguments])
    return ended.value.code


RUN_FILES = ("config.yaml", "environment.json", "losses.png", "evaluation.json", "report.html", "metrics.jsonl")
RUN_FILES += ("best.pt", "generator.safetensors", "samples/step_00000003.png")
RUN_FILES += ("samples", "checkpoints", "evaluation", "tensorboard")  # files where folders would go


@pytest.mark.parametrize("name", RUN_FILES)
def test_a_training_overwrites_none_of_the_users_files(name, tiny_yaml, tmp_path):
    run_dir, short = tmp_path / "exp1", ("--set", "train.max_steps=1")
    arguments = ("train", "--config", tiny_yaml, "--run-dir", run_dir, *short)
    (run_dir / name).parent.mkdir(parents=True)
    (run_dir / name).write_text("# my notes\n")
    said = told(*arguments)
    assert str(run_dir / name) in said and "choose another --run-dir" in said
    assert (run_dir / name).read_text() == "# my notes\n"
    assert not [path for path in run_dir.rglob("*") if path.is_file() and path.name not in (Path(name).name, ".lock")]
    (run_dir / name).rename(run_dir / "mine")  # as the line says
    inside(*arguments)
    assert (run_dir / "mine").read_text() == "# my notes\n" and (run_dir / "report.html").exists()


def test_a_run_does_not_go_among_the_pictures_that_it_reads(tiny_yaml, unpaired):
    inside_pictures = unpaired / "trainB" / "run"
    said = told("train", "--config", tiny_yaml, "--run-dir", inside_pictures)
    assert f"{inside_pictures}: lies in {unpaired / 'trainB'}" in said and "choose another --run-dir" in said
    assert not list(inside_pictures.rglob("*.*ml"))


def test_a_yaml_in_the_run_directory_is_kept(tiny_yaml, tmp_path):
    run_dir = tmp_path / "exp1"
    run_dir.mkdir()
    mine = f"# my notes\nbase: {tiny_yaml}\n"
    (run_dir / "config.yaml").write_text(mine)
    assert "config.yaml: is there already" in told("train", "--config", run_dir / "config.yaml", "--run-dir", run_dir)
    assert (run_dir / "config.yaml").read_text() == mine
    (run_dir / "config.yaml").rename(run_dir / "mine.yaml")
    inside("train", "--config", run_dir / "mine.yaml", "--run-dir", run_dir)
    assert (run_dir / "mine.yaml").read_text() == mine


@pytest.fixture(scope="module")
def halfway(tmp_path_factory):
    """A run that was stopped in its middle, and the command that goes on with it."""
    from conftest import make_unpaired

    folder = tmp_path_factory.mktemp("halfway")
    (folder / "tiny.yaml").write_text(
        f"""
method: {{name: cut, num_patches: 16, head_channels: 8, nce_layers: [0, 4]}}
generator: {{name: resnet, base_channels: 2, num_blocks: 1}}
discriminator: {{name: patch, base_channels: 2, num_layers: 2}}
data: {{name: unpaired, root: "{make_unpaired(folder / "data")}", load_px: 36, crop_px: 32, num_workers: 0}}
schedule: {{name: constant, total_steps: 4}}
eval: {{metrics: [l1], every_steps: 2}}
train: {{sample_every_steps: 1, checkpoint_every_steps: 2, num_samples: 1, accelerator: cpu, tensorboard: false}}
"""
    )
    inside("train", "--config", folder / "tiny.yaml", "--run-dir", folder / "run")
    (folder / "run" / "checkpoints" / "step_00000004.pt").unlink()
    return folder


def _goes_on(halfway, run_dir):
    return ("train", "--config", halfway / "tiny.yaml", "--run-dir", run_dir)


@pytest.mark.parametrize("folder", ["samples", "evaluation/last"])
def test_folders_of_pictures_in_a_run_hold_pictures_alone(folder, halfway):
    names = os.listdir(halfway / "run" / folder)
    assert names and {Path(name).suffix for name in names} == {".png"}


def test_a_copied_run_and_one_of_an_earlier_version_go_on(halfway, tmp_path):
    shutil.copytree(halfway / "run", tmp_path / "copy", copy_function=shutil.copyfile)
    shutil.copytree(halfway / "run", tmp_path / "earlier")
    for path in (tmp_path / "earlier").rglob(f"{LIST}*"):
        path.unlink()
    for name in ("copy", "earlier"):
        inside(*_goes_on(halfway, tmp_path / name))
        assert (tmp_path / name / "checkpoints" / "step_00000004.pt").is_file()


@pytest.mark.parametrize("name", ["config.yaml", "environment.json", "samples/step_00000003.png", "report.html"])
def test_what_the_user_changed_in_a_run_is_kept(name, halfway, tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(halfway / "run", run_dir)
    changed = (run_dir / name).read_bytes() + b"# mine\n"
    (run_dir / name).write_bytes(changed)
    assert f"{run_dir / name}: is there already" in told(*_goes_on(halfway, run_dir))
    assert (run_dir / name).read_bytes() == changed


@pytest.mark.parametrize("folder", ["last", "ema"])
def test_pictures_of_the_user_in_an_evaluation_are_neither_deleted_nor_scored(folder, halfway, tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(halfway / "run", run_dir)
    mine, notes = run_dir / "evaluation" / folder / "holiday.png", run_dir / "evaluation" / folder / "notes.txt"
    content = _picture(mine)
    notes.write_text("mine")
    said = told(*_goes_on(halfway, run_dir))
    assert f"{mine}: would be scored" in said and mine.read_bytes() == content
    mine.unlink()
    inside(*_goes_on(halfway, run_dir))
    assert notes.read_text() == "mine"  # no picture, so it does no harm


@pytest.mark.parametrize("part", ["inputs", "targets"])
def test_pictures_of_the_user_beside_the_halves_of_pairs_are_kept(part, tiny_yaml, tmp_path):
    run_dir, root = tmp_path / "run", make_paired(tmp_path / "pairs")
    mine = run_dir / "evaluation" / part / "holiday.png"
    content = _picture(mine)
    settings = ("method=null", "method.name=pix2pix", "generator=null", "generator.name=resnet", "data=null")
    settings += ("data.name=paired", f"data.root={root}", "data.crop_px=32", "data.load_px=32", "data.num_workers=0")
    settings += ("generator.base_channels=2", "generator.num_blocks=1", "eval={metrics: [l1], every_steps: 6}")
    said = told("train", "--config", tiny_yaml, "--run-dir", run_dir, *(a for s in settings for a in ("--set", s)))
    assert f"{mine}: would be scored" in said and mine.read_bytes() == content


LINKS = ("config.yaml", "environment.json", "losses.png", "report.html", "metrics.jsonl", "evaluation.json")


@POSIX
@pytest.mark.parametrize("name", [*LINKS, "samples/step_00000003.png", "generator.safetensors", "best.pt"])
def test_what_a_link_in_a_run_points_to_is_never_written(name, halfway, tmp_path):
    run_dir, victim = tmp_path / "run", tmp_path / "victim"
    shutil.copytree(halfway / "run", run_dir)
    victim.write_text("precious")
    (run_dir / name).unlink()
    (run_dir / name).symlink_to(victim)
    assert str(run_dir / name) in told(*_goes_on(halfway, run_dir))
    assert victim.read_text() == "precious"


@POSIX
@pytest.mark.parametrize("kind", ["link", "notes"])
def test_a_lock_of_somebody_else_is_kept(kind, tiny_yaml, tmp_path):
    victim, lock = tmp_path / "victim", tmp_path / "run" / ".lock"
    lock.parent.mkdir()
    victim.write_text("precious")
    if kind == "link":
        lock.symlink_to(victim)
        assert "choose another --run-dir" in told("train", "--config", tiny_yaml, "--run-dir", tmp_path / "run")
    else:
        lock.write_text("precious")
        inside("train", "--config", tiny_yaml, "--run-dir", tmp_path / "run")
    assert victim.read_text() == lock.read_text() == "precious"


def test_what_a_kill_left_half_written_in_a_run_is_removed_by_the_next_start(halfway, tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(halfway / "run", run_dir)
    left = [run_dir / folder / f".cut-{1:016x}.part" for folder in ("", "checkpoints", "samples", "evaluation/last")]
    for path in left:
        path.write_text("half")
    inside(*_goes_on(halfway, run_dir))
    assert not [path for path in left if path.exists()]


def test_no_command_overwrites_or_removes_what_belongs_to_a_run(halfway, unpaired, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(halfway / "run", run)
    sheets = {path: path.read_bytes() for path in (run / "samples").iterdir()}
    for name in ("environment.json", "config.yaml", "evaluation.json"):
        folders = ("--generated", unpaired / "testA", "--target", unpaired / "testB", "--metrics", "l1")
        before = (run / name).read_bytes()
        for command in (("eval", *folders), ("data", "check", unpaired)):
            assert _ended(*command, "--json", run / name) == 2
            assert f"{run / name}: cannot be written (it is there already" in capsys.readouterr().err
        assert (run / name).read_bytes() == before
    _picture(tmp_path / "in" / "step_00000002.png")
    assert "is there already" in told(*_translate(run, tmp_path / "in", run / "samples"))
    inside(*_translate(run, unpaired / "testA", run, "--remove-old"))
    assert {path: path.read_bytes() for path in (run / "samples").iterdir()} == sheets and (run / "losses.png").exists()
    assert "also holds" in capsys.readouterr().out
    inside(*_goes_on(halfway, run))


def test_scores_and_pages_overwrite_no_other_file(halfway, unpaired, tmp_path, capsys):
    folders = ("--generated", unpaired / "testA", "--target", unpaired / "testB", "--metrics", "l1")
    commands = {
        "scores.json": ("eval", *folders, "--json", tmp_path / "scores.json"),
        "check.json": ("data", "check", unpaired, "--json", tmp_path / "check.json"),
        "page.html": ("report", halfway / "run", "--output", tmp_path / "page.html"),
    }
    for name, command in commands.items():
        (tmp_path / name).write_text("mine")
        assert _ended(*command) == 2
        said = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
        assert len(said) == 1 and f"{tmp_path / name}: " in said[0] and "did not write it" in said[0]
        assert (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()
        for _ in range(2):
            assert _ended(*command) == 0
        assert (tmp_path / name).read_text() != "mine"
    assert json.loads((tmp_path / "scores.json").read_text())["generated"]["scores"]["l1"]["value"] > 0


@POSIX
def test_a_pipe_takes_scores(unpaired):
    assert _ended("data", "check", unpaired, "--json", "/dev/null") == 0
    assert Path("/dev/null").is_char_device()


COMPARED = (
    "table.md",
    "table.csv",
    "input.json",
    "tiny/seed_0.json",
    "input.log",
    "tiny/seed_0.log",
    "pace.json",
    "pace.log",
)


@pytest.mark.parametrize("name", COMPARED)
def test_a_comparison_overwrites_no_other_file_and_says_so_before_it_trains(name, tiny_yaml, tmp_path):
    output = tmp_path / "out"
    (output / name).parent.mkdir(parents=True)
    (output / name).write_text("mine")
    arguments = ("compare", "--configs", tiny_yaml, "--output", output, "--seeds", 1, "--metrics", "l1")
    assert f"{output / name}: is there already" in told(*arguments) and (output / name).read_text() == "mine"
    assert not (output / "tiny" / "seed_0").exists()


@POSIX
@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_the_log_of_a_comparison_is_not_written_through(kind, tiny_yaml, tmp_path):
    log = tmp_path / "out" / "tiny" / "seed_0.log"
    log.parent.mkdir(parents=True)
    (tmp_path / "precious").write_text("$ cut-")
    log.symlink_to(tmp_path / "precious") if kind == "link" else os.mkfifo(log)
    arguments = ("compare", "--configs", tiny_yaml, "--output", tmp_path / "out", "--seeds", 1, "--metrics", "l1")
    assert f"{log}: is there already" in told(*arguments) and (tmp_path / "precious").read_text() == "$ cut-"
