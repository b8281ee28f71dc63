"""What belongs to a training picture besides itself: a mask, and the picture of the other domain that has its name."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from cut.config import UnpairedDataConfig
from cut.data.images import open_header, pair_name, read_image, to_8_bit
from cut.data.numbers import find_numbers
from cut.data.pair_files import by_name
from cut.errors import UserError, listed

OTHER = {"a": "b", "b": "a"}  # domain
_LEAST_WHITE = 128  # of 255: a mask whose brightest place is darker, but not black, marks what it means by a number


class Beside:
    """Masks and partners of the training pictures.

    Args:
        config: Folders.
        paths: Training pictures of the source domain `a` and of the target domain `b`.
        wanted: Keys of a batch that the method reads: `mask_a`, `mask_b`, and `partner_b`, the partners of pictures of
            a, or `partner_a`.

    Attributes:
        masks: Of each domain that has masks, the mask of each picture.
        partners: Of each domain whose pictures want partners, the partner of each picture that has one.

    Raises:
        UserError: A mask is missing; there is not one pair, though partners are wanted; a name stands twice.
    """

    def __init__(self, config: UnpairedDataConfig, paths: Mapping[str, Sequence[Path]], wanted: Collection[str]):
        self.folders = dict(zip("ab", config.folders("train"), strict=True))
        self.mask_folders = dict(zip("ab", config.mask_folders(), strict=True))
        self._config, self._paths = config, paths
        self.masks = {domain: self._masks(domain) for domain in "ab" if f"mask_{domain}" in wanted}
        self.masks = {domain: masks for domain, masks in self.masks.items() if masks}
        self.partners: dict[str, dict[Path, Path]] = {}
        if {"partner_a", "partner_b"} & set(wanted):
            self.partners = {d: p for d, p in self._pairs().items() if f"partner_{OTHER[d]}" in wanted}

    def notes(self) -> list[str]:
        """What was found, in a line each."""
        a, b = self.folders["a"], self.folders["b"]
        lines = [f"masks: {len(masks)} of {self.mask_folders[domain]}" for domain, masks in self.masks.items()]
        unused = self.mask_folders["a"]
        if "a" not in self.masks and unused.is_dir() and self._config.masks is None:
            lines.append(f"{unused}: not used, because this method uses no masks")
        if self.partners:
            count = len(next(iter(self.partners.values())))
            of = f"the {len(self._paths['a'])} of {a} and the {len(self._paths['b'])} of {b}"
            lines.append(f"pairs: {count} pictures have one name among {of}")
        return lines

    def _masks(self, domain: str) -> dict[Path, Path]:
        """The mask of each picture; none where there is no folder of them, unless it is asked for."""
        folder, pictures = self.mask_folders[domain], self.folders[domain]
        if self._config.masks is False or (not folder.is_dir() and not (self._config.masks and domain == "a")):
            return {}
        named = by_name(folder)
        found = {path: named.get(pair_name(path.relative_to(pictures))) for path in self._paths[domain]}
        if missing := [path for path, mask in found.items() if mask is None]:
            raise UserError(
                f"data.masks: {folder}: no mask of the same name for {listed([str(path) for path in missing], 3)}; "
                "add it (white: translate, black: keep), or set data.masks=false"
            )
        return {path: mask for path, mask in found.items() if mask}

    def _pairs(self) -> dict[str, dict[Path, Path]]:
        a, b = (by_name(self.folders[domain], self._paths[domain]) for domain in "ab")
        names = [name for name in a if name in b]
        if not names:
            raise UserError(
                f"method.lambda_paired: no picture of {self.folders['a']} has the name of one of {self.folders['b']}; "
                "give the pictures of a pair one name, or set method.lambda_paired=0"
            )
        return {"a": {a[name]: b[name] for name in names}, "b": {b[name]: a[name] for name in names}}


def read_mask(path: Path) -> np.ndarray:
    """A mask `(H, W, 1)` in 8 bits: white is translated, black stays, gray in between.

    Raises:
        UserError: It cannot be read, is transparent in places, or holds numbers of classes instead of brightness.
    """
    if (found := find_numbers(path)) and found.dtype not in (np.uint8, np.uint16):
        raise UserError(
            f"{path}: this mask holds {found.dtype.name} numbers; save it in 8 bits (uint8, 255: translate, 0: keep)"
        )
    mask = to_8_bit(read_image(path, 1))
    if _is_transparent(path):
        raise UserError(
            f"{path}: this mask is transparent in places, which do not say whether they are translated; save it "
            "without transparency (white: translate, black: keep)"
        )
    if 0 < mask.max() < _LEAST_WHITE:
        raise UserError(
            f"{path}: the brightest place of this mask is {mask.max()} of 255; white (255) marks what is translated, "
            "so multiply it, or draw it again"
        )
    return mask


def _is_transparent(path: Path) -> bool:
    try:
        with open_header(path) as picture:
            return picture.has_transparency_data and bool(np.asarray(picture.convert("RGBA"))[..., 3].min() < 255)
    except UserError:  # no file of Pillow's: an array, or a TIFF of many bits
        return False
