"""pix2pix: image-to-image translation with conditional adversarial networks (Isola et al., CVPR 2017, 1611.07004).

    G* = arg min_G max_D  lambda_gan L_cGAN(G, D) + lambda_l1 E |y - G(x, z)|_1                    (eq. 4)
    L_cGAN(G, D) = E log D(x, y) + E log(1 - D(x, G(x, z)))                                        (eq. 1)

Symbols: x the source image (real_a), y its true translation (real_b), G(x, z) fake_b; the noise z is dropout alone. The
conditional D judges x and y together, laid upon each other as channels; the unconditional one (eq. 2) judges y alone.
The objectives of the paper's table 1 are settings: lambda_gan 0 (L1), lambda_l1 0 (GAN, cGAN), both (L1+GAN, L1+cGAN).

At test time the paper keeps dropout on and normalises with the statistics of the test batch (section 3.3), which at
batch size 1 is instance normalisation. Both are settings here and go with the weights; `--deterministic` switches both
off, as the authors' `--eval` does: no dropout, and the running averages of training.

As in the authors' code (junyanz/pytorch-CycleGAN-and-pix2pix, commit 2a7afba) D is updated first, its two terms are
averaged, G maximises log D, and D has no anti-aliasing. The ResNet that their code offers instead of the U-Net is
`generator: {name: resnet, norm: batch, dropout: 0.5, antialias_down: false, antialias_up: false, init: normal}`.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from cut.config import MethodConfig
from cut.losses import full_precision
from cut.losses.adversarial import discriminator_loss, generator_loss
from cut.methods.base import Batch, Judgement, Method, Networks, Player, Terms
from cut.models.batch_norm import has_batch_norm, untracked_statistics


class Pix2PixConfig(MethodConfig):
    """pix2pix's."""

    default_generator: ClassVar = {"name": "unet"}
    default_discriminator: ClassVar = {"name": "patch", "norm": "batch", "antialias": False, "init": "normal"}
    data_names: ClassVar = ("paired",)

    name: str = "pix2pix"
    """Method: pix2pix."""
    gan_loss: Literal["vanilla", "lsgan", "nonsaturating", "hinge", "hinge_clamped"] = "vanilla"
    """Kind of the adversarial loss."""
    lambda_gan: float = Field(1.0, ge=0)
    """Weight of the adversarial loss; 0: there is no discriminator."""
    lambda_l1: float = Field(100.0, ge=0)
    """Weight of the mean absolute error |y - G(x)|_1 (lambda)."""
    conditional: bool = True
    """D sees the input beside the output (cGAN)."""
    test_dropout: bool = True
    """At test time, dropout goes on as noise (z)."""
    test_batch_statistics: bool = True
    """At test time, batch norm uses the mean and variance of the test batch."""

    @model_validator(mode="after")
    def _learns_something(self) -> "Pix2PixConfig":
        if not (self.lambda_gan or self.lambda_l1):
            raise ValueError("lambda_gan and lambda_l1 are both 0, so there is nothing to learn")
        return self


@dataclass
class Translated:
    """What both players read."""

    real_a: Tensor
    real_b: Tensor
    fake_b: Tensor


class Pix2Pix(Method):
    Config = Pix2PixConfig

    def __init__(self, config: Pix2PixConfig, generator: nn.Module, discriminator: nn.Module | None):
        super().__init__()
        self.config = config
        self.generator = generator
        self.discriminator = discriminator
        self._deterministic = False

    @classmethod
    def build(cls, config: Pix2PixConfig, networks: Networks) -> "Pix2Pix":
        judged = "ab" if config.conditional else "b"
        return cls(config, networks.generator(), networks.discriminator(judged) if config.lambda_gan else None)

    def forward(self, image: Tensor) -> Tensor:
        config = self.config
        if self.training or self._deterministic:
            return self.generator(image)
        with _as_in_training(self.generator, config.test_dropout, config.test_batch_statistics):
            return self.generator(image)

    def prepare_inference(self, deterministic: bool = False) -> "Pix2Pix":
        self._deterministic = deterministic
        return self.eval()

    @property
    def goes_one_by_one(self) -> bool:
        if self._deterministic:
            return False
        draws = self.config.test_dropout and any(isinstance(m, nn.Dropout) and m.p for m in self.generator.modules())
        return draws or (self.config.test_batch_statistics and has_batch_norm(self.generator))

    def translate(self, batch: Batch) -> Translated:
        return Translated(batch["real_a"], batch["real_b"], self.generator(batch["real_a"]))

    def players(self) -> tuple[Player, ...]:
        generator = Player("generator", (self.generator,), self.generator_terms, learns_through_translate=True)
        if self.discriminator is None:
            return (generator,)
        return (Player("discriminator", (self.discriminator,), self.discriminator_terms), generator)

    def discriminator_terms(self, t: Translated) -> Terms:
        """L_cGAN as D sees it, halved."""
        kind = self.config.gan_loss
        return {
            "gan_real": 0.5 * discriminator_loss(self._judge(t.real_a, t.real_b), real=True, kind=kind),
            "gan_fake": 0.5 * discriminator_loss(self._judge(t.real_a, t.fake_b.detach()), real=False, kind=kind),
        }

    def generator_terms(self, t: Translated) -> Terms:
        """Equation 4 as G sees it."""
        config, terms = self.config, {}
        if config.lambda_gan:
            terms["gan"] = config.lambda_gan * generator_loss(self._judge(t.real_a, t.fake_b), config.gan_loss)
        if config.lambda_l1:
            terms["l1"] = config.lambda_l1 * (full_precision(t.fake_b) - t.real_b).abs().mean()
        return terms

    def judgements(self, t: Translated) -> dict[str, Judgement]:
        if self.discriminator is None:
            return {}
        real, fake = self._judge(t.real_a, t.real_b), self._judge(t.real_a, t.fake_b)
        return {"discriminator": Judgement(real, fake, self.config.gan_loss)}

    def _judge(self, real_a: Tensor, image_b: Tensor) -> Tensor:
        """D's scores `(N, 1, H', W')`."""
        assert self.discriminator is not None
        return self.discriminator(torch.cat([real_a, image_b], 1) if self.config.conditional else image_b)


@contextmanager
def _as_in_training(network: nn.Module, dropout: bool, batch_statistics: bool) -> Iterator[None]:
    """Inside, dropout drops and batch norm normalises by its batch, without following it in its running averages."""
    kinds = ((nn.Dropout,) if dropout else ()) + ((nn.BatchNorm2d,) if batch_statistics else ())
    switched = [module for module in network.modules() if isinstance(module, kinds)]
    try:
        for module in switched:
            module.training = True
        with untracked_statistics(network) if batch_statistics else nullcontext():
            yield
    finally:
        for module in switched:
            module.training = False
