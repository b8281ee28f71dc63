"""Reads every picture of a data folder and reports what is there and what is wrong with it."""

import dataclasses
import hashlib
import os
import re
import statistics
import warnings
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from tqdm import tqdm

from cut.data.bounds import check_size
from cut.data.folders import Listing, list_by_top, list_folder
from cut.data.images import open_header, pair_name, read_bytes, read_image
from cut.data.left_out import count_losses
from cut.data.numbers import Bands, Numbers, check_real, decode_tiff, find_numbers, is_array
from cut.datasets.check_report import Folder, Report
from cut.errors import UserError, listed, reason

_UNPAIRED = re.compile(r"(train|val|test)([AB])")
_ALIGNED = ("train", "val", "test")
_MASKS = {"maskA": "trainA", "maskB": "trainB"}


@dataclass(frozen=True)
class Picture:
    """What was found out about one file; `problem` says why it is broken."""

    folder: str
    path: str  # relative to the root
    size_px: tuple[int, int] = (0, 0)  # width, height, upright
    kind: str = ""  # Pillow's mode, with the bits a channel where they are 16
    brightest: int = 0
    white: int = 255  # or 65535; 0 where numbers have no white
    sha256: str = ""
    ranges: tuple[tuple[float, float], ...] = ()  # of each band, where it is no ordinary picture
    problem: str | None = None


def check_folder(root: str | os.PathLike, progress: bool = True) -> Report:
    """Reads every picture below `root`, as training will, and goes on past those that are broken.

    Args:
        root: a data set in one of the known layouts, or any folder of pictures.
        progress: show a bar on stderr.

    Raises:
        UserError: `root` is no folder.
    """
    root = Path(root)
    listings = list_by_top(root)  # each folder by itself, as training reads trainA
    images = {name: listing.paths for name, listing in listings.items()}
    found = [(name, path) for name, paths in images.items() for path in paths]
    pictures = [_inspect(root, *item) for item in tqdm(found, desc="reading", unit=" pictures", disable=not progress)]
    readable = [picture for picture in pictures if picture.problem is None]
    layout = _layout(images, readable)
    if layout == "aligned":
        pictures = [_odd_width(picture) for picture in pictures]
        readable = [picture for picture in pictures if picture.problem is None]
    duplicates = _duplicates(readable)
    of_pictures = {picture.folder for picture in readable if not picture.ranges}  # else of numbers, which lose nothing
    shown = [path for folder, path in found if folder in of_pictures]
    return Report(
        root=str(root),
        layout=layout,
        folders=[_summary(name, pictures) for name in images if images[name] or _belongs(name, layout)],
        broken={picture.path: picture.problem for picture in pictures if picture.problem is not None},
        empty=_empty(images, layout),
        duplicates=duplicates,
        leaks=[group for group in duplicates if len({_split(path) for path in group} - {None}) > 1],
        num_pairs=_num_pairs(readable, layout),
        without_partner=_without_partner(pictures),
        without_mask=_without_mask(pictures) if layout == "unpaired" else [],
        ambiguous=_ambiguous(pictures),
        ignored=dict(sum((listing.others for listing in listings.values()), Counter[str]()).most_common()),
        passed_over=[
            *(what for listing in listings.values() for what in listing.passed_over(root)),
            *(line for name in _ALIGNED if layout == "plain" for line in _beside_classes(root / name)),
        ],
        losses=dict(count_losses(shown).most_common()),
    )


def _inspect(root: Path, folder: str, path: Path) -> Picture:
    name = path.relative_to(root).as_posix()
    if found := find_numbers(path):
        return _inspect_numbers(folder, name, path, found)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, about oddities that do not keep it from reading the picture
            array = read_image(path, channels=3)
            with open_header(path) as picture:
                mode = picture.mode
                picture.verify()  # finds wrong checksums, which decoding forgives
        sha256 = hashlib.sha256(read_bytes(path)).hexdigest()
    except UserError as error:
        return Picture(folder, name, problem=str(error).removeprefix(f"{path}: "))
    except Exception as error:  # noqa: BLE001  decoders raise SyntaxError, struct.error, OSError, ... on broken files
        return Picture(folder, name, problem=f"damaged ({' '.join(str(error).split())})")
    kind = f"{mode};16" if array.dtype == "uint16" and "16" not in mode else mode
    size_px, white = (array.shape[1], array.shape[0]), int(np.iinfo(array.dtype).max)
    return Picture(folder, name, size_px, kind, int(array.max()), white, sha256)


