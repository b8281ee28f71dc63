"""What the contrastive methods share: sections `nce_loss` and `patches` of their configs, and what these stand for."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field
from torch import Tensor

from cut.config import Section
from cut.losses.patchnce import patchnce_loss
from cut.losses.weighted_nce import hdce_loss, monce_loss


class PatchLossConfig(Section):
    """Base of the losses of a patch."""

    takes_external: ClassVar[bool] = False
    """Whether negatives may come from a memory of earlier images."""

    name: str
    """Loss of a patch."""

    def loss(self, temperature: float, progress: float) -> Callable[..., Tensor]:
        """The loss of one layer, as `losses.contrast.contrast_over_layers` calls it.

        Args:
            temperature: Divisor of the similarities.
            progress: Share of the run done, in [0, 1).
        """
        raise NotImplementedError


class CrossEntropyConfig(PatchLossConfig):
    """-log p, p the probability of the positive."""

    takes_external = True

    name: Literal["cross_entropy"] = "cross_entropy"
    """-log p, p the probability of its positive, as in the paper."""

    def loss(self, temperature: float, progress: float) -> Callable[..., Tensor]:
        return partial(patchnce_loss, temperature=temperature)


class FocalConfig(PatchLossConfig):
    """-alpha (1 - p)^gamma log p: patches that are told apart already count less."""

    takes_external = True

    name: Literal["focal"] = "focal"
    """-alpha (1 - p)^gamma log p, p the probability of its positive."""
    gamma: float = Field(2.0, ge=0)
    """Exponent of 1 - p; the greater, the less count patches that are told apart already."""
    alpha: float = Field(0.25, gt=0)
    """Factor of the whole."""

    def loss(self, temperature: float, progress: float) -> Callable[..., Tensor]:
        return partial(patchnce_loss, temperature=temperature, gamma=self.gamma, alpha=self.alpha)


class MoNCEConfig(PatchLossConfig):
    """Cross-entropy or focal, with negatives that an optimal transport between queries and keys weighs."""

    name: Literal["monce"] = "monce"
    """-log p with weighted negatives (MoNCE: Zhan et al., CVPR 2022)."""
    hard: bool = True
    """Similar negatives weigh more (unpaired pictures), or less (easy negatives)."""
    epsilon: float = Field(1.0, ge=0.02)
    """Weight of the plan's entropy: the smaller, the more the weights differ. The authors' horse2zebra: 0.1."""
    negative_weight: float = Field(1.0, gt=0)
    """Mean weight of the negatives (Q)."""
    detach_weights: bool = False
    """Let no gradient flow through the weights; in the authors' code it does."""
    gamma: float = Field(0.0, ge=0)
    """Exponent of the focal form (1 - p)^gamma; 0: none."""
    alpha: float = Field(1.0, gt=0)
    """Factor of the whole."""

    def loss(self, temperature: float, progress: float) -> Callable[..., Tensor]:
        return partial(monce_loss, temperature=temperature, **self.model_dump(exclude={"name"}))


class DCEConfig(PatchLossConfig):
    """The decoupled loss without weights, for the ablation of hdce."""

    name: Literal["dce"] = "dce"
    """Decoupled: like cross-entropy, without the positive in the denominator."""

    def loss(self, temperature: float, progress: float) -> Callable[..., Tensor]:
        return partial(hdce_loss, temperature=temperature)


class HDCEConfig(PatchLossConfig):
    """The decoupled loss with weights that grow with the likeness of patches of the input."""

    name: Literal["hdce"] = "hdce"
    """Decoupled, with hard negatives (hDCE: Jung et al., CVPR 2022)."""
    gamma: float = Field(50.0, gt=0)
    """Softness of the weights at the beginning: the greater, the more alike they are."""
    gamma_end: float = Field(10.0, gt=0)
    """Softness at the end of the run, evenly approached (the curriculum)."""
    hardest_from: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Share of the run from which gamma is 1 (the authors' cityscapes: 0.5). null: never."""

    def loss(self, temperature: float, progress: float) -> Callable[..., Tensor]:
        return partial(hdce_loss, temperature=temperature, gamma=self.gamma_at(progress))

    def gamma_at(self, progress: float) -> float:
        """Softness at a share of the run; in the authors' code it falls once an epoch."""
        if self.hardest_from is not None and progress >= self.hardest_from:
            return 1.0
        return self.gamma + (self.gamma_end - self.gamma) * progress


AnyPatchLossConfig = Annotated[
    CrossEntropyConfig | FocalConfig | MoNCEConfig | DCEConfig | HDCEConfig, Field(discriminator="name")
]


class RandomPatchesConfig(Section):
    """Places drawn at random in all layers."""

    num_layers: ClassVar[int] = 0
    learns: ClassVar[bool] = False

    name: Literal["random"] = "random"
    """Places drawn at random, as in the paper."""


class AttentionPatchesConfig(Section):
    """Places whose attention to the rest of the map says most, in the last layers."""

    name: Literal["attention"] = "attention"
    """Places chosen, and features mixed, by attention within the input (QS-Attn, global: Hu et al., CVPR 2022)."""
    num_layers: int = Field(2, ge=1)
    """Number of the last nce_layers that do so; places of the others are drawn at random."""
    detach: bool = False
    """Let no gradient flow through the attention; in the authors' code it does."""

    @property
    def learns(self) -> bool:
        """Whether a gradient flows through the attention."""
        return not self.detach


AnyPatchesConfig = Annotated[RandomPatchesConfig | AttentionPatchesConfig, Field(discriminator="name")]


class Patches(NamedTuple):
    """Unit vectors `(N, S, C)` per layer of translations and of their inputs at the same places, and, where there is a
    mask, which of them lie inside, `(N, S)` in each of the first layers."""

    queries: list[Tensor]
    keys: list[Tensor]
    inside: list[Tensor] | None
