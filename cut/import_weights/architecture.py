"""Works out a public generator's architecture from the keys and shapes of its weights."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cut.errors import UserError
from cut.import_weights.key_names import public_names
from cut.models.biggan import START_PX

Tensors = Mapping[str, Tensor]
_NORM_TEXT = {"batch": "batch norm", "instance": "instance norm", "instance_affine": "affine instance norm"}
_NORM_TEXT |= {"none": "no norm"}
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
        settings: of our config's section `method`, where the networks are described there.
        data: of our config's section `data`, where the network knows one size of images and so many classes.
    """

    generator: dict[str, Any]
    in_channels: int
    out_channels: int
    method: str
    text: str
    settings: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)


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
        raise UserError(f"{path}: holds {kind}; needed is a generator, e.g. latest_net_G.pth")
    try:
        return _GENERATORS[kind](tensors)
    except KeyError as error:
        raise UserError(f"{path}: a {kind} generator without {error.args[0]}; the file is not complete") from None
    except (IndexError, ValueError):
        raise UserError(f"{path}: like a {kind} generator, but with shapes or names of no such one; damaged?") from None


def rename_tensors(tensors: Tensors, found: Found, expected: nn.Module, path: Path) -> dict[str, Tensor]:
    """The state dict of our network `expected`, which may lie on the meta device.

    Left out are the constants, once they are seen to be what they should be, and the statistics that old versions of
    torch saved for instance norm, where nothing reads them. Batch norm's counter, which old files lack, becomes 0, and
    so do the biases that the authors' networks without a norm have only in the last layer.

    Raises:
        UserError: a tensor is missing, too many, or has another shape; or a constant another value.
    """
    names = public_names(expected)
    shapes = names.shapes | {key: tuple(value.shape) for key, value in names.constants.items()}
    optional = {key for key in shapes if key.endswith("num_batches_tracked")}
    if found.generator.get("norm") == "none":
        optional |= {key for key in [key for key in shapes if key.endswith(".bias")][:-1] if key not in tensors}
    given = {key: value for key, value in tensors.items() if key in shapes or not _is_leftover(key, tensors, found)}
    problems = {
        "missing": [key for key in shapes if key not in given and key not in optional],
        "unknown": [key for key in given if key not in shapes],
        "other shape": [
            f"{key} {tuple(given[key].shape)} instead of {shape}"
            for key, shape in shapes.items()
            if key in given and given[key].shape != shape
        ],
        "not the constant that it must be": [
            key
            for key, value in names.constants.items()
            if key in given and given[key].shape == value.shape and not _is_close(given[key], value)
        ],
    }
    if any(problems.values()):
        listed = "; ".join(f"{what}: {_some(keys)}" for what, keys in problems.items() if keys)
        raise UserError(f"{path}: looks like {found.text}, but does not fit it: {listed}")
    own = expected.state_dict()
    filled = {key: given.get(key, torch.zeros(())) for key in names.ours}
    return {
        ours: filled[key].expand(shapes[key]).reshape(own[ours].shape).to(own[ours].dtype)
        for key, ours in names.ours.items()
    }


def _is_close(value: Tensor, constant: Tensor) -> bool:
    return torch.allclose(value, constant, rtol=0, atol=1e-6)


def _is_leftover(key: str, tensors: Tensors, found: Found) -> bool:
    module, _, leaf = key.rpartition(".")
    is_instance_norm = found.generator.get("norm") == "instance_affine" or f"{module}.weight" not in tensors
    return leaf in _STATISTICS and is_instance_norm


