"""Labels of regions from colours."""

import numpy as np
from PIL import Image

from cut.data.region_labels import read_region_labels


def test_each_pixel_has_the_label_of_the_nearest_colour(tmp_path):
    colours = [(0, 0, 0), (255, 255, 255), (250, 10, 5), (120, 135, 128), (10, 240, 230)]
    Image.fromarray(np.array([colours], np.uint8)).save(tmp_path / "labels.png")
    labels = read_region_labels(tmp_path / "labels.png")
    assert labels.shape == (1, 5) and labels.tolist() == [[0, 1, 3, 2, 7]]
