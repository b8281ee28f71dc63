"""A trained model as a file for other programs, with what must be known of it, and how well it was kept, beside it."""

import os
from pathlib import Path
from typing import Any

import torch

from cut.api.choices import find_direction, find_num_passes, own_direction
from cut.config import RunConfig
from cut.config.bands import Bands
from cut.errors import UserError, reason
from cut.inference.forward import translate_images
from cut.inference.graph import FORMATS, TranslationGraph, export, runs_of
from cut.inference.request import Given, Request
from cut.methods.base import Method
from cut.runtime.fabric import build_fabric
from cut.storage.files import given_path, write_json, write_whole
from cut.storage.written import require_own

_LARGEST_DIFFERENCE = 1e-3  # of values in [-1, 1]: an eighth of what 8 bits can tell
_DRAWN = "numbers drawn from N(0, 1)"


def export_model(
    method: Method,
    config: RunConfig,
    file: str | os.PathLike[str],
    *,
    direction: str | None = None,
    max_megapixels: float = 4.2,
    num_passes: int | None = None,
) -> dict[str, Any]:
    """Writes the graph of a method, checks that it translates as the method does, and writes a JSON beside it.

    Args:
        method: Method, set for inference, on the CPU.
        config: Configuration of its run.
        file: File to write: `.onnx`, `.pt2` (torch.export) or `.ts` (TorchScript). The JSON is `<file>.json`.
        direction: `AtoB` or `BtoA`, where the method has learnt both; None takes the run's own.
        max_megapixels: Largest picture that the graph takes, in millions of pixels, where a network must know it
            (StyleGAN2's noise, which takes 4 bytes for each).
        num_passes: Number of passes through the generator (UNSB); None takes the run's own.

    Returns:
        What the JSON holds.

    Raises:
        UserError: The method cannot be exported, the graph translates otherwise, or a file cannot be written.
    """
    path = given_path(file, "file")
    beside = path.with_name(f"{path.name}.json")
    if path.suffix not in FORMATS:
        known = ", ".join(f"{suffix} ({name})" for suffix, name in FORMATS.items())
        raise UserError(f"{path}: its name must end in one of {known}")
    _require_own(path, beside)
    wanted = find_direction(direction, config, method, "direction") if "image" in method.inputs else "ab"
    passes = find_num_passes(num_passes, method, config.method.name, "num_passes")
    graph = TranslationGraph(method, config.data.channels.get(wanted[0], 0), wanted, int(max_megapixels * 1e6), passes)
    content = export(graph, path.suffix)
    described = _described(graph, config, path, direction) | {"difference": _difference(graph, content, path)}
    try:
        write_whole(path, content)
        write_json(beside, described, indent=2)
    except OSError as error:
        raise UserError(f"{error.filename or path}: cannot be written ({reason(error)}); choose another name") from None
    return described


def _require_own(*paths: Path) -> None:
    for path in paths:
        try:
            require_own(path)
        except OSError as error:
            raise UserError(f"{path}: {reason(error)}; choose another name") from None


def _described(graph: TranslationGraph, config: RunConfig, path: Path, direction: str | None) -> dict[str, Any]:
    """Everything that a program which runs the graph must know."""
    bands, batch = config.data.bands, 1 if graph.takes_one else "batch"
    source, target = bands.get(graph.direction[0], bands["b"]), bands[graph.direction[1]]
    inputs = []
    for name, value in zip(graph.inputs, graph.example(), strict=True):
        shape = [batch, *value.shape[1:]] if name != "image" else [batch, value.shape[1], "height", "width"]
        entry = {"name": name, "type": str(value.dtype).removeprefix("torch."), "shape": shape}
        notes = {
            "image": _image(source),
            "style": {"content": f"{_DRAWN}; zeros are the mean style"},
            "label": {"names": list(graph.method.label_names)},
            "latent": {"content": _DRAWN},
        }
        inputs.append(entry | notes[name])
    with torch.no_grad():
        size = ["height", "width"] if graph.inputs[0] == "image" else list(graph(*graph.example()).shape[2:])
    made = [batch, target.count, *size]
    output = {"name": "translation", "type": "float32", "shape": made, **_image(target)}
    is_image = graph.inputs[0] == "image"
    return {
        "format": FORMATS[path.suffix],
        "written_by": f"cut-export, torch {torch.__version__}",
        "method": config.method.name,
        "direction": (direction or own_direction(config)) if is_image else None,
        "inputs": inputs,
        "output": output | {"note": "clamp to [-1, 1]; (x + 1) / 2 is then in [0, 1]"},
        "smallest_px": graph.smallest - graph.stride + 1 if is_image else None,
        "largest_pixels": graph.max_pixels,
        "num_passes": graph.num_passes or graph.method.num_passes,
        "trained_at_px": getattr(config.data, "load_px", None) if is_image else None,
        "noise": "left out: what the method draws at test time, dropout or noise" if graph.draws_noise else None,
    }


def _image(bands: Bands) -> dict[str, Any]:
    ends = {"values_at_ends": list(bands.limits)} if bands.limits else {}  # of files, by data.range_a or range_b
    return {"range": [-1, 1], "channels": {1: "gray", 3: "RGB"}.get(bands.count, bands.count), **ends}


def _difference(graph: TranslationGraph, content: bytes, path: Path) -> dict[str, Any] | None:
    """How far the file's translations are from ours, at two sizes; None where nothing here can run it.

    Raises:
        UserError: Too far.
    """
    loaded = runs_of(content, path.suffix)
    if loaded is None:
        return None
    program, run = loaded
    fabric, largest, sizes = build_fabric("cpu", "32-true"), 0.0, _sizes(graph)
    for seed, size in enumerate(sizes):
        inputs = graph.example(size, seed)
        with torch.no_grad():
            found = float((_run(run, inputs, program, path) - _ours(graph, inputs, fabric)).abs().max())
            largest = found if not found <= largest else largest  # `max` would pass over what is no number
    if not largest <= _LARGEST_DIFFERENCE:
        raise UserError(
            f"{path}: not written, because {program} makes of the graph something else than cut-test does: values of "
            f"[-1, 1] differ by up to {largest:.2g}; take another format"
        )
    return {"program": program, "largest": largest, "sizes": [list(size) for size in sizes]}


def _run(run: Any, inputs: tuple[torch.Tensor, ...], program: str, path: Path) -> torch.Tensor:
    try:
        return run(*inputs)
    except Exception as error:  # each program raises its own kinds
        size = "x".join(map(str, inputs[0].shape[:1:-1]))
        raise UserError(
            f"{path}: not written, because {program} fails at {size} px ({reason(error)}); take another format"
        ) from error


def _sizes(graph: TranslationGraph) -> list[tuple[int, int]]:
    """Heights and widths to compare at: a multiple of the stride, and none."""
    side = max(64, graph.stride, graph.smallest)
    return [(side, side), (side + side // 8 + 3, side // 2 + 1)] if graph.inputs[0] == "image" else [(side, side)]


def _ours(graph: TranslationGraph, inputs: tuple[torch.Tensor, ...], fabric: Any) -> torch.Tensor:
    named = dict(zip(graph.inputs, inputs, strict=True))
    if "latent" in named:
        return graph.method(named["latent"])
    images, labels = named["image"], named.get("label")
    given = [
        Given(
            style=named["style"][row : row + 1] if "style" in named else None,
            label=int(labels[row]) if labels is not None else None,
        )
        for row in range(len(images))
    ]
    request = Request(graph.direction, num_passes=graph.num_passes)
    return translate_images(graph.method, images, fabric, request, [("", own) for own in given])
