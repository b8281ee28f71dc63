"""cut-compare of two single pictures: SinCUT beside methods that are not trained."""

import csv

import numpy as np
import pytest
from conftest import make_single
from PIL import Image
from programs import inside, told
from test_compare_cli import in_process  # noqa: F401  a fixture

SINCUT = """
method: {{name: sincut, head_channels: 4, nce_layers: [0, 2]}}
generator: {{base_channels: 2, num_blocks: 2}}
discriminator: {{base_channels: 2}}
data: {{name: single, a: {a}, b: {b}, crop_px: 16, batch_size: 2, num_workers: 0}}
schedule: {{name: constant, total_steps: 2}}
train: {{accelerator: cpu, tensorboard: false}}
"""
GATYS = """
method: {{name: gatys, vgg: random, base_channels: 2, stages: [[16, 20]]}}
data: {{name: single, a: {a}, b: {b}}}
train: {{accelerator: cpu}}
"""


@pytest.fixture
def yamls(tmp_path):
    paths = make_single(tmp_path / "pictures")
    for name, text in (("sincut", SINCUT), ("gatys", GATYS)):
        (tmp_path / f"{name}.yaml").write_text(text.format(**paths))
    return [tmp_path / "sincut.yaml", tmp_path / "gatys.yaml"]


def rows(output):
    with open(output / "table.csv") as file:
        return list(csv.DictReader(file))


def test_a_method_that_is_not_trained_is_a_row_beside_sincut(yamls, in_process, tmp_path, capsys):  # noqa: F811
    output = tmp_path / "out"
    arguments = ("--configs", *yamls, "--seeds", 1, "--steps", 3, "--output", output)
    inside("compare", *arguments)
    assert in_process == ["eval"] * 4 + ["train", "test", "eval", "eval"] + ["test", "eval", "eval"]
    sincut, gatys, untranslated, transferred = rows(output)
    assert sincut["steps"] == "3" and float(sincut["training_seconds"]) > 0 and not sincut["error"]
    assert gatys["steps"] == "" and float(gatys["peak_mib"]) > 50 and not gatys["error"]
    assert all(float(row["seconds_per_picture"]) > 0 for row in (sincut, gatys))
    assert untranslated["ssim[input]"] == "1.0" and float(untranslated["swd[style]"]) > float(gatys["swd[style]"]) > 0
    assert float(untranslated["swd[style]"]) > float(transferred["swd[style]"]) > 0
    table = (output / "table.md").read_text()
    assert "| gatys (random VGG) | 1 |" in table and "swd[style] ↓" in table and "s/picture" in table
    assert "differ in length" not in capsys.readouterr().err
    sheet = np.asarray(Image.open(output / "sheet.png"))
    assert sheet.shape[1] > 4 * 60  # input, style, and two methods
    in_process.clear()
    inside("compare", *arguments)
    assert in_process == []
    capsys.readouterr()
    inside("report", output, "--output", tmp_path / "page.html")
    assert capsys.readouterr().err == "", "nothing is missing of a whole comparison"
    page = (tmp_path / "page.html").read_text()
    for text in (
        "gatys (random VGG)",
        "s/picture",
        "generator: gan",
        "translation of photo.png by gatys",
        "style of photo",
    ):
        assert text in page, text
    assert "input photo.png" in page and "test pictures and what each method makes of them" in page


def test_another_painting_makes_another_result_of_a_method_that_is_not_trained(
    yamls,
    in_process,  # noqa: F811
    tmp_path,
):
    arguments = ("--configs", yamls[1], "--seeds", 1, "--output", tmp_path / "out", "--metrics", "l1")
    inside("compare", *arguments)
    before = rows(tmp_path / "out")[0]
    assert before["l1[input]"] and "swd[style]" not in before
    Image.new("RGB", (60, 48), "red").save(tmp_path / "pictures" / "painting.png")
    in_process.clear()
    inside("compare", *arguments)
    assert (
        in_process == ["eval", "eval", "test", "eval"] and rows(tmp_path / "out")[0]["l1[input]"] != before["l1[input]"]
    )


def test_a_sheet_of_the_users_is_kept(yamls, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sheet.png").write_bytes(b"mine")
    line = told("compare", "--configs", yamls[1], "--seeds", 1, "--output", tmp_path / "out")
    assert "sheet.png: is there already, and cut-compare did not write it" in line
