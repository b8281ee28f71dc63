"""DCLGAN and SimDCL: CUT in both directions (Han, Shoeiby, Petersson, Armin, "Dual Contrastive Learning for
Unsupervised Image-to-Image Translation", CVPR Workshops 2021, arXiv:2104.07689).

    L(G, F, H) = 1/2 { lambda_gan [L_GAN(G, D_B) + L_GAN(F, D_A)] + lambda_nce [NCE(x, G(x)) + NCE(y, F(y))]
                     + lambda_identity [|G(y) - y|_1 + |F(x) - x|_1] } + lambda_similarity L_sim
    L_sim      = |M_a(x) - M_fa(F(y))|_1 + |M_b(y) - M_fb(G(x))|_1                                      (SimDCL)

Symbols: x an image of the source domain (real_a), y of the target domain (real_b); G generator_ab, F generator_ba, the
first half of each the encoder of the domain that it translates; D_B discriminator_b judges domain b, D_A
discriminator_a domain a; H_a, H_b patch heads of the domains. Patches of G(x), encoded by F and H_b, are queries, the
same places of x, encoded by G and H_a, their positives (losses/patchnce.py); likewise for F(y) and y. M similarity
heads, one for the real and one for the generated images of each domain, of patches embedded by H.

As in the authors' code (JunlinHan/DCLGAN, commit abb805c) D is updated first and its terms are halved; the generators
pay the clamped hinge (losses/adversarial.py); negatives are all patches of the batch. Their DCLGAN gives the heads'
Adam torch's defaults, their SimDCL those of the generators (`optim.per_player: {patch_heads: ...}`); SimDCL never reads
its weight of NCE, so that it is 1. What differs: x and y are one pass of each generator, which gives the keys too (the
same numbers, unless it has batch norm or dropout); H and M exist before the first step; M takes batches. Masks and
partners, where the data have some: methods/known_pixels.py; queries are drawn inside a mask.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from cut.losses.adversarial import generator_loss
from cut.losses.contrast import contrast_over_layers
from cut.methods.base import Batch, Networks, Player, Terms
from cut.methods.known_pixels import KnownPixelsConfig, known_terms
from cut.methods.patch_contrast import AnyPatchLossConfig, CrossEntropyConfig
from cut.methods.two_way import TwoWayMethod
from cut.models.encoding_generator import EncodingGenerator, as_encoding
from cut.models.patch_head import PatchHead, masked_patch_ids, random_patch_ids
from cut.models.similarity_head import SimilarityHead


class DCLGANConfig(KnownPixelsConfig):
    """DCLGAN's and, with lambda_similarity 10, SimDCL's."""

    directions: ClassVar[tuple[str, ...]] = ("ab", "ba")

    name: str = "dclgan"
    """Method: DCLGAN and SimDCL."""
    gan_loss: Literal["lsgan", "vanilla", "nonsaturating", "hinge", "hinge_clamped"] = "hinge_clamped"
    """Kind of the adversarial loss."""
    lambda_gan: float = Field(1.0, gt=0)
    """Weight of the adversarial losses, of which half counts, as of the next two."""
    lambda_nce: float = Field(2.0, gt=0)
    """Weight of PatchNCE (SimDCL: 1)."""
    lambda_identity: float = Field(1.0, ge=0)
    """Weight of |G(y) - y|_1 and |F(x) - x|_1; 0: none."""
    lambda_similarity: float = Field(0.0, ge=0)
    """Weight of L_sim (SimDCL: 10), for small or unequal sets; 0: none."""
    nce_layers: tuple[Annotated[int, Field(ge=0)], ...] = Field((4, 8, 12, 16), min_length=1)
    """Numbers of the layers of the encoders whose features PatchNCE compares (l)."""
    num_patches: int = Field(256, ge=2)
    """Number of places per layer (S)."""
    temperature: float = Field(0.07, gt=0)
    """Divisor of the similarities (tau)."""
    negatives: Literal["image", "minibatch"] = "minibatch"
    """Images whose other places are the negatives."""
    nce_loss: AnyPatchLossConfig = CrossEntropyConfig()
    """Loss of a patch."""
    head_channels: int = Field(256, ge=1)
    """Channels of the learnt projections (H)."""
    similarity_channels: int = Field(64, ge=1)
    """Channels of the similarity heads (M)."""
    pool_size: int = Field(0, ge=0)
    """Number of earlier translations kept for each discriminator; 0: none."""


@dataclass
class Translated:
    """What both players read; keys are the encoders' features of x and of y."""

    real_a: Tensor
    real_b: Tensor
    fake_a: Tensor
    fake_b: Tensor
    idt_a: Tensor | None
    idt_b: Tensor | None
    keys_a: list[Tensor]
    keys_b: list[Tensor]
    batch: Batch