def _inspect_numbers(folder: str, name: str, path: Path, found: Numbers) -> Picture:
    height, width, count = found.shape
    try:
        data = read_bytes(path)
        check_size(found)
        array = found.load() if is_array(path) else decode_tiff(data, check_size)
        check_real(array.dtype)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # of bands that hold nothing but NaN
            lows, highs = (function(array, axis=(0, 1)) for function in (np.nanmin, np.nanmax))
    except UserError as error:
        return Picture(folder, name, problem=str(error).removeprefix(f"{path}: "))
    except Exception as error:  # noqa: BLE001  decoders raise many kinds on broken files
        return Picture(folder, name, problem=f"damaged ({reason(error)})")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return Picture(folder, name, problem="holds numbers that are not finite (NaN or infinity)")
    ranges = tuple((float(low), float(high)) for low, high in zip(lows, highs, strict=True))
    kind = f"{Bands(count)} {found.dtype.name}"
    return Picture(folder, name, (width, height), kind, 0, 0, hashlib.sha256(data).hexdigest(), ranges)


def _layout(images: dict[str, list[Path]], readable: list[Picture]) -> str:
    if any(_UNPAIRED.fullmatch(name) for name in images):
        return "unpaired"
    ratios = [p.size_px[0] / p.size_px[1] for p in readable if p.folder in _ALIGNED]
    if ratios and 1.8 <= statistics.median(ratios) <= 2.2:  # two pictures side by side, not always quite square
        return "aligned"
    return "plain" if any(images.values()) else "nothing"


def _belongs(folder: str, layout: str) -> bool:
    return bool(layout == "unpaired" and _UNPAIRED.fullmatch(folder)) or (layout == "aligned" and folder in _ALIGNED)


def _summary(name: str, pictures: list[Picture]) -> Folder:
    inside = [picture for picture in pictures if picture.folder == name]
    good = [picture for picture in inside if picture.problem is None]
    kinds = dict(Counter(picture.kind for picture in good).most_common())
    if not good:
        return Folder(name, len(inside), len(inside), None, None, None, None, 0, kinds)
    widths, heights = zip(*(picture.size_px for picture in good), strict=True)
    smallest, largest = (min(widths), min(heights)), (max(widths), max(heights))
    median = (statistics.median_low(widths), statistics.median_low(heights))
    (common, count), *_ = Counter(picture.size_px for picture in good).most_common(1)
    brightest: dict[str, int] = {}
    for picture in good:
        if not picture.white:
            continue
        brightest[str(picture.white)] = max(picture.brightest, brightest.get(str(picture.white), 0))
    num_broken = len(inside) - len(good)
    bands = _band_ranges([picture.ranges for picture in good])
    return Folder(name, len(inside), num_broken, smallest, median, largest, common, count, kinds, brightest, bands)


def _band_ranges(ranges: list[tuple[tuple[float, float], ...]]) -> list[tuple[float, float]]:
    """Lowest and highest value of each band over all pictures that have as many bands as most have."""
    if not any(ranges):
        return []
    most = Counter(len(own) for own in ranges if own).most_common(1)[0][0]
    columns = zip(*(own for own in ranges if len(own) == most), strict=True)
    return [(min(low for low, _ in column), max(high for _, high in column)) for column in columns]


def _beside_classes(folder: Path) -> list[str]:
    """What training by class (`data.name: labelled`) leaves out of a split, or refuses; nothing where it has no
    folders of classes.
    """
    beside, classes = Listing(folder), []
    if folder.is_dir():
        classes = [(entry.name, len(list_folder(folder / entry.name).paths)) for entry in beside.take(folder)]
    if not any(count for _, count in classes):
        return []
    found = []
    if beside.paths:
        what = f"{len(beside.paths)} pictures" if len(beside.paths) > 1 else beside.paths[0].name
        found.append(f"{folder.name}: {what} beside folders, left out where these are classes (data.name: labelled)")
    if empty := [name for name, count in classes if not count]:
        found.append(f"{folder.name}: no picture in {listed(empty, 3)}, so none can be a class (data.name: labelled)")
    return found