def _resnet(tensors: Tensors) -> Found:
    """Flat indices within `model`, which differ with the anti-aliasing, the number of blocks and the borders: the zeros
    of DistanceGAN need no layer of their own."""
    blocks = [int(key.split(".")[1]) for key in tensors if ".conv_block." in key]
    blurs = [int(key.split(".")[1]) for key in tensors if key.endswith(".filt")]
    convolutions = _places(tensors, r"model\.(\d+)\.weight")
    border = 0 if "model.0.weight" in tensors else 1  # layers before a convolution
    first, last = tensors[f"model.{border}.weight"], tensors[f"model.{max(convolutions)}.weight"]
    num_blocks = max(blocks) - min(blocks) + 1
    if num_blocks > len(tensors):
        raise ValueError("far more blocks than tensors")
    generator: dict[str, Any] = {
        "name": "resnet",
        "base_channels": first.shape[0],
        "num_blocks": num_blocks,
        "norm": _norm(tensors, f"model.{border + 1}", f"model.{border}.bias"),
        "dropout": 0.0 if any(key.endswith(f".conv_block.{3 + 2 * border}.weight") for key in tensors) else 0.5,
        "antialias_down": any(blur < min(blocks) for blur in blurs),
        "antialias_up": any(blur > max(blocks) for blur in blurs),
        "padding": "reflect" if border else "zero",
    }
    method = "cut" if blurs else "pix2pix" if generator["norm"] == "batch" else "cyclegan" if border else "distancegan"
    blurred = [way for way in ("down", "up") if generator[f"antialias_{way}"]]
    text = f"a ResNet of {num_blocks} blocks, {first.shape[0]} channels, {_NORM_TEXT[generator['norm']]}"
    text += ", anti-aliased " + " and ".join(blurred) if blurred else ", not anti-aliased"
    text += ", dropout" if generator["dropout"] else ""
    text += "" if border else ", zero padding"
    return Found(generator, first.shape[1], last.shape[0], method, text)


def _unet(tensors: Tensors) -> Found:
    """Levels within levels: each has the next one as its `submodule`, and all call their layers `model`."""
    depth = max(key.count("model.") for key in tensors) - 1
    outer, last = tensors["model.model.0.weight"], tensors["model.model.3.weight"]
    generator = {
        "name": "unet",
        "image_px": 2**depth,
        "base_channels": outer.shape[0],
        "norm": _norm(tensors, "model.model.1.model.2", "model.model.1.model.1.bias"),
    }
    text = f"a U-Net of {depth} levels ({2**depth} px), {outer.shape[0]} channels, {_NORM_TEXT[generator['norm']]}"
    return Found(generator, outer.shape[1], last.shape[1], "pix2pix", text)


def _stylegan2(tensors: Tensors) -> Found:
    """SinCUT's; each half of the residual blocks is counted in the decoder, where those that halve nothing stand."""
    first = tensors["encoder.convs.1.0.weight"]
    blocks = _places(tensors, r"decoder\.convs\.(\d+)\.conv1\.0\.weight")
    doublings = _places(tensors, r"decoder\.convs\.(\d+)\.conv\.weight")
    last = tensors[f"decoder.convs.{max(blocks + doublings) + 1}.0.weight"]
    generator = {
        "name": "stylegan2",
        "base_channels": first.shape[0],
        "num_downsamplings": len(doublings),
        "num_blocks": 2 * len(blocks),
    }
    text = f"SinCUT's stylegan2 of {2 * len(blocks)} blocks, {first.shape[0]} channels, halving {len(doublings)} times"
    return Found(generator, first.shape[1], last.shape[0], "sincut", text)


def _munit(tensors: Tensors) -> Found:
    """Both domains' networks, of equal sizes but for the channels of images."""
    first, last = (tensors[f"{domain}.enc_content.model.0.conv.weight"] for domain in "ab")
    settings = {
        "base_channels": first.shape[0],
        "num_blocks": max(_places(tensors, r"a\.enc_content\.model\.3\.model\.(\d+)\.model\.0\.conv\.weight")) + 1,
        "style_dim": tensors["a.enc_style.model.6.weight"].shape[0],
        "mlp_channels": tensors["a.mlp.model.0.fc.weight"].shape[0],
    }
    if settings["num_blocks"] > len(tensors):
        raise ValueError("far more blocks than tensors")
    text = f"MUNIT's networks of {settings['num_blocks']} blocks, {first.shape[0]} channels, "
    text += f"styles of {settings['style_dim']} numbers"
    return Found({}, first.shape[1], last.shape[1], "munit", text, {"generator": settings})


