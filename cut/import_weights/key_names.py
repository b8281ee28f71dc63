"""What the authors call the tensors of our generators, and which constants they store beside them.

The authors' name                             ours
ResNet: model.<i>.weight                      layers.<i>.weight               i differs with anti-aliasing and blocks
        model.<i>.conv_block.<j>.weight       layers.<i>.layers.<j>.weight    j is 1 and 5, with dropout 1 and 6
        model.<i>.filt                        a constant: the kernel of the anti-aliasing
        With zero padding, as DistanceGAN has it, theirs has no layers for the borders, which ours counts.
U-Net:  model.model.0.weight                  down.0.weight
        <level k>.1.weight, .2.weight         down.<k>.1.weight, .2.weight    convolution, norm
        <level k>.5.weight, .6.weight         up.<last - k>.1.weight, ...     in the innermost level .3 and .4
        model.model.3.weight                  up.<last>.1.weight
        where level 1 is model.model.1.model, and each further one its .3.model
SinCUT: encoder.convs.<i>.conv1.0.weight      encoder.<i>.conv1.weight        where it halves the size .1, and .0 is
        encoder.convs.<i>.conv1.1.bias        encoder.<i>.conv1.bias          .kernel, a constant
        decoder.convs.<i>.conv.weight         decoder.<i>.weight              where it doubles the size
        decoder.convs.<i>.activate.bias       decoder.<i>.bias
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from cut.import_weights.biggan_names import biggan_name
from cut.import_weights.styled_names import drit_name, munit_name
from cut.kernels.blur import BlurDownsample, BlurUpsample
from cut.methods.base import Method
from cut.methods.biggan import BigGAN
from cut.methods.drit import DRIT
from cut.methods.munit import MUNIT
from cut.models.resnet import ResnetGenerator
from cut.models.stylegan2 import StyleGAN2Generator
from cut.models.stylegan2_blocks import EqualConv2d, UpsampleConv
from cut.models.unet import UnetGenerator


@dataclass
class PublicNames:
    """All tensors of a public file, by the authors' key.

    Args:
        ours: our name of each tensor that is loaded.
        shapes: as the authors store it; the numbers are in the order of ours.
        constants: the values of each tensor that must not differ.
    """

    ours: dict[str, str] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    constants: dict[str, Tensor] = field(default_factory=dict)

    def add(self, theirs: str, ours: str, shape: tuple[int, ...]) -> None:
        self.ours[theirs], self.shapes[theirs] = ours, tuple(shape)


def public_names(network: nn.Module) -> PublicNames:
    """Of a generator, or of a method that translates with several networks; it may lie on the meta device."""
    return _NAMERS[type(network)](network)


def _resnet(network: ResnetGenerator) -> PublicNames:
    """The layers stand in the same order, so that the flat indices are the same but for the borders of zeros."""
    names = PublicNames()
    for ours, tensor in network.state_dict().items():
        _, outer, *inner, leaf = ours.split(".")
        theirs = ["model", _place(network.layers, int(outer))]
        if inner:  # of a residual block
            block = cast(nn.Sequential, network.layers[int(outer)].layers)
            theirs += ["conv_block", _place(block, int(inner[1]))]
        names.add(".".join([*theirs, leaf]), ours, tensor.shape)
    for index, layer in enumerate(network.layers):
        if isinstance(layer, (BlurDownsample, BlurUpsample)):
            blur = (
                _blur((1.0, 2.0, 1.0), 1.0) if isinstance(layer, BlurDownsample) else _blur((1.0, 3.0, 3.0, 1.0), 4.0)
            )
            names.constants[f"model.{_place(network.layers, index)}.filt"] = blur.repeat(layer.channels, 1, 1, 1)
    return names


def _place(layers: nn.Sequential, index: int) -> str:
    """The authors' index of a layer: borders of zeros are no layers there."""
    return str(index - sum(isinstance(layer, nn.ZeroPad2d) for layer in layers[:index]))


