"""Runs a generator's `forward` on a stand-in for an image, and notes what it does as nodes.

So each generator is cut into tiles by its own code, one of a user's as well, as long as it is made of the operations
below. What sees the whole picture at once (means over all places, attention) is refused, for parts cannot tell it.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cut.errors import UserError, reason
from cut.inference.tiling import nodes
from cut.inference.tiling.nodes import Node

_MAX_DROPOUT_ELEMENTS = 2**28  # of a map whose whole mask is kept in memory
_LEAVE_OUT = "leave --tile-px out"
_OneOrTwo = int | Sequence[int]  # for both axes, or one each


def record(
    forward: Callable[[Any], Any], picture: np.ndarray, device: torch.device | str = "cpu"
) -> tuple[nodes.Source, Node]:
    """What `forward` does with a picture, which is not computed here.

    Args:
        forward: of a method or a network: `(1, C, H, W)` -> `(1, C', H', W')`.
        picture: `(H, W, C)`, uint8 or uint16, large enough for the network.
        device: where the parts will be computed, and where the weights are.

    Returns:
        The nodes of the picture and of the output.

    Raises:
        UserError: `forward` does something that no parts can tell.
    """
    height, width, channels = picture.shape
    source = nodes.Source((), channels, (height, width), torch.float32, picture=picture, device=torch.device(device))
    try:
        output = forward(Recorded(source))
        return source, output.node
    except UserError:
        raise
    except (AttributeError, TypeError, RuntimeError) as error:
        raise UserError(f"this generator cannot be cut into tiles exactly ({reason(error)}); {_LEAVE_OUT}") from error


class Recorded:
    """Stands for a feature map in a `forward`; torch's functions make nodes of it."""

    def __init__(self, node: Node):
        self.node = node

    shape = property(lambda self: torch.Size((1, self.node.channels, *self.node.size)))
    ndim = property(lambda self: 4)
    dtype = property(lambda self: self.node.dtype)
    device = property(lambda self: _source(self.node).device)

    def dim(self) -> int:
        return 4

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def contiguous(self, memory_format: torch.memory_format | None = None) -> "Recorded":
        return self

    @classmethod
    def __torch_function__(
        cls, function: Callable, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> "Recorded | Tensor":
        handler = _HANDLERS.get(function.__name__)
        if handler is None:
            raise UserError(
                f"this generator cannot be cut into tiles exactly: it calls {function.__name__}, which is not among "
                f"the operations that can be; {_LEAVE_OUT}"
            )
        return handler(*args, **(kwargs or {}))

    # What torch's functions would hand to `__torch_function__`, whose signatures know tensors only.
    def __add__(self, other: Any) -> "Recorded":
        return _add(self, other)

    def __mul__(self, other: Any) -> "Recorded":
        return _multiply(self, other)

    def __sub__(self, other: Any) -> "Recorded":
        return _subtract(self, other)

    def __matmul__(self, other: Any) -> "Recorded":
        return _matmul(self, other)

    __radd__, __rmul__ = __add__, __mul__


def _source(node: Node) -> nodes.Source:
    while node.inputs:
        node = node.inputs[0]
    assert isinstance(node, nodes.Source)
    return node


def _derived(
    kind: type[Node],
    x: Recorded,
    channels: int | None = None,
    size: tuple[int, int] | None = None,
    dtype: torch.dtype | None = None,
    **fields: Any,
) -> Recorded:
    """A node of one input, of its shape and type where not told otherwise."""
    node = x.node
    return Recorded(kind((node,), channels or node.channels, size or node.size, dtype or node.dtype, **fields))


def _pointwise(function: Callable[..., Tensor]) -> Callable[..., Recorded]:
    """Notes `function(x, *args, **kwargs)`; in place it changes what `x` is from now on."""

    def handler(x: Recorded, *args: Any, inplace: bool = False, **kwargs: Any) -> Recorded:
        result = _derived(nodes.Pointwise, x, function=lambda tile: function(tile, *args, **kwargs))
        if inplace:
            x.node = result.node
            return x
        return result

    return handler


def _combination(function: Callable[..., Tensor]) -> Callable[..., Recorded]:
    """Notes `function` of two maps, or of a map and numbers."""

    def handler(x: Any, other: Any, **kwargs: Any) -> Recorded:
        maps = [value for value in (x, other) if isinstance(value, Recorded)]
        first = maps[0].node
        channels = max(part.node.channels for part in maps)
        if len({part.node.size for part in maps}) > 1:
            raise UserError(f"maps of different sizes that are combined cannot be cut into tiles; {_LEAVE_OUT}")
        if len(maps) == 2:
            inputs: tuple[Node, ...] = (first, maps[1].node)
            plane = None
            dtype, both = torch.promote_types(first.dtype, maps[1].dtype), lambda a, b: function(a, b, **kwargs)
        else:
            other_way = maps[0] is not x
            plane = torch.as_tensor(x if other_way else other, device=maps[0].device)
            inputs, dtype = (first,), first.dtype
            if plane.dim():  # a number of no dimension changes no type
                dtype = torch.promote_types(dtype, plane.dtype)

            def both(tile: Tensor, cut: Tensor) -> Tensor:
                return function(cut, tile, **kwargs) if other_way else function(tile, cut, **kwargs)

        return Recorded(nodes.Pointwise(inputs, channels, first.size, dtype, function=both, plane=plane))

    return handler


def _conv2d(
    x: Recorded,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: _OneOrTwo = 1,
    padding: _OneOrTwo | str = 0,
    dilation: _OneOrTwo = 1,
    groups: int = 1,
) -> Recorded:
    if isinstance(padding, str):
        raise UserError(f"a convolution with padding '{padding}' cannot be cut into tiles; {_LEAVE_OUT}")
    stride, padding, dilation = _pair(stride), _pair(padding), _pair(dilation)
    height, width = (
        (side + 2 * padding[a] - dilation[a] * (weight.shape[2 + a] - 1) - 1) // stride[a] + 1
        for a, side in enumerate(x.node.size)
    )
    fields = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "is_transposed": False}
    dtype = _autocast_type(x)
    return _derived(nodes.Convolution, x, weight.shape[0], (height, width), dtype, weight=weight, bias=bias, **fields)


