"""What data may say of single pixels of a translation, for methods that use it: a mask, and a partner.

    L_outside = lambda_outside mean over images and pixels of (1 - m) |G(x) - x|
    L_paired  = lambda_paired 1/N sum_i p_i |G(x_i) - y_i|_1,      |.|_1 the mean over pixels

Symbols: x an image of the source domain; m its mask, 1 where it is to be translated and 0 where it is to stay; y_i the
picture of the target domain that has x_i's name, at x_i's crop and mirroring, and p_i whether there is one (else 0). A
batch of N images divides by N, however many partners it has, so that a pair counts the same in every batch. What else
is drawn stays as it is: the discriminator sees images of the target domain that do not belong to x.
"""

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from cut.config import MethodConfig
from cut.losses import full_precision
from cut.methods.base import Batch, Terms
from cut.models.encoding_generator import with_channels


class KnownPixelsConfig(MethodConfig):
    """Base of the configs of methods that use masks and partners."""

    directions: ClassVar[tuple[str, ...]] = ("ab",)
    """Translations that a step makes, by their domains."""

    lambda_paired: float = Field(0.0, ge=0)
    """Weight of |G(x) - y|_1 where the pictures of trainA and trainB have one name; 0: names are not looked at."""
    lambda_outside: float = Field(10.0, ge=0)
    """Weight of |G(x) - x|_1 outside of masks, where data have masks (data.masks)."""

    def further_images(self) -> frozenset[str]:
        partners = {f"partner_{direction[1]}" for direction in self.directions if self.lambda_paired}
        return frozenset(partners | {f"mask_{direction[0]}" for direction in self.directions})


def known_terms(config: KnownPixelsConfig, batch: Batch, fake: Tensor, direction: str) -> Terms:
    """L_outside and L_paired of a translation, of which each is missing where the data or the config have none.

    Args:
        config: Weights.
        batch: Images as the data give them, `mask_a` `(N, 1, H, W)` in [0, 1], `partner_b`, `has_partner_b` `(N,)`.
        fake: Translations `(N, C, H, W)` of `real_a`, not mirrored.
        direction: `ab`, or of translations of `real_b` `ba`.
    """
    source, target, fake, terms = direction[0], direction[1], full_precision(fake), Terms()
    if config.lambda_outside and (mask := batch.get(f"mask_{source}")) is not None:
        real = with_channels(batch[f"real_{source}"], fake.shape[1])
        terms[f"outside_{source}"] = config.lambda_outside * ((1.0 - mask) * (fake - real).abs()).mean()
    if config.lambda_paired and (partner := batch.get(f"partner_{target}")) is not None:
        distances = (fake - partner).abs().mean((1, 2, 3))  # (N,)
        terms[f"paired_{target}"] = config.lambda_paired * (batch[f"has_partner_{target}"] * distances).mean()
    return terms