class DCLGAN(TwoWayMethod):
    Config = DCLGANConfig

    generator_ab: EncodingGenerator
    generator_ba: EncodingGenerator | None

    def __init__(
        self,
        config: DCLGANConfig,
        generator_ab: EncodingGenerator,
        generator_ba: EncodingGenerator,
        discriminator_a: nn.Module,
        discriminator_b: nn.Module,
    ):
        super().__init__(config, generator_ab, generator_ba, discriminator_a, discriminator_b)
        self.patch_heads, self.similarity_heads = nn.ModuleDict(), nn.ModuleDict()
        for domain, encoder in (("a", generator_ab), ("b", generator_ba)):
            self.patch_heads[domain] = PatchHead(encoder.feature_channels(config.nce_layers), config.head_channels)
            for kind in ("real", "fake") if config.lambda_similarity else ():
                head = SimilarityHead(len(config.nce_layers), config.similarity_channels)
                self.similarity_heads[f"{kind}_{domain}"] = head

    @classmethod
    def build(cls, config: DCLGANConfig, networks: Networks) -> "DCLGAN":
        generator_ab, generator_ba = (as_encoding(networks.generator(domains)) for domains in ("ab", "ba"))
        method = cls(config, generator_ab, generator_ba, networks.discriminator("a"), networks.discriminator("b"))
        for head in (*method.patch_heads.values(), *method.similarity_heads.values()):
            networks.initialise(head)
        return method

    @property
    def needs_whole_batch(self) -> str | None:
        if self.config.negatives == "minibatch":
            return "negatives come from all images of the batch; use negatives: image"
        return super().needs_whole_batch

    def translate(self, batch: Batch) -> Translated:
        assert self.generator_ba is not None, "training has both directions"
        real_a, real_b = batch["real_a"], batch["real_b"]
        fake_b, idt_b, keys_a = self._generate(self.generator_ab, real_a, real_b)
        fake_a, idt_a, keys_b = self._generate(self.generator_ba, real_b, real_a)
        return Translated(real_a, real_b, fake_a, fake_b, idt_a, idt_b, keys_a, keys_b, batch)

    def players(self) -> tuple[Player, ...]:
        assert self.generator_ba is not None, "training has both directions"
        heads = (self.patch_heads, self.similarity_heads)
        networks = (self.generator_ab, self.generator_ba, *heads)
        return (
            Player("discriminator", (self.discriminator_a, self.discriminator_b), self.discriminator_terms),
            Player("generator", networks, self.generator_terms, True, parts={"patch_heads": heads}),
        )

    def generator_terms(self, t: Translated) -> Terms:
        """L(G, F, H)."""
        assert self.generator_ba is not None, "training has both directions"
        config, terms = self.config, {}
        for domain, fake in (("a", t.fake_a), ("b", t.fake_b)):
            scores = self._discriminator(domain)(fake)
            terms[f"gan_{domain}"] = 0.5 * config.lambda_gan * generator_loss(scores, config.gan_loss)
        queries_b = self.generator_ba.encode(t.fake_b, config.nce_layers)
        queries_a = self.generator_ab.encode(t.fake_a, config.nce_layers)
        loss = config.nce_loss.loss(config.temperature, self.progress)
        real: dict[str, list[Tensor]] = {}
        for source, target, keys, queries in (("a", "b", t.keys_a, queries_b), ("b", "a", t.keys_b, queries_a)):
            if (mask := t.batch.get(f"mask_{source}")) is None:
                places, inside = random_patch_ids(keys, config.num_patches), None
            else:
                places, inside = masked_patch_ids(keys, config.num_patches, mask)
            with torch.set_grad_enabled(torch.is_grad_enabled() and config.lambda_similarity > 0):  # NCE needs none
                real[source] = self.patch_heads[source](keys, places)
            embedded = self.patch_heads[target](queries, places)
            nce = contrast_over_layers(embedded, real[source], loss, config.negatives, inside=inside)
            terms[f"nce_{source}"] = 0.5 * config.lambda_nce * nce
        for domain, idt, image in (("a", t.idt_a, t.real_a), ("b", t.idt_b, t.real_b)):
            if idt is not None:
                terms[f"idt_{domain}"] = 0.5 * config.lambda_identity * F.l1_loss(idt, image)
        for domain, fakes in (("a", queries_a), ("b", queries_b)) if config.lambda_similarity else ():
            terms[f"similarity_{domain}"] = config.lambda_similarity * self._difference(domain, real[domain], fakes)
        return terms | known_terms(config, t.batch, t.fake_b, "ab") | known_terms(config, t.batch, t.fake_a, "ba")

    def visuals(self, batch: Batch) -> dict[str, Tensor]:
        images = {"a": batch["real_a"], "a to b": self(batch["real_a"])}
        if "real_b" in batch:
            images |= {"b": batch["real_b"], "b to a": self.directions()["ba"](batch["real_b"])}
        return images

    def _discriminator(self, domain: str) -> nn.Module:
        return self.discriminator_a if domain == "a" else self.discriminator_b

    def _generate(
        self, generator: EncodingGenerator, source: Tensor, target: Tensor
    ) -> tuple[Tensor, Tensor | None, list[Tensor]]:
        """The translation of `source`, what becomes of a `target`, and the encoder's features of `source`."""
        taps, n = self.config.nce_layers, len(source)
        if not self.config.lambda_identity:
            output, features = generator.forward_with_features(source, taps)
            return output, None, features
        if source.shape != target.shape:
            output, features = generator.forward_with_features(source, taps)
            return output, generator(target), features
        output, features = generator.forward_with_features(torch.cat([source, target]), taps)  # (2N, C, H, W)
        return output[:n], output[n:], [feature[:n] for feature in features]

    def _difference(self, domain: str, real: Sequence[Tensor], features: Sequence[Tensor]) -> Tensor:
        """|M(real) - M(generated)|_1 of a domain; the generated image is looked at in places of its own."""
        places = random_patch_ids(features, self.config.num_patches)
        fake = self.patch_heads[domain](features, places)
        vectors = [self.similarity_heads[f"{kind}_{domain}"](e) for kind, e in (("real", real), ("fake", fake))]
        return F.l1_loss(*cast(tuple[Tensor, Tensor], tuple(vectors)))
