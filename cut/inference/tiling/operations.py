"""The operations of torch that can be done on parts of a map, each as the node that does it.

A handler gets torch's function, what that makes of tensors without content, and the function's arguments; it gives what
is to be noted on the result.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cut.errors import UserError
from cut.inference.tiling.neighbours import BandMatrix, Interpolation, Padding, TransposedConvolution, Window
from cut.inference.tiling.nodes import Dropout, Moments, Node, Pointwise, Whole
from cut.inference.tiling.notes import node_of, noted, refuse, split
from cut.kernels.winograd import convolution, pays

LOWER_PRECISION = ("conv2d", "conv_transpose2d", "matmul")  # of those below, what autocast computes in 16 bits
_MAX_DROPOUT_ELEMENTS = 2**28  # of a map whose whole mask is kept in memory
_POINTWISE_TOO = (
    "clip",
    "hardswish",
    "logsigmoid",
    "softsign",
    "tanhshrink",
    "rdiv",
    "rpow",
)  # where torch's tag is missing
_PARAMETERS = {  # behind the image
    "conv2d": ("weight", "bias", "stride", "padding", "dilation", "groups"),
    "conv_transpose2d": ("weight", "bias", "stride", "padding", "output_padding", "groups", "dilation"),
    "max_pool2d": ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
    "avg_pool2d": ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
}


@functools.cache
def is_pointwise(name: str) -> bool:
    """Whether torch's function of that name treats each place for itself, and draws nothing."""
    packet = getattr(torch.ops.aten, name, None)
    tags = {tag for overload in packet.overloads() for tag in getattr(packet, overload).tags} if packet else set()
    is_tagged = torch.Tag.pointwise in tags and torch.Tag.nondeterministic_seeded not in tags
    return is_tagged or name in _POINTWISE_TOO


def pointwise(function: Callable[..., Tensor], out: Tensor, *args: Any, **kwargs: Any) -> Node:
    """`function` of maps, and of tensors and numbers that are spread over them."""
    maps, wholes, planes, replay = split(function, args, kwargs)
    if any(x.shape[2:] != out.shape[2:] for x in maps):
        refuse("maps of different sizes that are combined")
    spread = {"wholes": tuple(map(noted, wholes)), "planes": tuple(planes)}
    return node_of(Pointwise, out, *maps, function=replay, **spread)


def whole(function: Callable[..., Any], out: Any, *args: Any, **kwargs: Any) -> Whole | list[Whole]:
    """`function`, whatever it is, of tensors that are one for all places."""
    _, wholes, constants, replay = split(function, args, kwargs)
    result = Whole(lambda *values: replay(*values, *constants), inputs=[noted(x) for x in wholes])
    if isinstance(out, Tensor):
        return result
    return [Whole(lambda values, i=i: values[i], inputs=[result]) for i in range(len(out))]


def _each_place(function: Callable[..., Tensor], out: Tensor, x: Tensor, *args: Any, **kwargs: Any) -> Node:
    """`function` of a map alone; its other tensors are of channels."""
    return node_of(Pointwise, out, x, function=lambda tile: function(tile, *args, **kwargs))


def _converted(function: Any, out: Tensor, x: Tensor, *args: Any, **kwargs: Any) -> Node:
    return _each_place(Tensor.to, out, x, out.dtype)


def _same(function: Any, out: Tensor, x: Tensor, *args: Any, **kwargs: Any) -> Node:
    if out.shape != x.shape:
        refuse(f"a map that becomes {tuple(out.shape)}")
    return noted(x)


def _window(function: Callable[..., Tensor], out: Tensor, x: Tensor, *args: Any, **kwargs: Any) -> Node:
    """Convolution, transposed or not, and pooling."""
    name = function.__name__
    given = {**dict(zip(_PARAMETERS[name], args, strict=False)), **kwargs}
    weight: Any = given.get("weight")
    if isinstance(given.get("padding"), str):
        refuse(f"a convolution with padding '{given['padding']}'")
    if given.get("ceil_mode") or given.get("return_indices") or not given.get("count_include_pad", True):
        refuse("pooling with ceil_mode, return_indices or count_include_pad=False")
    kernel = _pair(given["kernel_size"]) if weight is None else tuple(weight.shape[2:])
    stride = _pair(given.get("stride") or (kernel if weight is None else 1))
    padding, dilation = _pair(given.get("padding", 0)), _pair(given.get("dilation", 1))
    replay = functools.partial(function, **{key: 0 if "padding" in key else value for key, value in given.items()})
    is_plain = name == "conv2d" and stride == dilation == (1, 1) and given.get("groups", 1) == 1

    def compute(tile: Tensor) -> Tensor:
        return convolution(tile, weight, given.get("bias")) if is_plain and pays(tile, weight) else replay(tile)

    kind = TransposedConvolution if name == "conv_transpose2d" else Window
    shape = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    return node_of(kind, out, x, function=compute, border=-torch.inf if name == "max_pool2d" else 0.0, **shape)


def _statistic(function: Any, out: Tensor, x: Tensor, dim: Any = None, *args: Any, **kwargs: Any) -> Whole:
    """Mean, variance or standard deviation over all places, of each channel or of all together."""
    dims = set(range(4)) if dim is None else {axis % 4 for axis in ([dim] if isinstance(dim, int) else dim)}
    if not dims >= {2, 3}:
        refuse("a statistic of rows, of columns or of channels")
    kind, shape, dtype, num_groups = function.__name__, out.shape, out.dtype, 1 if 1 in dims else x.shape[1]
    unbiased = kwargs.get("unbiased", args[0] if args else True)  # nothing to a mean, where it is `keepdim`
    correction = kwargs.get("correction", int(unbiased))

    def compute(moments: Moments) -> Tensor:
        mean, variance = moments.of_groups(num_groups)
        count = moments.count * len(moments.mean) // num_groups
        variance = variance * count / (count - correction)
        found = {"mean": mean, "var": variance, "std": variance.sqrt()}[kind]
        return found.view(shape).to(dtype)

    return Whole(compute, [Moments(noted(x))])


