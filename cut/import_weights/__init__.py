"""Generators that the authors of CUT, CycleGAN, pix2pix, DistanceGAN, MUNIT, DRIT, DCLGAN and BigGAN publish.

Facts about the files: taesungp/contrastive-unpaired-translation, commit b3ac297, and junyanz/
pytorch-CycleGAN-and-pix2pix, commit 2a7afba (`latest_net_G.pth`): a file holds one generator's weights and nothing
else; what else a config says does not change how it translates, but for pix2pix, whose noise and batch statistics are
its method's. NVlabs/MUNIT, commit a82e222b (`gen_00500000.pt`), and HsinYingLee/DRIT, commit f19f50a8 (`00999.pth`):
a file holds the networks of both directions. JunlinHan/DCLGAN, commit abb805c (`latest_net_G_A.pth`): CUT's generators,
one direction in a file.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cut.build import build_method, read_config
from cut.config import FolderConfig, RunConfig, UnetGeneratorConfig
from cut.config.load import parse_config
from cut.config.sides import MOST_PX
from cut.errors import UserError
from cut.import_weights.architecture import Found, rename_tensors, work_out
from cut.import_weights.pth_file import read_state_dict
from cut.methods import find_method, method_config
from cut.methods.base import Method
from cut.methods.translator import keep_networks
from cut.networks import ConfiguredNetworks, shapes_alone


def import_generator(path: Path, config: Path | None = None) -> tuple[Method, RunConfig, str]:
    """The method whose generator is the one in `path`, the config that describes it, and a line that says both.

    Args:
        path: a `.pth` of the authors' programs.
        config: a YAML that the weights must fit, and that says what they do not: the method, U-Net's dropout, ...;
            None guesses the method from the network.

    Raises:
        UserError: the file is damaged or no generator, or does not fit the config.
    """
    tensors = read_state_dict(path)
    found = work_out(tensors, path)
    resolved = _agreeing_config(found, path, config) if config else _guessed_config(found, path)
    try:
        with shapes_alone():  # names and shapes cost no memory, whatever a file claims
            expected = _build_on_meta(resolved) if found.settings else ConfiguredNetworks(resolved).generator()
    except (RuntimeError, ValueError) as error:
        raise UserError(f"{path}: looks like {found.text}, which cannot be built ({error})") from None
    weights = rename_tensors(tensors, found, expected, path)
    method = build_method(resolved)
    if found.settings:  # both directions; discriminators stay as they are
        method.load_state_dict(weights, strict=False)
        return method, resolved, f"{path}: {_describe(found, resolved)}"
    keep_networks(method, list(method.inference_networks())[:1])
    networks = list(method.inference_networks().values())
    if len(networks) != 1:
        raise UserError(
            f"{path}: holds one generator, but the config's method translates with {len(networks)} networks"
        )
    networks[0].load_state_dict(weights)
    return method, resolved, f"{path}: {_describe(found, resolved)}"


def _describe(found: Found, config: RunConfig) -> str:
    text, channels = found.text, (found.in_channels, found.out_channels)
    if channels != (3, 3):
        text += f", {channels[0]} -> {channels[1]} channels"
    text += f"; taken as {config.method.name}"
    if direction := getattr(config.data, "direction", None):
        text += f", {direction}"
    if isinstance(config.generator, UnetGeneratorConfig):
        text += f", dropout {config.generator.dropout} (which weights do not tell)"
    return text


def _guessed_config(found: Found, path: Path) -> RunConfig:
    """The config of the method that publishes such generators."""
    if found.method == "cut" and re.search(r"net_G_[AB]\b", path.name):  # the same network, one of two
        found = replace(found, method="dclgan")
    method: dict[str, Any] = {"name": found.method} | found.settings
    if found.method in ("cyclegan", "dclgan") and found.in_channels != found.out_channels:
        method["lambda_identity"] = 0.0
    if found.method == "sincut":  # the authors' small one has fewer layers than training looks at by default
        last = 1 + found.generator["num_downsamplings"] + found.generator["num_blocks"] // 2
        method["nce_layers"] = [layer for layer in (0, 2, 4) if layer <= last]
    source, target = ("b", "a") if _is_inverse(path) else ("a", "b")
    where = f"unknown, for the weights are from {path.name}"
    if found.data:
        data = {"name": method_config(found.method).data_names[0], "root": where} | found.data
        return parse_config({"method": method, "data": data}, method_config, str(path))
    data = {
        "name": method_config(found.method).data_names[0],
        f"channels_{source}": found.in_channels,
        f"channels_{target}": found.out_channels,
    }
    if found.method == "distancegan":
        data["batch_size"] = 2  # the least from which it learns
    if data["name"] == "single":
        data |= {"a": where, "b": where}
    else:
        data |= {"root": where, "direction": "BtoA" if source == "b" else "AtoB"}
    if size := found.generator.get("image_px"):
        data |= dict.fromkeys(("load_px", "crop_px"), min(size, MOST_PX))  # what is wrong is the generator's size
    values = {"method": method, "data": data} | ({"generator": found.generator} if found.generator else {})
    return parse_config(values, method_config, str(path))


def _agreeing_config(found: Found, path: Path, config: Path) -> RunConfig:
    """The user's config, which must describe the network in the file."""
    given = read_config(config)
    method = find_method(given.method.name)
    if found.settings and given.method.name == found.method:
        given = _from_a_to_b(given) if isinstance(given.data, FolderConfig) else given
        pairs = _pairs("method.generator", found.settings["generator"], given.method.model_dump()["generator"])
        return _check_fit(found, path, config, given, pairs)
    if given.generator is None or found.settings or "image" not in method.inputs:
        raise UserError(
            f"{config}: method.name: {given.method.name} has no such generator as {path} holds: {found.text}"
        )
    generator = given.generator.model_dump()
    if isinstance(given.data, FolderConfig) and _is_inverse(path) and _is_two_way(given):
        back = "BtoA" if given.data.direction == "AtoB" else "AtoB"
        given = given.model_copy(update={"data": given.data.model_copy(update={"direction": back})})
    if generator["name"] != found.generator["name"]:
        pairs = {"generator.name": (found.generator["name"], generator["name"])}
    else:
        pairs = _pairs("generator", found.generator, generator)
        if "dropout" in found.generator:  # that it is there shifts the names; how much is dropped, nothing tells
            has, says = ("above 0" if p else 0.0 for p in pairs["generator.dropout"])
            pairs["generator.dropout"] = (has, says)
    return _check_fit(found, path, config, given, pairs)