def _conv_transpose2d(
    x: Recorded,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: _OneOrTwo = 1,
    padding: _OneOrTwo = 0,
    output_padding: _OneOrTwo = 0,
    groups: int = 1,
    dilation: _OneOrTwo = 1,
) -> Recorded:
    stride, padding, dilation, output_padding = map(_pair, (stride, padding, dilation, output_padding))
    height, width = (
        (side - 1) * stride[a] - 2 * padding[a] + dilation[a] * (weight.shape[2 + a] - 1) + output_padding[a] + 1
        for a, side in enumerate(x.node.size)
    )
    fields = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "is_transposed": True}
    channels, dtype = weight.shape[1] * groups, _autocast_type(x)
    return _derived(nodes.Convolution, x, channels, (height, width), dtype, weight=weight, bias=bias, **fields)


def _pad(x: Recorded, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Recorded:
    if len(pad) != 4 or mode not in ("constant", "reflect", "replicate"):
        raise UserError(f"padding '{mode}' cannot be cut into tiles; {_LEAVE_OUT}")
    left, right, top, bottom = pad
    height, width = x.node.size
    size = (height + top + bottom, width + left + right)
    return _derived(nodes.Padding, x, size=size, before=(top, left), mode=mode, value=value or 0.0)


def _interpolate(
    x: Recorded,
    size: Any = None,
    scale_factor: float | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    **kwargs: Any,
) -> Recorded:
    if (
        scale_factor is None
        or scale_factor != int(scale_factor)
        or mode not in ("nearest", "bilinear")
        or align_corners
    ):
        raise UserError(f"interpolation '{mode}' by {scale_factor} cannot be cut into tiles; {_LEAVE_OUT}")
    factor = int(scale_factor)
    size = (x.node.size[0] * factor, x.node.size[1] * factor)
    return _derived(nodes.Interpolation, x, size=size, factor=factor, mode=mode)


def _instance_norm(x: Recorded, use_input_stats: bool = True, **settings: Any) -> Recorded:
    return _batch_norm(x, training=use_input_stats, **settings)


def _batch_norm(
    x: Recorded,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Recorded:
    """One picture is a batch, so that both norms by its own statistics are the same."""
    if training:
        return _derived(nodes.Norm, x, eps=eps, weight=weight, bias=bias)
    return _derived(
        nodes.Pointwise,
        x,
        function=lambda tile: F.batch_norm(tile, running_mean, running_var, weight, bias, False, 0.0, eps),
    )


def _dropout(x: Recorded, p: float = 0.5, training: bool = True, inplace: bool = False) -> Recorded:
    if not training or p == 0.0:
        return x
    if x.node.num_elements > _MAX_DROPOUT_ELEMENTS:
        height, width = x.node.size
        raise UserError(
            f"dropout at test time on {x.node.channels} maps of {width}x{height} cannot be cut into tiles; "
            "switch it off with --deterministic"
        )
    return _derived(nodes.Dropout, x, probability=p)


def _cat(maps: Sequence[Recorded], dim: int = 0) -> Recorded:
    if dim not in (1, -3) or len({part.node.size for part in maps}) > 1:
        raise UserError(f"cat of places instead of channels cannot be cut into tiles; {_LEAVE_OUT}")
    channels, size = sum(part.node.channels for part in maps), maps[0].node.size
    inputs = tuple(part.node for part in maps)
    dtype = functools.reduce(torch.promote_types, (node.dtype for node in inputs))
    return Recorded(nodes.Pointwise(inputs, channels, size, dtype, function=lambda *tiles: torch.cat(tiles, 1)))


def _matmul(x: Any, other: Any) -> Recorded:
    """Of a map and a matrix, which acts on the rows from the left, or on the columns from the right."""
    axis = 0 if isinstance(other, Recorded) else 1
    matrix, x = (x, other) if axis == 0 else (other, x)
    if not isinstance(matrix, Tensor) or matrix.dim() != 2:
        raise UserError(
            f"this generator multiplies maps, as attention does, and cannot be cut into tiles; {_LEAVE_OUT}"
        )
    matrix = matrix if axis == 0 else matrix.t()
    size = (len(matrix), x.node.size[1]) if axis == 0 else (x.node.size[0], len(matrix))
    return _derived(nodes.BandMatrix, x, size=size, dtype=_autocast_type(x), axis=axis, matrix=matrix)


def _to(value: Any, like: Recorded) -> Tensor:
    return value.to(like.device, like.dtype)


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


def _autocast_type(x: Recorded) -> torch.dtype:
    """Of a product under autocast."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


_add, _subtract, _multiply = _combination(torch.add), _combination(torch.sub), _combination(torch.mul)
_HANDLERS: dict[str, Callable[..., Recorded | Tensor]] = {
    "conv2d": _conv2d,
    "conv_transpose2d": _conv_transpose2d,
    "pad": _pad,
    "interpolate": _interpolate,
    "instance_norm": _instance_norm,
    "batch_norm": _batch_norm,
    "dropout": _dropout,
    "cat": _cat,
    "matmul": _matmul,
    "to": _to,
    "relu": _pointwise(F.relu),
    "leaky_relu": _pointwise(F.leaky_relu),
    "tanh": _pointwise(torch.tanh),
    "sigmoid": _pointwise(torch.sigmoid),
    "add": _add,
    "sub": _subtract,
    "mul": _multiply,
}
