"""Works out a public generator's architecture from the keys and shapes of its weights, and gives them our names."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cut.errors import UserError
from cut.models.unet_generator import UnetGenerator

Tensors = Mapping[str, Tensor]
_NORM_TEXT = {"batch": "batch norm", "instance": "instance norm", "none": "no norm"}
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True)
class Found:
    """What the weights tell.

    Args:
        generator: settings of our config's section.
        in_channels: of the source domain.
        out_channels: of the target domain.
        method: that publishes such generators.
        text: for people.
    """

    generator: dict[str, Any]
    in_channels: int
    out_channels: int
    method: str
    text: str


def work_out(tensors: Tensors, path: Path) -> Found:
    """The architecture, as far as names and shapes tell; whether all tensors fit it is `rename_tensors`' business.

    Raises:
        UserError: no generator, one of another kind, or a damaged one.
    """
    kind = next((kind for pattern, kind in _KINDS.items() if any(re.match(pattern, key) for key in tensors)), None)
    if kind is None:
        keys = ", ".join(sorted(tensors)[:3])[:120]
        raise UserError(f"{path}: no network of CUT, CycleGAN or pix2pix that is known here (it has {keys}, ...)")
    if kind not in _GENERATORS:
        raise UserError(f"{path}: holds {kind}; needed is a ResNet or U-Net generator, e.g. latest_net_G.pth")
    try:
        return _GENERATORS[kind](tensors)
    except KeyError as error:
        raise UserError(f"{path}: a {kind} generator without {error.args[0]}; the file is not complete") from None
    except (IndexError, ValueError):
        raise UserError(f"{path}: like a {kind} generator, but with shapes or names of no such one; damaged?") from None


def rename_tensors(tensors: Tensors, found: Found, expected: nn.Module, path: Path) -> dict[str, Tensor]:
    """The state dict of our network `expected`, which may lie on the meta device.

    Left out are the statistics that old versions of torch saved for instance norm, where nothing reads them. Batch
    norm's counter, which old files lack, becomes 0, and so do the biases that the authors' networks without a norm
    have only in the last layer. The result also holds the blur kernels, for a look at whether they are the constants
    that they should be.

    Raises:
        UserError: a tensor is missing, too many, or has another shape.
    """
    ours = {**dict(expected.named_parameters()), **dict(expected.named_buffers())}  # constants too
    names = {public_name(key, expected): key for key in ours}  # theirs -> ours
    own = {theirs: ours[key] for theirs, key in names.items()}
    optional = {key for key in own if key.endswith("num_batches_tracked")}
    if found.generator["norm"] == "none":
        biases = [key for key in own if key.endswith(".bias")][:-1]
        optional |= {key for key in biases if key not in tensors}
    given = {key: value for key, value in tensors.items() if key in own or not _is_leftover(key, tensors)}
    problems = {
        "missing": [key for key in own if key not in given and key not in optional],
        "unknown": [key for key in given if key not in own],
        "other shape": [
            f"{key} {tuple(given[key].shape)} instead of {tuple(own[key].shape)}"
            for key in own
            if key in given and given[key].shape != own[key].shape
        ],
    }
    if any(problems.values()):
        listed = "; ".join(f"{what}: {_some(keys)}" for what, keys in problems.items() if keys)
        raise UserError(f"{path}: looks like {found.text}, but does not fit it: {listed}")
    zeros = {key: torch.zeros(own[key].shape, dtype=own[key].dtype) for key in optional - given.keys()}
    return {names[key]: value for key, value in {**given, **zeros}.items()}


def public_name(ours: str, network: nn.Module) -> str:
    """The authors' name of a parameter or buffer of a generator of ours."""
    return _unet_name(ours, len(network.down)) if isinstance(network, UnetGenerator) else _resnet_name(ours)


def _is_leftover(key: str, tensors: Tensors) -> bool:
    module, _, leaf = key.rpartition(".")
    return leaf in _STATISTICS and f"{module}.weight" not in tensors


