"""What cut-eval needs torch for: its networks, and which metrics the folders and options allow."""

import argparse
import tempfile
from collections.abc import Iterable
from pathlib import Path

from cut.data.colour_transfer import colours_of, transfer_colours
from cut.data.images import list_images, stored_size_px
from cut.data.numbers import bands_of
from cut.errors import UserError, reason
from cut.metrics.names import METRICS, NEEDS_FEATURES, NEEDS_OUTPUTS, NEEDS_PAIRS, NEEDS_PALETTE
from cut.metrics.patches import SWD_PATCH_PX
from cut.metrics.similarity import MS_SSIM_SMALLEST_PX, SSIM_WINDOW_PX
from cut.scoring.evaluator import Evaluator, Result, find_pictures
from cut.scoring.feature_store import default_store
from cut.scoring.find_pictures import require_colours
from cut.scoring.perceptual import LPIPS_SMALLEST_PX
from cut.scoring.scoring_files import ScoringFiles
from cut.scoring.seen_features import require_unseen
from cut.storage.public_weights import PACKAGED
from cut.storage.written import noted_features
from cut.terminal import say

_LEAST_PX = {"ssim": SSIM_WINDOW_PX, "ms_ssim": MS_SSIM_SMALLEST_PX, "lpips": LPIPS_SMALLEST_PX, "swd": SWD_PATCH_PX}


def make_evaluator(args: argparse.Namespace, metrics: tuple[str, ...]) -> Evaluator:
    """The evaluator that the command line describes, with only those networks that `metrics` read."""
    return Evaluator(
        args.target,
        metrics,
        batch_size=args.batch_size,
        device=_device(args.device),
        progress=True,
        store=None if args.no_cache else args.cache_dir or _default_store(),
        intervals=not args.no_intervals,
        limits=tuple(args.range) if args.range else None,
        **_files(args).arguments(metrics),
    )


def warn_of_seen_features(features: Path | None, folders: Iterable[Path]) -> None:
    """Prints which folders hold pictures of runs whose discriminator saw through the network that scores them."""
    for folder in folders:
        for seen in noted_features(folder):
            if seen in PACKAGED or Path(seen).is_file():
                try:
                    require_unseen("--features", features, seen)
                except UserError as error:
                    say(f"cut-eval: warning: {folder}: {error}")


def score_colour_transfer(evaluator: Evaluator, folder: Path, target: Path, has_range: bool) -> Result | None:
    """Scores of the pictures of a folder after a colour transfer, which learns from these two folders alone; None, and
    a warning, where there can be none: nobody has asked for them, and the others are computed by now."""
    try:
        if has_range or bands_of(list_images(folder)[0]) not in (1, 3):
            raise UserError("it is for gray and colour pictures of 8 or 16 bits, without --range")
        colours = colours_of(list_images(folder)), colours_of(list_images(target))
        with tempfile.TemporaryDirectory() as output:
            transfer_colours(folder, Path(output), *colours)
            return evaluator.score(Path(output))
    except (UserError, OSError) as error:
        say(f"cut-eval: warning: no colour transfer: {reason(error)}")
        return None


def _default_store() -> Path | None:
    try:
        return default_store()
    except OSError as error:
        say(f"cut-eval: warning: {error.filename}: features are not kept ({reason(error)}); choose a --cache-dir")
        return None


def everything(args: argparse.Namespace, folders: list[Path]) -> tuple[tuple[str, ...], list[str]]:
    """All metrics that can be computed, and why the others cannot, in a line each.

    Raises:
        UserError: a folder is missing or empty, or none can be computed.
    """
    for folder in (*folders, args.target):
        list_images(folder)  # a missing one is no metric's fault
    left_out: dict[str, str] = {}
    if not args.palette:
        left_out |= dict.fromkeys(NEEDS_PALETTE, "no --palette is given")
    if args.segmenter:
        reason = "with --segmenter the targets are label pictures, the generated ones photographs"
        left_out |= {name: reason for name in METRICS if name not in NEEDS_PALETTE}
    else:
        left_out |= _missing_networks(args)
    by_lpips = "lpips" not in left_out
    for folder in folders:
        for name in [name for name in METRICS if name not in left_out]:
            try:
                require_colours(find_pictures(folder, args.target, [name])[0][0], [name])
            except UserError as error:
                left_out[name] = str(error)
        sizes = [size for path in list_images(folder) if (size := stored_size_px(path))]
        if by_lpips and min(map(min, sizes), default=LPIPS_SMALLEST_PX) < LPIPS_SMALLEST_PX:
            left_out.setdefault("diversity", f"it needs pictures of {LPIPS_SMALLEST_PX} px or more")
        if not args.segmenter and "l1" not in left_out:
            for name, reason in _unfit_sizes(folder, args.target).items():
                left_out.setdefault(name, reason)
    metrics = tuple(name for name in METRICS if name not in left_out)
    if not metrics:
        raise UserError(f"--metrics all: none can be computed; {next(iter(left_out.values()))}")
    reasons = dict.fromkeys(left_out.values())
    lines = [", ".join(name for name in METRICS if left_out.get(name) == reason) + f": {reason}" for reason in reasons]
    return metrics, lines


def _unfit_sizes(folder: Path, target: Path) -> dict[str, str]:
    """Which metrics the pictures' sizes do not allow, and why; by the files' headers, before anything is decoded."""
    pairs = find_pictures(folder, target, ["l1"])[2]
    smallest: int | None = None
    for path, partner in pairs:
        size, partner_size = stored_size_px(path), stored_size_px(partner)
        if size is None or partner_size is None:
            continue  # scoring will say what is wrong with it
        if sorted(size) != sorted(partner_size):  # either may be turned by its EXIF orientation
            return dict.fromkeys(NEEDS_PAIRS, f"{path} and its partner {partner} differ in size")
        smallest = min(*size, smallest or size[0])
    return {
        name: f"it needs pictures of {least} px or more"
        for name, least in _LEAST_PX.items()
        if (smallest or least) < least
    }


def _missing_networks(args: argparse.Namespace) -> dict[str, str]:
    """Which metrics have no network, and why. A file that was named must be there."""
    missing: dict[str, str] = {}
    try:
        _files(args).lpips()
    except UserError as error:
        if args.lpips_backbone:
            raise
        missing["lpips"] = str(error)
    try:
        _files(args).feature_network()
    except UserError as error:
        if args.features or args.inception_weights:
            raise
        missing |= dict.fromkeys(NEEDS_FEATURES, str(error))
        if "lpips" in missing:
            missing |= dict.fromkeys(NEEDS_OUTPUTS, missing["lpips"])
    return missing


def _files(args: argparse.Namespace) -> ScoringFiles:
    return ScoringFiles(args.features, args.inception_weights, args.palette, args.segmenter, args.lpips_backbone)


def _device(name: str) -> str:
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: no CUDA device here; allowed: auto, cpu")
    return "cuda" if name == "auto" and torch.cuda.is_available() else name.replace("auto", "cpu")
