"""What an error advises is followed here to the letter: it works, or leads to the next honest line."""

import re
import shlex
import shutil

import numpy as np
import pytest
import torch
from conftest import make_paired, make_single
from PIL import Image
from programs import inside, saved_run, told

from cut.api.training import _say_end
from cut.build import build_trainer, read_config
from cut.cli import data, eval
from cut.data.images import write_image
from cut.errors import UserError
from cut.train.run_dir import open_run


def _advised(pattern, text):
    """What the line names, by the groups of the pattern."""
    found = re.search(pattern, text)
    assert found and "\n" not in text, text
    return found.groups() if len(found.groups()) > 1 else found[1]


def _dry_run(yaml, *settings):
    inside("train", "--config", yaml, "--dry-run", *(word for setting in settings for word in ("--set", setting)))


def _refused(yaml, *settings):
    return told("train", "--config", yaml, "--dry-run", *(word for s in settings for word in ("--set", s)))


@pytest.fixture
def paired_yaml(tmp_path):
    path = tmp_path / "paired.yaml"
    path.write_text(
        f"""
method: {{name: pix2pix}}
generator: {{name: unet, image_px: 32, base_channels: 4}}
discriminator: {{name: patch, base_channels: 4, num_layers: 2}}
data: {{name: paired, root: "{make_paired(tmp_path / "pairs")}", load_px: 36, crop_px: 32, num_workers: 0}}
schedule: {{name: constant, total_steps: 4}}
train: {{log_every_steps: 1, sample_every_steps: 9, checkpoint_every_steps: 9, num_samples: 1, accelerator: cpu}}
"""
    )
    return path


@pytest.mark.parametrize("split", ["test", "val"])
@pytest.mark.parametrize("kind", ["unpaired", "paired"])
def test_a_split_that_is_not_there(tiny_yaml, paired_yaml, unpaired, tmp_path, kind, split):
    yaml, root = (tiny_yaml, unpaired) if kind == "unpaired" else (paired_yaml, tmp_path / "pairs")
    wanted = "eval={every_steps: 2, metrics: [l1], split: " + split + "}"
    if split == "test":
        for folder in root.glob("test*"):
            folder.rename(folder.with_name(folder.name.replace("test", "val")))
    other = _advised(r"or set eval\.split=(\w+)", _refused(yaml, wanted))
    _dry_run(yaml, wanted, f"eval.split={other}")
    for folder in [*root.glob("test*"), *root.glob("val*")]:
        shutil.rmtree(folder)
    assert "set eval=null, which scores nothing" in _refused(yaml, wanted)
    _dry_run(yaml, wanted, "eval=null")


def test_a_split_is_missed_before_a_run_begins(tiny_yaml, unpaired, tmp_path):
    shutil.rmtree(unpaired / "testA")
    settings = ("--set", "eval={every_steps: 2, metrics: [l1]}", "--run-dir", tmp_path / "run")
    assert "eval: " in told("train", "--config", tiny_yaml, *settings)
    assert not (tmp_path / "run").exists()


def test_single_pictures_have_nothing_to_score(tmp_path):
    paths = make_single(tmp_path / "p", 80, 72)
    yaml = tmp_path / "sincut.yaml"
    yaml.write_text(
        f"""
method: {{name: sincut, num_patches: 4, head_channels: 8, nce_layers: [0, 2]}}
generator: {{name: stylegan2, base_channels: 4, num_blocks: 2}}
discriminator: {{name: stylegan2, base_channels: 4}}
data: {{name: single, a: "{paths["a"]}", b: "{paths["b"]}", crop_px: 32, batch_size: 2, num_workers: 0}}
schedule: {{name: constant, total_steps: 2}}
train: {{accelerator: cpu}}
"""
    )
    wanted = "eval={every_steps: 2, metrics: [l1]}"
    assert "set eval=null" in _refused(yaml, wanted)
    _dry_run(yaml, wanted, "eval=null")


def test_a_plateau_needs_scores(tiny_yaml):
    schedule = "schedule={name: plateau, total_steps: 6, total_epochs: null}"
    advice = _advised(r"add eval: (\{.*?\})", _refused(tiny_yaml, schedule))
    _dry_run(tiny_yaml, schedule, f"eval={advice}")


def test_a_batch_of_more_pictures_than_there_are(tiny_yaml):
    number = _advised(r"lower it to (\d+) or less", _refused(tiny_yaml, "data.batch_size=100"))
    _dry_run(tiny_yaml, f"data.batch_size={number}")


def test_the_authors_names_of_settings(tiny_yaml):
    for theirs in ("load_size", "crop_size"):
        ours = _advised("did you mean '(.*?)'", _refused(tiny_yaml, f"data.{theirs}=36"))
        assert ours == theirs.replace("size", "px")
        _dry_run(tiny_yaml, f"data.{ours}=36")