def _pairs(section: str, found: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """By dotted key what the file has and what the config says."""
    return {f"{section}.{key}": (value, given[key]) for key, value in found.items()}


def _from_a_to_b(config: RunConfig) -> RunConfig:
    """The same config in the direction whose domains are called as in a file that holds both."""
    assert isinstance(config.data, FolderConfig)
    return config.model_copy(update={"data": config.data.model_copy(update={"direction": "AtoB"})})


def _check_fit(
    found: Found, path: Path, config: Path, given: RunConfig, pairs: dict[str, tuple[Any, Any]]
) -> RunConfig:
    """The config, once everything agrees.

    Raises:
        UserError: The line says what does not.
    """
    source, target = (domain.lower() for domain in given.data.domains)
    pairs[f"data.channels_{source}"] = (found.in_channels, given.data.channels["a"])
    pairs[f"data.channels_{target}"] = (found.out_channels, given.data.channels["b"])
    wrong = [
        f"{key} is {has} in the file, but {says} in the config" for key, (has, says) in pairs.items() if has != says
    ]
    if wrong:
        raise UserError(f"{path} does not fit {config}: {'; '.join(wrong)}; change the config, or leave it out")
    return given


def _is_two_way(config: RunConfig) -> bool:
    return "ba" in _build_on_meta(config).directions()


def _build_on_meta(config: RunConfig) -> Method:
    with shapes_alone():
        return find_method(config.method.name).build(config.method, ConfiguredNetworks(config))


def _is_inverse(path: Path) -> bool:
    """CycleGAN's and DCLGAN's files: G_A translates A to B, and G_B the other way round."""
    return re.search(r"net_G_B\b", path.name) is not None
