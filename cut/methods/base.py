"""The contract between a method and everything else: the method owns the mathematics, the trainer owns the rest."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn

from cut.config import MethodConfig

Batch = Mapping[str, Any]  # "real_a", "real_b": (N, C, H, W) in [-1, 1]
Terms = dict[str, Tensor]  # already weighted scalars whose sum is the loss


@dataclass(frozen=True)
class Player:
    """One of the opponents: whose parameters are updated together, and from what.

    Args:
        name: in logged keys (`loss/<name>/<term>`) and checkpoints.
        networks: exactly the modules that an update of this player changes.
        terms: what `translate` returned -> weighted loss terms; their sum is differentiated.
    """

    name: str
    networks: tuple[nn.Module, ...]
    terms: Callable[[Any], Terms]


class Networks(Protocol):
    """Builds the networks that the config describes, initialised; each call makes a new one."""

    def generator(self) -> nn.Module:
        """Source domain -> target domain."""

    def discriminator(self) -> nn.Module:
        """Judges the target domain."""

    def initialise(self, network: nn.Module) -> nn.Module:
        """Initialises a network of the method's own as the generator is."""


class Method(nn.Module):
    """Base of all methods. Every parameter exists when `build` returns; nothing here knows devices, files or steps."""

    Config: ClassVar[type[MethodConfig]] = MethodConfig

    @classmethod
    def build(cls, config: MethodConfig, networks: Networks) -> "Method":
        """The method with its networks."""
        raise NotImplementedError

    def forward(self, image: Tensor) -> Tensor:
        """Inference: `(N, C, H, W)` in [-1, 1] of the source domain -> the same of the target domain."""
        raise NotImplementedError

    def inference_networks(self) -> dict[str, nn.Module]:
        """Attribute name -> the modules that `forward` needs; they alone go into the inference file."""
        raise NotImplementedError

    def translate(self, batch: Batch) -> Any:
        """What several players need, computed once per step."""
        raise NotImplementedError

    def players(self) -> tuple[Player, ...]:
        """All players in the order of their updates."""
        raise NotImplementedError

    def visuals(self, batch: Batch) -> dict[str, Tensor]:
        """Label -> images `(N, C, H, W)` in [-1, 1], the columns of the sample sheet."""
        return {"input": batch["real_a"], "translation": self(batch["real_a"])}
