"""A film through a `Model`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_fabric import Fabric

from cut.api.choices import find_direction, find_num_passes, require_inputs, scaling
from cut.errors import UserError
from cut.inference.film import Film, check_output, translate_film
from cut.inference.request import Request
from cut.runtime.seeding import undisturbed

if TYPE_CHECKING:
    from cut.api.model import Model


def translate(
    model: "Model", fabric: Fabric, source: Path, output: Path, frames: tuple[int, int | None], options: Any
) -> int:
    """Translates a film; see `cut.api.model.Model.film`."""
    config, method, bands = model.config, model.method, model.config.data.bands
    model._require(image=True)
    if not all(own.are_plain for own in bands.values()):
        raise UserError(f"{source}: a film has 3 channels of 8 bits, but this model's domains have others")
    direction = find_direction(options.get("direction"), config, method, "direction")
    asked = {name: options.get(name) for name in ("style", "guide", "label")}
    require_inputs(method, config.method.name, {name: (name, value) for name, value in asked.items()})
    outputs = tuple(model._given(1, **asked, direction=direction))
    prepare = scaling(options.get("load_px"), config, "load_px")
    passes = find_num_passes(options.get("num_passes"), method, config.method.name, "num_passes")
    request = Request(direction, options.get("seed", 0), model.deterministic, outputs, prepare, num_passes=passes)
    film = Film(source)
    check_output(source, output)
    channels = bands.get(direction[0], bands["b"]).count
    with undisturbed():
        batch_size, tile_px = options.get("batch_size", 4), options.get("tile_px")
        return translate_film(method, film, output, channels, fabric, batch_size, request, tile_px, frames)
