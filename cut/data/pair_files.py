"""Which picture files make a pair: two of one name in two folders, or the halves A|B of one."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cut.data.images import list_images, pair_name, stored_size_px
from cut.errors import UserError

_SHOWN = 3  # pictures that an error names


def match_folders(folder_a: Path, folder_b: Path) -> list[tuple[str, Path, Path]]:
    """Name, picture of A and picture of B, sorted by name; nested folders count, suffixes do not.

    Raises:
        UserError: a folder is missing or empty, a picture has no partner, or a name stands twice in one folder.
    """
    a, b = by_name(folder_a), by_name(folder_b)
    lonely = [str(path) for name, path in sorted((a | b).items()) if (name in a) != (name in b)]
    if lonely:
        more = f" and {len(lonely) - _SHOWN} more" if len(lonely) > _SHOWN else ""
        raise UserError(
            f"{folder_a}, {folder_b}: no partner of the same name for {', '.join(lonely[:_SHOWN])}{more}; add the "
            "partner or remove the picture"
        )
    return [(name, a[name], b[name]) for name in sorted(a)]


def split_picture(picture: np.ndarray, path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """The left half, A, and the right half, B, of `(H, W, C)`.

    Raises:
        UserError: the width is odd.
    """
    height, width = picture.shape[:2]
    if width % 2:
        raise UserError(f"{path}: {width}x{height} px cannot be two pictures A|B side by side, for the width is odd")
    return picture[:, : width // 2], picture[:, width // 2 :]


def looks_combined(path: Path) -> bool:
    """Whether a picture is exactly twice as wide as high, as two squares A|B are; False where it cannot be read."""
    width, height = stored_size_px(path) or (0, 1)
    return width == 2 * height


def by_name(folder: Path, paths: Sequence[Path] | None = None) -> dict[str, Path]:
    """The pictures below a folder by what the pictures of a pair have in common.

    Args:
        folder: Folder.
        paths: Its pictures; None lists them.

    Raises:
        UserError: the folder is missing or empty, or a name stands there twice.
    """
    named: dict[str, Path] = {}
    for path in list_images(folder) if paths is None else paths:
        name = pair_name(path.relative_to(folder))
        if name in named:
            raise UserError(
                f"{named[name]} and {path} have one name, apart from the suffix and the form of accents, so pairs are "
                "ambiguous; remove one, or rename it"
            )
        named[name] = path
    return named
