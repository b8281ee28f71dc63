"""What every section of a config is."""

import os
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    SerializationInfo,
    ValidationInfo,
    field_validator,
)


class ExpandedPath(str):
    """A path with `~` and environment variables replaced, as a shell does it.

    What is stored is `written`, the user's own text: a run whose data lie in `$TMPDIR` goes on where that is another
    folder, and its config.yaml means the same to another user.
    """

    written: str

    def __new__(cls, text: str) -> "ExpandedPath":
        path = super().__new__(cls, os.path.expandvars(os.path.expanduser(text)))
        path.written = getattr(text, "written", text)
        return path


def _to_store(path: str, info: SerializationInfo) -> str:
    is_written = (info.context or {}).get("written", True)
    return getattr(path, "written", path) if is_written else str(path)


def _require_named(path: str) -> str:
    """Refuses what would be the current folder, such as `$DATA` where that is empty."""
    if not path.strip():
        raise ValueError("is empty; name a file or a folder (the current one is '.')")
    return path


PathText = Annotated[str, AfterValidator(ExpandedPath), AfterValidator(_require_named), PlainSerializer(_to_store)]
OptionalPathText = Annotated[str, AfterValidator(ExpandedPath), PlainSerializer(_to_store)]
Unit = Annotated[float, Field(ge=0.0, lt=1.0)]
RANDOM_WEIGHTS = "random"  # in place of a file of weights
_LARGEST = 10**12  # of any whole number but the seed; products of a few of them still fit into 64 bits


class Section(BaseModel):
    """A group of settings: unknown keys are refused, values cannot change after loading.

    The text below a field is its comment in `cut-train --print-config`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    @field_validator("*")
    @classmethod
    def _is_countable(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, int) and abs(value) > _LARGEST and info.field_name != "seed":
            raise ValueError(f"must be at most {_LARGEST}")
        return value


class MethodConfig(Section):
    """What every method's own config has; the method's file adds its fields.

    A method says here which of a run's other sections it needs: the networks of its paper, taken key by key where a
    YAML gives nothing else (None where it has its own in `method`), and the kinds of data that it can learn from.
    """

    default_generator: ClassVar[dict[str, Any] | None] = {"name": "resnet"}
    default_discriminator: ClassVar[dict[str, Any] | None] = {"name": "patch"}
    data_names: ClassVar[tuple[str, ...]] = ("unpaired",)

    name: str
    """Method: a file of cut/methods, or package.module:Class."""

    def further_images(self) -> frozenset[str]:
        """What batches should hold besides the images of both domains, where the data have it: `partner_b` of each
        image of a, `mask_a`, and the same of the other domain."""
        return frozenset()

    def check_data(self, data: Any) -> None:
        """Looks at the run's data section, for what only both together show.

        Raises:
            ValueError: The method cannot learn from such data; the text names the key, and what to do.
        """

    @property
    def remark(self) -> str | None:
        """What whoever looks at the method's pictures or scores must know, such as that its weights are random."""
        return None
