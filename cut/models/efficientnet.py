"""EfficientNet-Lite as frozen features (Tan & Le, ICML 2019, table 1, without squeeze-and-excitation, with ReLU6).

Its batch norms are folded into the convolutions in front of them. Nothing of it is trained, and no checkpoint holds it:
its weights are buffers that `state_dict` leaves out, beside their SHA-256, which it has.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_STAGES = (  # kernel, stride, expansion, channels
    (3, 1, 1, 16),
    (3, 2, 6, 24),
    (5, 2, 6, 40),
    (3, 2, 6, 80),
    (5, 1, 6, 112),
    (5, 2, 6, 192),
    (3, 1, 6, 320),
)
BLOCKS = {"efficientnet_lite0": (1, 2, 2, 3, 3, 4, 1), "efficientnet_lite1": (1, 3, 3, 4, 4, 5, 1)}  # of the stages
_STEM_CHANNELS, _HEAD_CHANNELS = 32, 1280
_EPS = 1e-3  # of the batch norms
_STATISTICS = ("running_mean", "running_var")
WIDTHS = {2: 16, 4: 24, 8: 40, 16: 112, 32: 320}  # channels of the last block's output at each stride


class FrozenConv2d(nn.Module):
    """A convolution whose weights are buffers, with TensorFlow's "same" border: an odd one lies right and below.

    Whoever builds it fills its weight.

    Args:
        in_channels: Number of channels.
        out_channels: Number of channels.
        kernel_size: Side of the kernel.
        stride: Step of the kernel.
        groups: Number of groups of channels.
        bias: Whether there is a bias.
        is_kept: Whether `state_dict` has the weights.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        groups: int = 1,
        bias: bool = True,
        is_kept: bool = False,
    ):
        super().__init__()
        self.kernel_size, self.stride, self.groups = kernel_size, stride, groups
        weight = torch.empty(out_channels, in_channels // groups, kernel_size, kernel_size)
        self.register_buffer("weight", weight, persistent=is_kept)
        self.register_buffer("bias", torch.zeros(out_channels) if bias else None, persistent=is_kept)

    def forward(self, x: Tensor) -> Tensor:
        borders = [max(self.kernel_size - (side % self.stride or self.stride), 0) for side in x.shape[:1:-1]]
        if any(border % 2 for border in borders):
            x = F.pad(x, [part for border in borders for part in (border // 2, border - border // 2)])
            borders = [0, 0]
        padding = [border // 2 for border in reversed(borders)]
        return F.conv2d(x, self.weight, self.bias, self.stride, padding, groups=self.groups)


class _Block(nn.Module):
    """An inverted residual block (Sandler et al., CVPR 2018): expand, one filter per channel, project."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int, expansion: int):
        super().__init__()
        width = in_channels * expansion
        self.expand = FrozenConv2d(in_channels, width, 1) if expansion > 1 else None
        self.depthwise = FrozenConv2d(width, width, kernel_size, stride, groups=width)
        self.project = FrozenConv2d(width, out_channels, 1)
        self.is_residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self.expand(x)) if self.expand else x
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.is_residual else y


def name_of(tensors: Mapping[str, Tensor]) -> str:
    """Which of `BLOCKS` weights belong to, by their number of blocks; the first where they are of neither."""
    count = sum(key.endswith("._project_conv.weight") for key in tensors)
    return next((name for name, counts in BLOCKS.items() if sum(counts) == count), next(iter(BLOCKS)))


class _Names(NamedTuple):
    """A convolution and the names of its weights, and those of its batch norm, in the public file."""

    layer: FrozenConv2d
    convolution: str
    norm: str


class EfficientNetLite(nn.Module):
    """Features of pictures at several strides; what lies behind the last of them is not built.

    The weights are random, and the same in every network, until `load` brings others.

    Args:
        strides: Strides at which features are wanted, of 2, 4, 8, 16 and 32.
        name: Network, one of `BLOCKS`.
        has_head: Whether to build the last convolution too, see `pooled`; it takes features at stride 32.
    """

    def __init__(self, strides: Sequence[int] = (4, 8, 16), name: str = "efficientnet_lite0", has_head: bool = False):
        super().__init__()
        assert not has_head or strides[-1] == 32, "the head sees the last features"
        self.strides, self.digest = tuple(strides), ""
        self.stem = FrozenConv2d(3, _STEM_CHANNELS, 3, stride=2)
        self.blocks = nn.ModuleList()
        self._ends: dict[int, int] = {}  # number of the last block by stride
        channels, total = _STEM_CHANNELS, 2
        for (kernel_size, stride, expansion, width), count in zip(_STAGES, BLOCKS[name], strict=True):
            if total * stride > max(strides):
                break
            total *= stride
            for index in range(count):
                step = stride if index == 0 else 1
                self.blocks.append(_Block(channels, width, kernel_size, step, expansion))
                channels = width
            self._ends[total] = len(self.blocks) - 1
        self.head = FrozenConv2d(channels, _HEAD_CHANNELS, 1) if has_head else None
        if self.stem.weight.device.type != "meta":
            self._draw()

    def forward(self, image: Tensor) -> list[Tensor]:
        """Images `(N, 3, H, W)` in [-1, 1] -> features `(N, C, H', W')` at the strides, in their order."""
        x, found = (127.5 * (image + 1.0) - 127.0) / 128.0, {}  # as the Lite networks were trained
        x = F.relu6(self.stem(x))
        for index, block in enumerate(self.blocks):
            x = block(x)
            found[index] = x
        return [found[self._ends[stride]] for stride in self.strides]

    def pooled(self, image: Tensor) -> Tensor:
        """Images as in `forward` -> features `(N, 1280)`, means over the places before the classifier."""
        assert self.head is not None, "built without"
        return F.relu6(self.head(self(image)[-1])).mean(dim=(2, 3))

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes over weights under the names of the public file (`_blocks.0._depthwise_conv.weight`, ...).

        Raises:
            ValueError: One is missing, or has another shape.
        """
        digest = hashlib.sha256()
        for layer, convolution, norm in self._names():
            keys = (f"{convolution}.weight", *(f"{norm}.{leaf}" for leaf in ("weight", "bias", *_STATISTICS)))
            shapes = (tuple(layer.weight.shape), *[tuple(layer.weight.shape[:1])] * 4)
            read = []
            for key, shape in zip(keys, shapes, strict=True):
                tensor = tensors.get(key)
                if tensor is None or tuple(tensor.shape) != shape:
                    held = "is missing" if tensor is None else f"has the shape {tuple(tensor.shape)}, not {shape}"
                    raise ValueError(f"no weights of this EfficientNet-Lite: {key} {held}")
                digest.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
                read.append(tensor.cpu().double())
            weight, gamma, beta, mean, variance = read
            factor = gamma / torch.sqrt(variance + _EPS)
            layer.weight.copy_(weight * factor.view(-1, 1, 1, 1))
            assert layer.bias is not None
            layer.bias.copy_(beta - mean * factor)
        self.digest = digest.hexdigest()

    def _draw(self) -> None:
        """Random weights from a stream of their own (He et al., ICCV 2015, normal, fan in)."""
        stream, digest = torch.Generator().manual_seed(0), hashlib.sha256()
        for layer, _, _ in self._names():
            drawn = torch.randn(layer.weight.shape, generator=stream)
            layer.weight.copy_(drawn * math.sqrt(2.0 / drawn[0].numel()))
            digest.update(layer.weight.cpu().numpy().tobytes())
        self.digest = digest.hexdigest()

    def _names(self) -> Iterator[_Names]:
        yield _Names(self.stem, "_conv_stem", "_bn0")
        for index, block in enumerate(cast("Iterable[_Block]", self.blocks)):
            prefix = f"_blocks.{index}."
            if block.expand:
                yield _Names(block.expand, f"{prefix}_expand_conv", f"{prefix}_bn0")
            yield _Names(block.depthwise, f"{prefix}_depthwise_conv", f"{prefix}_bn1")
            yield _Names(block.project, f"{prefix}_project_conv", f"{prefix}_bn2")
        if self.head is not None:
            yield _Names(self.head, "_conv_head", "_bn1")

    def get_extra_state(self) -> dict[str, Any]:
        """The SHA-256 of the weights, for checkpoints."""
        return {"sha256": self.digest}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Compares.

        Raises:
            RuntimeError: A checkpoint belongs to other weights.
        """
        if state["sha256"] != self.digest:
            raise RuntimeError(
                f"its discriminator saw frozen features with SHA-256 {state['sha256'][:12]}..., "
                f"discriminator.features has {self.digest[:12]}..."
            )
