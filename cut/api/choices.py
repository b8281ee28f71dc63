"""What a translation may be asked for by name: the direction, a class, the style of a picture, a scale."""

from collections.abc import Callable
from functools import partial
from numbers import Integral

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from cut.config import RunConfig
from cut.config.sides import LEAST_PX, MOST_PX, as_text, both_sides
from cut.data.images import composed
from cut.data.scale import scale_as_in_training
from cut.data.transforms import to_tensor
from cut.errors import UserError, did_you_mean, reason, shortened, shown
from cut.methods.translator import Translator


def find_direction(given: str | None, config: RunConfig, method: Translator, option: str) -> str:
    """`ab`, or `ba` where the asked direction, which is that of the folders on disk, is against the run's own.

    Args:
        given: `AtoB`, `BtoA`, or None for the run's own.
        config: Configuration of the run.
        method: Translator of the run.
        option: What the user calls it, for errors.

    Raises:
        UserError: The run has not learnt that direction.
    """
    own = own_direction(config)
    if given in (None, own):
        return "ab"
    if given not in ("AtoB", "BtoA"):
        raise UserError(f"{option} {given}: no such direction (known: AtoB, BtoA)")
    if "ba" not in method.directions():
        how = f"--set data.direction={given}" if hasattr(config.data, "direction") else "data.a and data.b exchanged"
        raise UserError(
            f"{option} {given}: this {config.method.name} generator has learnt {own} only; "
            f"take another, or train one with {how}"
        )
    return "ba"


def own_direction(config: RunConfig) -> str:
    """The direction that a run was trained for; two single pictures are called a and b."""
    return getattr(config.data, "direction", "AtoB")


def require_inputs(method: Translator, name: str, given: dict[str, tuple[str, object]]) -> None:
    """Refuses what the method does not take.

    Args:
        method: Translator of the run.
        name: Name of the method.
        given: What was given, with what the user calls it, by the input that it needs.

    Raises:
        UserError: Something was given that the method does not take.
    """
    reasons = {
        "style": "has no styles, so a seed gives a picture one translation",
        "guide": "takes no style from another picture",
        "label": "knows no classes",
    }
    for needed, (option, value) in given.items():
        if value is not None and needed not in method.inputs:
            raise UserError(f"{option}: {name} {reasons[needed]}; leave it out")


def find_num_passes(given: int | None, method: Translator, name: str, option: str) -> int | None:
    """The number of passes that is asked for; None for the method's own.

    Raises:
        UserError: The method has not so many.
    """
    if given is not None and method.most_passes == 1:
        raise UserError(f"{option}: {name} translates in one pass; leave it out")
    if given is not None and not (isinstance(given, Integral) and 1 <= given <= method.most_passes):
        raise UserError(f"{option} {shown(given)}: must be from 1 to {method.most_passes}, the steps of this model")
    return given


def find_labels(given: str | None, method: Translator, option: str) -> list[tuple[int, str]]:
    """Number and name of each class that is asked for: of one, or of `all`.

    Raises:
        UserError: There is no such class, or none is given.
    """
    known = list(enumerate(method.label_names))
    if given == "all":
        return known
    found = [(number, name) for number, name in known if given and composed(name) == composed(given)]
    if not found:
        names = shortened(", ".join(method.label_names), 400)
        what = (
            f"{option} {given}: no such class{did_you_mean(given, method.label_names)}"
            if given
            else f"{option}: missing"
        )
        raise UserError(f"{what} (known: {names}, or all)")
    return found


def style_of(method: Translator, picture: np.ndarray | Tensor, direction: str, fabric: Fabric, option: str) -> Tensor:
    """The style `(1, ...)` of a guide, on the CPU.

    Args:
        method: Translator, set for inference and on the device.
        picture: `(H, W, C)` uint8 or uint16, or `(C, H, W)` in [-1, 1], of the domain that is translated to.
        direction: `ab` or `ba`.
        fabric: Device and precision.
        option: What the user calls it, for errors.

    Raises:
        UserError: The picture is too small.
    """
    image = fabric.to_device((picture if isinstance(picture, Tensor) else to_tensor(picture))[None])
    try:
        with torch.inference_mode(), fabric.autocast():
            seen = method.colours(image) if direction == "ba" and method.colours is not None else image
            return method.guide_style(seen, direction).float().cpu()
    except RuntimeError as error:
        raise UserError(f"{option}: its style cannot be read ({reason(error)}); take a larger picture") from None


def scaling(
    load_px: int | tuple[int, int] | None, config: RunConfig, option: str
) -> Callable[[np.ndarray], np.ndarray] | None:
    """What scales a picture as training did; None where nothing is asked for.

    Raises:
        UserError: `load_px` is no side, nor two, or is out of range.
    """
    if load_px is None:
        return None
    load_px = tuple(load_px) if isinstance(load_px, list) else load_px
    if [isinstance(side, Integral) for side in both_sides(load_px)] != [True, True]:
        raise UserError(f"{option} {shown(load_px)}: must be a number, or (height, width)")
    if not all(LEAST_PX <= side <= MOST_PX for side in both_sides(load_px)):
        raise UserError(f"{option} {as_text(load_px)}: must be from {LEAST_PX} to {MOST_PX}")
    return partial(scale_as_in_training, config=config.data, load_px=load_px)
