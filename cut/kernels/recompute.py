"""Runs layers so that a convolution keeps its input's source instead of its input.

What lies between two convolutions (norm, activation, border, resampling) is cheap to do again, so its results need not
wait in memory for the backward pass. This is activation checkpointing (Chen et al., 2016, arXiv:1604.06174) of all but
the convolutions, as in-place activated batch norm has it (Rota Bulo et al., CVPR 2018, arXiv:1712.02616).
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cut.kernels.blur import BlurDownsample, BlurUpsample
from cut.kernels.cpu import is_exported
from cut.kernels.instance_norm import InstanceNorm
from cut.kernels.padding import ReflectionPad
from cut.kernels.winograd import Conv2d

# What they give depends on their input alone, which they leave as it is.
_CHEAP = (InstanceNorm, ReflectionPad, nn.ZeroPad2d)  # 2 % of a step of CUT on a CPU, for 550 of 1800 MB
_DEARER = (*_CHEAP, BlurDownsample, BlurUpsample)  # 10 % for 900 MB
_ACTIVATIONS = (nn.ReLU, nn.LeakyReLU)  # may work in place, so one of the above must stand before them


def run_layers(layers: Iterable[nn.Module], x: Tensor, again: tuple[type[nn.Module], ...] = _CHEAP) -> Tensor:
    """The same bits as nn.Sequential(*layers)(x), with less kept for the backward pass.

    `again` are the kinds of layers that are worth running again, besides activations.
    """
    between: list[nn.Module] = []  # layers since the last convolution
    for layer in layers:
        if isinstance(layer, again) or (isinstance(layer, _ACTIVATIONS) and (between or not layer.inplace)):
            between.append(layer)
        elif between and isinstance(layer, Conv2d) and _will_go_back(x, layer):
            x, between = _ConvolutionBehind.apply(x, layer.weight, layer.bias, between, layer), []
        else:
            x, between = layer(_run(between, x)), []
    return _run(between, x)


def run_in_stages(layers: Iterable[nn.Module], x: Tensor, last: type[nn.Module]) -> Tensor:
    """The same bits as `run_layers` with least memory: of each stage only the input is kept, and all of it runs again.

    A layer of the kind `last` is a stage of its own, and so is what lies between two of them.
    """
    if not torch.is_grad_enabled() or is_exported():
        return run_layers(layers, x)
    for _, stage in groupby(enumerate(layers), lambda item: item[0] if isinstance(item[1], last) else -1):
        x = checkpoint(run_layers, [layer for _, layer in stage], x, _DEARER, use_reentrant=False)
    return x


def _run(layers: Sequence[Callable[[Tensor], Tensor]], x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x)
    return x


def _will_go_back(x: Tensor, layer: Conv2d) -> bool:
    if not torch.is_grad_enabled() or torch.compiler.is_compiling() or is_exported():
        return False
    return x.requires_grad or layer.weight.requires_grad


class _ConvolutionBehind(torch.autograd.Function):
    """convolution(between(x)), of which only x is kept; weight and bias are the convolution's own."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, between: list[nn.Module], convolution: Conv2d
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.between, ctx.convolution = between, convolution
        kind = x.device.type
        ctx.autocast = (kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind))
        z = _run(between, x)
        ctx.fast = convolution.pays(z)
        return convolution(z)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        if torch.is_grad_enabled():  # it will be differentiated once more: everything again, with a graph
            convolution, wanted = ctx.convolution, [x] * wants_x + [weight] * wants_weight
            wanted += [convolution.bias] * wants_bias
            with torch.autocast(*ctx.autocast):
                y = convolution(_run(ctx.between, x))
            found = iter(torch.autograd.grad(y, wanted, gradient, create_graph=True))
            return *(next(found) if wants else None for wants in ctx.needs_input_grad[:3]), None, None
        with torch.enable_grad(), torch.autocast(*ctx.autocast):
            x = x.detach().requires_grad_(wants_x)
            z = _run([layer.forward for layer in ctx.between], x)  # hooks on the layers were called in the forward pass
        grad_z, grad_weight, grad_bias = ctx.convolution.gradients(
            gradient, z.detach(), [wants_x, wants_weight, wants_bias], ctx.fast
        )
        grad_x = torch.autograd.grad(z, x, grad_z.to(z.dtype))[0] if wants_x else None
        return grad_x, grad_weight, grad_bias, None, None
