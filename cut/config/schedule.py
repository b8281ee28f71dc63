"""Learning-rate schedules, which are also a run's length."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cut.config.section import Section


class _Length(Section):
    """A schedule's length, in epochs or in steps: subclasses name the pairs of fields of which one unit is given."""

    warmup_epochs: int | None = Field(None, ge=0)  # in which the rate rises evenly from 0, at every step
    warmup_steps: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _one_unit(self) -> "_Length":
        given = {n.rsplit("_", 1)[-1] for n in type(self).model_fields if getattr(self, n) and n.endswith(_UNITS)}
        if len(given) != 1:
            pair = " or ".join(", ".join(n for n in type(self).model_fields if n.endswith(u)) for u in _UNITS)
            raise ValueError(f"give the length in one unit, either {pair}")
        return self


_UNITS = ("epochs", "steps")


class LinearScheduleConfig(_Length):
    """The full rate, then linearly to 0; by default CUT's 200 + 200 epochs."""

    name: Literal["linear"] = "linear"
    constant_epochs: int | None = Field(None, ge=0)
    decay_epochs: int | None = Field(None, ge=0)
    constant_steps: int | None = Field(None, ge=0)
    decay_steps: int | None = Field(None, ge=0)


class CosineScheduleConfig(_Length):
    """Half a cosine from the full rate to `final_factor` of it, once over the whole length."""

    name: Literal["cosine"] = "cosine"
    total_epochs: int | None = Field(None, ge=1)
    total_steps: int | None = Field(None, ge=1)
    final_factor: float = Field(0.0, ge=0.0, le=1.0)


class StepScheduleConfig(_Length):
    """The rate times `factor` after every so many epochs or steps."""

    name: Literal["step"] = "step"
    total_epochs: int | None = Field(None, ge=1)
    every_epochs: int | None = Field(None, ge=1)
    total_steps: int | None = Field(None, ge=1)
    every_steps: int | None = Field(None, ge=1)
    factor: float = Field(0.1, gt=0.0, le=1.0)

    @model_validator(mode="after")
    def _has_interval(self) -> "StepScheduleConfig":
        if not (self.every_epochs if self.total_epochs else self.every_steps):
            raise ValueError("give every_epochs beside total_epochs, or every_steps beside total_steps")
        return self


class ConstantScheduleConfig(_Length):
    name: Literal["constant"] = "constant"
    total_epochs: int | None = Field(None, ge=1)
    total_steps: int | None = Field(None, ge=1)


class PlateauScheduleConfig(_Length):
    """The rate times `factor` after every `patience` evaluations in a row without a better score; needs `eval`."""

    name: Literal["plateau"] = "plateau"
    total_epochs: int | None = Field(None, ge=1)
    total_steps: int | None = Field(None, ge=1)
    factor: float = Field(0.5, gt=0.0, lt=1.0)
    patience: int = Field(5, ge=1)  # evaluations


ScheduleConfig = Annotated[
    LinearScheduleConfig | CosineScheduleConfig | StepScheduleConfig | ConstantScheduleConfig | PlateauScheduleConfig,
    Field(discriminator="name"),
]
