"""The options of cut-test that only some methods have: directions, styles, guides and classes."""

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cut.errors import UserError, did_you_mean
from cut.terminal import say

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from lightning_fabric import Fabric
    from torch import Tensor

    from cut.config import RunConfig
    from cut.inference.request import Request
    from cut.methods.base import Method

_LEAST_PX = 8  # as of data.load_px


def add_translation_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options to the parser of cut-test."""
    parser.add_argument(
        "--direction",
        choices=("AtoB", "BtoA"),
        help="of a run that has learnt both, such as CycleGAN's (default: data.direction of the run)",
    )
    parser.add_argument(
        "--num-outputs",
        type=int,
        metavar="N",
        help="random styles per picture (MUNIT, DRIT): writes NAME_0, NAME_1 and so on (default: one)",
    )
    parser.add_argument(
        "--guide",
        type=Path,
        metavar="PATH",
        help="a picture whose style the translations take (MUNIT, DRIT); of a folder each, as NAME_GUIDE",
    )
    parser.add_argument(
        "--load-px",
        type=int,
        metavar="N",
        help="scale pictures first, as data.load_px N did in training, see below (default: their own size)",
    )
    parser.add_argument(
        "--label",
        metavar="NAME",
        help="the class to translate to, or to draw; all: each, as NAME_CLASS (where there are classes)",
    )


def make_request(args: argparse.Namespace, method: "Method", config: "RunConfig", fabric: "Fabric") -> "Request":
    """What the command line asks of a method that translates pictures.

    Raises:
        UserError: The method has no such direction, styles or classes, or a guide cannot be read.
    """
    from cut.inference.request import Request, guided, several, with_labels

    direction = _direction(args.direction, config, method)
    labels = asked_labels(args, method, config.method.name)
    if args.num_outputs is not None and args.num_outputs < 1:
        raise UserError(f"--num-outputs {args.num_outputs}: must be at least 1")
    if args.guide and (args.num_outputs or 1) > 1:
        raise UserError("--num-outputs: a guide gives one style; leave --guide or --num-outputs out")
    outputs, prepare = several(args.num_outputs or 1), _scaling(args.load_px, config)
    if args.guide:
        outputs = guided(_guide_styles(args.guide, method, config, fabric, direction, prepare))
    if labels:
        outputs = with_labels(outputs, labels)
    return Request(direction, args.seed, args.deterministic, outputs, prepare)


def _scaling(load_px: int | None, config: "RunConfig") -> "Callable[[np.ndarray], np.ndarray] | None":
    from cut.config.data import MOST_PX
    from cut.data.scale import scale_as_in_training

    if load_px is None:
        return None
    if not _LEAST_PX <= load_px <= MOST_PX:
        raise UserError(f"--load-px {load_px}: must be from {_LEAST_PX} to {MOST_PX}")
    return partial(scale_as_in_training, config=config.data, load_px=load_px)


def say_scale(args: argparse.Namespace, config: "RunConfig", pictures: "Sequence[Path]") -> None:
    """One line where pictures are finer or coarser by more than two than those that the network has learnt from."""
    from cut.data.scale import describe_scale

    is_known = args.config or not args.weights  # weights alone do not tell how their pictures were scaled
    if args.load_px is None and is_known and (line := describe_scale(pictures, config.data)):
        say(f"cut-test: note: {line}; --load-px {getattr(config.data, 'load_px', None)} scales these so too")


def _direction(given: str | None, config: "RunConfig", method: "Method") -> str:
    """`ab`, or `ba` where the asked direction, which is that of the folders on disk, is against the run's own."""
    own = getattr(config.data, "direction", "AtoB")  # two single pictures are called a and b
    if given in (None, own):
        return "ab"
    if "ba" not in method.directions():
        how = f"--set data.direction={given}" if hasattr(config.data, "direction") else "data.a and data.b exchanged"
        raise UserError(
            f"--direction {given}: this {config.method.name} generator has learnt {own} only; "
            f"take another, or train one with {how}"
        )
    return "ba"


def _refuse_missing(args: argparse.Namespace, method: "Method", name: str) -> None:
    options = (
        ("--num-outputs", args.num_outputs, "style", "has no styles, so a picture has one translation"),
        ("--guide", args.guide, "guide", "takes no style from another picture"),
        ("--label", args.label, "label", "knows no classes"),
    )
    for option, given, needed, what in options:
        if given is not None and needed not in method.inputs:
            raise UserError(f"{option}: {name} {what}; leave it out")


def asked_labels(args: argparse.Namespace, method: "Method", name: str) -> list[tuple[int, str]]:
    """Number and name of each class that is asked for; none where the method knows no classes.

    Raises:
        UserError: There is no such class, or none is named.
    """
    _refuse_missing(args, method, name)
    return _labels(args.label, method) if "label" in method.inputs else []


def _labels(given: str | None, method: "Method") -> list[tuple[int, str]]:
    known = list(enumerate(method.label_names))
    if given == "all":
        return known
    found = [(number, name) for number, name in known if name == given]
    if not found:
        names = ", ".join(method.label_names)
        what = (
            f"--label {given}: no such class{did_you_mean(given, method.label_names)}" if given else "--label: missing"
        )
        raise UserError(f"{what} (known: {names}, or all)")
    return found


def _guide_styles(
    path: Path,
    method: "Method",
    config: "RunConfig",
    fabric: "Fabric",
    direction: str,
    prepare: "Callable[[np.ndarray], np.ndarray] | None",
) -> list[tuple[Path, "Tensor"]]:
    """The style of each guide picture; they are read at their own size, unless pictures are scaled."""
    import torch

    from cut.data.images import list_images, read_image
    from cut.data.transforms import to_tensor

    paths = list_images(path) if path.is_dir() else [path]
    channels = config.data.channels[direction[-1]]
    fabric.to_device(method)
    styles = []
    for guide in paths:
        picture = read_image(guide, channels)
        image = fabric.to_device(to_tensor(prepare(picture) if prepare else picture)[None])
        try:
            with torch.inference_mode(), fabric.autocast():
                styles.append((guide, method.guide_style(image, direction).float().cpu()))
        except RuntimeError as error:
            raise UserError(f"--guide {guide}: its style cannot be read ({error}); take a larger picture") from None
    return styles
