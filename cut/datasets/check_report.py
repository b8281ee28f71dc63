"""What `cut-data check` found, as plain values and as text that stays readable whatever the folder holds."""

import dataclasses
from collections import Counter
from dataclasses import dataclass, field

from cut.data.folders import describe_others
from cut.errors import printable, shortened

_LINES_SHOWN, _FOLDERS_SHOWN, _NAMES_SHOWN = 10, 40, 3  # of each kind of finding; `to_dict` has them all
_BANDS_SHOWN = 12
_NAME_CHARACTERS, _LINE_CHARACTERS = 40, 300


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
    brightest: dict[str, int] = field(default_factory=dict)  # value of white -> the brightest value that occurs
    bands: list[tuple[float, float]] = field(default_factory=list)  # lowest and highest value of each, of numbers


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
    ambiguous: list[list[str]]  # files of one name, apart from the suffix and the form of accents
    ignored: dict[str, int]  # suffix -> number of files that are no pictures by their name
    passed_over: list[str] = field(default_factory=list)  # folders and hidden files that are not looked into, and why
    losses: dict[str, int] = field(default_factory=dict)  # what reading loses -> number of pictures
    without_mask: list[str] = field(default_factory=list)  # training pictures, where others of their domain have one

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
        lines += _listed("leakage: the same picture in train, val or test", [_equal(g) for g in self.leaks])
        others = [_equal(group) for group in self.duplicates if group not in self.leaks]
        lines += _listed("duplicates: the same picture", others)
        lines += _listed("pictures without a partner of the same name", self.without_partner)
        lines += _listed(
            "pictures without a mask of the same name (add it, or train with data.masks=false)", self.without_mask
        )
        lines += _listed(
            "pictures of one name in one folder, so pairs are ambiguous", [_equal(group) for group in self.ambiguous]
        )
        lines += _listed("used range", [line for folder in self.folders for line in _range(folder)])
        lines += _listed("left out", self._left_out())
        return "\n".join(map(printable, [*lines, "errors found" if self.has_errors else "no errors"]))

    def _left_out(self) -> list[str]:
        others = describe_others(Counter(self.ignored))
        return [*others, *self.passed_over, *(f"{count} pictures: {loss}" for loss, count in self.losses.items())]


_LAYOUTS = {
    "unpaired": "unpaired folders (trainA, trainB, ...)",
    "aligned": "aligned pairs (A|B side by side in train, val, test)",
    "plain": "a plain folder of pictures",
    "idx": "IDX files, as MNIST has them",
    "nothing": "no pictures and no known layout",
}


def _table(folders: list[Folder]) -> list[str]:
    rows: list[tuple[str, ...]] = [("folder", "pictures", "smallest", "median", "largest", "most common", "modes")]
    for f in folders[:_FOLDERS_SHOWN]:
        sizes = ["-" if size is None else f"{size[0]}x{size[1]}" for size in (f.min_px, f.median_px, f.max_px)]
        common = "-" if f.common_px is None else f"{f.common_px[0]}x{f.common_px[1]} ({f.num_common})"
        kinds = ", ".join(f"{kind} {count}" for kind, count in f.kinds.items()) or "-"
        rows.append((shortened(f.name, _NAME_CHARACTERS), str(f.num_images), *sizes, common, kinds))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rest = len(folders) - _FOLDERS_SHOWN
    more = [f"  ... and {rest} more folders (--json FILE lists all)"] if rest > 0 else []
    return [*("  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows if folders), *more]


def _equal(paths: list[str]) -> str:
    """`a = b = c and 97 more`."""
    more = len(paths) - _NAMES_SHOWN
    return " = ".join(paths[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _range(folder: Folder) -> list[str]:
    """How much of their range pictures of 16 bits use, and of 8 bits where it is less than half."""
    lines = []
    for white, brightest in folder.brightest.items():
        is_dark = brightest <= int(white) // 2
        if is_dark or white != "255":
            how = f"; networks take {white} for white, so scale these pictures up if they look dark" if is_dark else ""
            lines.append(f"{folder.name}: brightest value {brightest} of {white}{how}")
    if folder.bands:
        shown = ", ".join(f"{n} {low:g} to {high:g}" for n, (low, high) in enumerate(folder.bands[:_BANDS_SHOWN], 1))
        more = f" and {len(folder.bands) - _BANDS_SHOWN} more" if len(folder.bands) > _BANDS_SHOWN else ""
        low, high = (choose(end) for choose, end in zip((min, max), zip(*folder.bands, strict=True), strict=True))
        lines.append(
            f"{folder.name}: all bands {low:g} to {high:g} (data.range_a, data.range_b); by band: {shown}{more}"
        )
    return lines


def _listed(title: str, findings: list[str]) -> list[str]:
    """The findings below their title, the first few of them."""
    if not findings:
        return []
    rest = len(findings) - _LINES_SHOWN
    more = [f"  ... and {rest} more (--json FILE lists all)"] if rest > 0 else []
    return [
        f"{title} ({len(findings)}):",
        *(f"  {shortened(f, _LINE_CHARACTERS)}" for f in findings[:_LINES_SHOWN]),
        *more,
    ]