def _unet(network: UnetGenerator) -> PublicNames:
    names, innermost = PublicNames(), len(network.down) - 1
    for ours, tensor in network.state_dict().items():
        half, index, inner = ours.split(".", 2)
        level = int(index) if half == "down" else innermost - int(index)
        inside = "model.model" + (".1" + ".model.3" * (level - 1) + ".model" if level else "")
        if half == "up":
            place, leaf = inner.split(".")
            before = 4 if 0 < level < innermost else 2  # the way down and the next level; a norm only in between
            inner = f"{int(place) + before}.{leaf}"
        elif level == 0:
            inner = f"0.{inner}"
        names.add(f"{inside}.{inner}", ours, tensor.shape)
    return names


def _stylegan2(network: StyleGAN2Generator) -> PublicNames:
    names, taps = PublicNames(), (1.0, 3.0, 3.0, 1.0)
    for half in ("encoder", "decoder"):
        for index, layer in enumerate(getattr(network, half)):
            ours, theirs = f"{half}.{index}", f"{half}.convs.{index}"
            for inner, module in layer.named_modules():
                if isinstance(module, EqualConv2d):
                    inside = f"{theirs}.{inner}".rstrip(".")
                    _add_equal_convolution(names, module, f"{ours}.{inner}".rstrip("."), inside)
            if isinstance(layer, UpsampleConv):
                names.add(f"{theirs}.conv.weight", f"{ours}.weight", (1, *layer.weight.shape))
                names.add(f"{theirs}.activate.bias", f"{ours}.bias", (1, len(layer.bias), 1, 1))
                names.constants[f"{theirs}.conv.blur.kernel"] = _blur(taps, 4.0)
                if layer.noise is None:  # stored all the same, and never learnt
                    names.constants[f"{theirs}.noise.weight"] = torch.zeros(1)
                else:
                    names.add(f"{theirs}.noise.weight", f"{ours}.noise.weight", (1,))
    return names


def _add_equal_convolution(names: PublicNames, module: EqualConv2d, ours: str, theirs: str) -> None:
    """The authors' is a sequence: blur where it halves the size, convolution, bias with activation."""
    place = 1 if module.down else 0
    names.add(f"{theirs}.{place}.weight", f"{ours}.weight", module.weight.shape)
    if module.bias is not None:
        names.add(f"{theirs}.{place + 1}.bias", f"{ours}.bias", (1, len(module.bias), 1, 1))
    if module.down:
        names.constants[f"{theirs}.0.kernel"] = _blur((1.0, 3.0, 3.0, 1.0), 1.0)


def _of_method(method: Method, name_of: Callable[[str], str]) -> PublicNames:
    """Of all networks that translate; DRIT's authors store a layer norm's parameters as maps of one pixel."""
    names = PublicNames()
    for attribute, network in method.inference_networks().items():
        for key, tensor in network.state_dict().items():
            is_map = isinstance(network.get_submodule(key.rpartition(".")[0]), nn.GroupNorm)
            ours = f"{attribute}.{key}"
            names.add(name_of(ours), ours, (*tensor.shape, 1, 1) if is_map else tensor.shape)
    return names


def _blur(taps: tuple[float, ...], total: float) -> Tensor:
    """The outer product of `taps`, of sum `total`, on the CPU."""
    row = torch.tensor(taps, device="cpu")
    return torch.outer(row, row) * (total / sum(taps) ** 2)


_NAMERS: dict[type[nn.Module], Callable[[Any], PublicNames]] = {
    ResnetGenerator: _resnet,
    UnetGenerator: _unet,
    StyleGAN2Generator: _stylegan2,
    MUNIT: partial(_of_method, name_of=munit_name),
    DRIT: partial(_of_method, name_of=drit_name),
    BigGAN: partial(_of_method, name_of=biggan_name),
}