def _global_average(function: Any, out: Tensor, x: Tensor, output_size: Any) -> Whole:
    if out.shape[2:] != (1, 1):
        refuse("adaptive pooling to more than one place")
    return _statistic(torch.mean, out, x, (2, 3))


def _group_norm(
    function: Any, out: Tensor, x: Tensor, num_groups: int, *, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Node:
    """(x - mean) / sqrt(variance + eps) of groups of channels over all places; affine (Wu and He, ECCV 2018)."""

    def compute(tile: Tensor, known: Tensor) -> Tensor:
        mean, variance = known.flatten(1).repeat_interleave(tile.shape[1] // num_groups, 1)
        return F.batch_norm(tile, mean, variance, weight, bias, False, 0.0, eps)

    # (2, groups, 1, 1): a single place is not cut.
    known = Whole(lambda moments: torch.stack(moments.of_groups(num_groups))[..., None, None], [Moments(noted(x))])
    return node_of(Pointwise, out, x, function=compute, wholes=(known,))


def _layer_norm(function: Any, out: Tensor, x: Tensor, normalized_shape: Sequence[int], **settings: Any) -> Node:
    if len(normalized_shape) != 3 or settings.get("weight") is not None:
        refuse("layer norm of single places, or with a weight for each of them,")
    return _group_norm(function, out, x, 1, eps=settings["eps"])


def _norm(function: Callable[..., Tensor], out: Tensor, x: Tensor, *args: Any, **kwargs: Any) -> Node:
    """One picture is a batch, so that batch norm and instance norm by its own statistics are the same."""
    if kwargs["training" if function is F.batch_norm else "use_input_stats"]:
        return _group_norm(function, out, x, x.shape[1], **{key: kwargs[key] for key in ("weight", "bias", "eps")})
    return _each_place(function, out, x, *args, **kwargs)


def _dropout(function: Any, out: Tensor, x: Tensor, p: float = 0.5, training: bool = True, **kwargs: Any) -> Node:
    if not training or p == 0.0:
        return noted(x)
    if x.numel() > _MAX_DROPOUT_ELEMENTS:
        _, channels, height, width = x.shape
        raise UserError(
            f"dropout at test time on {channels} maps of {width}x{height} cannot be cut into tiles; "
            "switch it off with --deterministic"
        )
    return node_of(Dropout, out, x, probability=p)


def _pad(function: Any, out: Tensor, x: Tensor, pad: Any, mode: str = "constant", value: float | None = None) -> Node:
    if len(pad) != 4 or mode not in ("constant", "reflect", "replicate"):
        refuse(f"padding '{mode}'")
    return node_of(Padding, out, x, before=(pad[2], pad[0]), mode=mode, value=value or 0.0)


def _interpolate(
    function: Any,
    out: Tensor,
    x: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    **others: Any,
) -> Node:
    factor = out.shape[2] // x.shape[2]
    is_whole = out.shape[2:] == (x.shape[2] * factor, x.shape[3] * factor) and scale_factor in (None, factor)
    if not is_whole or mode not in ("nearest", "bilinear") or others.get("align_corners") or others.get("antialias"):
        refuse(f"interpolation '{mode}' by {scale_factor or size}")
    return node_of(Interpolation, out, x, factor=factor, mode=mode)


def _cat(function: Callable[..., Tensor], out: Tensor, tensors: Sequence[Tensor], dim: int = 0) -> Node:
    if dim not in (1, -3):
        refuse("cat of places instead of channels")
    return pointwise(function, out, tensors, dim)


def _matmul(function: Any, out: Tensor, x: Tensor, other: Tensor) -> Node:
    """Of a map and a matrix, which acts on the rows from the left, or on the columns from the right."""
    axis = 1 if noted(other) is None else 0
    x, matrix = (x, other) if axis == 1 else (other, x)
    if matrix.dim() != 2:
        refuse("a generator that multiplies maps by more than one matrix")
    return node_of(BandMatrix, out, x, axis=axis, matrix=matrix.t() if axis == 1 else matrix)


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


HANDLERS: dict[str, Callable[..., Any]] = {
    "adaptive_avg_pool2d": _global_average,
    "dropout": _dropout,
    "group_norm": _group_norm,
    "interpolate": _interpolate,
    "layer_norm": _layer_norm,
    "matmul": _matmul,
    "pad": _pad,
    "prelu": _each_place,
    **dict.fromkeys(("batch_norm", "instance_norm"), _norm),
    **dict.fromkeys(("cat", "concat"), _cat),
    **dict.fromkeys(("mean", "var", "std"), _statistic),
    **dict.fromkeys(_PARAMETERS, _window),
    **dict.fromkeys(("contiguous", "data", "detach", "reshape", "view", "view_as"), _same),
    **dict.fromkeys(("bfloat16", "clone", "double", "float", "half", "to", "type", "type_as"), _converted),
}
OF_SEVERAL = ("cat", "concat", "matmul", "to", "type_as", "view_as")  # and not of one map and constants
