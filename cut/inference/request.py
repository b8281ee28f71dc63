"""What is asked of a translation besides the picture: direction, styles, guides, classes, and the seed of chance."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cut.data.numbers import COLOURS, Bands
from cut.errors import UserError
from cut.methods.translator import Translator

_STREAM_BITS = 63
Progress = Callable[[int, int], object]


@dataclass(frozen=True)
class Given:
    """What one output of a picture is made from besides it.

    Args:
        suffix: End of the output's name, before its format; empty where a picture has one output.
        number: Number of the output, from 0, of those that differ in nothing but chance.
        style: Style `(1, ...)` that was read off a guide; None draws one where the method takes styles.
        label: Number of the class; None where the method takes none.
    """

    suffix: str = ""
    number: int = 0
    style: Tensor | None = None
    label: int | None = None


ONE_OUTPUT = Given()


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Args:
        direction: Domains that are translated from and to: `ab` or `ba`.
        seed: Seed of random styles and of noise at test time. What output i of a picture gets depends on the seed, on
            i and on the picture's name alone: not on other pictures, their order, or the batch size.
        deterministic: Whether to take the mean style instead of random ones.
        outputs: What each picture becomes; one output unless asked otherwise.
        prepare: What is done to a picture `(H, W, C)` before it is translated, such as scaling; its translation has
            the size that it has then. None takes it as it is.
        made: What the files of the translations hold.
        progress: Function that is called after each tile of a picture with the number of tiles done and of all.
        num_passes: Number of passes through the generator; None takes the method's own.
    """

    direction: str = "ab"
    seed: int = 0
    deterministic: bool = False
    outputs: tuple[Given, ...] = (ONE_OUTPUT,)
    prepare: Callable[[np.ndarray], np.ndarray] | None = None
    made: Bands = COLOURS
    progress: Progress | None = None
    num_passes: int | None = None

    def type_of(self, picture: np.ndarray) -> type:
        """The type of a picture's translation: its own 8 or 16 bits; with a range float32, of which nothing is lost."""
        if self.made.limits is not None:
            return np.float32
        return picture.dtype.type if picture.dtype != np.float32 else np.uint16

    def tensors(self, translator: Translator, names: Sequence[str], given: Sequence[Given]) -> dict[str, Tensor]:
        """What `forward` takes besides a batch of images, on the CPU, by name.

        Args:
            translator: Method that translates.
            names: Names of the pictures.
            given: What their outputs are made from.
        """
        found: dict[str, Tensor] = {}
        if "style" in translator.inputs and not (self.deterministic and all(g.style is None for g in given)):
            found["style"] = torch.cat([self._style(translator, n, g) for n, g in zip(names, given, strict=True)])
        if "label" in translator.inputs:
            found["label"] = torch.tensor([g.label or 0 for g in given])
        return found

    def _style(self, translator: Translator, name: str, given: Given) -> Tensor:
        if given.style is not None:
            return given.style
        drawn = translator.latents(1, torch.Generator().manual_seed(stream_seed(self.seed, name, given.number)))
        return torch.zeros_like(drawn) if self.deterministic else drawn


def several(count: int) -> tuple[Given, ...]:
    """`count` outputs that differ by chance alone."""
    if count == 1:
        return (ONE_OUTPUT,)
    return tuple(Given(f"_{number:0{len(str(count - 1))}}", number) for number in range(count))


def with_labels(outputs: Sequence[Given], labels: Sequence[tuple[int, str]]) -> tuple[Given, ...]:
    """Every output for every class.

    Args:
        outputs: Outputs.
        labels: Number and name of each class; of a single one names say nothing.
    """
    ends = {number: f"_{name}" if len(labels) > 1 else "" for number, name in labels}
    return tuple(replace(g, suffix=end + g.suffix, label=number) for number, end in ends.items() for g in outputs)


def guided(styles: Sequence[tuple[Path, Tensor]]) -> tuple[Given, ...]:
    """An output for each guide picture, named after it where there are several.

    Args:
        styles: Path of the guide and its style `(1, ...)`.

    Raises:
        UserError: Two guides have one name.
    """
    if len(styles) == 1:
        return (Given(style=styles[0][1]),)
    stems = [path.stem for path, _ in styles]
    if double := next((stem for stem in stems if stems.count(stem) > 1), None):
        raise UserError(f"--guide: two pictures are called {double}, and outputs are named after them; rename one")
    return tuple(Given(f"_{path.stem}", style=style) for path, style in styles)


def stream_seed(seed: int, *keys: int | str) -> int:
    """The seed of a random stream of its own: other keys, other numbers."""
    words: list[int] = []
    for key in keys:
        if isinstance(key, str):
            digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
            words += np.frombuffer(digest[:16], np.uint32).tolist()
        else:
            words.append(key)
    mixed = np.random.SeedSequence((seed, *words)).generate_state(1, np.uint64)[0]
    return int(mixed >> np.uint64(64 - _STREAM_BITS))
