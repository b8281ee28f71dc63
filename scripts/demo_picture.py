"""Draws the README's picture from the results of `make demo`: every second test tile.

Run it where the demo was run, as `python scripts/demo_picture.py docs/images/demo.jpg`.
"""

import sys
from pathlib import Path

from cut.data.images import list_images, read_image, write_image
from cut.inference.sheet import draw_sheet

_ROWS = {
    "photograph": "datasets/earth2map/testA",
    "translation": "results/quickstart",
    "true map": "datasets/earth2map/testB",
}


def main(output: Path) -> None:
    names = [path.name for path in list_images(Path(_ROWS["photograph"]))[::2]]
    rows = [[read_image(Path(folder) / name, channels=3) for name in names] for folder in _ROWS.values()]
    output.parent.mkdir(parents=True, exist_ok=True)
    write_image(output, draw_sheet([Path(name).stem for name in names], rows, list(_ROWS)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
