"""The glyphs data set: letters and digits from the fonts that matplotlib brings, in folders by their class.

A large source set (digits and lower case) to train on first, and a small target set of other classes (capitals), as
DeepI2I needs them. Class is shape; colours, place, size and tilt are what a translation should keep.
"""

import colorsys
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cut.data.images import write_image
from cut.datasets.recipe import already_built, write_note
from cut.errors import UserError, reason
from cut.storage.files import new_folders

CLASSES = {
    "source": "0123456789abdefghkmnqrtuwxyz",
    "target": "ABEFGHKMRT",
}  # lower case whose capital is another shape
FACES = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSerif", "DejaVuSansMono")
SIZE = (0.6, 0.85)  # of the font, as a share of the picture's side
TILT_DEGREES, SHIFT = 12.0, 3 / 64  # largest, either way; the shift as a share of the side
DARK, BRIGHT = (0.0, 0.35), (0.7, 1.0)  # value (HSV) of the ground and of the glyph
SATURATION = (0.4, 1.0)
NUM_TEST = 50  # pictures per class
_OVERSAMPLING = 4
_SEED = 20201103  # fixed: the set is the same for everybody
_LARGEST_PX, _MOST_PICTURES = 256, 100_000


def build_glyphs(output: Path, image_px: int = 32, num_source: int = 400, num_target: int = 100) -> dict[str, int]:
    """Writes `source` and `target` below `output`, each with `train/<class>` and `test/<class>`, the same every time.

    Picture i of a class does not depend on how many there are, so a set of 20 pictures is the beginning of one of 100.

    Args:
        output: New folder; one that holds the same pictures already is left as it is.
        image_px: Side of a picture in pixels.
        num_source: Training pictures per class of the source set.
        num_target: Training pictures per class of the target set.

    Returns:
        Number of pictures per folder.

    Raises:
        UserError: A size or number is out of bounds, or `output` cannot be written or holds something else.
    """
    if not 16 <= image_px <= _LARGEST_PX:
        raise UserError(f"--image-px {image_px}: must be from 16 to {_LARGEST_PX}")
    numbers = {"source": num_source, "target": num_target}
    for name, number in numbers.items():
        if not 1 <= number <= _MOST_PICTURES:
            raise UserError(f"--num-{name} {number}: must be from 1 to {_MOST_PICTURES}")
    recipe = {"image_px": image_px, "num_source": num_source, "num_target": num_target, "faces": list(FACES)}
    if built := already_built(output, "glyphs", recipe):
        return built
    counts: dict[str, int] = {}
    try:
        with new_folders(output) as (folder,):
            for name, classes in CLASSES.items():
                for split, number in (("train", numbers[name]), ("test", NUM_TEST)):
                    for character in classes:
                        place = f"{name}/{split}/{character}"
                        for index in range(number):
                            write_image(
                                folder / place / f"{index:05}.png", draw_glyph(character, split, index, image_px)
                            )
                        counts[place] = number
            write_note(folder, "glyphs", recipe, counts)
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({reason(error)})") from None
    return counts


def draw_glyph(character: str, split: str, index: int, image_px: int) -> np.ndarray:
    """One picture `(image_px, image_px, 3)` uint8, which depends on these arguments alone."""
    rng = np.random.default_rng((_SEED, ord(character), ord(split[1]), index))
    face = FACES[rng.integers(len(FACES))]
    side = image_px * _OVERSAMPLING
    font = _font(face, round(side * rng.uniform(*SIZE)))
    tilt, shift = rng.uniform(-TILT_DEGREES, TILT_DEGREES), rng.uniform(-SHIFT, SHIFT, 2) * side
    mask = Image.new("L", (side, side))
    left, top, right, bottom = font.getbbox(character)
    corner = (side - left - right) / 2 + shift[0], (side - top - bottom) / 2 + shift[1]
    ImageDraw.Draw(mask).text(corner, character, 255, font)
    mask = mask.rotate(tilt, Image.Resampling.BICUBIC).resize((image_px, image_px), Image.Resampling.BOX)
    glyph, ground = (_colour(rng, value) for value in (BRIGHT, DARK))
    share = np.asarray(mask, dtype=np.float64)[:, :, None] / 255.0
    return np.rint(share * glyph + (1.0 - share) * ground).astype(np.uint8)


def _colour(rng: np.random.Generator, value: tuple[float, float]) -> np.ndarray:
    return 255.0 * np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(*SATURATION), rng.uniform(*value)))


def _font(face: str, size_px: int) -> ImageFont.FreeTypeFont:
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{face}.ttf"
    # Not raqm, which some builds of Pillow bring and others do not.
    return ImageFont.truetype(str(path), size_px, layout_engine=ImageFont.Layout.BASIC)
