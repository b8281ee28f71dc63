"""DistanceGAN and SelfDistance: one-sided unpaired translation (Benaim, Wolf, NIPS 2017, arXiv:1706.00826).

What is far apart before the translation must be far apart after it, measured in the standard deviations of each
domain. What is compared is named by `distance`: two images of the batch (`pairs`, DistanceGAN), or the upper and the
lower half of one image (`halves`, SelfDistance).

    L(G) = lambda_gan (D(G(x)) - 1)^2 + lambda_distance L_distance
    L(D) = 1/2 [(D(y) - 1)^2 + D(G(x))^2]
    pairs:   L_distance = mean over i < j of |(d(x_i, x_j) - mu_A) / sigma_A - (d(G(x_i), G(x_j)) - mu_B) / sigma_B|
    halves:  L_distance = |(d(x) - mu_A) / sigma_A - (d(G(x)) - mu_B) / sigma_B|
             where d(x) = d(top of x, bottom of x), averaged over the batch before the absolute value

Symbols: x an image of the source domain (real_a), y of the target domain (real_b); G generator, D discriminator_b;
d(u, v) the mean absolute difference; mu and sigma the mean and the standard deviation of d over the training images of
a domain, which are measured once, before the first step.

As in the authors' code (sagiebenaim/DistanceGAN, commit f827205e) G is updated first, D sees translations through a
pool of 50 earlier ones, the height is halved, and mu and sigma are those of whole batches as training draws them: of
the distances of all pairs of batches (`pairs`), or of each batch (`halves`). So sigma is smaller, the larger the batch.
What differs: one direction alone is trained, which without their optional cycle terms is their A to B weight for
weight; both domains are measured on the batches of one pass, in which a smaller domain shows pictures several times;
distances are summed in float64, where their float32 keeps three or four digits; and initial biases are 0.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from cut.config import MethodConfig
from cut.errors import UserError
from cut.losses import full_precision
from cut.losses.adversarial import discriminator_loss, generator_loss
from cut.methods.base import Batch, Judgement, Method, Networks, Player, Terms, judge_both
from cut.models.image_pool import ImagePool
from cut.runtime.sharding import all_rows, num_processes, own_rows, sum_over_processes

_CHUNK = 4096  # values of each batch that are compared at a time: float32 sums of so few keep six digits


class DistanceGANConfig(MethodConfig):
    """DistanceGAN's and SelfDistance's."""

    default_generator: ClassVar[dict[str, Any]] = {
        "name": "resnet",
        "norm": "instance_affine",
        "antialias_down": False,
        "antialias_up": False,
        "padding": "zero",
        "init": "normal",
    }
    default_discriminator: ClassVar[dict[str, Any]] = {
        "name": "patch",
        "norm": "instance_affine",
        "antialias": False,
        "init": "normal",
    }

    name: str = "distancegan"
    """Method: DistanceGAN, or SelfDistance with distance: halves."""
    distance: Literal["pairs", "halves"] = "pairs"
    """What keeps its distance: pairs of images of the batch, or the upper and the lower half of each image."""
    normalise: bool = True
    """Measure distances in standard deviations of each domain; false: as they are."""
    num_statistics_batches: int = Field(900, ge=2)
    """Largest number of batches from which the means and standard deviations of distances are measured."""
    gan_loss: Literal["lsgan", "vanilla", "nonsaturating", "hinge", "hinge_clamped"] = "lsgan"
    """Kind of the adversarial loss."""
    lambda_gan: float = Field(1.0, ge=0)
    """Weight of the adversarial loss."""
    lambda_distance: float = Field(1.0, ge=0)
    """Weight of the difference between the distances before and after the translation."""
    pool_size: int = Field(50, ge=0)
    """Number of earlier translations kept for the discriminator; 0: none."""

    def check_data(self, data: Any) -> None:
        if self.distance == "pairs" and data.batch_size < 2:
            raise ValueError(
                "data.batch_size: must be at least 2, because method.distance=pairs compares the images of a batch, "
                f"got {data.batch_size}; take 2, or method.distance=halves, which compares the halves of each image"
            )


@dataclass
class Translated:
    """What both players read."""

    real_a: Tensor
    real_b: Tensor
    fake_b: Tensor


class DistanceGAN(Method):
    Config = DistanceGANConfig

    mean_a: Tensor  # of the distances in each domain, and their standard deviations
    mean_b: Tensor
    deviation_a: Tensor
    deviation_b: Tensor

    def __init__(self, config: DistanceGANConfig, generator: nn.Module, discriminator_b: nn.Module):
        super().__init__()
        self.config = config
        self.generator, self.discriminator_b = generator, discriminator_b
        self.pool_b = ImagePool(config.pool_size)
        for domain in "ab":
            self.register_buffer(f"mean_{domain}", torch.zeros((), dtype=torch.float64))
            self.register_buffer(f"deviation_{domain}", torch.ones((), dtype=torch.float64))

    @classmethod
    def build(cls, config: DistanceGANConfig, networks: Networks) -> "DistanceGAN":
        return cls(config, networks.generator(), networks.discriminator())

    def _apply(self, fn: Any, recurse: bool = True) -> "DistanceGAN":
        """Moves all but the statistics, which stay on the CPU, because Apple's GPUs have no float64."""
        statistics, self._buffers = self._buffers, {}
        try:
            return super()._apply(fn, recurse)
        finally:
            self._buffers = statistics

    @property
    def needs_whole_batch(self) -> str | None:
        if self.config.distance == "pairs":
            return "distance: pairs compares all images of the batch with each other"
        return "distance: halves averages distances over all images of the batch before it compares them"

    @property
    def observes_batches(self) -> int:
        return self.config.num_statistics_batches if self.config.normalise else 0

    def observe(self, batches: Iterable[Batch]) -> None:
        """Measures the mean and the standard deviation of distances in both domains.

        For `pairs` all batches are kept meanwhile in 16 bits: 900 of two images of 256 px take 1.4 GB for both domains.

        Raises:
            UserError: All distances are equal, or there is but one.
        """
        found: dict[str, list[Tensor]] = {"a": [], "b": []}
        device = next(self.parameters()).device
        for batch in batches:
            for domain, seen in found.items():
                images = batch[f"real_{domain}"]
                seen.append(
                    images.flatten().to("cpu", torch.float16)
                    if self.config.distance == "pairs"
                    else distance_of_halves(images).cpu().double()
                )
        for domain, seen in found.items():
            distances = distances_of_pairs(seen, device) if self.config.distance == "pairs" else torch.stack(seen)
            deviation = distances.std(correction=0) if len(distances) else distances.new_zeros(())
            if not deviation > 0:
                raise UserError(
                    f"method.normalise: the {len(distances)} distances between the training pictures of domain "
                    f"{domain} (from {len(seen)} batches) do not vary, so they cannot be measured in standard "
                    "deviations; add pictures, or use method.normalise=false"
                )
            getattr(self, f"mean_{domain}").copy_(distances.mean())
            getattr(self, f"deviation_{domain}").copy_(deviation)

    def translate(self, batch: Batch) -> Translated:
        return Translated(batch["real_a"], batch["real_b"], self.generator(batch["real_a"]))

    def players(self) -> tuple[Player, ...]:
        return (
            Player("generator", (self.generator,), self.generator_terms, learns_through_translate=True),
            Player("discriminator", (self.discriminator_b,), self.discriminator_terms),
        )

    def generator_terms(self, t: Translated) -> Terms:
        """L(G)."""
        config = self.config
        loss = self._loss_of_pairs if config.distance == "pairs" else self._loss_of_halves
        return {
            "gan": config.lambda_gan * generator_loss(self.discriminator_b(t.fake_b), config.gan_loss),
            "distance": config.lambda_distance * loss(full_precision(t.real_a), full_precision(t.fake_b)),
        }

    def discriminator_terms(self, t: Translated) -> Terms:
        """L(D)."""
        kind = self.config.gan_loss
        real, fake = judge_both(self.discriminator_b, t.real_b, self.pool_b(t.fake_b))
        return {
            "gan_real": 0.5 * discriminator_loss(real, real=True, kind=kind),
            "gan_fake": 0.5 * discriminator_loss(fake, real=False, kind=kind),
        }

    def judgements(self, t: Translated) -> dict[str, Judgement]:
        real, fake = self.discriminator_b(t.real_b), self.discriminator_b(t.fake_b)
        return {"discriminator_b": Judgement(real, fake, self.config.gan_loss)}

    def _difference(self, before: Tensor, after: Tensor) -> Tensor:
        """|(before - mu_A) / sigma_A - (after - mu_B) / sigma_B|."""
        mean_a, deviation_a, mean_b, deviation_b = (
            value.to(after) for value in (self.mean_a, self.deviation_a, self.mean_b, self.deviation_b)
        )
        return ((before - mean_a) / deviation_a - (after - mean_b) / deviation_b).abs()

    def _loss_of_pairs(self, real: Tensor, fake: Tensor) -> Tensor:
        """Of each image `(n, C, H, W)` here and every other one of the whole batch, of N in all processes.

        Every pair is met from both its ends, once each, and moves the image here alone; so its slope is taken twice.
        """
        losses = self._difference(_distances_to(all_rows(real), real), _distances_to(all_rows(fake), fake))  # (n, N)
        numbers = torch.arange(losses.shape[1], device=losses.device)
        is_itself = own_rows(numbers)[:, None] == numbers
        loss = losses.masked_fill(is_itself, 0.0).sum() / (losses.numel() - len(losses))
        return 2 * loss - loss.detach()

    def _loss_of_halves(self, real: Tensor, fake: Tensor) -> Tensor:
        before, after = (sum_over_processes(distance_of_halves(image)) / num_processes() for image in (real, fake))
        return self._difference(before, after)


def distance_of_halves(images: Tensor) -> Tensor:
    """Mean absolute difference between the upper and the lower half of `(N, C, H, W)`, of an even height: a scalar."""
    top, bottom = images.chunk(2, dim=2)
    return F.l1_loss(top, bottom)


def distances_of_pairs(vectors: Sequence[Tensor], device: torch.device) -> Tensor:
    """Mean absolute differences between all pairs of N vectors `(K,)`.

    Args:
        vectors: Vectors on the CPU.
        device: Device that computes.

    Returns:
        Float64 `(N * (N - 1) / 2,)` on the CPU.
    """
    length, count = len(vectors[0]), len(vectors)
    total = torch.zeros(count * (count - 1) // 2, dtype=torch.float64)
    for start in range(0, length, _CHUNK):
        chunk = torch.stack([vector[start : start + _CHUNK] for vector in vectors])
        total += F.pdist(chunk.to(device, torch.float32), p=1).cpu()
    return total / length


def _distances_to(others: Tensor, images: Tensor) -> Tensor:
    """Mean absolute differences between `(n, C, H, W)` images and `(N, C, H, W)` others: `(n, N)`."""
    return torch.stack([(image - others).abs().mean((1, 2, 3)) for image in images])
