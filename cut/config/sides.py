"""Sizes in pixels: one number for squares, or [height, width]."""

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, PlainSerializer, WrapValidator
from pydantic_core.core_schema import ValidatorFunctionWrapHandler

MULTIPLE_PX = 4  # the generators halve twice, so pictures that are not cropped are scaled to a multiple of it
LEAST_PX, MOST_PX = 8, 32_768


def _or_rectangle(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """A side that is checked as such, or two of them, each checked."""
    is_written_out = isinstance(value, str) and "x" in value  # 288x576, as cut-test --load-px takes it
    if not isinstance(value, list | tuple) and not is_written_out:
        return validate(value)
    if is_written_out or len(value) != 2:
        raise ValueError("must be one number, or [height, width]")
    return tuple(validate(side) for side in value)


if TYPE_CHECKING:
    Sides = int | tuple[int, int]
    CropSides = int | tuple[int, int]
else:
    _STORED = PlainSerializer(lambda sides: list(sides) if isinstance(sides, tuple) else sides)
    Sides = Annotated[int, Field(ge=LEAST_PX, le=MOST_PX), WrapValidator(_or_rectangle), _STORED]
    CropSides = Annotated[
        int, Field(ge=LEAST_PX, le=MOST_PX, multiple_of=MULTIPLE_PX), WrapValidator(_or_rectangle), _STORED
    ]


def both_sides(size_px: int | tuple[int, int]) -> tuple[int, int]:
    """Height and width."""
    return size_px if isinstance(size_px, tuple) else (size_px, size_px)


def as_text(size_px: int | tuple[int, int]) -> str:
    """How a YAML has it: `256`, or `[256, 512]`."""
    return str(list(size_px) if isinstance(size_px, tuple) else size_px)
