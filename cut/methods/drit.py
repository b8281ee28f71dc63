"""DRIT (Lee, Tseng, Huang, Singh, Yang, ECCV 2018, arXiv:1808.00948) and DRIT++, which adds mode seeking (IJCV 2020,
arXiv:1905.01270; Mao et al., CVPR 2019, arXiv:1903.05628): many translations of one image.

An image is a content, which no discriminator can assign to a domain, and an attribute of its domain. Translations swap
attributes; swapped back, the images must return (cross-cycle consistency).

    c_a = E_c(x) + noise, a = E_a(x);   u_a = G_a(c_b, a), u_b = G_b(c_a, b);   r_a = G_a(c_b, z), z from N(0, I)
    L1(E_c, E_a, G) = adv(D_a, u_a) + adv(D_b, u_b) + lambda_content [half(D_c, c_a) + half(D_c, c_b)]
                    + lambda_cycle [|G_a(E_c(u_b), E_a(u_a)) - x|_1 + the same of y]
                    + lambda_self [|G_a(c_a, a) - x|_1 + the same of y]
                    + lambda_prior [mean c_a^2 + mean c_b^2 + KL(a, N(0, I)) + KL(b, N(0, I))]
    L2(E_c, G)      = adv(D2_a, r_a) + adv(D2_b, r_b) + lambda_latent [|E_a(r_a) - z|_1 + |E_a(r_b) - z|_1]
                    + mode seeking: 1 / (|r_a - r2_a|_1 / |z - z2|_1) + the same of b
    L(D_a)  = bce(D_a(x), 1) + bce(D_a(u_a), 0);   L(D2_a) = bce(D2_a(x'), 1) + bce(D2_a(r_a), 0), for r2_a again
    L(D_c)  = bce(D_c(c_b), 1) + bce(D_c(c_a), 0)

Symbols: x an image of the source domain (real_a), y of the target domain (real_b), x' and y' further ones, which D2
alone sees; E_c content_encoder, E_a attribute_encoder_a and attribute_encoder_b, G decoder; D_a discriminator_a, D2_a
discriminator_random_a, D_c content_discriminator; u_a fake_a, r_a random_a; adv is bce with 1, half is bce with 1/2,
means over places and sums over scales. With `injection: concat` an attribute is sampled from the Gaussian that E_a
gives; with `feature` it is a plain vector, and the mean of its squares stands for the KL divergence.

A step takes `content_discriminator_steps` batches: all but the last update D_c alone; then come, on the last, D_a, D_b,
D2_a and D2_b, D_c again, L1 and L2. Of a batch every second image, from the first on, is translated (x), the others are
x'. D_c learns at 0.4 times the rate, with gradients clipped to norm 5.

What differs from the authors' code (HsinYingLee/DRIT, commit f19f50a8): L2's translations are computed again, from the
same draws, with the weights that L1 has changed, while theirs go backward through the first ones' old activations (the
losses of L2 differ by 1e-3 and less); in batches of more than two images, half are translated instead of one, and KL
and mode seeking are means over them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from cut.config import MethodConfig, Section
from cut.errors import UserError
from cut.losses.adversarial import discriminator_loss
from cut.losses.latent import kl_to_standard_normal, mode_seeking_loss
from cut.methods import styled
from cut.methods.base import Batch, Judgement, Networks, Player, Terms
from cut.models import drit as models

_KIND = "vanilla"  # of all adversarial losses


class DRITGeneratorConfig(Section):
    """Encoders and decoder."""

    injection: Literal["concat", "feature"] = "concat"
    """How attributes reach the decoder: `concat` suits domains that differ in colour, `feature` in shape."""
    base_channels: int = Field(64, ge=1)
    """Channels at full resolution."""
    attribute_dim: int = Field(8, ge=1)
    """Numbers per attribute."""


class DRITConfig(MethodConfig):
    """DRIT's and DRIT++'s."""

    default_generator = None  # the networks stand in this section
    default_discriminator = None

    name: str = "drit"
    """Method: DRIT, or DRIT++ with `mode_seeking`."""
    mode_seeking: bool = True
    """Whether two translations with different attributes must differ (DRIT++)."""
    lambda_content: float = Field(1.0, ge=0)
    """Weight of what the content discriminator makes of contents."""
    lambda_cycle: float = Field(10.0, ge=0)
    """Weight of swapping attributes twice."""
    lambda_self: float = Field(10.0, ge=0)
    """Weight of decoding an image from its own content and attribute."""
    lambda_prior: float = Field(0.01, ge=0)
    """Weight of keeping contents and attributes near N(0, I)."""
    lambda_latent: float = Field(10.0, ge=0)
    """Weight of reading the drawn attribute off the translation."""
    content_discriminator_steps: int = Field(3, ge=1)
    """Number of its updates per step, each on a batch of its own (d_iter)."""
    generator: DRITGeneratorConfig = DRITGeneratorConfig()
    """Encoders and decoder."""
    discriminator: styled.MultiscaleDiscriminatorConfig = styled.MultiscaleDiscriminatorConfig()
    """Discriminators of each domain, one of translations with a picture's attribute and one with a drawn one."""
    content_discriminator_layers: int = Field(3, ge=0, le=8)
    """Number of its strided convolutions; 3 need images of 209 px, 2 of 97, 1 of 41."""