def test_a_picture_that_is_smaller_than_the_crop(tiny_yaml):
    advice = _advised(
        r"set (data\.preprocess) to one that scales, e\.g\. (\w+)",
        _refused(tiny_yaml, "data.preprocess=crop", "data.crop_px=64"),
    )
    assert "load_px (36) must be at least crop_px" in _refused(tiny_yaml, "data.crop_px=64", "=".join(advice))
    _dry_run(tiny_yaml, "data.crop_px=64", "=".join(advice), "data.load_px=64")
    _dry_run(tiny_yaml, "data.preprocess=crop", "data.crop_px=32")


def test_a_pair_of_different_sizes(paired_yaml, tmp_path):
    root = tmp_path / "two"
    for domain, side in (("A", 40), ("B", 48)):
        for number in range(2):
            write_image(root / f"train{domain}" / f"{number}.png", np.zeros((side, side + 8, 3), np.uint8))
    settings = (f"data.root={root}", "data.preprocess=crop")
    advice = _advised(r"or set (data\.preprocess) to (\w+)", _refused(paired_yaml, *settings))
    _dry_run(paired_yaml, settings[0], "=".join(advice))


def test_pictures_above_the_bound(tiny_yaml, tmp_path, unpaired):
    text = _refused(tiny_yaml, "data.max_megapixels=0.001", "data.cache_mib=0")
    key = _advised(r"the bound of --max-megapixels and (data\.max_megapixels)", text)
    _dry_run(tiny_yaml, f"{key}=1", "data.cache_mib=0")
    run = saved_run(tiny_yaml, tmp_path / "run")
    words = ("--run", run, "--input", unpaired / "testA", "--output", tmp_path / "out")
    option = _advised(r"the bound of (--max-megapixels)", told("test", *words, "--max-megapixels", "0.001"))
    inside("test", *words, option, "1")


def test_a_file_or_a_folder_in_place_of_the_other(tiny_yaml, unpaired, tmp_path):
    run = saved_run(tiny_yaml, tmp_path / "run")
    words = ("--input", unpaired / "testA", "--output", tmp_path / "out")
    weights = tmp_path / "latest_net_G.pth"
    torch.save({"model.1.weight": torch.zeros(2)}, weights)
    for number, (option, path) in enumerate(
        [
            ("--run", run / "checkpoints" / "step_00000000.pt"),
            ("--run", run / "generator.safetensors"),
            ("--checkpoint", run),
        ]
    ):
        other = _advised(r"(--run|--checkpoint)$", told("test", option, path, *words))
        inside("test", other, path, *words[:2], "--output", tmp_path / f"out{number}")
    assert "give it with --import" in told("test", "--run", weights, *words)
    assert "no network of CUT, CycleGAN or pix2pix" in told("test", "--import", weights, *words)
    assert "is a folder; name the file of weights in it" in told("test", "--import", run, *words)
    (run / "generator.safetensors").unlink()
    checkpoint = _advised(r"give --checkpoint (.*)$", told("test", "--run", run, *words))
    inside("test", "--checkpoint", checkpoint, *words[:2], "--output", tmp_path / "out9")


def test_checkpoints_that_are_damaged(tiny_yaml, unpaired, tmp_path):
    run = tmp_path / "run"
    inside("train", "--config", tiny_yaml, "--run-dir", run)
    *_, earlier, newest = sorted((run / "checkpoints").iterdir())
    newest.write_bytes(newest.read_bytes()[:2000])
    words = ("--input", unpaired / "testA", "--output", tmp_path / "out")
    assert told("test", "--checkpoint", newest, *words).endswith("use an earlier one")
    inside("test", "--checkpoint", earlier, *words)
    for path in (run / "checkpoints").iterdir():
        path.write_bytes(b"")
    text = told("train", "--config", tiny_yaml, "--run-dir", run)
    folder = _advised(r"2 more are damaged.*there is none in (.*); move that folder away to begin again", text)
    shutil.move(folder, tmp_path / "away")
    assert open_run(build_trainer(read_config(tiny_yaml)), run, resume=False).endswith("a new run of 6 steps")


def test_pairs_given_to_translate(paired_yaml, tmp_path, capsys):
    run = saved_run(paired_yaml, tmp_path / "run")
    folder = tmp_path / "my pairs"
    shutil.copytree(tmp_path / "pairs" / "test", folder)
    for given in (folder, folder / "0.png"):
        inside("test", "--run", run, "--input", given, "--output", tmp_path / f"out {given.name}")
        command = _advised(r"split them first: (cut-data split .*) FOLDER", capsys.readouterr().err.replace("\n", " "))
        data._main([*shlex.split(command)[1:], str(tmp_path / f"halves {given.name}")])
        assert len(list((tmp_path / f"halves {given.name}" / "my pairsA").iterdir())) == 4


