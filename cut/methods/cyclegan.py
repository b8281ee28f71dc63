"""CycleGAN: unpaired translation with cycle consistency (Zhu, Park, Isola, Efros, ICCV 2017, arXiv:1703.10593).

    L(G, F, D_X, D_Y) = L_GAN(G, D_Y, X, Y) + L_GAN(F, D_X, Y, X) + lambda_cycle L_cyc(G, F)                    (eq. 3)
    L_cyc(G, F) = E_x |F(G(x)) - x|_1 + E_y |G(F(y)) - y|_1                                                      (eq. 2)
    L_identity(G, F) = E_y |G(y) - y|_1 + E_x |F(x) - x|_1, weighted lambda_cycle lambda_identity         (section 5.2)

Symbols: x an image of the source domain (real_a), y of the target domain (real_b); G generator_ab, F generator_ba; D_Y
discriminator_b, which judges domain b, D_X discriminator_a; G(x) fake_b, F(y) fake_a, F(G(x)) rec_a, G(F(y)) rec_b,
F(x) idt_a, G(y) idt_b.

As in the authors' code (junyanz/pytorch-CycleGAN-and-pix2pix, commit 2a7afba) the generators are updated first, and the
discriminators see translations from before that update, through pools of 50 earlier ones (section 4). What differs from
it: G's passes over x and y are one pass over both (the same numbers, unless G has batch norm or dropout). Masks and
partners, where the data have some: methods/known_pixels.py.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from cut.losses.adversarial import generator_loss
from cut.methods.base import Batch, Player, Terms
from cut.methods.known_pixels import KnownPixelsConfig, known_terms
from cut.methods.two_way import TwoWayMethod


class CycleGANConfig(KnownPixelsConfig):
    """CycleGAN's."""

    directions: ClassVar[tuple[str, ...]] = ("ab", "ba")
    default_generator: ClassVar[dict[str, Any]] = {
        "name": "resnet",
        "antialias_down": False,
        "antialias_up": False,
        "init": "normal",
    }
    default_discriminator: ClassVar[dict[str, Any]] = {"name": "patch", "antialias": False, "init": "normal"}
    data_names: ClassVar[tuple[str, ...]] = ("unpaired", "single")

    name: str = "cyclegan"
    """Method: CycleGAN."""
    gan_loss: Literal["lsgan", "vanilla", "nonsaturating", "hinge", "hinge_clamped"] = "lsgan"
    """Kind of the adversarial loss."""
    lambda_cycle_a: float = Field(10.0, ge=0)
    """Weight of |F(G(x)) - x|_1 (lambda)."""
    lambda_cycle_b: float = Field(10.0, ge=0)
    """Weight of |G(F(y)) - y|_1 (lambda)."""
    lambda_identity: float = Field(0.5, ge=0)
    """Weight of the identity terms |F(x) - x|_1 and |G(y) - y|_1, as a share of the cycle weights; 0: none."""
    pool_size: int = Field(50, ge=0)
    """Number of earlier translations kept for each discriminator; 0: none."""


@dataclass
class Translated:
    """What both players read."""

    real_a: Tensor
    real_b: Tensor
    fake_a: Tensor
    fake_b: Tensor
    rec_a: Tensor
    rec_b: Tensor
    idt_a: Tensor | None
    idt_b: Tensor | None
    batch: Batch


class CycleGAN(TwoWayMethod):
    Config = CycleGANConfig

    def translate(self, batch: Batch) -> Translated:
        assert self.generator_ba is not None, "training has both directions"
        real_a, real_b = batch["real_a"], batch["real_b"]
        fake_b, idt_b = self._with_identity(self.generator_ab, real_a, real_b)
        fake_a, idt_a = self._with_identity(self.generator_ba, real_b, real_a)
        rec_a, rec_b = self.generator_ba(fake_b), self.generator_ab(fake_a)
        return Translated(real_a, real_b, fake_a, fake_b, rec_a, rec_b, idt_a, idt_b, batch)

    def players(self) -> tuple[Player, ...]:
        assert self.generator_ba is not None, "training has both directions"
        generators = (self.generator_ab, self.generator_ba)
        return (
            Player("generator", generators, self.generator_terms, learns_through_translate=True),
            Player("discriminator", (self.discriminator_a, self.discriminator_b), self.discriminator_terms),
        )

    def generator_terms(self, t: Translated) -> Terms:
        """Equation 3 with the identity terms, as G and F see them."""
        config = self.config
        terms = {
            "gan_a": generator_loss(self.discriminator_a(t.fake_a), config.gan_loss),
            "gan_b": generator_loss(self.discriminator_b(t.fake_b), config.gan_loss),
            "cycle_a": config.lambda_cycle_a * F.l1_loss(t.rec_a, t.real_a),
            "cycle_b": config.lambda_cycle_b * F.l1_loss(t.rec_b, t.real_b),
        }
        if t.idt_a is not None and t.idt_b is not None:
            terms["idt_a"] = config.lambda_identity * config.lambda_cycle_a * F.l1_loss(t.idt_a, t.real_a)
            terms["idt_b"] = config.lambda_identity * config.lambda_cycle_b * F.l1_loss(t.idt_b, t.real_b)
        return terms | known_terms(config, t.batch, t.fake_b, "ab") | known_terms(config, t.batch, t.fake_a, "ba")

    def visuals(self, batch: Batch) -> dict[str, Tensor]:
        images = {"a": batch["real_a"], "a to b": self(batch["real_a"])}
        back = self.directions()["ba"]
        images["and back to a"] = back(images["a to b"])
        if "real_b" in batch:
            images |= {"b": batch["real_b"], "b to a": back(batch["real_b"])}
            images["and back to b"] = self(images["b to a"])
        return images

    def _with_identity(self, generator: nn.Module, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor | None]:
        """The translation of `source`, and what becomes of an image that is in the target domain already."""
        if not self.config.lambda_identity:
            return generator(source), None
        if source.shape != target.shape:
            return generator(source), generator(target)
        output = generator(torch.cat([source, target]))  # (2N, C, H, W)
        return output[: len(source)], output[len(source) :]