class Domain(NamedTuple):
    """The networks of one domain alone."""

    attribute_encoder: nn.Module
    discriminator: nn.Module
    discriminator_random: nn.Module


@dataclass
class Translated:
    """What the players read; every dict has the keys `a` and `b`, an image's or a code's own domain."""

    judged_contents: list[dict[str, Tensor]]  # for each update of D_c, without gradient
    real: dict[str, Tensor]
    further: dict[str, Tensor]  # images that are not translated
    noise: dict[str, Tensor]  # of the contents
    content: dict[str, Tensor]
    prior: dict[str, Tensor]  # how far attributes are from N(0, I)
    fake: dict[str, Tensor]
    rec: dict[str, Tensor]  # attributes swapped twice
    own: dict[str, Tensor]  # decoded from its own content and attribute
    drawn: list[Tensor]  # attributes z, and z2 with mode seeking
    random: dict[str, list[Tensor]]  # translations with each of `drawn`, without gradient


class DRIT(styled.StyledMethod):
    Config = DRITConfig

    def __init__(self, config: DRITConfig, channels: Mapping[str, int]):
        super().__init__(config.generator.attribute_dim)
        self.config = config
        width = config.generator.base_channels
        concat = config.generator.injection == "concat"
        self.content_encoder = models.ContentEncoder(channels, width)
        self.decoder = (models.ConcatDecoder if concat else models.FeatureDecoder)(channels, width, self.style_dim)
        encoder = models.GaussianAttributeEncoder if concat else models.PlainAttributeEncoder
        self.attribute_encoder_a = encoder(channels["a"], width, self.style_dim)
        self.attribute_encoder_b = encoder(channels["b"], width, self.style_dim)
        judges = [styled.multiscale_discriminator(channels[domain], config.discriminator, 0.01) for domain in "abab"]
        self.discriminator_a, self.discriminator_b, self.discriminator_random_a, self.discriminator_random_b = judges
        self.content_discriminator = models.ContentDiscriminator(width * 4, config.content_discriminator_layers)

    @classmethod
    def build(cls, config: DRITConfig, networks: Networks) -> "DRIT":
        method = cls(config, networks.channels)
        smallest = {
            "content_discriminator_layers": method.content_discriminator.min_size_px,
            "discriminator.num_scales": method.discriminator_a.min_size_px,
        }
        styled.check_size(networks.image_px, smallest)
        for module in method.modules():  # biases and fully connected layers keep torch's own draws
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.normal_(module.weight, 0.0, 0.02)
        return method

    @property
    def domains(self) -> dict[str, Domain]:
        return {
            "a": Domain(self.attribute_encoder_a, self.discriminator_a, self.discriminator_random_a),
            "b": Domain(self.attribute_encoder_b, self.discriminator_b, self.discriminator_random_b),
        }

    def encode_content(self, image: Tensor, domain: str) -> Tensor:
        return self.content_encoder(image, domain)

    def encode_style(self, image: Tensor, domain: str) -> Tensor:
        """The mean of the attribute, where the authors sample it at test time too."""
        return self.domains[domain].attribute_encoder(image)[0]

    def decode(self, content: Tensor, style: Tensor, domain: str) -> Tensor:
        return self.decoder(content, style, domain)

    def inference_networks(self) -> dict[str, nn.Module]:
        names = ("content_encoder", "attribute_encoder_a", "attribute_encoder_b", "decoder")
        return {name: self.get_submodule(name) for name in names}

    @property
    def batches_per_step(self) -> int:
        return self.config.content_discriminator_steps

    def translate(self, batch: Batch) -> Translated:
        turns = self.config.content_discriminator_steps
        *earlier, last = zip(batch["real_a"].chunk(turns), batch["real_b"].chunk(turns), strict=True)
        if len(last[0]) % 2:
            raise UserError(
                "data.batch_size: drit needs an even number of images per process, because it translates every second "
                "one and shows the others to a discriminator; take 2"
            )
        with torch.no_grad():
            judged = [self._encode_noisily({"a": a[::2], "b": b[::2]})[0] for a, b in earlier]
        real, further = ({"a": last[0][start::2], "b": last[1][start::2]} for start in (0, 1))
        content, noise = self._encode_noisily(real)
        judged.append({d: values.detach() for d, values in content.items()})
        attribute, prior = self._encode_attributes(real)
        drawn = [styled.draw_normal((self.style_dim,), real["a"]) for _ in range(2 if self.config.mode_seeking else 1)]
        fake = {d: self.decode(content[s], attribute[d], d) for s, d in styled.DIRECTIONS}
        own = {d: self.decode(content[d], attribute[d], d) for d in real}
        with torch.no_grad():
            random = self._random_translations(content, drawn)
        content_again, _ = self._encode_noisily(fake)
        attribute_again, _ = self._encode_attributes(fake)
        rec = {d: self.decode(content_again[s], attribute_again[d], d) for s, d in styled.DIRECTIONS}
        return Translated(judged, real, further, noise, content, prior, fake, rec, own, drawn, random)

    def players(self) -> tuple[Player, ...]:
        (attributes_a, *judges_a), (attributes_b, *judges_b) = self.domains.values()
        coders = (self.content_encoder, self.decoder)
        name, judges = "content_discriminator", (self.content_discriminator,)
        *earlier, last = [
            Player(name, judges, partial(self.content_terms, turn=turn), lr_factor=0.4, clip_norm=5.0)
            for turn in range(self.config.content_discriminator_steps)
        ]
        everything = (*coders, attributes_a, attributes_b)
        return (
            *earlier,
            Player("discriminator", (*judges_a, *judges_b), self.discriminator_terms),
            last,
            Player("generator", everything, self.generator_terms, learns_through_translate=True),
            Player("generator", coders, self.random_terms),
        )

    def content_terms(self, t: Translated, turn: int) -> Terms:
        """L(D_c) of the module's docstring."""
        content = t.judged_contents[turn]
        return {
            "domain_b": discriminator_loss(self.content_discriminator(content["b"]), True, _KIND),
            "domain_a": discriminator_loss(self.content_discriminator(content["a"]), False, _KIND),
        }

    def discriminator_terms(self, t: Translated) -> Terms:
        """The adversarial losses as D_a, D_b, D2_a and D2_b see them."""
        terms = {}
        for d, domain in self.domains.items():
            terms[f"gan_real_{d}"] = styled.judge(domain.discriminator(t.real[d]), True, _KIND)
            terms[f"gan_fake_{d}"] = styled.judge(domain.discriminator(t.fake[d].detach()), False, _KIND)
            # As often as there are random translations: with mode seeking twice.
            real = domain.discriminator_random(t.further[d])
            terms[f"gan_random_real_{d}"] = len(t.drawn) * styled.judge(real, True, _KIND)
            terms[f"gan_random_fake_{d}"] = _judge_each(domain.discriminator_random, t.random[d], False)
        return terms

    def generator_terms(self, t: Translated) -> Terms:
        """L1 of the module's docstring."""
        config, terms = self.config, {}
        for d, domain in self.domains.items():
            scores = self.content_discriminator(t.content[d])
            undecided = 0.5 * (discriminator_loss(scores, True, _KIND) + discriminator_loss(scores, False, _KIND))
            terms[f"gan_{d}"] = styled.judge(domain.discriminator(t.fake[d]), True, _KIND)
            terms[f"gan_content_{d}"] = config.lambda_content * undecided
            terms[f"cycle_{d}"] = config.lambda_cycle * F.l1_loss(t.rec[d], t.real[d])
            terms[f"self_{d}"] = config.lambda_self * F.l1_loss(t.own[d], t.real[d])
            terms[f"content_prior_{d}"] = config.lambda_prior * t.content[d].square().mean()
            terms[f"attribute_prior_{d}"] = config.lambda_prior * t.prior[d]
        return terms

    def random_terms(self, t: Translated) -> Terms:
        """L2 of the module's docstring, from the weights as L1 left them."""
        content = {d: self.encode_content(image, d) + t.noise[d] for d, image in t.real.items()}
        return self.terms_of_random(t, self._random_translations(content, t.drawn))

    def terms_of_random(self, t: Translated, random: dict[str, list[Tensor]]) -> Terms:
        """L2 of translations with each of the drawn attributes."""
        terms = {}
        for d, domain in self.domains.items():
            images = random[d]
            terms[f"gan_random_{d}"] = _judge_each(domain.discriminator_random, images, True)
            terms[f"latent_{d}"] = self.config.lambda_latent * F.l1_loss(self.encode_style(images[0], d), t.drawn[0])
            if self.config.mode_seeking:
                terms[f"mode_seeking_{d}"] = mode_seeking_loss(*images, *t.drawn)
        return terms

    def judgements(self, t: Translated) -> dict[str, Judgement]:
        found = {
            f"discriminator_{d}": styled.judgement(
                domain.discriminator(t.real[d]), domain.discriminator(t.fake[d]), _KIND
            )
            for d, domain in self.domains.items()
        }
        b, a = (self.content_discriminator(t.content[d]) for d in "ba")
        return found | {"content_discriminator": Judgement(b, a, _KIND)}

    def _encode_noisily(self, images: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The contents with noise, as all networks see them while training, and the noise."""
        contents = {d: self.encode_content(image, d) for d, image in images.items()}
        noise = {d: styled.draw_normal(content.shape[1:], content) for d, content in contents.items()}
        return {d: content + noise[d] for d, content in contents.items()}, noise

    def _encode_attributes(self, images: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The attributes, drawn from their Gaussians where there are such, and their distances from N(0, I)."""
        attributes, priors = {}, {}
        for d, image in images.items():
            mean, log_variance = self.domains[d].attribute_encoder(image)
            if log_variance is None:
                attributes[d], priors[d] = mean, mean.square().mean()
            else:
                attributes[d] = mean + styled.draw_normal(mean.shape[1:], mean) * (log_variance / 2).exp()
                priors[d] = kl_to_standard_normal(mean, log_variance)
        return attributes, priors

    def _random_translations(self, content: dict[str, Tensor], drawn: Sequence[Tensor]) -> dict[str, list[Tensor]]:
        return {d: [self.decode(content[s], attribute, d) for attribute in drawn] for s, d in styled.DIRECTIONS}


def _judge_each(discriminator: nn.Module, images: Sequence[Tensor], real: bool) -> Tensor:
    """The sum of the adversarial losses of several images."""
    return torch.stack([styled.judge(discriminator(image), real, _KIND) for image in images]).sum()
