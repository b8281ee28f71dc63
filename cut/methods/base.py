"""The contract between a method and everything else: the method owns the mathematics, the trainer owns the rest."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from cut.config import MethodConfig
from cut.losses.adversarial import decision_threshold

Batch = Mapping[str, Any]  # what the data give: "real_a", "real_b" (N, C, H, W) in [-1, 1], or others
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


class Judgement(NamedTuple):
    """A discriminator's scores of real and of generated images, and the adversarial loss that gives them a meaning."""

    real: Tensor
    fake: Tensor
    kind: str

    def accuracy(self) -> dict[str, Tensor]:
        """The shares of scores on the right side; nothing for a critic, whose scores mean nothing one by one."""
        threshold = decision_threshold(self.kind)
        if threshold is None:
            return {}
        return {
            "accuracy_real": (self.real > threshold).float().mean(),
            "accuracy_fake": (self.fake < threshold).float().mean(),
        }


class Networks(Protocol):
    """Builds the networks that the config describes, initialised; each call makes a new one.

    Domains are called `a`, the source, and `b`, the target, whatever the folders on disk are called.
    """

    channels: Mapping[str, int]  # of each domain
    image_px: int  # side of the training images

    def generator(self, domains: str = "ab") -> nn.Module:
        """From the first domain to the second: `ab` or `ba`."""

    def discriminator(self, domains: str = "b", image_px: int | None = None) -> nn.Module:
        """Judges images of one domain, `a` or `b`, or with `ab` pairs of both, channels in that order.

        `image_px` is their side where it is not that of the training images; few networks need to know it.
        """

    def initialise(self, network: nn.Module) -> nn.Module:
        """Initialises a network of the method's own as the generator is."""


class Method(nn.Module):
    """Base of all methods. Every parameter exists when `build` returns; nothing here knows devices, files or steps.

    What else a run must remember (image pools, queues) is a buffer or extra state of a module, so that checkpoints
    hold it.
    """

    Config: ClassVar[type[MethodConfig]] = MethodConfig
    has_inverse: bool = False  # `inverse` translates the target domain to the source domain
    samples_from_noise: ClassVar[bool] = False  # `forward` takes what `latents` draws instead of an image
    output_columns: ClassVar[tuple[str, ...]] = ("translation",)  # of `visuals`, those that a generator made

    @classmethod
    def build(cls, config: Any, networks: Networks) -> "Method":
        """The method with its networks; `config` is one of the class's own `Config`."""
        raise NotImplementedError

    def forward(self, image: Tensor) -> Tensor:
        """Inference: `(N, C, H, W)` in [-1, 1] of the source domain -> the same of the target domain."""
        raise NotImplementedError

    def inverse(self, image: Tensor) -> Tensor:
        """Inference the other way round, where `has_inverse`."""
        raise NotImplementedError

    def keep_one_way(self) -> None:
        """Drops what `inverse` alone needs, where `has_inverse`: the weights at hand may be of one generator."""
        raise NotImplementedError

    def latents(self, count: int, generator: torch.Generator) -> Tensor:
        """What `forward` takes for `count` new images, where `samples_from_noise`; drawn on the CPU."""
        raise NotImplementedError

    def prepare_inference(self, deterministic: bool = False) -> "Method":
        """Sets the networks to what the method's paper does at test time.

        Args:
            deterministic: no randomness, whatever the paper does.
        """
        return self.eval()

    @property
    def mixes_batches(self) -> bool:
        """Whether, set for inference, an image's translation depends on the others of its batch."""
        return False

    @property
    def needs_whole_batch(self) -> str | None:
        """Why a batch cannot be worked on in micro-batches, one after the other; None where it can.

        Whatever `translate` and `terms` draw for each image must then come from `cut.sharding.draw_rows`, as it must
        where processes share a batch, and `translate` must change nothing.
        """
        if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in self.modules()):
            return "batch norm takes its statistics over all images of the batch; use norm: instance or none"
        return None

    @property
    def batches_per_step(self) -> int:
        """How many of the data's batches one step takes; `translate` gets them as one."""
        return 1

    def inference_networks(self) -> dict[str, nn.Module]:
        """Attribute name -> the modules that `forward` needs; they alone go into the inference file."""
        raise NotImplementedError

    def translate(self, batch: Batch) -> Any:
        """What several players need, computed once per step."""
        raise NotImplementedError

    def players(self) -> tuple[Player, ...]:
        """The players in the order of their updates; one that is updated several times a step stands there as often."""
        raise NotImplementedError

    def judgements(self, translated: Any) -> dict[str, Judgement]:
        """What each discriminator makes of this step's images, for health figures; called now and then, without
        gradients, and changes nothing."""
        return {}

    def visuals(self, batch: Batch) -> dict[str, Tensor]:
        """Label -> images `(N, C, H, W)` in [-1, 1], the columns of the sample sheet; `batch` holds what the data's
        fixed samples do."""
        return {"input": batch["real_a"], "translation": self(batch["real_a"])}


def judge_both(discriminator: nn.Module, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """D's scores of real and of generated images, from one pass over both unless batch norm would mix them."""
    mixes = any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in discriminator.modules())
    if mixes or real.shape != fake.shape:
        return discriminator(real), discriminator(fake)
    scores = discriminator(torch.cat([real, fake]))
    return scores[: len(real)], scores[len(real) :]
