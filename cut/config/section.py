"""What every section of a config is."""

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

Unit = Annotated[float, Field(ge=0.0, lt=1.0)]
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
