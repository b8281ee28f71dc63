"""Weights to start a run from, also those of the authors' public generators."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cut.train.start import Weights


def read_start(path: Path) -> "Weights":
    """The weights in a run directory, a checkpoint, a `.safetensors` or a public `.pth`, and their configuration.

    Raises:
        UserError: There is no such file, or it is damaged.
    """
    from cut.import_weights import import_generator  # only now, for they import torch
    from cut.train.start import Weights, read_weights

    if path.suffix != ".pth":
        return read_weights(path)
    method, config, _ = import_generator(path)
    is_back = getattr(config.data, "direction", "AtoB") == "BtoA"  # CycleGAN's net_G_B translates B to A
    tensors = {
        f"{name.replace('_ab', '_ba') if is_back else name}.{key}": tensor
        for name, network in method.inference_networks().items()
        for key, tensor in network.state_dict().items()
    }
    return Weights(tensors, config.to_dict())


def start_settings(path: Path, networks: bool) -> list[str]:
    """Settings, as `--set` takes them, that start a run from a file.

    Args:
        path: File, as `read_start` takes it.
        networks: Whether the run takes over the file's method and networks too, so that all its weights fit, and
            whether they see matched colours.
    """
    found = [f"start.file={json.dumps(str(path))}"]
    if networks:
        config = read_start(path).config
        parts = {key: config[key] for key in ("method", "generator", "discriminator") if config.get(key)}
        found += [f"{key}={json.dumps(value)}" for key, value in parts.items()]
        found += ["data.match_colours=true"] if config.get("data", {}).get("match_colours") else []
    return found
