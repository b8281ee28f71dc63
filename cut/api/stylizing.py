"""A picture from a photograph and a painting, without a training: `cut.stylize(config, photo, painting)`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cut.api.choices import scaling
from cut.api.options import Device
from cut.api.pictures import Picture, unpacked
from cut.build import build_stylizer, given_config
from cut.config import Precision, RunConfig
from cut.config.bands import Bands
from cut.config.load import PathOrPaths
from cut.data.transforms import to_tensor, to_written_picture
from cut.errors import UserError
from cut.inference.request import stream_seed
from cut.methods.stylizer import Progress, no_report
from cut.runtime.fabric import build_fabric


def stylize(
    config: PathOrPaths | Mapping[str, Any] | RunConfig,
    photo: Picture,
    painting: Picture,
    overrides: Sequence[str] = (),
    *,
    seed: int | None = None,
    device: Device = "auto",
    precision: Precision = "32-true",
    report: Callable[[Progress], None] = no_report,
) -> Any:
    """The photograph in the style of the painting, by a method that is not trained: Gatys et al., STROTSS, WCT2.

    Args:
        config: YAML, its name (`monet_etretat_strotss`), several of them, or the settings themselves; the pictures that
            it names are not looked at.
        photo: One picture, as a `cut.Model` takes it; a tensor is `(3, H, W)`, floats in [-1, 1] or uint8.
        painting: Likewise. Both are scaled to `data.load_px` if that is set, unless they are tensors.
        overrides: Settings that go over it, e.g. `["method.vgg=vgg19.pth"]`; not with settings that are no file.
        seed: Seed of what the method draws; None takes the config's. With the photograph's path the picture is that of
            `cut-test --seed`.
        device: Where it computes; `auto` takes a GPU if there is one.
        precision: `32-true`, `bf16-mixed` or `16-mixed`.
        report: Called once per evaluation of the objective.

    Returns:
        The picture, of the photograph's size and kind; a path gives a Pillow image.

    Raises:
        cut.UserError: A setting is wrong, the method is one that is trained, or weights or pictures are missing.
    """
    run = given_config(config, overrides, "cut.stylize")
    method, fabric = build_stylizer(run), build_fabric(device, precision)
    fabric.to_device(method)
    items, pack = unpacked(photo, Bands(3))
    styles, _ = unpacked(painting, Bands(3))
    if len(items) != 1 or len(styles) != 1:
        raise UserError(f"cut.stylize: takes one photo and one painting, got {len(items)} and {len(styles)}")
    (given,), (style,) = items, styles
    scale = scaling(getattr(run.data, "load_px", None), run, "data.load_px")
    pixels, painted = (
        scale(item.pixels) if scale and isinstance(item.pixels, np.ndarray) else item.pixels for item in (given, style)
    )
    images = fabric.to_device((_floats(pixels)[None], _floats(painted)[None]))
    stream = torch.Generator().manual_seed(stream_seed(run.seed if seed is None else seed, given.name, 0))
    with torch.set_grad_enabled(method.needs_grad), fabric.autocast():
        made = method(images[0], style=images[1], generator=stream, report=report)[0]
    if isinstance(pixels, Tensor):
        return pack([made.float().cpu()])
    return pack([to_written_picture(made, pixels.dtype.type, given.name or "photo")])


def _floats(pixels: np.ndarray | Tensor) -> Tensor:
    return pixels if isinstance(pixels, Tensor) else to_tensor(pixels)
