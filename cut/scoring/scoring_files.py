"""The networks and palettes that metrics read, from the files that a command line or a YAML names."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from torch import nn

from cut.errors import UserError
from cut.metrics.names import NEEDS_FEATURES, NEEDS_OUTPUTS, NEEDS_PALETTE
from cut.scoring.palette import read_palette
from cut.scoring.perceptual import Lpips
from cut.scoring.segmenter import Segmenter
from cut.storage.public_weights import PACKAGED


@dataclass(frozen=True)
class ScoringFiles:
    """What stands in files: see `cut-eval --help`; None takes the default, or does without."""

    features: Path | None = None
    inception_weights: Path | None = None
    palette: str | None = None
    segmenter: Path | None = None
    lpips_backbone: Path | None = None

    def arguments(self, metrics: Sequence[str]) -> dict[str, Any]:
        """The keyword arguments of `Evaluator` that `metrics` need, and no others.

        Raises:
            UserError: a file is missing or broken.
        """
        lpips = self.lpips() if "lpips" in metrics else None
        if set(metrics) & set(NEEDS_OUTPUTS) and lpips is None:
            lpips = self._lpips_or_features()
        by_features = set(metrics) & set(NEEDS_FEATURES if lpips else (*NEEDS_FEATURES, *NEEDS_OUTPUTS))
        palette = read_palette(self.palette) if self.palette and set(metrics) & set(NEEDS_PALETTE) else None
        return {
            "features": self.feature_network() if by_features else None,
            "palette": palette,
            "segmenter": Segmenter(self.segmenter, len(palette.names)) if palette and self.segmenter else None,
            "lpips": lpips,
        }

    def _lpips_or_features(self) -> Lpips | None:
        """LPIPS; None where a feature network must do, because the weights that nobody named are missing.

        Raises:
            UserError: There is no such network either, or the named weights are broken.
        """
        try:
            return self.lpips()
        except UserError as error:
            if self.lpips_backbone:
                raise
            try:
                self.feature_network()
            except UserError as other:
                raise UserError(f"diversity: needs LPIPS or a feature network; {error}; {other}") from None
            return None

    def feature_network(self) -> nn.Module:
        return _features(self.features, self.inception_weights)

    def lpips(self) -> Lpips:
        return _lpips(self.lpips_backbone)


@cache
def _features(features: Path | None, inception_weights: Path | None) -> nn.Module:
    from cut.scoring.feature_networks import (  # here, for torchvision is slow to import
        InceptionFeatures,
        PackagedFeatures,
        TorchScriptFeatures,
    )

    if features is None:
        return InceptionFeatures(inception_weights)
    return PackagedFeatures(str(features)) if str(features) in PACKAGED else TorchScriptFeatures(features)


@cache
def _lpips(backbone: Path | None) -> Lpips:
    return Lpips(backbone)