def test_data_sets_that_can_be_fetched(tiny_yaml, paired_yaml, tmp_path):
    for yaml, name in ((tiny_yaml, "horse2zebra"), (paired_yaml, "maps_aligned")):
        command = _advised("fetch it with: (cut-data .*)", _refused(yaml, f"data.root={tmp_path / name}"))
        with pytest.raises(UserError, match="cannot be fetched .* run the same command again"):
            data._main([*shlex.split(command)[1:], "--base-url", "http://127.0.0.1:9"])


def test_two_pictures_of_one_name_and_two_layouts_in_one_folder(tiny_yaml, paired_yaml, unpaired, tmp_path):
    shutil.copy(unpaired / "testA" / "0.png", unpaired / "testA" / "0.bmp")
    run = saved_run(tiny_yaml, tmp_path / "run")
    words = ("--run", run, "--input", unpaired / "testA", "--output", tmp_path / "out")
    assert "leave --format out, or rename one" in told("test", *words, "--format", "png")
    inside("test", *words)
    wanted = "eval={every_steps: 2, metrics: [l1]}"
    assert "would both become 0.png; rename one" in told(
        "train", "--config", tiny_yaml, "--set", wanted, "--run-dir", run
    )
    (unpaired / "testA" / "0.bmp").rename(unpaired / "testA" / "other.bmp")
    shutil.copy(unpaired / "testB" / "0.png", unpaired / "testB" / "other.png")
    _dry_run(tiny_yaml, wanted)
    (tmp_path / "pairs" / "trainA").mkdir()
    (tmp_path / "pairs" / "trainB").mkdir()
    assert "move one of the two layouts elsewhere" in _refused(paired_yaml)
    shutil.rmtree(tmp_path / "pairs" / "trainA")
    _dry_run(paired_yaml)


def _score(*words):
    eval._evaluate(eval._parse([str(word) for word in words]))


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_folders_without_pairs(unpaired, tmp_path):
    (unpaired / "testA" / "0.png").rename(unpaired / "testA" / "x.png")
    words = ("--generated", unpaired / "testA", "--target", unpaired / "testB", "--no-intervals", "--no-cache")
    with pytest.raises(UserError, match="for folders without pairs ask for fid alone"):
        _score(*words, "--metrics", "l1,fid")
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    torch.jit.save(torch.jit.script(network), tmp_path / "f.pt")
    _score(*words, "--metrics", "fid", "--features", tmp_path / "f.pt")


def test_a_name_that_ends_in_no_format(tiny_yaml, tmp_path):
    run = saved_run(tiny_yaml, tmp_path / "run")
    Image.new("RGB", (40, 40)).save(tmp_path / "photo.dat", "png")
    words = ("--run", run, "--input", tmp_path / "photo.dat", "--output", tmp_path / "out")
    option = _advised("choose one with (--format png)", told("test", *words))
    inside("test", *words, *option.split())


def test_a_direction_that_was_not_learnt(tiny_yaml, unpaired, tmp_path):
    run = saved_run(tiny_yaml, tmp_path / "run")
    words = ("--run", run, "--input", unpaired / "testB", "--output", tmp_path / "out", "--direction", "BtoA")
    setting = _advised(r"train one with --set (data\.direction=BtoA)", told("test", *words))
    inside("test", "--run", saved_run(tiny_yaml, tmp_path / "back", setting), *words[2:])


def test_the_last_lines_of_a_training_are_commands(tiny_yaml, unpaired, tmp_path, capsys):
    """Whatever the run directory is called. There is nothing to report of it here, so that is advised too."""
    run = saved_run(tiny_yaml, tmp_path / "it's a\nrun")
    shutil.rmtree(run / "samples", ignore_errors=True)
    (run / "report.html").mkdir()
    _say_end(build_trainer(read_config(tiny_yaml)), run)
    said = capsys.readouterr()
    words = shlex.split(_advised("translate pictures with: cut-test (.*)", said.out.strip()).replace(r"\n", "\n"))
    places = iter((unpaired / "testA", tmp_path / "out"))
    inside("test", *(next(places) if word == "FOLDER" else word for word in words))
    again = shlex.split(_advised("to try again: cut-report (.*)", said.err.strip()).replace(r"\n", "\n"))
    (run / "report.html").rmdir()
    inside("report", *again)
    assert (run / "report.html").is_file()


def test_a_method_that_is_not_trained(tmp_path):
    yaml = tmp_path / "my gatys.yaml"
    method = "{name: gatys, vgg: random, base_channels: 2, stages: [[16, 1]]}"
    yaml.write_text(
        "method: {}\ndata: {{name: single, a: {a}, b: {b}}}\n".format(method, **make_single(tmp_path / "in"))
    )
    words = shlex.split(_advised("run: cut-test (.*)", told("train", "--config", yaml)))
    inside("test", *(tmp_path / "out" if word == "DIR" else word for word in words))
    assert (tmp_path / "out" / "photo.png").is_file()
