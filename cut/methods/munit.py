"""MUNIT: many translations of one image (Huang, Liu, Belongie, Kautz, ECCV 2018, arXiv:1804.04732).

An image is a content, which both domains share, and a style of its domain. It is translated by decoding its content
with a style of the other domain, drawn from N(0, I) or read off a picture.

    L(E, G) = sum over both domains of (here domain a, domain b likewise)
                  lambda_gan sum_k (D_a,k(x_ba) - 1)^2
                + lambda_image |G_a(c_a, E_a^s(x_a)) - x_a|_1
                + lambda_content |E_b^c(x_ab) - c_a|_1
                + lambda_style |E_a^s(x_ba) - s_a|_1
                + lambda_cycle |G_a(E_b^c(x_ab), E_a^s(x_a)) - x_a|_1     (style-augmented cycle consistency)
    L(D)    = sum over both domains of lambda_gan sum_k [(D_a,k(x_a) - 1)^2 + D_a,k(x_ba)^2]

Symbols: x_a an image of the source domain (real_a), x_b of the target domain (real_b); E_a^c content_encoder_a, E_a^s
style_encoder_a, G_a decoder_a, D_a discriminator_a, which judges domain a, at several scales k, and the same of b; c_a
the content of x_a; s_a, s_b styles drawn from N(0, I); x_ab = G_b(c_a, s_b) fake_b, x_ba = G_a(c_b, s_a) fake_a.

As in the authors' code (NVlabs/MUNIT, commit a82e222b) D is updated first, on translations with styles of its own, the
target c_a of the content term is not detached, and nothing is halved. The cycle term is 10 in their configs for
photographs and 0 for edges. What differs: contents are computed once per step, for both players (the same numbers).
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from cut.config import MethodConfig, Section
from cut.methods import styled
from cut.methods.base import Batch, Judgement, Networks, Player, Terms
from cut.models.initialisation import initialise
from cut.models.multiscale_discriminator import MultiscaleDiscriminator
from cut.models.munit import AdaINDecoder, ContentEncoder, StyleEncoder


class MUNITGeneratorConfig(Section):
    """Encoders and decoder of each domain."""

    base_channels: int = Field(64, ge=1)
    """Channels at full resolution, four times as many in the residual blocks."""
    num_blocks: int = Field(4, ge=1, le=1000)
    """Number of residual blocks of the content encoder, and of the decoder."""
    style_dim: int = Field(8, ge=1)
    """Numbers per style."""
    mlp_channels: int = Field(256, ge=1)
    """Channels of the network that turns a style into scales and biases."""


class MUNITConfig(MethodConfig):
    """MUNIT's."""

    default_generator = None  # the networks stand in this section
    default_discriminator = None

    name: str = "munit"
    """Method: MUNIT."""
    gan_loss: Literal["lsgan", "vanilla"] = "lsgan"
    """Kind of the adversarial loss."""
    lambda_gan: float = Field(1.0, gt=0)
    """Weight of the adversarial loss, which is summed over scales."""
    lambda_image: float = Field(10.0, ge=0)
    """Weight of |G(c, s) - x|_1 with content and style of x."""
    lambda_style: float = Field(1.0, ge=0)
    """Weight of |E^s(G(c, s)) - s|_1 with a drawn style s."""
    lambda_content: float = Field(1.0, ge=0)
    """Weight of |E^c(G(c, s)) - c|_1."""
    lambda_cycle: float = Field(10.0, ge=0)
    """Weight of the way there and back, with the style of the original."""
    generator: MUNITGeneratorConfig = MUNITGeneratorConfig()
    """Encoders and decoder of each domain."""
    discriminator: styled.MultiscaleDiscriminatorConfig = styled.MultiscaleDiscriminatorConfig()
    """Discriminator of each domain."""


class Domain(NamedTuple):
    """The networks of one domain."""

    content_encoder: nn.Module
    style_encoder: nn.Module
    decoder: nn.Module
    discriminator: MultiscaleDiscriminator


@dataclass
class Translated:
    """What both players read; every dict has the keys `a` and `b`, a tensor's own domain."""

    real: dict[str, Tensor]
    judged: dict[str, Tensor]  # translations for the discriminators, without gradient
    fake: dict[str, Tensor]
    rec: dict[str, Tensor]  # decoded from its own content and style
    cycle: dict[str, Tensor]  # translated and translated back; empty without the cycle term
    content: dict[str, Tensor]
    content_of_fake: dict[str, Tensor]  # under the domain that the content comes from
    style: dict[str, Tensor]  # drawn, for `fake`
    style_of_fake: dict[str, Tensor]