def _drit(tensors: Tensors) -> Found:
    """Shared and separate parts of both domains; decoders that share nothing take attributes feature by feature."""
    first, last = (tensors[f"enc_c.conv{domain}.0.model.1.weight"] for domain in "AB")
    injection = "concat" if any(key.startswith("gen.dec_share.") for key in tensors) else "feature"
    attribute = tensors["enc_a.fc_A.0.weight" if injection == "concat" else "enc_a.model_a.16.weight"]
    settings = {"injection": injection, "base_channels": first.shape[0], "attribute_dim": attribute.shape[0]}
    text = f"DRIT's networks of {first.shape[0]} channels, attributes of {attribute.shape[0]} numbers ({injection})"
    return Found({}, first.shape[1], last.shape[1], "drit", text, {"generator": settings})


def _biggan(tensors: Tensors) -> Found:
    """Levels that double the size from 4 px, so many that the image's side follows from them."""
    levels = _places(tensors, r"blocks\.(\d+)\.0\.conv1\.weight")
    attention = _places(tensors, r"blocks\.(\d+)\.1\.gamma")
    base_channels, shared = tensors[f"blocks.{max(levels)}.0.conv1.weight"].shape[0], tensors["shared.weight"]
    if max(levels) >= len(tensors):
        raise ValueError("far more levels than tensors")
    image_px, channels = START_PX * 2 ** (max(levels) + 1), tensors["output_layer.2.weight"].shape[0]
    network = {
        "base_channels": base_channels,
        "attention_px": START_PX * 2 ** (attention[0] + 1) if attention else None,
    }
    generator = network | {"latent_part": tensors["linear.weight"].shape[1], "shared_dim": shared.shape[1]}
    data = {"crop_px": image_px, "load_px": image_px, "num_channels": channels}
    data["classes"] = [str(number) for number in range(len(shared))]
    text = f"BigGAN's generator of {image_px} px, {base_channels} channels, {len(shared)} classes"
    settings = {"generator": generator, "discriminator": network}
    return Found({}, channels, channels, "biggan", text, settings, data)


def _places(tensors: Tensors, pattern: str) -> list[int]:
    """The numbers in the keys that match."""
    return [int(found[1]) for key in tensors if (found := re.fullmatch(pattern, key))]


def _norm(tensors: Tensors, module: str, bias: str) -> str:
    """From the norm at `module`, and the key of the bias before it: batch norm and affine instance norm have weights,
    and only before an instance norm convolutions have biases."""
    if f"{module}.weight" in tensors:
        return "instance_affine" if bias in tensors else "batch"
    return "instance" if sum(key.endswith(".bias") for key in tensors) > 1 else "none"


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")


_GENERATORS: dict[str, Callable[[Tensors], Found]] = {
    "resnet": _resnet,
    "unet": _unet,
    "stylegan2": _stylegan2,
    "MUNIT": _munit,
    "DRIT": _drit,
    "BigGAN": _biggan,
}
# A pattern of one of its keys -> what a file holds; the first that is met counts.
_KINDS = {
    r"model\.\d+\.conv_block\.": "resnet",
    r"model\.model\.": "unet",
    r"encoder\.convs\.": "stylegan2",
    r"a\.enc_content\.": "MUNIT",
    r"enc_c\.conv": "DRIT",
    r"shared\.weight": "BigGAN",
    r"embed\.weight": "BigGAN's discriminator, which cut-data convert takes with --discriminator",
    r"a\.cnns\.": "MUNIT's discriminators, which only training uses",
    r"mlp_\d+\.": "a patch head (netF), which only training uses",
    r"net\.\d+\.": "a pixel discriminator, which only training uses",
    r"model\.0\.weight": "a PatchGAN discriminator, which only training uses",
    r"(convs|final_conv|final_linear)\.": "SinCUT's discriminator, which only training uses",
}