def _resnet(tensors: Tensors) -> Found:
    """Flat indices within `model`, which differ with the anti-aliasing and the number of blocks."""
    blocks = [int(key.split(".")[1]) for key in tensors if ".conv_block." in key]
    blurs = [int(key.split(".")[1]) for key in tensors if key.endswith(".filt")]
    convolutions = [int(m[1]) for key in tensors if (m := re.fullmatch(r"model\.(\d+)\.weight", key))]
    first, last = tensors["model.1.weight"], tensors[f"model.{max(convolutions)}.weight"]
    num_blocks = max(blocks) - min(blocks) + 1
    if num_blocks > len(tensors):
        raise ValueError(num_blocks)
    generator = {
        "name": "resnet",
        "base_channels": first.shape[0],
        "num_blocks": num_blocks,
        "norm": _norm(tensors, "model.2"),
        "dropout": 0.0 if any(key.endswith(".conv_block.5.weight") for key in tensors) else 0.5,
        "antialias_down": any(blur < min(blocks) for blur in blurs),
        "antialias_up": any(blur > max(blocks) for blur in blurs),
    }
    method = "cut" if blurs else "pix2pix" if generator["norm"] == "batch" else "cyclegan"
    blurred = [way for way in ("down", "up") if generator[f"antialias_{way}"]]
    text = f"a ResNet of {num_blocks} blocks, {first.shape[0]} channels, {_NORM_TEXT[generator['norm']]}"
    text += ", anti-aliased " + " and ".join(blurred) if blurred else ", not anti-aliased"
    text += ", dropout" if generator["dropout"] else ""
    return Found(generator, first.shape[1], last.shape[0], method, text)


def _resnet_name(ours: str) -> str:
    return ours.replace("layers", "model", 1).replace("layers", "conv_block").replace("kernel", "filt")


def _unet(tensors: Tensors) -> Found:
    """Levels within levels: each has the next one as its `submodule`, and all call their layers `model`."""
    depth = max(key.count("model.") for key in tensors) - 1
    if depth > len(tensors):
        raise ValueError(depth)
    outer, last = tensors["model.model.0.weight"], tensors["model.model.3.weight"]
    generator = {
        "name": "unet",
        "image_px": 2**depth,
        "base_channels": outer.shape[0],
        "norm": _norm(tensors, "model.model.1.model.2"),
    }
    text = f"a U-Net of {depth} levels ({2**depth} px), {outer.shape[0]} channels, {_NORM_TEXT[generator['norm']]}"
    return Found(generator, outer.shape[1], last.shape[1], "pix2pix", text)


def _unet_name(ours: str, depth: int) -> str:
    half, index, inner = ours.split(".", 2)
    innermost = depth - 1
    level = int(index) if half == "down" else innermost - int(index)
    inside = "model.model" + (".1" + ".model.3" * (level - 1) + ".model" if level else "")
    if half == "down":
        return f"{inside}.{inner}" if level else f"{inside}.0.{inner}"
    place, leaf = inner.split(".")
    before = 4 if 0 < level < innermost else 2  # layers of the way down and the submodule: norms only in between
    return f"{inside}.{int(place) + before}.{leaf}"


def _norm(tensors: Tensors, module: str) -> str:
    """From the norm at `module`: batch norm has weights; before an instance norm convolutions have biases."""
    if f"{module}.weight" in tensors:
        return "batch"
    return "instance" if sum(key.endswith(".bias") for key in tensors) > 1 else "none"


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")


_GENERATORS: dict[str, Callable[[Tensors], Found]] = {"resnet": _resnet, "unet": _unet}
# A pattern of one of its keys -> what a file holds; the first that is met counts.
_KINDS = {
    r"model\.\d+\.conv_block\.": "resnet",
    r"model\.model\.": "unet",
    r"encoder\.convs\.": "SinCUT's generator (stylegan2), which cannot be imported yet",
    r"mlp_\d+\.": "a patch head (netF), which only training uses",
    r"net\.\d+\.": "a pixel discriminator, which only training uses",
    r"model\.0\.weight": "a PatchGAN discriminator, which only training uses",
    r"(convs|final_conv|final_linear)\.": "SinCUT's discriminator, which only training uses",
}