class MUNIT(styled.StyledMethod):
    Config = MUNITConfig

    def __init__(self, config: MUNITConfig, a: Domain, b: Domain):
        super().__init__(config.generator.style_dim)
        self.config = config
        self.content_encoder_a, self.style_encoder_a, self.decoder_a, self.discriminator_a = a
        self.content_encoder_b, self.style_encoder_b, self.decoder_b, self.discriminator_b = b

    @classmethod
    def build(cls, config: MUNITConfig, networks: Networks) -> "MUNIT":
        a, b = (_build_domain(config, networks.channels[domain]) for domain in "ab")
        styled.check_size(networks.image_px, {"discriminator.num_scales": a.discriminator.min_size_px})
        return cls(config, a, b)

    @property
    def domains(self) -> dict[str, Domain]:
        return {
            "a": Domain(self.content_encoder_a, self.style_encoder_a, self.decoder_a, self.discriminator_a),
            "b": Domain(self.content_encoder_b, self.style_encoder_b, self.decoder_b, self.discriminator_b),
        }

    def encode_content(self, image: Tensor, domain: str) -> Tensor:
        return self.domains[domain].content_encoder(image)

    def encode_style(self, image: Tensor, domain: str) -> Tensor:
        return self.domains[domain].style_encoder(image)

    def decode(self, content: Tensor, style: Tensor, domain: str) -> Tensor:
        return self.domains[domain].decoder(content, style)

    def inference_networks(self) -> dict[str, nn.Module]:
        parts = ("content_encoder", "style_encoder", "decoder")
        return {f"{part}_{name}": getattr(domain, part) for name, domain in self.domains.items() for part in parts}

    def translate(self, batch: Batch) -> Translated:
        real = {"a": batch["real_a"], "b": batch["real_b"]}
        judged_style, style = (
            {d: styled.draw_normal((self.style_dim,), image) for d, image in real.items()} for _ in range(2)
        )
        content = {d: self.encode_content(image, d) for d, image in real.items()}
        with torch.no_grad():
            judged = {d: self.decode(content[s], judged_style[d], d) for s, d in styled.DIRECTIONS}
        fake = {d: self.decode(content[s], style[d], d) for s, d in styled.DIRECTIONS}
        own_style = {d: self.encode_style(image, d) for d, image in real.items()}
        rec = {d: self.decode(content[d], own_style[d], d) for d in real}
        content_of_fake = {s: self.encode_content(fake[d], d) for s, d in styled.DIRECTIONS}
        style_of_fake = {d: self.encode_style(image, d) for d, image in fake.items()}
        cycle = {}
        if self.config.lambda_cycle:
            cycle = {d: self.decode(content_of_fake[d], own_style[d], d) for d in real}
        return Translated(real, judged, fake, rec, cycle, content, content_of_fake, style, style_of_fake)

    def players(self) -> tuple[Player, ...]:
        a, b = self.domains.values()
        return (
            Player("discriminator", (a.discriminator, b.discriminator), self.discriminator_terms),
            Player("generator", (*a[:3], *b[:3]), self.generator_terms, learns_through_translate=True),
        )

    def discriminator_terms(self, t: Translated) -> Terms:
        """L(D) of the module's docstring."""
        weight, kind, terms = self.config.lambda_gan, self.config.gan_loss, {}
        for d, domain in self.domains.items():
            terms[f"gan_real_{d}"] = weight * styled.judge(domain.discriminator(t.real[d]), True, kind)
            terms[f"gan_fake_{d}"] = weight * styled.judge(domain.discriminator(t.judged[d]), False, kind)
        return terms

    def generator_terms(self, t: Translated) -> Terms:
        """L(E, G) of the module's docstring."""
        config, terms = self.config, {}
        for d, domain in self.domains.items():
            terms[f"gan_{d}"] = config.lambda_gan * styled.judge(domain.discriminator(t.fake[d]), True, config.gan_loss)
            terms[f"image_{d}"] = config.lambda_image * F.l1_loss(t.rec[d], t.real[d])
            terms[f"style_{d}"] = config.lambda_style * F.l1_loss(t.style_of_fake[d], t.style[d])
            terms[f"content_{d}"] = config.lambda_content * F.l1_loss(t.content_of_fake[d], t.content[d])
            if t.cycle:
                terms[f"cycle_{d}"] = config.lambda_cycle * F.l1_loss(t.cycle[d], t.real[d])
        return terms

    def judgements(self, t: Translated) -> dict[str, Judgement]:
        return {
            f"discriminator_{d}": styled.judgement(
                domain.discriminator(t.real[d]), domain.discriminator(t.fake[d]), self.config.gan_loss
            )
            for d, domain in self.domains.items()
        }


def _build_domain(config: MUNITConfig, channels: int) -> Domain:
    """The networks of a domain whose images have so many channels, initialised as the authors'."""
    section, discriminator = config.generator, styled.multiscale_discriminator(channels, config.discriminator, 0.2)
    initialise(discriminator, "normal", 0.02)
    width, blocks, style_dim = section.base_channels, section.num_blocks, section.style_dim
    return Domain(
        initialise(ContentEncoder(channels, width, blocks), "kaiming"),
        initialise(StyleEncoder(channels, width, style_dim), "kaiming"),
        initialise(AdaINDecoder(channels, width, blocks, style_dim, section.mlp_channels), "kaiming"),
        discriminator,
    )
