"""Pictures as data URIs, scaled down and compressed until they fit into a page."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cut.data.images import evenly_chosen, read_image, with_channels
from cut.data.numbers import NUMBER_SUFFIXES, Bands, bands_of
from cut.errors import UserError
from cut.inference.sheet import as_colours, shrink
from cut.report.own_pictures import may_show
from cut.report.read_run import Run

_MOST_SHEETS, _MOST_COMPARISONS = 40, 24  # on a page, of all runs together
_SHEETS_BYTES, _COMPARISONS_BYTES = 3_000_000, 1_600_000  # what they may take of it, about
_SHEET_WIDTHS_PX = (840, 640, 480, 360, 260)  # the first that fits is taken
_COMPARISON_SIDES_PX = (512, 384, 256, 160)
_TEASER_PX, _TEASER_SHAPE, _TEASER_LEAST_PX = 720, 0.9, 300  # width, height over width, height
_ROLES = ("input", "translation", "target", "style")
_QUALITY = 78
_ALL_PX = 1680  # width of the sheet of a comparison
_MOST_WEBP_PX = 16383  # a side of a WebP


@dataclass(frozen=True)
class Picture:
    """An embedded picture: its address, and its size in pixels."""

    uri: str
    width: int
    height: int


@dataclass
class Frame:
    """What one run shows while a slider is at `first` to `last`: pictures by role, and what they are."""

    first: int
    last: int
    label: str
    pictures: dict[str, Picture]


@dataclass(frozen=True)
class Viewer:
    """A slider's positions, each labelled, and the frames of each run, in the order of the runs.

    `total` is the number of positions if nothing had been left out for the sake of the page's size.
    """

    labels: list[str]
    frames: list[list[Frame]]
    total: int


def sheet_viewer(runs: Sequence[Run]) -> Viewer:
    """The sample sheets of all runs, side by side at the same share of each run's length."""
    chosen = [evenly_chosen(run.sheets, max(2, _MOST_SHEETS // len(runs))) for run in runs]
    newest = [sheets[-1][1] for sheets in chosen if sheets]
    width = _fitting_size(newest, _SHEET_WIDTHS_PX, _SHEETS_BYTES // max(1, sum(map(len, chosen))), _to_width)
    embedded = []
    for run, sheets in zip(runs, chosen, strict=True):
        pixels = ((step, _read(run, path)) for step, path in sheets)
        embedded.append([(step, embed(_to_width(sheet, width))) for step, sheet in pixels if sheet is not None])
    shares = _shares(max(embedded, key=len))
    frames = [_nearest_frames(run, sheets, shares) for run, sheets in zip(runs, embedded, strict=True)]
    single = len(runs) == 1
    labels = [frames[0][i].label if single else f"{share:.0%} of each run" for i, share in enumerate(shares)]
    return Viewer(labels, frames, max(len(run.sheets) for run in runs))


def _shares(sheets: Sequence[tuple[int, Any]]) -> list[float]:
    """Each sheet's step as a share of the last one's."""
    return [step / max(1, sheets[-1][0]) for step, _ in sheets]


def _nearest_frames(run: Run, sheets: Sequence[tuple[int, Picture]], shares: Sequence[float]) -> list[Frame]:
    """One frame for each sheet that is the nearest one at some of the shares."""
    frames: dict[int, Frame] = {}
    own = np.array(_shares(sheets))
    for position, share in enumerate(shares if sheets else []):
        index = int(abs(own - share).argmin())
        step, picture = sheets[index]
        epoch = run.at("epoch", step)
        label = f"step {step}" + (f", epoch {epoch:g}" if epoch is not None else "")
        frames.setdefault(index, Frame(position, position, label, {"sheet": picture})).last = position
    return list(frames.values())


def comparison_viewer(runs: Sequence[Run]) -> Viewer:
    """The translated test pictures of all runs, each with its input and target where they are known and still there."""
    by_run = [_comparisons(run) for run in runs]
    names = list(dict.fromkeys(name for entries in by_run for name in entries))
    names = [name for name in names if all(name in entries for entries in by_run)] or names
    chosen = evenly_chosen(names, max(4, _MOST_COMPARISONS // len(runs)))
    first = [path for entries in by_run for name in chosen[:1] for path in entries.get(name, {}).values()]
    total = sum(len(entries.get(name, {})) for entries in by_run for name in chosen)
    side = _fitting_size(first, _COMPARISON_SIDES_PX, _COMPARISONS_BYTES // max(1, total), shrink)
    frames: list[list[Frame]] = []
    for run, entries in zip(runs, by_run, strict=True):
        frames.append([])
        for position, name in enumerate(chosen):
            pixels = {role: _read(run, path, role) for role, path in entries.get(name, {}).items()}
            pictures = {role: embed(shrink(p, side)) for role, p in pixels.items() if p is not None}
            if "translation" in pictures:
                frames[-1].append(Frame(position, position, name, pictures))
    return Viewer(chosen if any(frames) else [], frames, len(names))


def _comparisons(run: Run) -> dict[str, dict[str, Path]]:
    """The paths that evaluation.json names, by picture and role, as far as a page may show them."""
    entries = run.evaluation.get("pictures")
    entries = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    return {
        str(entry.get("name", index)): {
            role: run.path / entry[role]
            for role in _ROLES
            if isinstance(entry.get(role), str) and may_show(run, run.path / entry[role])
        }
        for index, entry in enumerate(entries)
    }


def newest_rows(run: Run) -> Picture | None:
    """The first rows of the newest sample sheet, about as high as wide; None without a sheet."""
    sheet = _read(run, run.sheets[-1][1]) if run.sheets else None
    if sheet is None:
        return None
    height = min(len(sheet), max(round(_TEASER_SHAPE * sheet.shape[1]), _TEASER_LEAST_PX))
    gaps = np.flatnonzero(sheet[:height].min(axis=(1, 2)) == 255)  # sheets are white between their rows
    return embed(_to_width(sheet[: gaps[-1] + 1 if len(gaps) and gaps[-1] > height // 2 else height], _TEASER_PX))


def side_by_side(whole: Run, sheet: Path | None) -> Picture | None:
    """The sheet of a comparison; None without one."""
    pixels = _read(whole, sheet) if sheet else None
    return None if pixels is None else embed(_to_width(pixels, _ALL_PX))


def embed(pixels: np.ndarray) -> Picture:
    """Compresses `(H, W, 3)` uint8 as WebP, scaled down to what that holds."""
    pixels = shrink(pixels, _MOST_WEBP_PX)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", quality=_QUALITY)
    data = base64.b64encode(buffer.getvalue()).decode()
    return Picture(f"data:image/webp;base64,{data}", pixels.shape[1], pixels.shape[0])


def _read(run: Run, path: Path, role: str = "translation") -> np.ndarray | None:
    """The picture, or None and a note that says why there is none."""
    try:
        bands = _bands(run, path, role)
        pixels = read_image(path, bands)
        return pixels if bands.are_plain else with_channels(as_colours(pixels, bands.shown), 3)
    except UserError as error:
        if str(error) not in run.notes:
            run.notes.append(str(error))
        return None


def _bands(run: Run, path: Path, role: str) -> Bands:
    """What a picture holds, by itself and by the run's config, of which nothing is believed."""
    data = run.config.get("data")
    data = data if isinstance(data, dict) else {}
    domain = "b" if (role == "input") == (data.get("direction") == "BtoA") else "a"
    count = bands_of(path)
    limits: Any = data.get(f"range_{domain}")
    shown: Any = data.get("show_bands")
    has_limits = isinstance(limits, list) and len(limits) == 2 and all(isinstance(n, int | float) for n in limits)
    shows = isinstance(shown, list) and len(shown) == 3 and all(n in range(1, count + 1) for n in shown)
    of_numbers = has_limits and path.suffix.lower() in NUMBER_SUFFIXES and limits[0] < limits[1]
    return Bands(
        3 if count == 1 else count, tuple(limits) if of_numbers else None, shown=tuple(shown) if shows else None
    )


def _to_width(picture: np.ndarray, width_px: int) -> np.ndarray:
    height, width = picture.shape[:2]
    return shrink(picture, round(min(width, width_px) * max(height, width) / width))


def _fitting_size(paths: Sequence[Path], sizes: Sequence[int], budget: int, scale: Any) -> int:
    """The first of the sizes at which these pictures take no more than `budget` bytes on average, or the last one."""
    pictures = [picture for path in paths if (picture := _read(Run(path, ""), path)) is not None]
    for size in sizes:
        if sum(len(embed(scale(picture, size)).uri) for picture in pictures) <= budget * len(pictures):
            return size
    return sizes[-1]
