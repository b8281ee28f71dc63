"""Which colour stands for which class in label pictures."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cut.errors import UserError, reason, shown
from cut.metrics.segmentation import VOID
from cut.storage.yaml import read_yaml

_FOLDER = Path(__file__).parent / "palettes"
_EXAMPLE = "classes: [{name: water, color: [70, 130, 180]}, ...]"


@dataclass(frozen=True)
class Palette:
    """Colours and their classes.

    Args:
        names: of the classes; the class id is the place.
        colors: `(M, 3)` uint8; several may stand for one class.
        classes: `(M,)` uint8, the class id of each colour, or `VOID`.
    """

    names: tuple[str, ...]
    colors: np.ndarray
    classes: np.ndarray

    def decode(self, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The class of the nearest colour (Euclidean, in RGB) at each pixel, and how far that is.

        Args:
            picture: `(H, W, 3)` uint8.

        Returns:
            `(H, W)` of uint8 class ids, and `(H, W)` of distances, 0 to 442.
        """
        pixels = picture.astype(np.int32)
        nearest = np.full(picture.shape[:2], np.iinfo(np.int32).max, dtype=np.int32)
        decoded = np.full(picture.shape[:2], VOID, dtype=np.uint8)
        for color, number in zip(self.colors.astype(np.int32), self.classes, strict=True):
            distance = np.sum((pixels - color) ** 2, axis=2)
            nearer = distance < nearest  # at equal distance the colour that stands first
            nearest[nearer], decoded[nearer] = distance[nearer], number
        return decoded, np.sqrt(nearest)


def known_palettes() -> tuple[str, ...]:
    """The names of the palettes that come with the package."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


def read_palette(name: str | Path) -> Palette:
    """Reads a palette that comes with the package, or a YAML of the same form.

        classes: [{name: water, color: [70, 130, 180]}, {name: land, colors: [[0, 128, 0], [200, 180, 120]]}]
        ignore: [[0, 0, 0]]

    Pixels nearest to a colour of `ignore`, which may be left out, are void.

    Args:
        name: one of `known_palettes()`, or a file.

    Raises:
        UserError: no such palette, or the file is not of that form.
    """
    path = _FOLDER / f"{name}.yaml" if str(name) in known_palettes() else Path(name)
    try:
        content = read_yaml(path)
    except (FileNotFoundError, IsADirectoryError):
        known = ", ".join(known_palettes())
        raise UserError(f"palette {name}: no such file; known: {known}, or a YAML with {_EXAMPLE}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"palette {path}: cannot be read as YAML ({reason(error)})") from None
    return _checked(path, content)


def _checked(path: Path, content: object) -> Palette:
    if not isinstance(content, dict) or not set(content) <= {"classes", "ignore"}:
        raise UserError(f"palette {path}: should hold the keys classes and, if wanted, ignore: {_EXAMPLE}")
    entries = content.get("classes")
    if not isinstance(entries, list) or not 1 <= len(entries) <= VOID:
        raise UserError(f"palette {path}: classes: should be a list of 1 to {VOID}: {_EXAMPLE}")
    names: list[str] = []
    classes: dict[tuple[int, ...], int] = {}
    for number, entry in enumerate(entries):
        where = f"palette {path}: classes[{number}]"
        keys = set(entry) if isinstance(entry, dict) else set()
        if keys not in ({"name", "color"}, {"name", "colors"}):
            raise UserError(f"{where}: got {shown(entry)}; should be like {{name: water, color: [70, 130, 180]}}")
        names.append(shown(entry["name"], quoted=False))
        _add_colors(where, [entry["color"]] if "color" in entry else entry["colors"], number, classes)
    _add_colors(f"palette {path}: ignore", content.get("ignore") or [], VOID, classes)
    if len(set(names)) < len(names):
        twice = shown(max(names, key=names.count))
        raise UserError(f"palette {path}: two classes are called {twice}; give each its name")
    return Palette(tuple(names), np.array(list(classes), np.uint8), np.array(list(classes.values()), np.uint8))


def _add_colors(where: str, colors: object, number: int, classes: dict[tuple[int, ...], int]) -> None:
    if not isinstance(colors, list) or (not colors and number != VOID):
        raise UserError(f"{where}: colors: got {shown(colors)}; should be a list of [red, green, blue]")
    for color in colors:
        whole = isinstance(color, list) and all(type(part) is int and 0 <= part <= 255 for part in color)
        if not whole or len(color) != 3:
            raise UserError(f"{where}: got the color {shown(color)}; should be [red, green, blue], each from 0 to 255")
        if tuple(color) in classes:
            raise UserError(f"{where}: the color {color} stands in the palette already; a pixel has one class")
        classes[tuple(color)] = number
