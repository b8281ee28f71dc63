"""cut-eval as a user runs it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from programs import timed
from torch import nn

from cut.cli.eval import main
from cut.data.images import write_image
from cut.metrics.names import METRICS, NEEDS_FEATURES


def write_folder(folder, pictures):
    for index, picture in enumerate(pictures):
        write_image(folder / f"{index}.png", picture)
    return folder


@pytest.fixture
def folders(tmp_path):
    """Options for a target, translations close to it, and a baseline further away."""
    target, noise = np.random.default_rng(0).integers(0, 256, (2, 6, 16, 16, 3), dtype=np.uint8)
    pictures = {"target": target, "generated": target // 4 * 3 + noise // 4, "baseline": noise}
    return {f"--{role}": write_folder(tmp_path / role, pictures[role]) for role in pictures}


def options(folders):
    return [word for pair in folders.items() for word in pair]


def scored(arguments, capsys):
    """What cut-eval prints, run in this process, for each new one takes seconds to import torch."""
    with pytest.raises(SystemExit) as status:
        main([str(word) for word in arguments])
    out, err = capsys.readouterr()
    assert status.value.code == 0, err
    return out, err


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_table_shows_translations_beside_the_baseline_and_json_holds_the_same(folders, tmp_path, capsys):
    torch.jit.script(nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())).save(str(tmp_path / "net.pt"))
    settings = ["--features", tmp_path / "net.pt", "--json", tmp_path / "scores.json", "--no-cache"]
    out, err = scored([*options(folders), *settings], capsys)
    lines = [line.split() for line in out.splitlines()]
    titles = "metric better generated (6 pictures) baseline (6 pictures) colour transfer (6 pictures)"
    assert lines[0] == titles.split()
    assert [line[:2] for line in lines[1:]] == [
        ["ssim", "higher"],
        ["psnr", "higher"],
        ["l1", "lower"],
        ["fd[net.pt]", "lower"],
    ]
    report = json.loads((tmp_path / "scores.json").read_text())
    for name, better, *cells in lines[1:]:
        generated, baseline = (report[role]["scores"][name]["value"] for role in ("generated", "baseline"))
        assert float(cells[0]) == pytest.approx(generated, rel=1e-3)
        assert (generated > baseline) is (better == "higher"), name
    assert report["colour_transfer"]["folder"] == str(folders["--baseline"])
    transferred = report["colour_transfer"]["scores"]["l1"]["value"]
    assert f"{transferred:.5g}" in lines[3] and transferred != report["baseline"]["scores"]["l1"]["value"]
    assert report["target"] == {"folder": str(folders["--target"]), "pictures": 6}
    ssim = report["generated"]["scores"]["ssim"]
    assert ssim["count"] == 6 and ssim["low"] < ssim["value"] < ssim["high"]
    assert f"[{ssim['low']:.4g}, {ssim['high']:.4g}]" in out.splitlines()[1]
    assert err.splitlines() == [
        f"cut-eval: warning: {role}: fd[net.pt] of 6 pictures, fewer than its 12 features, is biased upward; "
        "compare only scores computed with the same number"
        for role in ("generated", "baseline", "colour_transfer")
    ]


def test_a_colour_transfer_that_cannot_be_made_costs_no_other_score(tmp_path, capsys):
    """Nobody asks for it; before, numbers in --baseline ended the command."""
    numbers = tmp_path / "numbers"
    numbers.mkdir()
    np.save(numbers / "0.npy", np.random.default_rng(0).random((16, 16, 3), np.float32))
    folders = ("--generated", numbers, "--target", numbers, "--baseline", numbers, "--range", 0, 1)
    out, err = scored([*folders, "--metrics", "l1", "--no-intervals", "--no-cache"], capsys)
    assert out.splitlines()[0].split() == "metric better generated (1 pictures) baseline (1 pictures)".split()
    assert out.splitlines()[1].split()[:3] == ["l1", "lower", "0"]
    assert "cut-eval: warning: no colour transfer: it is for gray and colour pictures of 8 or 16 bits" in err


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_all_computes_whatever_folders_and_options_allow_and_says_what_is_missing(
    folders, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    torch.jit.script(nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())).save(str(tmp_path / "net.pt"))
    settings = {"--metrics": "all", "--features": tmp_path / "net.pt", "--palette": "earth2map"}
    out, err = scored([*options(folders | settings), "--no-intervals", "--no-cache"], capsys)
    names = [line.split()[0] for line in out.splitlines()[1:]]
    of_sets = ["fd", "kd", "precision", "recall", "density", "coverage"]
    labels = ["pixel_accuracy", "class_accuracy", "class_iou", "mean_average_precision"]
    assert names == ["ssim", "psnr", "l1", "swd", *(f"{name}[net.pt]" for name in of_sets), *labels]
    assert "[0." not in out  # no interval
    notes = [line for line in err.splitlines() if "--metrics all" in line]
    assert [note.split(":")[2].split()[1] for note in notes] == ["lpips", "diversity", "ms_ssim"]


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_all_leaves_out_what_needs_pairs_where_there_are_none(folders, tmp_path, capsys):
    torch.jit.script(nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())).save(str(tmp_path / "net.pt"))
    (folders["--generated"] / "0.png").rename(folders["--generated"] / "other.png")
    settings = {"--metrics": "all", "--features": tmp_path / "net.pt", "--cache-dir": tmp_path / "cache"}
    out, err = scored(options(folders | settings), capsys)
    assert [line.split("[")[0] for line in out.splitlines()[1:]] == ["fd", "kd", *NEEDS_FEATURES[2:]]
    assert "without ssim, psnr, l1, ms_ssim, swd: " in err and "other.png: no partner" in err
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_all_leaves_out_what_any_pictures_size_does_not_allow(folders, tmp_path, capsys):
    torch.jit.script(nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())).save(str(tmp_path / "net.pt"))
    settings = options(folders | {"--metrics": "all", "--features": tmp_path / "net.pt"})
    settings += ["--no-cache", "--no-intervals"]
    for role in folders:
        write_image(folders[role] / "5.png", np.zeros((20, 9, 3), dtype=np.uint8))
    out, err = scored(settings, capsys)
    assert [line.split()[0] for line in out.splitlines()[1:3]] == ["psnr", "l1"]
    assert "without ssim: it needs pictures of 11 px or more" in err
    write_image(folders["--target"] / "5.png", np.zeros((20, 10, 3), dtype=np.uint8))
    out, err = scored(settings, capsys)
    assert out.splitlines()[1].startswith("fd[net.pt]") and "5.png differ in size" in err
    with pytest.raises(SystemExit):
        main([str(word) for word in [*settings, "--generated", tmp_path / "none"]])
    assert capsys.readouterr().err.endswith("none: no such folder\n")


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_all_scores_the_diversity_of_several_outputs_unless_they_are_too_small_for_lpips(
    folders, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    torch.jit.script(nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())).save(str(tmp_path / "net.pt"))
    generated = folders["--generated"]
    for path in sorted(generated.iterdir()):
        path.rename(generated / f"horse_{path.name}")  # six outputs of one picture
    settings = ["--generated", generated, "--target", folders["--target"], "--metrics", "all", "--no-cache"]
    settings += ["--features", tmp_path / "net.pt"]
    out, err = scored(settings, capsys)
    assert "diversity[net.pt]  higher" in out and "horse_0.png: no partner" in err
    shapes = {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3), 10: (256, 256, 3, 3)}
    weights = {f"features.{number}.weight": torch.zeros(shape) for number, shape in shapes.items()}
    weights |= {f"features.{number}.bias": torch.zeros(shape[0]) for number, shape in shapes.items()}
    torch.save(weights, tmp_path / "alexnet.pth")
    out, err = scored([*settings, "--lpips-backbone", tmp_path / "alexnet.pth"], capsys)
    assert "diversity" not in out and "without diversity: it needs pictures of 64 px or more" in err


def test_json_alone_on_standard_output_is_valid_even_for_identical_pictures(folders, capfd):
    target = folders["--target"]
    arguments = ("--generated", target, "--target", target, "--metrics", "psnr,l1", "--json", "-", "--no-cache")
    scores = json.loads(scored(arguments, capfd)[0], parse_constant=pytest.fail)["generated"]["scores"]
    assert scores["psnr"]["value"] is None  # JSON has no infinity
    assert scores["l1"] == {"value": 0.0, "std": 0.0, "count": 6, "low": 0.0, "high": 0.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--metrics": "ssim,sism"}, "metrics: got 'sism', did you mean ssim?; known: ssim, psnr, l1"),
        ({"--generated": "nowhere"}, "nowhere: no such folder"),
        ({"--metrics": "l1", "--features": "net.pt"}, "--metrics l1: only fid, kid, precision, recall, dens"),
        ({"--metrics": "diversity"}, "0.png: is the only output of its picture; diversity compares several"),
        ({"--metrics": "l1", "--palette": "facades"}, "--metrics l1: only pixel_accuracy, class_accuracy"),
        (
            {"--metrics": "l1", "--lpips-backbone": "a.pth"},
            "--metrics l1: only lpips, diversity read AlexNet; add one, or leave a",
        ),
        (
            {"--metrics": "class_iou"},
            "--metrics class_iou: class_iou needs --palette cityscapes, facades, earth2map or",
        ),
        ({"--metrics": "class_iou", "--palette": "city"}, "palette city: no such file; known: cityscapes, earth2map"),
        ({"--metrics": "lpips", "--lpips-backbone": "none.pth"}, "lpips: none.pth: no such file; put https://"),
        ({"--metrics": "ms_ssim"}, "generated/0.png: picture of 16x16 px is smaller than the 161 px that ms_ssim"),
        ({"--metrics": "all", "--features": "none.pt"}, "none.pt: no such file"),
        ({"--metrics": "fid", "--features": "none.pt"}, "none.pt: no such file"),
        ({"--metrics": "l1", "--generated": "broken"}, "broken/2.png: cannot be read as a picture"),
        ({"--metrics": "l1", "--batch-size": "0"}, "batch size: got 0; allowed: 1 or more"),
        ({"--metrics": "l1", "--json": "scores.png"}, "--json scores.png: is the name of a picture or a film"),
    ],
)
def test_a_mistake_is_one_line_with_status_two(folders, change, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (write_folder(Path("broken"), np.zeros((6, 16, 16, 3), np.uint8)) / "2.png").write_bytes(b"not a picture")
    with pytest.raises(SystemExit) as status:  # in this process, for each new one takes seconds to import torch
        main([str(word) for word in options(folders | {"--cache-dir": "cache"} | change)])
    out, err = capsys.readouterr()
    assert (status.value.code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("cut-eval: error: ") and message in err


@pytest.mark.parametrize(
    ("low", "high"), [("0", "inf"), ("0", "1e-320"), ("nan", "1"), ("2", "1"), ("-1e4", "-2E+4"), ("-inf", "0")]
)
def test_a_range_by_which_nothing_can_be_divided_is_refused(folders, low, high, capsys):
    """Before, all numbers became one, and every distance 0."""
    with pytest.raises(SystemExit) as status:
        main([str(word) for word in options(folders)] + ["--metrics", "l1", "--range", low, high])
    assert status.value.code == 2 and "cut-eval: error: --range " in capsys.readouterr().err


def test_a_range_may_begin_below_nothing_however_it_is_written(tmp_path, capsys):
    """To argparse `-1e4` looks like an option."""
    for name, value in (("generated", 0.0), ("target", 5000.0)):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "0.npy", np.full((16, 16), value, np.float32))
    words = ["--generated", tmp_path / "generated", "--target", tmp_path / "target", "--metrics", "l1", "--json", "-"]
    for low in ("-10000", "-1e4", "-1E+4", "-10_000.", "-.1e5"):
        with pytest.raises(SystemExit) as status:
            main([*map(str, words), "--range", low, "1e4"])
        assert not status.value.code, capsys.readouterr().err
        scores = json.loads(capsys.readouterr().out)["generated"]["scores"]
        assert scores["l1"]["value"] == pytest.approx(0.25)  # 5000 of 20 000


def test_without_inception_weights_one_line_says_where_to_put_them(folders, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    # Names under .invalid never resolve; a proxy there makes the download fail at once, with or without a network.
    monkeypatch.setenv("https_proxy", "http://proxy.invalid:1")
    with pytest.raises(SystemExit) as status:
        main([str(word) for word in [*options(folders), "--no-cache"]])
    out, err = capsys.readouterr()
    assert (status.value.code, out, err.count("\n")) == (2, "", 1)
    assert "cannot download https://github.com/mseitzer/pytorch-fid/" in err
    assert str(tmp_path / "home" / "hub" / "checkpoints" / "pt_inception-2015-12-05-6726825d.pth") in err


def test_help_comes_in_well_under_a_second():
    run, seconds = timed("eval", "--help")
    assert run.returncode == 0 and "--baseline DIR" in run.stdout
    assert all(f"\n  {name} " in run.stdout for name in METRICS)
    assert seconds < 1.0
