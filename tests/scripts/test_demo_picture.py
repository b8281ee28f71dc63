"""scripts/demo_picture.py: the README's picture shows every second tile in three rows."""

import subprocess
import sys

import numpy as np
from conftest import REPOSITORY
from PIL import Image


def test_it_shows_the_same_tiles_as_photograph_translation_and_map(tmp_path):
    folders = ("datasets/earth2map/testA", "results/quickstart", "datasets/earth2map/testB")
    for row, folder in enumerate(folders):
        (tmp_path / folder).mkdir(parents=True)
        for tile in range(4):
            colour = np.full((80, 80, 3), 100 * row + 20 * tile, dtype=np.uint8)
            Image.fromarray(colour).save(tmp_path / folder / f"{tile}.png")
    command = [sys.executable, "-W", "error", REPOSITORY / "scripts" / "demo_picture.py", "images/demo.png"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    sheet = np.asarray(Image.open(tmp_path / "images" / "demo.png"))
    middles = [[sheet[24 + 40 + row * (80 + 24), 6 + 40 + tile * 86, 0] for tile in range(2)] for row in range(3)]
    assert middles == [[100 * row, 100 * row + 40] for row in range(3)]
