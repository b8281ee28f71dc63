"""The sheet of a comparison shows what belongs together."""

import numpy as np
from PIL import Image

from cut.compare.runs import Outcome
from cut.compare.sheet import write_comparison
from cut.data.evaluation_set import EvaluationSet
from cut.data.images import write_image


def test_targets_of_another_format_are_shown(tmp_path):
    blank = np.full((32, 32, 3), 255, np.uint8)
    for name, colour in (
        ("in/x.jpg", (0, 0, 0)),
        ("target/x.png", (255, 0, 0)),
        ("out/run/seed_0_pictures/x.png", (0, 0, 255)),
    ):
        write_image(tmp_path / name, np.where(blank, np.uint8(colour), blank))
    pictures = EvaluationSet(tmp_path / "in", tmp_path / "target")
    write_comparison(tmp_path / "out/sheet.png", pictures, [Outcome("run", 0, {}, {})])
    colours = {colour for _, colour in Image.open(tmp_path / "out/sheet.png").convert("RGB").getcolors(1 << 20)}
    assert {(255, 0, 0), (0, 0, 255)} <= colours
