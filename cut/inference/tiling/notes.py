"""What is noted on tensors without content while a `forward` is recorded: the `Node` or `Whole` that they stand for."""

from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import Tensor

from cut.errors import TilingError
from cut.inference.tiling.nodes import Node, Whole

LEAVE_OUT = "leave --tile-px out"


def note(tensor: Tensor, what: Node | Whole) -> None:
    """Writes down where the content of `tensor` will come from."""
    tensor.__dict__["noted"] = what


def noted(value: Any) -> Any:
    """What was noted on a value; None on a constant."""
    return value.__dict__.get("noted") if isinstance(value, Tensor) else None


def refuse(what: str) -> NoReturn:
    """Ends the recording with a TilingError that names what tiles cannot do."""
    raise TilingError(f"{what} cannot be cut into tiles; {LEAVE_OUT}")


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """`value` with `change` of each leaf of its tuples, lists and dicts."""
    if isinstance(value, dict):
        return {key: mapped(item, change) for key, item in value.items()}
    if isinstance(value, tuple | list) and not isinstance(value, torch.Size):
        return type(value)([mapped(item, change) for item in value])
    return change(value)


def tensors_in(value: Any) -> list[Tensor]:
    """The tensors in tuples, lists and dicts, in order."""
    found: list[Tensor] = []
    mapped(value, lambda leaf: found.append(leaf) if isinstance(leaf, Tensor) else None)
    return found


def split(
    function: Callable[..., Any], args: Any, kwargs: Any
) -> tuple[list[Tensor], list[Tensor], list[Tensor], Callable[..., Any]]:
    """The maps, wholes and constants among arguments, and `function` of their values in this order."""
    tensors = tensors_in((args, kwargs))
    maps, wholes = ([x for x in tensors if isinstance(noted(x), kind)] for kind in (Node, Whole))
    constants = [x for x in tensors if noted(x) is None]
    places = {id(x): place for place, x in enumerate((*maps, *wholes, *constants))}

    def replay(*values: Tensor) -> Any:
        given = mapped((args, kwargs), lambda leaf: values[places[id(leaf)]] if isinstance(leaf, Tensor) else leaf)
        return function(*given[0], **given[1])

    return maps, wholes, constants, replay


def node_of(kind: type[Node], out: Tensor, *maps: Tensor, **fields: Any) -> Node:
    """A node of the shape and type of `out`, which is made of `maps`."""
    if out.dim() != 4 or len(out) != 1:
        refuse(f"a map that becomes {tuple(out.shape)}")
    _, channels, height, width = out.shape
    return kind(tuple(map(noted, maps)), channels, (height, width), out.dtype, **fields)
