"""What is scored while a run trains."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from cut.config.section import PathText, Section
from cut.metrics.names import NEEDS_PALETTE, READS_FEATURES, check_metrics


class EvalConfig(Section):
    """Scores the generators on a fixed set of pictures every so often, without disturbing the run."""

    every_epochs: int | None = Field(None, ge=1)
    """Epochs between two evaluations."""
    every_steps: int | None = Field(None, ge=1)
    """Steps between two evaluations, instead of every_epochs."""
    metrics: tuple[str, ...] = ("fid", "ssim")
    """Metrics to compute, as in cut-eval --metrics; of MUNIT and DRIT one random style per picture (diversity: 5)."""
    best: str | None = None
    """The one of the metrics that chooses best.pt. null: the first."""
    split: Literal["test", "val"] = "test"
    """Split to score, e.g. <root>/testA and testB; an honest choice of best.pt looks at val."""
    num_images: int | None = Field(None, ge=2)
    """Number of pictures to translate, evenly chosen. null: all of them; 1000 for a method that draws from noise."""
    batch_size: int = Field(4, ge=1)
    """Pictures at once, in the generator and in the feature network."""
    patience: int | None = Field(None, ge=1)
    """Number of evaluations in a row without a better one after which the run stops. null: it never does."""
    features: PathText | None = None
    """TorchScript network, or its name, in place of Inception, as in cut-eval --features."""
    inception_weights: PathText | None = None
    """pytorch-fid's file of weights. null: torch.hub's copy."""
    palette: PathText | None = None
    """Colours of the classes for the label metrics: a name or a file, as in cut-eval --palette."""
    segmenter: PathText | None = None
    """TorchScript network that labels photographs, as in cut-eval --segmenter."""

    @field_validator("metrics")
    @classmethod
    def _known(cls, metrics: tuple[str, ...]) -> tuple[str, ...]:
        check_metrics(metrics)
        return metrics

    @model_validator(mode="after")
    def _fits(self) -> "EvalConfig":
        if bool(self.every_epochs) == bool(self.every_steps):
            raise ValueError("give how often, either every_epochs or every_steps")
        if self.best and self.best not in self.metrics:
            raise ValueError(f"best: '{self.best}' is none of the metrics ({', '.join(self.metrics)})")
        if self.features and self.inception_weights:
            raise ValueError("give features or inception_weights, not both")
        if (self.features or self.inception_weights) and not set(self.metrics) & set(READS_FEATURES):
            raise ValueError(f"none of the metrics reads a feature network ({', '.join(READS_FEATURES)} do)")
        if set(self.metrics) & set(NEEDS_PALETTE) and not self.palette:
            raise ValueError("palette: missing; the label metrics need the colours of the classes")
        return self

    @property
    def decisive(self) -> str:
        """The metric by which an evaluation is better than another."""
        return self.best or self.metrics[0]
