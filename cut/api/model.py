"""A trained model as a function, `picture = model("photo.jpg")`; `cut.load` makes it."""

import os
import tempfile
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from typing_extensions import Unpack  # which pydantic brings along; Python has it from 3.11 on

from cut.api.choices import (
    find_direction,
    find_labels,
    find_num_passes,
    own_direction,
    require_inputs,
    scaling,
    style_of,
)
from cut.api.options import Device, Direction, Options, Style
from cut.api.pictures import Picture, Pixels, to_pillow, unpacked
from cut.config import Precision, RunConfig
from cut.data.transforms import to_picture
from cut.errors import UserError
from cut.inference.forward import translate_images, translate_pictures
from cut.inference.request import ONE_OUTPUT, Given, Progress, Request, stream_seed
from cut.methods.base import Method
from cut.runtime.fabric import build_fabric
from cut.runtime.seeding import undisturbed
from cut.storage.files import given_path


class Model:
    """A trained generator, ready to translate; `cut.load` makes it.

    Args:
        method: Method, set for inference.
        config: Configuration of its run.
        device: Where it computes.
        precision: Precision of the computation.
        deterministic: Whether to take the mean style instead of random ones.

    Attributes:
        config: Configuration of the run.
        method: Networks, a `torch.nn.Module`: `model.method(images)` is differentiable.
    """

    def __init__(
        self,
        method: Method,
        config: RunConfig,
        device: Device = "auto",
        precision: Precision = "32-true",
        deterministic: bool = False,
    ):
        self.method, self.config, self.deterministic = method, config, deterministic
        self._fabric = build_fabric(device, precision)
        self._fabric.to_device(method)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._fabric.device

    @property
    def directions(self) -> tuple[str, ...]:
        """Directions that it has learnt, the run's own first: `AtoB`, `BtoA`."""
        own = own_direction(self.config)
        other = "BtoA" if own == "AtoB" else "AtoB"
        return (own, other) if "ba" in self.method.directions() else (own,)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes that `label` takes; none for most methods."""
        return tuple(self.method.label_names)

    @overload
    def __call__(self, pictures: str | os.PathLike[str], **options: Unpack[Options]) -> Image.Image: ...
    @overload
    def __call__(self, pictures: Image.Image, **options: Unpack[Options]) -> Image.Image: ...
    @overload
    def __call__(self, pictures: np.ndarray, **options: Unpack[Options]) -> np.ndarray: ...
    @overload
    def __call__(self, pictures: Tensor, **options: Unpack[Options]) -> Tensor: ...
    @overload
    def __call__(self, pictures: list[Any] | tuple[Any, ...], **options: Unpack[Options]) -> list[Any]: ...
    def __call__(
        self,
        pictures: Picture | list[Any] | tuple[Any, ...],
        *,
        direction: Direction | None = None,
        style: Style | None = None,
        guide: Picture | None = None,
        label: str | None = None,
        seed: int = 0,
        num_passes: int | None = None,
        load_px: int | tuple[int, int] | None = None,
        tile_px: int | None = None,
        batch_size: int = 4,
        progress: Progress | None = None,
    ) -> Any:
        """Translates pictures of any size; what comes back is of the kind and size of what was given.

        Args:
            pictures: One picture, or a list of them. A path gives a Pillow image. Arrays are `(H, W, C)`, `(H, W)` or
                `(N, H, W, C)`, uint8 or uint16, in RGB order. Tensors are `(C, H, W)` or `(N, C, H, W)`, floats in
                [-1, 1] or uint8; they may be on any device. A 16-bit colour picture, which Pillow does not have, is
                given as an array; its path gives 8 bits. Where the domains have a range (`data.range_a`), arrays hold
                numbers of it, of any type; a path then gives an array, as it does of other bands than one or three.
            direction: `AtoB` or `BtoA`, where the model has learnt both (`directions`).
            style: Numbers of a style, `(D,)`, or `(N, D)` one for each picture (MUNIT, DRIT). None draws them.
            guide: Picture whose style all take (MUNIT, DRIT).
            label: Name of the class to translate to, one of `labels`.
            seed: Seed of random styles and noise. They depend on the seed and the file's name, of pictures without a
                name on their place in the list: the same as `cut-test --seed`.
            num_passes: Number of passes through the generator (UNSB); None takes the run's `method.num_passes`.
            load_px: Scales pictures first, as `data.load_px` did in training; networks know the scale that they have
                learnt. Not for tensors.
            tile_px: Cuts larger pictures into tiles of this size, for pictures that do not fit into memory. Not for
                tensors.
            batch_size: Number of pictures of equal size that go through together.
            progress: Function that is called after each tile of a picture with the number of tiles done and of all;
                what it raises ends the translation.

        Raises:
            cut.UserError: A picture cannot be read, or the model does not take an option.
        """
        self._require(image=True)
        wanted = find_direction(direction, self.config, self.method, "direction")
        options: dict[str, tuple[str, object]] = {
            "style": ("style", style),
            "guide": ("guide", guide),
            "label": ("label", label),
        }
        require_inputs(self.method, self.config.method.name, options)
        bands, made = (self.config.data.bands[domain] for domain in wanted)
        items, pack = unpacked(pictures, bands, made)
        outputs = self._given(len(items), style, guide, label, wanted)
        prepare = scaling(load_px, self.config, "load_px")
        passes = find_num_passes(num_passes, self.method, self.config.method.name, "num_passes")
        request = Request(wanted, seed, self.deterministic, (ONE_OUTPUT,), prepare, made, progress, passes)
        if any(isinstance(item.pixels, Tensor) for item in items) and (load_px or tile_px):
            raise UserError("load_px, tile_px: are for files, Pillow images and arrays; scale tensors yourself")
        with undisturbed():
            return pack(self._translate(items, outputs, request, tile_px, batch_size))

    def film(
        self,
        film: str | os.PathLike[str],
        output: str | os.PathLike[str],
        *,
        frames: tuple[int, int | None] = (0, None),
        **options: Unpack[Options],
    ) -> int:
        """Translates a film frame by frame into another, whole or not at all: of its rate and size, without sound.

        Args:
            film: MP4, MOV, AVI, MKV or other film that OpenCV decodes.
            output: File to write: `.mp4`, `.m4v`, `.mov`, `.mkv` or `.avi`.
            frames: First frame, from 0, and the one after the last; None goes to the end.
            **options: As of pictures; all frames get the same style and noise.

        Returns:
            Number of frames that were written.

        Raises:
            cut.UserError: The film cannot be read or written, or the model does not take an option.
        """
        from cut.api.film import translate

        paths = given_path(film, "film"), given_path(output, "output")
        return translate(self, self._fabric, *paths, frames, options)

    def sample(self, count: int, seed: int = 0, label: str | None = None) -> list[Image.Image]:
        """New images of a model that draws from noise (DCGAN, BigGAN); image i depends on the seed, i and its class.

        Args:
            count: Number of images.
            seed: Seed of the latents.
            label: Class to draw; None lets the classes take turns, where there are classes.

        Raises:
            cut.UserError: The model translates pictures, or has no such class.
        """
        self._require(image=False)
        require_inputs(self.method, self.config.method.name, {"label": ("label", label)})
        knows_classes = "label" in self.method.inputs
        labels = [n for n, _ in find_labels(label or "all", self.method, "label")] if knows_classes else []
        drawn = []
        for number in range(count):
            latent = self.method.latents(1, torch.Generator().manual_seed(stream_seed(seed, number)))
            with torch.inference_mode(), self._fabric.autocast():
                given = {"label": torch.tensor([labels[number % len(labels)]])} if labels else {}
                drawn.append(self.method(self._fabric.to_device(latent), **self._fabric.to_device(given))[0])
        return [to_pillow(to_picture(image)) for image in drawn]

    def export(
        self,
        file: str | os.PathLike[str],
        *,
        direction: Direction | None = None,
        max_megapixels: float = 4.2,
        num_passes: int | None = None,
    ) -> dict[str, Any]:
        """Writes the model for programs without this package, as cut-export does; see `cut.api.export.export_model`.

        Args:
            file: File to write: `.onnx`, `.pt2` (torch.export) or `.ts` (TorchScript).
            direction: `AtoB` or `BtoA`; None takes the run's own.
            max_megapixels: Largest picture, where the graph must know it: for StyleGAN2's noise.
            num_passes: Number of passes through the generator (UNSB); None takes the run's `method.num_passes`.

        Returns:
            What a program must know of the file: names, shapes, ranges, and the difference from this model.
        """
        from cut.api.export import export_model

        options: dict[str, Any] = {"direction": direction, "max_megapixels": max_megapixels, "num_passes": num_passes}
        return export_model(self.method, self.config, file, **options)

    def _require(self, image: bool) -> None:
        if ("image" in self.method.inputs) != image:
            what = "draws from noise; call model.sample(64)" if image else "translates pictures; call model(picture)"
            raise UserError(f"this {self.config.method.name} model {what}")

    def _given(self, count: int, style: Any, guide: Picture | None, label: str | None, direction: str) -> list[Given]:
        """What each picture's output is made from."""
        if style is not None and guide is not None:
            raise UserError("style, guide: a guide gives the style; leave one of the two out")
        styles: Sequence[Tensor | None] = [None] * count
        if style is not None:
            numbers = torch.as_tensor(np.asarray(style) if not isinstance(style, Tensor) else style).float().cpu()
            styles = self._rows(numbers, count).split(1)
        if guide is not None:
            (read,), _ = unpacked(guide, self.config.data.bands[direction[1]])
            styles = [style_of(self.method, read.pixels, direction, self._fabric, "guide")] * count
        number = None
        if "label" in self.method.inputs:
            (number, _), *others = find_labels(label, self.method, "label")
            if others:
                raise UserError("label all: gives several pictures; call the model once for each of model.labels")
        return [Given(style=own, label=number) for own in styles]

    def _rows(self, numbers: Tensor, count: int) -> Tensor:
        """Styles `(D,)` or `(N, D)` as one row for each picture."""
        wanted = tuple(self.method.latents(1, torch.Generator()).shape[1:])
        rows = numbers[None].expand(count, *numbers.shape) if tuple(numbers.shape) == wanted else numbers
        if tuple(rows.shape) != (count, *wanted):
            raise UserError(f"style: {tuple(numbers.shape)} numbers; needed are {wanted}, or {(count, *wanted)}")
        return rows

    def _translate(
        self, items: list[Pixels], outputs: list[Given], request: Request, tile_px: int | None, batch_size: int
    ) -> list[Any]:
        """Translations of all pictures, those of equal size that follow each other together."""
        if batch_size < 1 or (tile_px is not None and tile_px < 32):
            raise UserError("batch_size must be at least 1, tile_px at least 32")
        prepare = request.prepare or (lambda picture: picture)
        ready = [item.pixels if isinstance(item.pixels, Tensor) else prepare(item.pixels) for item in items]
        keys = [
            (item.name, given if item.name else Given(number=place, style=given.style, label=given.label))
            for place, (item, given) in enumerate(zip(items, outputs, strict=True))
        ]
        most = 1 if self.method.goes_one_by_one else batch_size
        done: list[Any] = []
        while len(done) < len(ready):
            first = len(done)
            following = takewhile(lambda picture: _is_alike(picture, ready[first]), ready[first : first + most])  # noqa: B023
            part = slice(first, first + len(list(following)))
            done += self._translate_alike(ready[part], request, keys[part], tile_px)
        return done

    def _translate_alike(
        self,
        pictures: Sequence[np.ndarray | Tensor],
        request: Request,
        keys: list[tuple[str, Given]],
        tile_px: int | None,
    ) -> list[Any]:
        arrays = [picture for picture in pictures if isinstance(picture, np.ndarray)]
        if arrays:
            with tempfile.TemporaryDirectory() as folder:
                return translate_pictures(self.method, arrays, self._fabric, request, keys, tile_px, Path(folder))
        images = torch.stack([picture for picture in pictures if isinstance(picture, Tensor)])
        outputs = translate_images(self.method, images, self._fabric, request, keys).clone()  # that autograd may use
        return list(outputs.float().to(images.device))


def _is_alike(one: np.ndarray | Tensor, other: np.ndarray | Tensor) -> bool:
    return type(one) is type(other) and one.shape == other.shape and one.dtype == other.dtype
