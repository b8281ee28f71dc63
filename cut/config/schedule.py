"""Learning-rate schedules, which are also a run's length."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cut.config.section import Section


class _Length(Section):
    """A schedule's length, in epochs or in steps: subclasses name the pairs of fields of which one unit is given."""

    warmup_epochs: int | None = Field(None, ge=0)
    """Epochs in which the rate rises evenly from 0, at every step."""
    warmup_steps: int | None = Field(None, ge=0)
    """Steps in which the rate rises evenly from 0, instead of warmup_epochs."""

    @model_validator(mode="after")
    def _one_unit(self) -> "_Length":
        fields = [n for n in type(self).model_fields if n.endswith(_UNITS)]
        lengths = [n for n in fields if not n.startswith("warmup")]
        given = {_unit(n) for n in lengths if getattr(self, n)}
        if len(given) != 1:
            pair = " or ".join(", ".join(n for n in lengths if n.endswith(unit)) for unit in _UNITS)
            raise ValueError(f"give the length in one unit, either {pair}")
        if {_unit(n) for n in fields if getattr(self, n)} != given:
            raise ValueError(f"give the warm-up in the unit of the length: warmup_{given.pop()}")
        return self


def _unit(name: str) -> str:
    return name.rsplit("_", 1)[-1]


_UNITS = ("epochs", "steps")


class LinearScheduleConfig(_Length):
    """The full rate, then linearly to 0; by default CUT's 200 + 200 epochs."""

    name: Literal["linear"] = "linear"
    """The full learning rate, then linearly to 0."""
    constant_epochs: int | None = Field(None, ge=0)
    """Epochs at the full rate."""
    decay_epochs: int | None = Field(None, ge=0)
    """Epochs in which the rate goes to 0."""
    constant_steps: int | None = Field(None, ge=0)
    """Steps at the full rate, instead of constant_epochs."""
    decay_steps: int | None = Field(None, ge=0)
    """Steps in which the rate goes to 0, instead of decay_epochs."""


class CosineScheduleConfig(_Length):
    """Half a cosine from the full rate to `final_factor` of it, once over the whole length."""

    name: Literal["cosine"] = "cosine"
    """Half a cosine from the full learning rate to a share of it."""
    total_epochs: int | None = Field(None, ge=1)
    """Length of the run in epochs."""
    total_steps: int | None = Field(None, ge=1)
    """Length of the run in steps, instead of total_epochs."""
    final_factor: float = Field(0.0, ge=0.0, le=1.0)
    """Share of the full rate at the end, from 0 to 1."""


class StepScheduleConfig(_Length):
    """The rate times `factor` after every so many epochs or steps."""

    name: Literal["step"] = "step"
    """The learning rate times a factor every so often."""
    total_epochs: int | None = Field(None, ge=1)
    """Length of the run in epochs."""
    every_epochs: int | None = Field(None, ge=1)
    """Epochs between two reductions, with total_epochs."""
    total_steps: int | None = Field(None, ge=1)
    """Length of the run in steps, instead of total_epochs."""
    every_steps: int | None = Field(None, ge=1)
    """Steps between two reductions, with total_steps."""
    factor: float = Field(0.1, gt=0.0, le=1.0)
    """Factor of each reduction, above 0 and at most 1."""

    @model_validator(mode="after")
    def _has_interval(self) -> "StepScheduleConfig":
        if not (self.every_epochs if self.total_epochs else self.every_steps):
            raise ValueError("give every_epochs beside total_epochs, or every_steps beside total_steps")
        return self


class ConstantScheduleConfig(_Length):
    """The full rate, all the time."""

    name: Literal["constant"] = "constant"
    """The full learning rate, all the time."""
    total_epochs: int | None = Field(None, ge=1)
    """Length of the run in epochs."""
    total_steps: int | None = Field(None, ge=1)
    """Length of the run in steps, instead of total_epochs."""


class PlateauScheduleConfig(_Length):
    """The rate times `factor` after every `patience` evaluations in a row without a better score; needs `eval`."""

    name: Literal["plateau"] = "plateau"
    """The learning rate times a factor when the scores of eval stop getting better."""
    total_epochs: int | None = Field(None, ge=1)
    """Length of the run in epochs."""
    total_steps: int | None = Field(None, ge=1)
    """Length of the run in steps, instead of total_epochs."""
    factor: float = Field(0.5, gt=0.0, lt=1.0)
    """Factor of each reduction, above 0 and below 1."""
    patience: int = Field(5, ge=1)
    """Number of evaluations in a row without a better score before a reduction."""


ScheduleConfig = Annotated[
    LinearScheduleConfig | CosineScheduleConfig | StepScheduleConfig | ConstantScheduleConfig | PlateauScheduleConfig,
    Field(discriminator="name"),
]
