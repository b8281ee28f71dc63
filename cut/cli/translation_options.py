"""The options of cut-test that only some methods have: directions, styles, guides and classes."""

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from cut.errors import UserError
from cut.terminal import say

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from lightning_fabric import Fabric
    from torch import Tensor

    from cut.config import RunConfig
    from cut.inference.request import Request
    from cut.methods.translator import Translator


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
        "--num-passes",
        type=int,
        metavar="N",
        help="passes through the generator (UNSB), from 1 to the steps of its bridge (default: the run's, 5)",
    )
    parser.add_argument(
        "--load-px",
        type=_sides,
        metavar="N",
        help="scale pictures first, as data.load_px N did in training, see below (default: their own size)",
    )
    parser.add_argument(
        "--label",
        metavar="NAME",
        help="the class to translate to, or to draw; all: each, as NAME_CLASS (where there are classes)",
    )


def _sides(text: str) -> int | tuple[int, int]:
    """`256`, or `256x512`: height and width."""
    if not re.fullmatch(r"-?\d+(x\d+)?", text):
        raise argparse.ArgumentTypeError(f"got {text}; allowed: a number, or HEIGHTxWIDTH")
    first, *others = map(int, text.split("x"))
    return (first, others[0]) if others else first


def make_request(args: argparse.Namespace, method: "Translator", config: "RunConfig", fabric: "Fabric") -> "Request":
    """What the command line asks of a method that translates pictures.

    Raises:
        UserError: The method has no such direction, styles, classes or passes, or a guide cannot be read.
    """
    from cut.api.choices import find_direction, find_num_passes, scaling
    from cut.inference.request import Request, guided, several, with_labels

    direction = find_direction(args.direction, config, method, "--direction")
    num_passes = find_num_passes(args.num_passes, method, config.method.name, "--num-passes")
    labels = asked_labels(args, method, config.method.name)
    if args.num_outputs is not None and args.num_outputs < 1:
        raise UserError(f"--num-outputs {args.num_outputs}: must be at least 1")
    if args.guide and (args.num_outputs or 1) > 1:
        raise UserError("--num-outputs: a guide gives one style; leave --guide or --num-outputs out")
    outputs, prepare = several(args.num_outputs or 1), scaling(args.load_px, config, "--load-px")
    if args.guide:
        outputs = guided(_guide_styles(args.guide, method, config, fabric, direction, prepare))
    if labels:
        outputs = with_labels(outputs, labels)
    made = config.data.bands[direction[1]]
    return Request(direction, args.seed, args.deterministic, outputs, prepare, made, num_passes=num_passes)


def say_scale(args: argparse.Namespace, config: "RunConfig", pictures: "Sequence[Path]") -> None:
    """One line where pictures are finer or coarser by more than two than those that the network has learnt from."""
    from cut.data.scale import describe_scale

    is_known = args.config or not args.weights  # weights alone do not tell how their pictures were scaled
    if args.load_px is None and is_known and (line := describe_scale(pictures, config.data)):
        option = str(getattr(config.data, "load_px", None)).strip("()").replace(", ", "x")
        say(f"cut-test: note: {line}; --load-px {option} scales these so too")


def asked_labels(args: argparse.Namespace, method: "Translator", name: str) -> list[tuple[int, str]]:
    """Number and name of each class that is asked for; none where the method knows no classes, or draws them in turn.

    Raises:
        UserError: There is no such class, none is named for a translation, or the method takes no such option.
    """
    from cut.api.choices import find_labels, require_inputs

    given = {
        "style": ("--num-outputs", args.num_outputs),
        "guide": ("--guide", args.guide),
        "label": ("--label", args.label),
    }
    require_inputs(method, name, given)
    in_turn = args.label is None and "image" not in method.inputs
    return find_labels(args.label, method, "--label") if "label" in method.inputs and not in_turn else []


def _guide_styles(
    path: Path,
    method: "Translator",
    config: "RunConfig",
    fabric: "Fabric",
    direction: str,
    prepare: "Callable[[np.ndarray], np.ndarray] | None",
) -> list[tuple[Path, "Tensor"]]:
    """The style of each guide picture; they are read at their own size, unless pictures are scaled."""
    from cut.api.choices import style_of
    from cut.data.images import list_images, read_image

    paths = list_images(path) if path.is_dir() else [path]
    bands = config.data.bands[direction[-1]]
    fabric.to_device(method)
    styles = []
    for guide in paths:
        picture = read_image(guide, bands)
        own = prepare(picture) if prepare else picture
        styles.append((guide, style_of(method, own, direction, fabric, f"--guide {guide}")))
    return styles
