"""Models that are loaded when they are first asked for, and what each of them can."""

import io
import os
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from cut.api.loading import load
from cut.api.model import Model
from cut.api.options import Device
from cut.config import Precision
from cut.errors import TilingError, UserError, did_you_mean, reason, shown
from cut.inference.request import Progress
from cut.serve.folders import Place, find_places, require_places

_MOST_NAME_BYTES = 200  # of the 255 that file systems take
_MOST_LOADED = 4  # of which the one that was not used for longest makes room


class UnknownNameError(UserError):
    """There is no such model or run."""


@dataclass(frozen=True)
class Wish:
    """What a translation is asked for besides its model.

    Args:
        picture: File to translate; None for a model that draws from noise.
        guide: File whose style is taken.
        direction: `AtoB`, `BtoA`, or None for the model's own.
        label: Name of a class.
        seed: Seed of styles and noise.
        num_passes: Number of passes through the generator; None for the model's own.
        load_px: Size to scale to, as `data.load_px` did in training.
        tile_px: Side of the tiles that larger pictures are cut into; 0 translates them whole.
    """

    picture: Path | None
    guide: Path | None = None
    direction: str | None = None
    label: str | None = None
    seed: int = 0
    num_passes: int | None = None
    load_px: int | None = None
    tile_px: int = 1024


class Models:
    """The models of the paths that the page was started with. It is used by one thread at a time.

    Args:
        paths: Run directories, files of weights, and folders of runs.
        device: Where models compute.
        precision: Precision of the computation.
        deterministic: Whether to switch off noise at test time and to take mean styles.
        allow_import: Whether files may name code outside this package.
        config: YAML that a `.pth` must fit.

    Raises:
        UserError: A path does not exist, or holds no run.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        device: Device = "auto",
        precision: Precision = "32-true",
        deterministic: bool = False,
        allow_import: bool = False,
        config: Path | None = None,
    ):
        require_places(paths)
        self.paths, self._config = paths, config
        self._options: dict[str, Any] = {
            "device": device,
            "precision": precision,
            "deterministic": deterministic,
            "allow_import": allow_import,
        }
        self._loaded: OrderedDict[str, tuple[tuple[object, ...], Model]] = OrderedDict()

    def places(self) -> dict[str, Place]:
        """All runs and files that are there now, by name."""
        return find_places(self.paths)

    def place(self, name: str) -> Place:
        """The run or file of that name.

        Raises:
            UnknownNameError: There is none.
        """
        places = self.places()
        if name not in places:
            known = did_you_mean(name, places) or f"; known: {', '.join(list(places)[:10])}"
            raise UnknownNameError(f"model {shown(name)}: no such run{known}")
        return places[name]

    def model(self, name: str) -> Model:
        """The model of that name, loaded, and loaded again where a training has written a new one meanwhile.

        Raises:
            UserError: There is none, its file is damaged, or its pictures are none that a page can show.
        """
        place = self.place(name)
        file = place.weights
        if file is None:
            raise UnknownNameError(f"model {shown(name)}: has saved no weights yet; wait for its first checkpoint")
        status = os.stat(file)
        version = (file, status.st_mtime_ns, status.st_size)
        if name not in self._loaded or self._loaded[name][0] != version:
            config = self._config if file.suffix == ".pth" else None
            self._loaded[name] = (version, load(file, config=config, **self._options))
            while len(self._loaded) > _MOST_LOADED:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(name)
        model = self._loaded[name][1]
        if any(not bands.are_plain for bands in model.config.data.bands.values()):
            raise UserError(
                f"model {shown(name)}: translates bands or numbers, which a page cannot show; use cut-test or cut.load"
            )
        return model

    def describe(self, name: str) -> dict[str, Any]:
        """What can be asked of a model, for the page and for programs."""
        model = self.model(name)
        takes, inputs = "picture" if "image" in model.method.inputs else "nothing", model.method.inputs
        load_px = getattr(model.config.data, "load_px", None)
        return {
            "name": name,
            "method": model.config.method.name,
            "takes": takes,
            "directions": list(model.directions) if takes == "picture" else [],
            "labels": list(model.labels),
            "takes_guide": "guide" in inputs,
            "takes_seed": bool({"style", "latent"} & inputs) or model.method.goes_one_by_one,
            "num_passes": model.method.num_passes,
            "most_passes": model.method.most_passes,
            "trained_at_px": load_px if takes == "picture" and isinstance(load_px, int) else None,  # no rectangle
        }

    def translate(self, name: str, wish: Wish, progress: Progress) -> bytes:
        """The translation as PNG.

        Raises:
            UserError: The picture cannot be read or does not fit into memory, or the model does not take an option.
        """
        model = self.model(name)
        try:
            made = _sample(model, wish) if "image" not in model.method.inputs else _translation(model, wish, progress)
        except (MemoryError, RuntimeError) as error:
            raise UserError(f"not translated ({reason(error)}); take a smaller picture") from error
        if not isinstance(made, Image.Image):
            raise UserError("its translations are no pictures that a page can show; take cut-test")
        buffer = io.BytesIO()
        made.save(buffer, "PNG", compress_level=3)  # a fourth larger than at 6, and three times as fast
        return buffer.getvalue()


def _sample(model: Model, wish: Wish) -> Image.Image:
    for name in ("picture", "guide", "direction", "num_passes", "load_px"):
        if getattr(wish, name) is not None:
            raise UserError(f"{name}: this model draws from noise; leave it out")
    return model.sample(1, wish.seed, wish.label)[0]


def _translation(model: Model, wish: Wish, progress: Progress) -> Image.Image:
    if wish.picture is None:
        raise UserError("picture: missing; give one to translate")
    options: dict[str, Any] = {
        "direction": wish.direction,
        "guide": wish.guide,
        "label": wish.label,
        "seed": wish.seed,
        "num_passes": wish.num_passes,
        "load_px": wish.load_px,
    }
    try:
        return model(wish.picture, tile_px=wish.tile_px or None, progress=progress, **options)
    except TilingError:  # nothing is computed yet
        return model(wish.picture, **options)


def safe_name(name: str | None) -> str:
    """The last part of the name that a browser gives a file, without what no file can be called."""
    last = re.split(r"[/\\]", name or "")[-1]
    shown = "".join(character for character in last if character.isprintable())
    return shown.encode()[-_MOST_NAME_BYTES:].decode(errors="ignore").strip(". ") or "picture"
