"""Runs a generator's `forward` on an image without content, and notes what it does as nodes.

So each generator is cut into tiles by its own code, one of a user's as well, as long as it is made of the operations in
`operations.py`. The image is a meta tensor: torch itself tells shape and type of all that is made of it. What else a
`forward` makes, such as a plane of noise, is made in earnest and where the network lies.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from cut.errors import TilingError, UserError, reason
from cut.inference.tiling.nodes import Node, Source, Whole
from cut.inference.tiling.notes import LEAVE_OUT, mapped, note, noted, refuse, tensors_in
from cut.inference.tiling.operations import HANDLERS, LOWER_PRECISION, OF_SEVERAL, is_pointwise, pointwise, whole

_META = torch.device("meta")
_NOT_EXACTLY = "this generator cannot be cut into tiles exactly"
_LIKE_ANOTHER = ("expand_as", "to", "type_as", "view_as")  # what a constant may be made


def record(
    forward: Callable[[Any], Any], picture: np.ndarray, device: torch.device | str = "cpu"
) -> tuple[Source, Node]:
    """What `forward` does with a picture, which is not computed here.

    Args:
        forward: Of a method or a network: `(1, C, H, W)` -> `(1, C', H', W')`.
        picture: `(H, W, C)`, uint8 or uint16, large enough for the network.
        device: Where the parts will be computed, and where the weights are.

    Returns:
        The nodes of the picture and of the output.

    Raises:
        TilingError: `forward` does something that no parts can tell.
    """
    height, width, channels = picture.shape
    source = Source((), channels, (height, width), torch.float32, picture=picture, device=torch.device(device))
    image = torch.empty(1, channels, height, width, device=_META)
    note(image, source)
    try:
        with torch.no_grad(), _Recording(source.device):
            output = forward(image)
    except UserError:
        raise
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise TilingError(f"{_NOT_EXACTLY} ({reason(error)}); {LEAVE_OUT}") from error
    if not isinstance(noted(output), Node):
        raise TilingError(f"{_NOT_EXACTLY}: it gives no single map but a {type(output).__name__}; {LEAVE_OUT}")
    return source, noted(output)


class _Recording(TorchFunctionMode):
    """While it is on, torch's functions of what depends on the picture are noted, and all others computed."""

    def __init__(self, device: torch.device):
        super().__init__()
        self.device = device

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        full_name = function.__self__.__name__ if function.__name__ == "__get__" else function.__name__
        name, is_in_place = full_name.strip("_"), full_name.endswith("_") and not full_name.endswith("__")
        recorded = [noted(x) for x in tensors_in((args, kwargs)) if noted(x) is not None]
        makes_constant = name.startswith("new_") or name.endswith("_like")
        if not recorded or makes_constant or (name in _LIKE_ANOTHER and noted(args[0]) is None):
            return function(*mapped(args, self._real), **mapped(kwargs, self._real))
        if name == "matmul" and len(recorded) > 1:
            refuse("a generator that multiplies maps, as attention does,")
        content_free = functools.partial(_content_free, dtype=self._autocast_dtype(name))
        out = function(*mapped(args, content_free), **mapped(kwargs, content_free))
        made = tensors_in((out,))
        if not made and (out is not None or function.__name__ == "__get__"):
            return out  # a size, a type
        if not made or kwargs.get("out") is not None or (is_in_place and noted(args[0]) is None):
            refuse(f"a generator that writes what the picture decides into a tensor of its own, by {name},")
        if is_in_place:
            function = functools.partial(_on_a_copy, function)
        if "inplace" in kwargs:
            kwargs = {**kwargs, "inplace": False}
        what = _handler(name, recorded, args[0], out)(function, out, *args, **kwargs)
        if what is noted(args[0]):
            return args[0]
        for tensor, one in zip(made, what if isinstance(what, list) else [what], strict=True):
            note(tensor, one)
        return out

    def _real(self, value: Any) -> Any:
        """What a constant is made of: where the network lies, and of a recorded tensor shape and type alone."""
        if noted(value) is not None:
            return torch.empty((), dtype=value.dtype, device=self.device).expand(value.shape)
        return self.device if isinstance(value, str | torch.device) and str(value) == "meta" else value

    def _autocast_dtype(self, name: str) -> torch.dtype | None:
        kind = self.device.type
        return torch.get_autocast_dtype(kind) if name in LOWER_PRECISION and torch.is_autocast_enabled(kind) else None


def _handler(name: str, recorded: Sequence[Node | Whole], first: Any, out: Any) -> Callable[..., Any]:
    """What notes the function of that name, which makes `out` of these recorded tensors.

    Raises:
        UserError: there is none.
    """
    if not any(isinstance(one, Node) for one in recorded):
        return whole
    if name in OF_SEVERAL or (name in HANDLERS and len(recorded) == 1 and noted(first) is recorded[0]):
        return HANDLERS[name]
    if name in HANDLERS:
        refuse(f"{name} by weights that the picture decides")
    if is_pointwise(name) and isinstance(out, Tensor) and out.dim():
        return pointwise
    raise TilingError(f"{_NOT_EXACTLY}: it calls {name}, which is not among the operations that can be; {LEAVE_OUT}")


def _content_free(value: Any, dtype: torch.dtype | None) -> Any:
    """A tensor's shape and type, the latter as autocast has it."""
    if isinstance(value, Tensor):
        value = value if noted(value) is not None else value.to(_META)
        return value.to(dtype) if dtype is not None and value.is_floating_point() else value
    return _META if isinstance(value, torch.device) else value


def _on_a_copy(function: Callable[..., Tensor], x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return function(x.clone(), *args, **kwargs)
