"""What a call of a model takes besides pictures."""

from collections.abc import Sequence
from typing import Literal, TypeAlias, TypedDict

import numpy as np
from torch import Tensor

from cut.api.pictures import Picture
from cut.inference.request import Progress

Device: TypeAlias = Literal["auto", "cpu", "cuda", "mps"]
Direction: TypeAlias = Literal["AtoB", "BtoA"]
Style: TypeAlias = Tensor | np.ndarray | Sequence[float]


class Options(TypedDict, total=False):
    """Options of a call of `Model`, which explains them."""

    direction: Direction | None
    style: Style | None
    guide: Picture | None
    label: str | None
    seed: int
    num_passes: int | None
    load_px: int | tuple[int, int] | None
    tile_px: int | None
    batch_size: int
    progress: Progress | None
