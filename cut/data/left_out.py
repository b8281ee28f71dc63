"""What of the user's pictures is not used, in lines that are printed once: nothing is left out without a word."""

import re
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import IO

from PIL import Image, TiffImagePlugin

from cut.data.colour import find_transform
from cut.data.decode import is_alpha, tiff_tags
from cut.data.folders import list_folder
from cut.data.images import evenly_chosen, open_header
from cut.errors import UserError, printable
from cut.storage.files import open_regular

_TIFF_KIND, _TIFF_DESCRIPTION, _TIFF_BITS, _TIFF_EXTRA_SAMPLES = 254, 270, 258, 338
_TIFF_SMALLER_OR_MASK = 0b101  # of a page's kind: the first one again, smaller, or where that is transparent
_MOST_PAGES = 100
_AVIF_DEPTH = re.compile(rb"av1C..(.)", re.DOTALL)  # AV1 in ISOBMFF, 2.3.3
_AVIF_HIGH = 0x40
_MOST_AVIF_HEADER_BYTES = 1 << 16


def describe_left_out(
    sources: Iterable[Path], most_looked_at: int | None = None, whole: Collection[Path] = ()
) -> list[str]:
    """A line for each folder or picture of which not all is used.

    Args:
        sources: Folders and pictures; what does not exist is passed over.
        most_looked_at: Pictures of a folder whose files are opened, evenly chosen; None opens all.
        whole: Sources of which all bands and pages are read.
    """
    lines = []
    for source in dict.fromkeys(sources):
        found, paths = [], [source]
        try:
            if source.is_dir():
                listing = list_folder(source)
                found += [f"left out: {what}" for what in listing.left_out()]
                paths = listing.paths
        except UserError:
            continue
        looked_at = paths if most_looked_at is None else evenly_chosen(paths, most_looked_at)
        of = f"{len(looked_at)} pictures" if len(looked_at) == len(paths) else f"{len(looked_at)} pictures looked at"
        counts = count_losses([path for path in looked_at if source not in whole or not _is_tiff(path)])
        found += [f"{count} of {of}: {loss}" if len(paths) > 1 else loss for loss, count in counts.most_common()]
        lines += [printable(f"{source}: {'; '.join(found)}")] * bool(found)
    return lines


def count_losses(paths: Iterable[Path]) -> Counter[str]:
    """What reading loses -> number of pictures; not of broken ones, because reading them says what is wrong."""
    counts: Counter[str] = Counter()
    for path in paths:
        try:
            counts.update(_losses(path))
        except UserError:
            continue
    return counts


def _is_tiff(path: Path) -> bool:
    return path.suffix.lower() in (".tif", ".tiff")


def _losses(path: Path) -> list[str]:
    found = []
    with open_header(path) as picture:
        tags = tiff_tags(picture)
        has_16_bits = max(tags.get(_TIFF_BITS, (8,))) > 8 or ";16" in f"{picture.mode}{[t[3] for t in picture.tile]}"
        if picture.has_transparency_data:
            found.append("transparency is laid over white")
        extra_samples = tags.get(_TIFF_EXTRA_SAMPLES, ())
        if len(extra_samples) > 1 or (extra_samples and not is_alpha(extra_samples)):
            found.append("channels besides the colours are left out")
        if loss := _lost_profile(picture, has_16_bits):
            found.append(loss)
        is_deep_heif = picture.format == "HEIF" and picture.info.get("bit_depth", 8) > 8
        if (
            is_deep_heif
            or (picture.format == "AVIF" and _avif_is_deep(path))
            or (picture.mode == "CMYK" and has_16_bits)
        ):
            found.append("more than 8 bits a channel are read as 8")
        if _has_more_pages(path) if picture.format == "TIFF" else getattr(picture, "is_animated", False):
            found.append("only the first page or frame is used")
    return found


def _lost_profile(picture: Image.Image, has_16_bits: bool) -> str | None:
    profile = picture.info.get("icc_profile")
    if not profile:
        return None
    mode = "L" if picture.mode.startswith("I") else picture.mode
    transform = find_transform(profile, mode if mode in ("L", "CMYK") else "RGB")
    if isinstance(transform, str):
        return f"the colour profile, {transform}, is ignored"
    return "the colour profile is ignored, because it has 16 bits a channel" if transform and has_16_bits else None


def _has_more_pages(path: Path) -> bool:
    """Whether a TIFF holds pages besides the first one, smaller copies and masks of it aside."""
    try:
        with open_regular(path) as file:
            return _finds_another_page(file)
    except Exception:  # noqa: BLE001  whatever a damaged file makes of it
        return False


def _finds_another_page(file: IO[bytes]) -> bool:
    header = file.read(8)
    tags = TiffImagePlugin.ImageFileDirectory_v2(header + file.read(8) if 43 in header[2:4] else header)
    pages: set[int] = set()
    while tags.next and tags.next not in pages and len(pages) < _MOST_PAGES:
        pages.add(tags.next)
        file.seek(tags.next)
        tags.load(file)
        if len(pages) > 1 and not tags.get(_TIFF_KIND, 0) & _TIFF_SMALLER_OR_MASK:
            return True
        # ImageJ writes the pages of a stack behind each other, under the tags of the first.
        if re.match(r"ImageJ=.*^images=(?!1$)", str(tags.get(_TIFF_DESCRIPTION, "")), re.DOTALL | re.MULTILINE):
            return True
    return False


def _avif_is_deep(path: Path) -> bool:
    with open_regular(path) as file:
        found = _AVIF_DEPTH.search(file.read(_MOST_AVIF_HEADER_BYTES))
    return bool(found and found[1][0] & _AVIF_HIGH)
