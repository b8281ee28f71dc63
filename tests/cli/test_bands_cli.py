"""Domains of any number of bands and rectangles, from the folders to the scores, by the commands."""

import json

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from programs import inside, saved_run, told

import cut
from cut.cli import data
from cut.cli import eval as eval_cli
from cut.data.images import stored_size_px, write_image

BANDS = (
    "data.channels_a=6",
    "data.range_a=[0, 10000]",
    "data.channels_b=2",
    "data.range_b=[-1, 3]",
    "method.lambda_nce=0",
)


@pytest.fixture
def stacks(tmp_path):
    """Six bands of 16 bits in pages, and two of floats in arrays; those of the test split are named alike."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for folder in (tmp_path / f"{split}A", tmp_path / f"{split}B"):
            folder.mkdir()
        for index in range(3):
            pages = rng.integers(0, 10_000, (6, 40, 48)).astype(np.uint16)
            tifffile.imwrite(tmp_path / f"{split}A" / f"{index}.tif", pages, photometric="minisblack")
            np.save(tmp_path / f"{split}B" / f"{index}.npy", rng.uniform(-1, 3, (40, 48, 2)).astype(np.float32))
    return tmp_path


def train(yaml, run, *overrides):
    settings = [part for override in overrides for part in ("--set", override)]
    inside("train", "--config", yaml, "--run-dir", run, *settings)


def score(*arguments):
    eval_cli._evaluate(eval_cli._parse([str(word) for word in arguments]))


@pytest.fixture
def run(tiny_yaml, stacks, tmp_path):
    """A run of untrained networks."""
    return saved_run(tiny_yaml, tmp_path / "untrained", f"data.root={stacks}", *BANDS)


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_bands_are_trained_drawn_scored_and_shown(tiny_yaml, stacks, tmp_path, direction, capsys):
    train(
        tiny_yaml,
        tmp_path / "run",
        f"data={{root: '{stacks}', direction: {direction}, show_bands: [6, 4, 1]}}",
        *BANDS,
        "train={max_steps: 2, sample_every_steps: 2, tensorboard: false}",
        "eval={every_steps: 2, metrics: [l1, psnr, ssim]}",
    )
    said = capsys.readouterr().err
    assert "cut-train: warning" not in said and "first page" not in said
    evaluation = json.loads((tmp_path / "run/evaluation.json").read_text())
    assert 0 < evaluation["metrics"]["l1"] < 1
    made = np.load(tmp_path / "run/evaluation/last/0.npy")
    low, high, count, dtype = (-1, 3, 2, np.float32) if direction == "AtoB" else (0, 10_000, 6, np.float32)
    assert made.shape == (40, 48, count) and made.dtype in (dtype, np.uint16) and low <= made.min() < made.max() <= high
    sheet = np.array(Image.open(tmp_path / "run/samples/step_00000002.png"))
    assert sheet.ndim == 3 and len(np.unique(sheet.reshape(-1, 3), axis=0)) > 100
    page = (tmp_path / "run/report.html").read_text()
    assert page.count("data:image/webp") > 3


def test_translations_are_written_as_their_input_and_scored(run, stacks, tmp_path, capsys):
    test = ("test", "--run", run, "--input", stacks / "testA", "--output")
    inside(*test, tmp_path / "whole", "--target", stacks / "testB")
    inside(*test, tmp_path / "arrays", "--format", "npy", "--tile-px", 32)
    whole = tifffile.imread(tmp_path / "whole/0.tif")
    assert whole.shape == (40, 48, 2) and whole.dtype == np.float32 and -1 <= whole.min() < whole.max() <= 3
    assert np.abs(np.load(tmp_path / "arrays/0.npy") - whole).max() < 1e-4
    assert (tmp_path / "whole_sheet.png").is_file()
    model = cut.load(run, device="cpu")
    pages = np.moveaxis(tifffile.imread(stacks / "testA/0.tif"), 0, 2)
    for given in (pages, str(stacks / "testA/0.tif"), pages.astype(np.float64)):
        assert model(given).dtype == np.float32 and np.allclose(model(given), whole, atol=1e-5)
    inside_range = torch.from_numpy(pages.astype(np.float32) / 5000 - 1).permute(2, 0, 1)
    assert np.allclose((model(inside_range).permute(1, 2, 0).numpy() + 1) * 2 - 1, whole, atol=1e-5)
    capsys.readouterr()
    scored = ("--generated", tmp_path / "whole", "--target", stacks / "testB", "--json", "-", "--no-intervals")
    score(*scored, "--range", -1, 3, "--metrics", "l1,psnr,ssim")
    scores = json.loads(capsys.readouterr().out)["generated"]["scores"]
    targets = [np.load(stacks / f"testB/{index}.npy") for index in range(3)]
    made = [tifffile.imread(tmp_path / f"whole/{index}.tif") for index in range(3)]
    errors = [np.abs(a.astype(float) - b).mean() / 4 for a, b in zip(made, targets, strict=True)]
    assert scores["l1"]["value"] == pytest.approx(np.mean(errors), abs=1e-6) and scores["ssim"]["count"] == 3
    with pytest.raises(cut.UserError, match="range is not known; give --range"):
        score(*scored, "--metrics", "l1")
    with pytest.raises(cut.UserError, match=r"has 2 bands, and fid needs 3 \(or 1\)"):
        score(*scored, "--range", -1, 3, "--metrics", "l1,fid")
    value = cut.score(tmp_path / "whole", stacks / "testB", ["l1"], value_range=(-1, 3), device="cpu")["l1"].value
    assert value == pytest.approx(scores["l1"]["value"], abs=1e-12)


def test_what_does_not_fit_is_told_in_one_line(run, tiny_yaml, stacks, tmp_path):
    test = ("test", "--run", run, "--output", tmp_path / "out", "--input")
    assert "0.npy: holds 2 bands of 48x40 px, data.channels_a is 6" in told(*test, stacks / "testB")
    said = told(*test, stacks / "testA", "--format", "png")
    assert said == "--format png: cannot hold 2 bands from -1 to 3; take npy or tif"
    write_image(tmp_path / "photo.png", np.zeros((40, 40, 3), np.uint8))
    assert "photo.png: holds 3 bands of 40x40 px, data.channels_a is 6" in told(*test, tmp_path / "photo.png")
    model = cut.load(run, device="cpu")
    with pytest.raises(cut.UserError, match=r"a Pillow image holds 3 bands .* are given as an array"):
        model(Image.new("RGB", (40, 40)))
    config = ("train", "--config", tiny_yaml, "--run-dir", tmp_path / "no", "--set", f"data.root={stacks}", "--set")
    assert "holds 6 bands of 48x40 px, data.channels_a is 4" in told(*config, "data.channels_a=4")
    assert "show_bands: [1, 2, 7], but no domain has more than 3 channels" in told(*config, "data.show_bands=[1, 2, 7]")
    settings = [part for setting in BANDS for part in ("--set", setting)]
    said = told(*config[:-1], *settings, "--set", "eval={every_steps: 1, metrics: [fid]}")
    assert said == "eval.metrics: fid needs 1 or 3 channels, and the target domain has 2; leave it out"
    said = told("compare", "--configs", tiny_yaml, "--output", tmp_path / "c", "--steps", 1, *settings)
    assert "cut-compare knows gray and colour pictures" in said


def test_an_exported_graph_says_what_the_ends_of_its_range_mean(run, tmp_path):
    described = cut.load(run, device="cpu").export(tmp_path / "model.ts")
    (image,), made = described["inputs"], described["output"]
    assert (image["channels"], image["range"], image["values_at_ends"]) == (6, [-1, 1], [0, 10_000])
    assert (made["channels"], made["values_at_ends"], made["shape"][1]) == (2, [-1, 3], 2)


def test_a_photograph_can_become_numbers_and_numbers_a_photograph(tiny_yaml, unpaired, tmp_path):
    heights = saved_run(tiny_yaml, tmp_path / "heights", "data.channels_b=1", "data.range_b=[0, 8848]")
    inside("test", "--run", heights, "--input", unpaired / "testA", "--output", tmp_path / "made")
    made = np.array(Image.open(tmp_path / "made/0.png"))  # whole metres, which 16 bits hold
    assert made.dtype == np.uint16 and made.max() <= 8848 and len(np.unique(made)) > 100
    inside("test", "--run", heights, "--input", unpaired / "testA", "--output", tmp_path / "fine", "--format", "npy")
    assert np.abs(np.load(tmp_path / "fine/0.npy").astype(float) - made).max() <= 0.5
    photos = saved_run(tiny_yaml, tmp_path / "photos", "data.channels_a=1", "data.range_a=[0, 8848]")
    inside("test", "--run", photos, "--input", tmp_path / "made", "--output", tmp_path / "again", "--format", "png")
    assert np.array(Image.open(tmp_path / "again/0.png")).shape == (40, 40, 3)


def test_cut_data_check_reports_the_range_of_each_band(stacks, capsys):
    with pytest.raises(SystemExit) as stop:
        data.main(["check", str(stacks)])
    said = capsys.readouterr().out
    assert stop.value.code == 0 and "6 bands uint16 3" in said and "2 bands float32 3" in said
    first = [tifffile.imread(stacks / f"trainA/{index}.tif")[0] for index in range(3)]
    low, high = min(page.min() for page in first), max(page.max() for page in first)
    line = next(line for line in said.splitlines() if line.startswith("  trainA: all bands"))
    assert f"by band: 1 {low:g} to {high:g}, 2 " in line and ", 6 " in line and "first page" not in said


def test_rectangles_are_trained_on_and_translated(tiny_yaml, unpaired, tmp_path, capsys):
    train(
        tiny_yaml,
        tmp_path / "run",
        "data={load_px: [40, 72], crop_px: [32, 64]}",
        "train={max_steps: 2, sample_every_steps: 2, tensorboard: false}",
    )
    sheet = np.array(Image.open(tmp_path / "run/samples/step_00000002.png"))
    assert sheet.shape[1] == 6 + 3 * (64 + 6)  # input, translation and target, each 64 px wide
    write_image(tmp_path / "in/x.png", np.random.default_rng(0).integers(0, 256, (50, 130, 3)).astype(np.uint8))
    test = ("test", "--run", tmp_path / "run", "--input", tmp_path / "in", "--output")
    inside(*test, tmp_path / "whole")
    inside(*test, tmp_path / "tiles", "--tile-px", 48)
    whole, tiles = (np.array(Image.open(tmp_path / name / "x.png")).astype(int) for name in ("whole", "tiles"))
    assert whole.shape == (50, 130, 3) and np.abs(whole - tiles).max() <= 1
    inside(*test, tmp_path / "scaled", "--load-px", "40x72")
    assert stored_size_px(tmp_path / "scaled/x.png") == (72, 40)
    write_image(tmp_path / "in/x.png", np.zeros((200, 400, 3), np.uint8))
    capsys.readouterr()
    inside(*test, tmp_path / "whole")
    assert "scaled to data.load_px [40, 72]; --load-px 40x72 scales these so too" in capsys.readouterr().err