def _empty(images: dict[str, list[Path]], layout: str) -> list[str]:
    if layout == "nothing":
        return [". (no picture anywhere)"]
    empty = [f"{name} (no picture)" for name, paths in images.items() if _belongs(name, layout) and not paths]
    for present, absent in (("trainA", "trainB"), ("trainB", "trainA")):
        if present in images and absent not in images:
            empty.append(f"{absent} (missing beside {present})")
    return empty


def _duplicates(readable: list[Picture]) -> list[list[str]]:
    groups = defaultdict(list)
    for picture in readable:
        if picture.folder not in _MASKS:  # one may serve many pictures
            groups[picture.sha256].append(picture.path)
    return [group for group in groups.values() if len(group) > 1]


def _split(path: str) -> str | None:
    """'trainA/x.jpg' -> 'train'; None outside the folders of a layout."""
    top = PurePosixPath(path).parts[0]
    unpaired = _UNPAIRED.fullmatch(top)
    return unpaired[1] if unpaired else top if top in _ALIGNED else None


def _without_partner(pictures: list[Picture]) -> list[str]:
    """Pictures that lack the other side, where the sides pair up by name at all; in training, where most of them do."""
    lonely = []
    for split in ("train", "val", "test"):
        a, b, num_pairs = _sides(pictures, split)
        if num_pairs and (split != "train" or _is_paired(len(a), len(b), num_pairs)):
            lonely += [path for key, path in (a | b).items() if (key in a) != (key in b)]
    return lonely


def _without_mask(pictures: list[Picture]) -> list[str]:
    """Training pictures that lack a mask, where their domain has masks."""
    lonely = []
    for folder, of in _MASKS.items():
        if masked := {_key(picture.path) for picture in pictures if picture.folder == folder}:
            lonely += [
                picture.path for picture in pictures if picture.folder == of and _key(picture.path) not in masked
            ]
    return lonely


def _ambiguous(pictures: list[Picture]) -> list[list[str]]:
    """Pictures of one folder of a split that are one in pairs, where the split's sides pair up by name."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    folders = {split + side for split in ("train", "val", "test") if _sides(pictures, split)[2] for side in "AB"}
    for picture in pictures:
        if picture.folder in folders:
            groups[picture.folder, _key(picture.path)].append(picture.path)
    return [group for group in groups.values() if len(group) > 1]


def _sides(pictures: list[Picture], split: str) -> tuple[dict[str, str], dict[str, str], int]:
    """The paths of the split's pictures of A and of B by their names, and how many names are in both."""
    a, b = ({_key(p.path): p.path for p in pictures if p.folder == split + side} for side in "AB")
    return a, b, len(a.keys() & b.keys())


def _is_paired(num_a: int, num_b: int, num_pairs: int) -> bool:
    """Names of unpaired pictures are equal by chance, but not most of them."""
    return num_pairs > max(num_a, num_b) / 2


def _num_pairs(pictures: list[Picture], layout: str) -> dict[str, int]:
    if layout == "aligned":
        return {split: n for split in _ALIGNED if (n := sum(p.folder == split for p in pictures))}
    counts = {}
    for split in ("train", "val", "test"):
        a, b, num_pairs = _sides(pictures, split)
        if _is_paired(len(a), len(b), num_pairs):
            counts[split] = num_pairs
    return counts


def _odd_width(picture: Picture) -> Picture:
    width, height = picture.size_px
    if picture.folder not in _ALIGNED or picture.problem or width % 2 == 0:
        return picture
    return dataclasses.replace(picture, problem=f"{width}x{height} px cannot be A|B, for the width is odd")


def _key(path: str) -> str:
    """'testA/sub/x.jpg' -> 'sub/x'."""
    return pair_name(PurePosixPath(*PurePosixPath(path).parts[1:]))
