"""What every section of a config is."""

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

Unit = Annotated[float, Field(ge=0.0, lt=1.0)]


class Section(BaseModel):
    """A group of settings: unknown keys are refused, values cannot change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class MethodConfig(Section):
    """What every method's own config has; the method's file adds its fields.

    A method says here which of a run's other sections it needs: the networks of its paper, taken key by key where a
    YAML gives nothing else (None where it has its own in `method`), and the kinds of data that it can learn from.
    """

    default_generator: ClassVar[dict[str, Any] | None] = {"name": "resnet"}
    default_discriminator: ClassVar[dict[str, Any] | None] = {"name": "patch"}
    data_names: ClassVar[tuple[str, ...]] = ("unpaired",)

    name: str
