"""What the pictures of a domain hold, where they need not be gray or colour pictures of 8 or 16 bits."""

import math
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

MOST_BANDS = 64
Channels = Annotated[int, Field(ge=1, le=MOST_BANDS)]
_OF_PICTURES = (1, 3)  # what files of any picture format hold, and are converted to


def require_range(limits: tuple[float, float]) -> tuple[float, float]:
    """The range, whose width is a number that others can be divided by.

    Raises:
        ValueError: It is none.
    """
    width = limits[1] - limits[0]
    if not width > 0:
        raise ValueError("the lowest value comes first, and the highest must be larger")
    if not (math.isfinite(width) and math.isfinite(2.0 / width)):
        raise ValueError("lowest, highest and their distance must be finite")
    return limits


def _are_two(limits: Any) -> Any:
    if not isinstance(limits, list | tuple) or len(limits) != 2:
        raise ValueError("must be [lowest, highest]")
    return limits


Range = Annotated[tuple[float, float], BeforeValidator(_are_two), AfterValidator(require_range)]
ShownBands = tuple[Channels, Channels, Channels]


@dataclass(frozen=True)
class Bands:
    """What the files of one domain hold.

    Args:
        count: Number of channels.
        limits: Values that become -1 and 1; None takes 0 and the largest number of 8 or 16 bits.
        domain: `a` or `b`, the end of the keys that errors name; empty where no config says it.
        shown: Numbers of the bands, from 1, that sheets show as red, green and blue; None shows the first three.
    """

    count: int
    limits: tuple[float, float] | None = None
    domain: str = ""
    shown: tuple[int, int, int] | None = None

    @property
    def are_plain(self) -> bool:
        """Whether they are gray or colour pictures, whose numbers mean what their depth says."""
        return self.count in _OF_PICTURES and self.limits is None

    @property
    def are_of_pictures(self) -> bool:
        """Whether every picture format holds as many."""
        return self.count in _OF_PICTURES

    def __str__(self) -> str:
        """`6 bands from 0 to 10000`, or `1 band`."""
        limits = f" from {self.limits[0]:g} to {self.limits[1]:g}" if self.limits else ""
        return f"{self.count} band{'s' * (self.count > 1)}{limits}"


COLOURS = Bands(3)  # what ordinary pictures are read as
