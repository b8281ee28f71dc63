"""Reads every picture of a data folder and reports what is there and what is wrong with it."""

import dataclasses
import hashlib
import os
import re
import statistics
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from PIL import Image
from tqdm import tqdm

from cut.data.images import FORMATS, SUFFIXES, images_if_any, pair_name, read_image
from cut.errors import UserError, printable

_UNPAIRED = re.compile(r"(train|val|test)([AB])")
_ALIGNED = ("train", "val", "test")
_LINES_SHOWN = 10  # of each kind of finding; `to_dict` has them all


@dataclass(frozen=True)
class Picture:
    """What was found out about one file; `problem` says why it is broken."""

    folder: str
    path: str  # relative to the root
    size_px: tuple[int, int] = (0, 0)  # width, height, upright
    kind: str = ""  # Pillow's mode, with the bits a channel where they are 16
    sha256: str = ""
    problem: str | None = None


@dataclass(frozen=True)
class Folder:
    """The pictures of one folder that can be read; widths and heights are measured separately."""

    name: str
    num_images: int
    num_broken: int
    min_px: tuple[int, int] | None
    median_px: tuple[int, int] | None
    max_px: tuple[int, int] | None
    common_px: tuple[int, int] | None
    num_common: int
    kinds: dict[str, int]


@dataclass(frozen=True)
class Report:
    """Everything that `check_folder` found."""

    root: str
    layout: str  # 'unpaired' (in pairs or not, see `num_pairs`), 'aligned', 'plain', 'idx' or 'nothing'
    folders: list[Folder]
    broken: dict[str, str]  # file -> reason
    empty: list[str]  # folders of the layout without a picture, and missing halves of a training set
    duplicates: list[list[str]]  # files of the same content
    leaks: list[list[str]]  # those of `duplicates` that lie in more than one of train, val and test
    num_pairs: dict[str, int]  # of the splits that can be trained on or tested in pairs
    without_partner: list[str]
    ignored: dict[str, int]  # suffix -> number of files that are no pictures by their name

    @property
    def has_errors(self) -> bool:
        """Whether training on this folder would fail."""
        return bool(self.broken or self.empty)

    def to_dict(self) -> dict:
        """For JSON."""
        return dataclasses.asdict(self) | {"has_errors": self.has_errors}

    def text(self) -> str:
        """For the terminal."""
        total = sum(folder.num_images for folder in self.folders)
        is_paired = self.layout == "unpaired" and "train" in self.num_pairs
        layout = "pairs in two folders (trainA, trainB, ...)" if is_paired else _LAYOUTS[self.layout]
        lines = [f"{self.root}: {layout}; {total} pictures", *_table(self.folders)]
        if self.num_pairs:
            lines += ["  pairs: " + ", ".join(f"{split} {count}" for split, count in self.num_pairs.items())]
        lines += _listed("broken files", [f"{path}: {reason}" for path, reason in self.broken.items()])
        lines += _listed("empty or missing folders", self.empty)
        lines += _listed("leakage: the same picture in train, val or test", [" = ".join(g) for g in self.leaks])
        others = [" = ".join(group) for group in self.duplicates if group not in self.leaks]
        lines += _listed("duplicates: the same picture", others)
        lines += _listed("pictures without a partner of the same name", self.without_partner)
        if self.ignored:
            counts = ", ".join(f"{count} {suffix}" for suffix, count in self.ignored.items())
            lines += [f"ignored files that are no pictures: {counts}"]
        return "\n".join(map(printable, [*lines, "errors found" if self.has_errors else "no errors"]))


_LAYOUTS = {
    "unpaired": "unpaired folders (trainA, trainB, ...)",
    "aligned": "aligned pairs (A|B side by side in train, val, test)",
    "plain": "a plain folder of pictures",
    "idx": "IDX files, as MNIST has them",
    "nothing": "no pictures and no known layout",
}


def check_folder(root: str | os.PathLike, progress: bool = True) -> Report:
    """Reads every picture below `root`, as training will, and goes on past those that are broken.

    Args:
        root: a data set in one of the known layouts, or any folder of pictures.
        progress: show a bar on stderr.

    Raises:
        UserError: `root` is no folder.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"{root}: {'is a file, not a folder' if root.exists() else 'no such folder'}")
    tops = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    # each folder by itself: a link to a folder is followed here, as it is when training reads trainA
    images = {".": [path for path in images_if_any(root) if path.parent == root]} | {
        top.name: images_if_any(top) for top in tops
    }
    found = [(name, path) for name, paths in images.items() for path in paths]
    pictures = [_inspect(root, *item) for item in tqdm(found, desc="reading", unit=" pictures", disable=not progress)]
    readable = [picture for picture in pictures if picture.problem is None]
    layout = _layout(images, readable)
    if layout == "aligned":
        pictures = [_odd_width(picture) for picture in pictures]
        readable = [picture for picture in pictures if picture.problem is None]
    duplicates = _duplicates(readable)
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
        ignored=_ignored([*root.iterdir(), *(path for top in tops for path in top.rglob("*"))]),
    )


def _inspect(root: Path, folder: str, path: Path) -> Picture:
    name = path.relative_to(root).as_posix()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, about oddities that do not keep it from reading the picture
            array = read_image(path, channels=3)
            with Image.open(path, formats=FORMATS) as picture:
                mode = picture.mode
                picture.verify()  # finds wrong checksums, which decoding forgives
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    except UserError as error:
        return Picture(folder, name, problem=str(error).removeprefix(f"{path}: "))
    except Exception as error:  # noqa: BLE001  decoders raise SyntaxError, struct.error, OSError, ... on broken files
        return Picture(folder, name, problem=f"damaged ({' '.join(str(error).split())})")
    kind = f"{mode};16" if array.dtype == "uint16" and "16" not in mode else mode
    return Picture(folder, name, (array.shape[1], array.shape[0]), kind, sha256)


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
    return Folder(name, len(inside), len(inside) - len(good), smallest, median, largest, common, count, kinds)


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


def _ignored(paths: Iterable[Path]) -> dict[str, int]:
    names = (path for path in paths if path.is_file() and not path.name.startswith("."))
    counts = Counter(path.suffix.lower() or "(no suffix)" for path in names)
    return {suffix: count for suffix, count in counts.most_common() if suffix not in SUFFIXES}


def _table(folders: list[Folder]) -> list[str]:
    rows: list[tuple[str, ...]] = [("folder", "pictures", "smallest", "median", "largest", "most common", "modes")]
    for f in folders:
        sizes = ["-" if size is None else f"{size[0]}x{size[1]}" for size in (f.min_px, f.median_px, f.max_px)]
        common = "-" if f.common_px is None else f"{f.common_px[0]}x{f.common_px[1]} ({f.num_common})"
        kinds = ", ".join(f"{kind} {count}" for kind, count in f.kinds.items()) or "-"
        rows.append((f.name, str(f.num_images), *sizes, common, kinds))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows if folders]


def _listed(title: str, findings: list[str]) -> list[str]:
    """The findings below their title, the first few of them."""
    if not findings:
        return []
    rest = len(findings) - _LINES_SHOWN
    more = [f"  ... and {rest} more (--json FILE lists all)"] if rest > 0 else []
    return [f"{title} ({len(findings)}):", *(f"  {finding}" for finding in findings[:_LINES_SHOWN]), *more]
