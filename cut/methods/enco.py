"""EnCo: unpaired translation in which stages of G's encoder and decoder agree (Cai et al., "Rethinking the Paradigm of
Content Constraints in Unpaired Image-to-Image Translation", AAAI 2024).

    L_EnCo(G, H, P) = mean over pairs l and places s of 2 - 2 cos(P_l(H_l(g_l(s))), H_l(f_l(s)))
    L(G, H, P)      = lambda_gan L_GAN + 1/2 (lambda_nce L_EnCo + lambda_identity |G(y) - y|_1)   at first, and then
                    = lambda_gan L_GAN + lambda_nce L_EnCo

Symbols: G generator; D discriminator; x an image of the source domain (real_a), y of the target domain (real_b); G(x)
fake_b, G(y) idt_b; f_l the encoder's and g_l the decoder's features of x at the pair l of layers of equal size, both
from the one pass that makes G(x); H_l projection, shared by both sides; P_l predictor. H_l(f_l(s)) has no gradient.
There are no negatives, and G(x) is not encoded: a step takes two thirds of CUT's work, and after the identity a third.

Places (DAG, discriminative attention guided): half of them are those that D finds most fake among four times as many
random ones, the others are random (`choose_places`). D has been updated before.

As in the authors' code (EnCo-pytorch, commit 0d404a7) the content term doubles when the identity ends. What differs: x
and y are one pass (the same numbers, unless G has batch norm or dropout); the warm-up of the rate rises at every step;
mirroring, which theirs does to x and y at random, is the data's.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from cut.config import MethodConfig
from cut.errors import UserError
from cut.losses import full_precision
from cut.losses.adversarial import discriminator_loss, generator_loss
from cut.methods.base import Batch, Judgement, Method, Networks, Player, Terms, judge_both
from cut.models.enco_head import EnCoHead
from cut.models.encoding_generator import EncodingGenerator, as_encoding, with_channels
from cut.models.patch_head import gather_patches, random_orders


class EnCoConfig(MethodConfig):
    """EnCo's; a run also needs a low rate for G: see configs/horse2zebra_enco.yaml."""

    name: str = "enco"
    """Method: EnCo."""
    gan_loss: Literal["lsgan", "vanilla", "nonsaturating", "hinge", "hinge_clamped"] = "lsgan"
    """Kind of the adversarial loss."""
    lambda_gan: float = Field(1.0, gt=0)
    """Weight of the adversarial loss."""
    lambda_nce: float = Field(2.0, gt=0)
    """Weight of the agreement of encoder and decoder; half of it counts while the identity lasts."""
    lambda_identity: float = Field(10.0, ge=0)
    """Weight of |G(y) - y|_1, of which half counts; 0: none."""
    identity_share: float = Field(0.5, ge=0, le=1)
    """Share of the run in which the identity lasts; the authors': as long as the rate is constant."""
    layer_pairs: tuple[tuple[Annotated[int, Field(ge=0)], int], ...] = Field(
        ((3, -4), (7, -8), (13, -14)), min_length=1
    )
    """Layers of G's encoder and decoder that are compared; negative numbers count from G's end."""
    num_patches: int = Field(256, ge=2)
    """Number of places per pair (S)."""
    oversampling: int = Field(4, ge=1)
    """Number of random places, as a multiple of num_patches, among which the most fake are sought."""
    random_share: float = Field(0.5, ge=0, le=1)
    """Share of the places that are random."""
    head_channels: int = Field(256, ge=2)
    """Channels of the projection (H); the predictor (P) has half of them inside."""
    head_norm: Literal["batch", "layer"] = "batch"
    """Normalisation in H and P; batch: over all patches of a batch."""


@dataclass
class Translated:
    """What both players read; features are of x, those of the encoder detached."""

    real_b: Tensor
    fake_b: Tensor
    idt_b: Tensor | None
    encoded: list[Tensor]
    decoded: list[Tensor]


