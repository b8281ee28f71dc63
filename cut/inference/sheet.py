"""Labelled sheets of pictures: rows of samples, one column each for input, translation and target."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cut.data.images import to_8_bit, write_image
from cut.errors import printable

_Font = ImageFont.ImageFont | ImageFont.FreeTypeFont
_GAP_PX = 6
_LABEL_PX = 18
_SMALL_PX = 64  # narrower pictures are enlarged by a whole factor, up to this


def draw_sheet(columns: Sequence[str], rows: Sequence[Sequence[np.ndarray | None]], names: Sequence[str]) -> np.ndarray:
    """Lays pictures out on white, with column titles above and each row's name below it.

    Args:
        columns: titles.
        rows: per row one `(H, W, 1 or 3)` uint8 picture per column, or None for an empty place.
        names: one per row, below it; without a name rows lie close together.

    Returns:
        `(H, W, 3)` uint8.
    """
    width = max(p.shape[1] for row in rows for p in row if p is not None)
    factor = max(1, _SMALL_PX // width)
    width *= factor
    heights = [factor * max(p.shape[0] for p in row if p is not None) for row in rows]
    sheet_width = _GAP_PX + len(columns) * (width + _GAP_PX)
    sheet_height = _LABEL_PX + _GAP_PX + sum(heights) + sum(map(_below, names))
    sheet = Image.new("RGB", (sheet_width, sheet_height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for column, title in enumerate(columns):
        draw.text((_GAP_PX + column * (width + _GAP_PX), 4), _fit(draw, title, width, font), "black", font)
    top = _LABEL_PX + _GAP_PX
    for row, name, height in zip(rows, names, heights, strict=True):
        for column, picture in enumerate(row):
            if picture is not None:
                picture = np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture
                picture = picture.repeat(factor, axis=0).repeat(factor, axis=1)
                sheet.paste(Image.fromarray(picture), (_GAP_PX + column * (width + _GAP_PX), top))
        draw.text((_GAP_PX, top + height + 2), _fit(draw, name, sheet_width - 2 * _GAP_PX, font), "gray", font)
        top += height + _below(name)
    return np.asarray(sheet)


def write_sheet(
    path: Path, columns: Sequence[str], rows: Sequence[Sequence[np.ndarray | None]], names: Sequence[str]
) -> np.ndarray:
    """Draws a sheet, writes it as PNG and returns it."""
    sheet = draw_sheet(columns, rows, names)
    write_image(path, sheet, checked=True)
    return sheet


def as_colours(picture: np.ndarray, shown: Sequence[int] | None = None) -> np.ndarray:
    """What can be looked at of `(H, W, C)`, in 8 bits: gray and colours as they are, of more bands three, of two one.

    Args:
        picture: Of any type that `cut.data.images.read_image` gives.
        shown: Numbers of three bands, from 1; None takes the first three.
    """
    count = picture.shape[2]
    if count > 3:
        picture = picture[:, :, [number - 1 for number in shown or (1, 2, 3)]]
    return to_8_bit(picture[:, :, :1] if count == 2 else picture)


def shrink(picture: np.ndarray, largest_px: int, shown: Sequence[int] | None = None) -> np.ndarray:
    """The picture in 8 bits, scaled down so that its longer side is at most `largest_px`; see `as_colours`."""
    picture = as_colours(picture, shown)
    scale = largest_px / max(picture.shape[:2])
    if scale >= 1.0:
        return picture
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    gray = picture.shape[2] == 1
    small = Image.fromarray(picture[:, :, 0] if gray else picture).resize(size, Image.Resampling.LANCZOS)
    return np.asarray(small)[:, :, None] if gray else np.asarray(small)


def _below(name: str) -> int:
    """The height between a row and the next."""
    return _GAP_PX + (_LABEL_PX if name else 0)


def _fit(draw: ImageDraw.ImageDraw, text: str, width: int, font: _Font) -> str:
    """`text` on one line, shortened with dots in its middle until it fits."""
    text = printable(text)
    kept = len(text)
    while kept > 4 and draw.textlength(text, font) > width:
        kept -= 1
        text = text[: kept // 2] + "..." + text[-(kept // 2) + 2 :] if kept > 6 else text[:kept]
    return text