class EnCo(Method):
    Config = EnCoConfig

    generator: EncodingGenerator

    def __init__(self, config: EnCoConfig, generator: EncodingGenerator, discriminator: nn.Module):
        super().__init__()
        self.config, self.generator, self.discriminator = config, generator, discriminator
        sides = [generator.feature_channels(taps) for taps in zip(*config.layer_pairs, strict=True)]
        for pair, *channels in zip(config.layer_pairs, *sides, strict=True):
            if channels[0] != channels[1]:
                raise ValueError(f"layer_pairs: layers {pair} have {channels} channels; a pair must be of one stage")
        self.head = EnCoHead(sides[0], config.head_channels, config.head_norm)

    @classmethod
    def build(cls, config: EnCoConfig, networks: Networks) -> "EnCo":
        method = cls(config, as_encoding(networks.generator()), networks.discriminator())
        networks.initialise(method.head)
        return method

    def translate(self, batch: Batch) -> Translated:
        real_a, real_b, n = batch["real_a"], batch["real_b"], len(batch["real_a"])
        encoder, decoder = zip(*self.config.layer_pairs, strict=True)
        images, idt_b = real_a, None
        if self._identity_lasts:
            source_b = with_channels(real_b, self.generator.in_channels)
            if real_a.shape == source_b.shape:  # one pass for both
                images = torch.cat([real_a, source_b])  # (2N, C, H, W)
            else:
                idt_b = self.generator(source_b)
        output, features = self.generator.forward_with_features(images, [*encoder, *decoder])
        features = [feature[:n] for feature in features]
        encoded, decoded = features[: len(encoder)], features[len(encoder) :]
        if len(output) > n:
            idt_b = output[n:]
        return Translated(real_b, output[:n], idt_b, [f.detach() for f in encoded], decoded)

    def players(self) -> tuple[Player, ...]:
        networks = (self.generator, self.head)
        return (
            Player("discriminator", (self.discriminator,), self.discriminator_terms),
            Player("generator", networks, self.generator_terms, learns_through_translate=True),
        )

    def discriminator_terms(self, t: Translated) -> Terms:
        """L_GAN as D sees it, halved."""
        kind = self.config.gan_loss
        real_scores, fake_scores = judge_both(self.discriminator, t.real_b, t.fake_b.detach())
        return {
            "gan_real": 0.5 * discriminator_loss(real_scores, real=True, kind=kind),
            "gan_fake": 0.5 * discriminator_loss(fake_scores, real=False, kind=kind),
        }

    def generator_terms(self, t: Translated) -> Terms:
        """L(G, H, P)."""
        config, half = self.config, 0.5 if t.idt_b is not None else 1.0
        scores = self.discriminator(t.fake_b)
        terms = {
            "gan": config.lambda_gan * generator_loss(scores, config.gan_loss),
            "nce": half * config.lambda_nce * self._disagreement(t, scores.detach()),
        }
        if t.idt_b is not None:
            terms["identity"] = half * config.lambda_identity * F.l1_loss(t.idt_b, t.real_b)
        return terms

    def judgements(self, t: Translated) -> dict[str, Judgement]:
        real, fake = self.discriminator(t.real_b), self.discriminator(t.fake_b)
        return {"discriminator": Judgement(real, fake, self.config.gan_loss)}

    @property
    def _identity_lasts(self) -> bool:
        return self.config.lambda_identity > 0 and self.progress < self.config.identity_share

    def _disagreement(self, t: Translated, scores: Tensor) -> Tensor:
        """L_EnCo at the places that D's scores of G(x) call for."""
        losses = []
        for pair, (encoded, decoded) in enumerate(zip(t.encoded, t.decoded, strict=True)):
            if encoded.shape != decoded.shape:
                layers, sizes = self.config.layer_pairs[pair], [tuple(f.shape[2:]) for f in (encoded, decoded)]
                raise UserError(f"method.layer_pairs: layers {layers} have sizes {sizes}; a pair must be of one stage")
            places = choose_places(scores, encoded.shape[2:], self.config)
            with torch.no_grad():
                target = self.head.project(gather_patches(encoded, places), pair)
            guess = self.head.predict(gather_patches(decoded, places), pair)
            cosine = F.cosine_similarity(full_precision(guess), full_precision(target), dim=2)
            losses.append((2.0 - 2.0 * cosine).mean())
        return torch.stack(losses).mean()


def choose_places(scores: Tensor, size: torch.Size, config: EnCoConfig) -> Tensor:
    """Places of a map: those that D finds most fake among random ones, then random ones; some may come twice.

    Args:
        scores: `(N, S, h, w)` of D, which may have several heads; the lower, the more fake.
        size: Height and width of the map.
        config: Numbers of places.

    Returns:
        `(N, num_patches)` flat indices; fewer where the map is smaller.

    Raises:
        UserError: D gives an image one score alone.
    """
    if scores.dim() != 4:
        raise UserError("discriminator.name: enco asks D where an image looks fake; use patch or pixel")
    scores = full_precision(scores).mean(1, keepdim=True)
    scores = F.interpolate(scores, size=tuple(size), mode="bilinear", align_corners=False).flatten(1)
    first, second = (random_orders(len(scores), scores.shape[1], scores.device) for _ in range(2))
    num_random = int(config.num_patches * config.random_share)
    candidates = first[:, : config.oversampling * config.num_patches]
    ranked = scores.gather(1, candidates).argsort(dim=1, stable=True)
    worst = candidates.gather(1, ranked[:, : config.num_patches - num_random])
    return torch.cat([worst, second[:, max(0, second.shape[1] - num_random) :]], dim=1)
