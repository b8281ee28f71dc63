"""CUT: contrastive unpaired translation (Park, Efros, Zhang, Zhu, ECCV 2020, arXiv:2007.15651).

    L(G, D, H) = lambda_gan L_GAN(G, D, X, Y) + lambda_nce L_PatchNCE(G, H, X) + lambda_nce L_PatchNCE(G, H, Y)  (eq. 5)

Symbols: G generator, its first half the encoder; D discriminator; H patch head (netF in the authors' code); x an image
of the source domain (real_a), y of the target domain (real_b); G(x) fake_b, G(y) idt_b. Patches of G(x) are queries,
the same places of x their positives, other places of x their negatives (losses/patchnce.py). The second PatchNCE
term, the identity, keeps G from changing what already looks like the target. Negatives from other images (section 4.2
and figure 6: "external") come from a queue of earlier keys, optionally made by slow copies of G and H as in MoCo.

FastCUT is this method with lambda_nce 10, no identity term and flip equivariance (appendix C.1): a YAML, not a mode.

CUT's successors change how patches are compared, and are settings of this method: hDCE and SRC (Jung et al., CVPR 2022:
`nce_loss: hdce`, `lambda_src`), MoNCE (Zhan et al., CVPR 2022: `nce_loss: monce`) and QS-Attn (Hu et al., CVPR 2022:
`patches: attention`), each with CUT's or FastCUT's other settings.

    L(G, D, H) = ... + lambda_src L_SRC(G, H, X)                                                    (losses/relation.py)

Three further terms that CUT has not are options, off by default: R1 on D (Mescheder et al., ICML 2018), the identity in
pixels and an image pool (both CycleGAN's). Masks and partners, where the data have some: methods/known_pixels.py; with
a mask, PatchNCE of x draws its queries inside it. A short run of small networks learns colours with them that it misses
without: D's instance norm takes an image's colour away, and without that norm D needs R1 to stay in bounds.

As in the authors' code (taesungp/contrastive-unpaired-translation, commit b3ac297) the two PatchNCE terms are averaged,
so are D's two terms, and D is updated first. What differs from it: the features of x and y come from G's own pass over
them instead of a second one (the same numbers, unless the pass was mirrored or G has batch norm or dropout), those of
G(x) and G(y) from one pass over both; H exists before the first step; the batch size is read from the tensors.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, cast

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from cut.losses.adversarial import discriminator_loss, generator_loss
from cut.losses.contrast import contrast_over_layers
from cut.losses.gradient_penalty import gradient_penalty, r1_penalty
from cut.losses.relation import relation_over_layers
from cut.methods.base import Batch, Judgement, Method, Networks, Player, Terms, judge_both
from cut.methods.known_pixels import KnownPixelsConfig, known_terms
from cut.methods.patch_contrast import (
    AnyPatchesConfig,
    AnyPatchLossConfig,
    CrossEntropyConfig,
    Patches,
    RandomPatchesConfig,
)
from cut.models.attention import attention_rows
from cut.models.encoding_generator import EncodingGenerator, as_encoding, with_channels
from cut.models.image_pool import ImagePool
from cut.models.negative_queue import NegativeQueue
from cut.models.patch_head import PatchHead, masked_patch_ids, random_patch_ids


class CUTConfig(KnownPixelsConfig):
    """CUT's and, with three other settings, FastCUT's."""

    name: str = "cut"
    """Method: CUT, and with other settings FastCUT."""
    gan_loss: Literal["lsgan", "vanilla", "nonsaturating", "wgangp", "hinge", "hinge_clamped"] = "lsgan"
    """Kind of the adversarial loss."""
    lambda_gan: float = Field(1.0, ge=0)
    """Weight of the adversarial loss; 0: none."""
    lambda_gp: float = Field(10.0, ge=0)
    """Weight of the gradient penalty, with gan_loss wgangp only."""
    lambda_r1: float = Field(0.0, ge=0)
    """Weight of R1, half the squared slope of D at y; not in the paper."""
    pool_size: int = Field(0, ge=0)
    """Number of earlier translations kept for D, against swings (CycleGAN: 50); not in the paper."""
    lambda_nce: float = Field(1.0, ge=0)
    """Weight of PatchNCE (lambda_X and lambda_Y)."""
    nce_idt: bool = True
    """PatchNCE between y and G(y) too, the identity term."""
    lambda_src: float = Field(0.0, ge=0)
    """Weight of SRC, summed over num_patches places (hDCE's horse2zebra: 0.05 with lambda_nce 0.1); 0: none."""
    lambda_identity: float = Field(0.0, ge=0)
    """Weight of |G(y) - y|_1, as in CycleGAN and SinCUT; not in the paper."""
    nce_layers: tuple[Annotated[int, Field(ge=0)], ...] = Field((0, 4, 8, 12, 16), min_length=1)
    """Numbers of the layers of G whose features PatchNCE compares (l)."""
    num_patches: int = Field(256, ge=2)
    """Number of places per layer (S): one is a query's positive, the others its negatives."""
    temperature: float = Field(0.07, gt=0)
    """Divisor of the similarities (tau)."""
    negatives: Literal["image", "minibatch", "external", "image_and_external"] = "image"
    """Images whose other places are the negatives; external: earlier images."""
    queue_size: int = Field(4096, ge=1)
    """Number of external keys kept per layer and domain."""
    momentum_encoder: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay per step of the averages of G and H that make the keys, e.g. 0.999. null: G and H make them."""
    nce_loss: AnyPatchLossConfig = CrossEntropyConfig()
    """Loss of a patch."""
    patches: AnyPatchesConfig = RandomPatchesConfig()
    """Choice of the places."""
    head: Literal["mlp", "none"] = "mlp"
    """Patch head (H): a learnt projection of the features, or none: the features themselves, normalised."""
    head_channels: int = Field(256, ge=1)
    """Channels of the projection."""
    nce_norm: Literal["none", "instance"] = "none"
    """Normalisation of the features before H; instance: of each channel over the image. Not in the paper."""
    flip_equivariance: bool = False
    """Mirror G's input half of the time, and its features back (FastCUT)."""

    @model_validator(mode="after")
    def _learns_something(self) -> "CUTConfig":
        if not (self.lambda_gan or self.lambda_nce):
            raise ValueError("lambda_gan and lambda_nce are both 0, so there is nothing to learn")
        if self.lambda_src and not self.lambda_nce:
            raise ValueError("lambda_src compares the patches of PatchNCE; set lambda_nce above 0")
        return self

    @model_validator(mode="after")
    def _patches_fit(self) -> "CUTConfig":
        if "external" in self.negatives and not self.nce_loss.takes_external:
            raise ValueError(
                f"nce_loss: {self.nce_loss.name} weighs the negatives of one batch and has no rule for earlier images; "
                "use negatives: image or minibatch, or nce_loss: cross_entropy or focal"
            )
        if self.patches.num_layers > len(self.nce_layers):
            raise ValueError(f"patches.num_layers: must be at most {len(self.nce_layers)}, the number of nce_layers")
        return self


@dataclass
class Translated:
    """What both players read; keys are the encoder's features of x and y, detached unless attention learns."""

    real_a: Tensor
    real_b: Tensor
    fake_b: Tensor
    idt_b: Tensor | None
    flipped: bool
    keys_a: list[Tensor]
    keys_b: list[Tensor]
    batch: Batch


class CUT(Method):
    Config = CUTConfig

    generator: EncodingGenerator

    def __init__(self, config: CUTConfig, generator: EncodingGenerator, discriminator: nn.Module):
        super().__init__()
        self.config = config
        self.generator = generator
        self.discriminator = discriminator
        channels = generator.feature_channels(config.nce_layers)
        self.patch_head = PatchHead(channels, config.head_channels, config.head == "mlp", config.nce_norm)
        self.pool = ImagePool(config.pool_size) if config.pool_size else nn.Identity()
        self.queues = nn.ModuleDict()
        if "external" in config.negatives:
            widths = [config.head_channels] * len(channels) if config.head == "mlp" else channels
            for domain in "ab" if self._with_identity else "a":
                self.queues[domain] = nn.ModuleList(NegativeQueue(config.queue_size, width) for width in widths)
        self.key_networks: nn.ModuleDict | None = None  # slow copies of G and H, with momentum_encoder

    @classmethod
    def build(cls, config: CUTConfig, networks: Networks) -> "CUT":
        method = cls(config, as_encoding(networks.generator()), networks.discriminator())
        networks.initialise(method.patch_head)
        if config.momentum_encoder:
            copies = {"generator": method.generator, "patch_head": method.patch_head}
            method.key_networks = nn.ModuleDict(copy.deepcopy(copies)).requires_grad_(False)
        return method

    def translate(self, batch: Batch) -> Translated:
        real_a, real_b, n = batch["real_a"], batch["real_b"], len(batch["real_a"])
        flipped = self.config.flip_equivariance and bool(torch.rand(()) < 0.5)
        self._follow_with_key_networks()
        if not (self._with_identity or self.config.lambda_identity):
            fake_b, keys_a = self._generate(real_a, flipped)
            return Translated(real_a, real_b, fake_b, None, flipped, keys_a, [], batch)
        source_b = with_channels(real_b, self.generator.in_channels)
        if real_a.shape == source_b.shape:  # one pass for both
            output, keys = self._generate(torch.cat([real_a, source_b]), flipped)  # (2N, C, H, W)
            fake_b, idt_b, keys_a, keys_b = output[:n], output[n:], [k[:n] for k in keys], [k[n:] for k in keys]
        else:
            (fake_b, keys_a), (idt_b, keys_b) = (self._generate(x, flipped) for x in (real_a, source_b))
        return Translated(real_a, real_b, fake_b, idt_b, flipped, keys_a, keys_b, batch)

    @property
    def needs_whole_batch(self) -> str | None:
        if self.config.negatives != "image":
            return f"negatives: {self.config.negatives} come from all images of the batch; use negatives: image"
        if self.config.momentum_encoder:
            return "momentum_encoder follows once per batch; use momentum_encoder: null"
        return super().needs_whole_batch

    def players(self) -> tuple[Player, ...]:
        discriminator = Player("discriminator", (self.discriminator,), self.discriminator_terms)
        networks = (self.generator, self.patch_head)
        generator = Player("generator", networks, self.generator_terms, learns_through_translate=True)
        return (discriminator, generator) if self.config.lambda_gan else (generator,)

    def discriminator_terms(self, t: Translated) -> Terms:
        """L_GAN as D sees it, halved."""
        kind, fake = self.config.gan_loss, self.pool(t.fake_b.detach())
        terms: Terms = {}
        if self.config.lambda_r1:  # of D's mean over its patches; r1_penalty takes their sum
            real_scores, penalty = r1_penalty(self.discriminator, t.real_b)
            fake_scores = self.discriminator(fake)
            terms["r1"] = 0.5 * self.config.lambda_r1 * penalty / real_scores[0].numel() ** 2
        else:
            real_scores, fake_scores = judge_both(self.discriminator, t.real_b, fake)
        terms["gan_real"] = 0.5 * discriminator_loss(real_scores, real=True, kind=kind)
        terms["gan_fake"] = 0.5 * discriminator_loss(fake_scores, real=False, kind=kind)
        if kind == "wgangp":
            penalty = gradient_penalty(self.discriminator, t.real_b, fake)
            terms["gradient_penalty"] = 0.5 * self.config.lambda_gp * penalty
        return terms

    def generator_terms(self, t: Translated) -> Terms:
        """Equation 5 as G and H see it."""
        config, terms = self.config, {}
        if config.lambda_gan:
            terms["gan"] = config.lambda_gan * generator_loss(self.discriminator(t.fake_b), config.gan_loss)
        if config.lambda_nce:
            weight = config.lambda_nce * (0.5 if self._with_identity else 1.0)
            queries_a, queries_b = self._queries(t)
            patches_a = self._embed(queries_a, t.keys_a, t.batch.get("mask_a"))
            terms["nce"] = weight * self._contrast(patches_a, "a")
            if self._with_identity:
                terms["nce_idt"] = weight * self._contrast(self._embed(queries_b, t.keys_b), "b")
            if config.lambda_src:
                terms["src"] = config.lambda_src * relation_over_layers(patches_a.queries, patches_a.keys)
        if config.lambda_identity and t.idt_b is not None:
            idt_b = t.idt_b.flip(3) if t.flipped else t.idt_b
            terms["identity"] = config.lambda_identity * F.l1_loss(idt_b, t.real_b)
        return terms | known_terms(config, t.batch, t.fake_b.flip(3) if t.flipped else t.fake_b, "ab")

    def judgements(self, t: Translated) -> dict[str, Judgement]:
        if not self.config.lambda_gan:
            return {}
        real, fake = self.discriminator(t.real_b), self.discriminator(t.fake_b)
        return {"discriminator": Judgement(real, fake, self.config.gan_loss)}

    def _generate(self, source: Tensor, flipped: bool) -> tuple[Tensor, list[Tensor]]:
        """G's output, and the encoder's features of its input; `flipped` mirrors only the former's input."""
        taps = self.config.nce_layers if self.config.lambda_nce else ()
        output, features = self.generator.forward_with_features(source.flip(3) if flipped else source, taps)
        # The encoder is not mirror-symmetric, so the keys need the unmirrored images.
        if taps and (flipped or self.key_networks):
            encoder = self.key_networks["generator"] if self.key_networks else self.generator
            assert isinstance(encoder, EncodingGenerator)
            with torch.set_grad_enabled(torch.is_grad_enabled() and self.config.patches.learns):
                features = encoder.encode(source, taps)
        return output, features if self.config.patches.learns else [f.detach() for f in features]

    def _queries(self, t: Translated) -> tuple[list[Tensor], list[Tensor]]:
        """The encoder's features of G(x) and, for the identity term, of G(y), mirrored back where x and y were."""
        if not self._with_identity or t.idt_b is None:
            return self._encode(t.fake_b, t.flipped), []
        if t.fake_b.shape == t.idt_b.shape:  # one pass for both, as in `translate`
            halves = [f.chunk(2) for f in self._encode(torch.cat([t.fake_b, t.idt_b]), t.flipped)]  # 2N -> N, N
            return [a for a, _ in halves], [b for _, b in halves]
        return self._encode(t.fake_b, t.flipped), self._encode(t.idt_b, t.flipped)

    def _encode(self, output: Tensor, flipped: bool) -> list[Tensor]:
        features = self.generator.encode(with_channels(output, self.generator.in_channels), self.config.nce_layers)
        return [f.flip(3) for f in features] if flipped else features

    def _embed(self, queries: list[Tensor], keys: list[Tensor], mask: Tensor | None = None) -> Patches:
        """H's unit vectors, of features of G's output and of its input at the same places."""
        count, num_random, inside = self.config.num_patches, len(keys) - self.config.patches.num_layers, None
        places = random_patch_ids(keys[:num_random], count) if mask is None else []
        if mask is not None:
            places, inside = masked_patch_ids(keys[:num_random], count, mask)
        places += [attention_rows(key, count) for key in keys[num_random:]]
        with torch.no_grad():
            key_head = self.key_networks["patch_head"] if self.key_networks else self.patch_head
            keys = key_head(keys, places)
        return Patches(self.patch_head(queries, places), keys, inside)

    def _contrast(self, patches: Patches, domain: str) -> Tensor:
        """Mean over layers and places of the loss of a patch, with negatives from `domain`."""
        config = self.config
        loss = config.nce_loss.loss(config.temperature, self.progress)
        negatives = {"external": "none", "image_and_external": "image"}.get(config.negatives, config.negatives)
        queues = cast(Sequence[NegativeQueue] | None, self.queues[domain] if self.queues else None)
        return contrast_over_layers(patches.queries, patches.keys, loss, negatives, queues, patches.inside)

    @torch.no_grad()
    def _follow_with_key_networks(self) -> None:
        """theta_k <- m theta_k + (1 - m) theta_q (He et al., CVPR 2020, equation 2), once per step."""
        momentum = self.config.momentum_encoder
        if self.key_networks is None or momentum is None:
            return
        for name, slow in self.key_networks.items():
            fast = getattr(self, name)
            for slow_tensor, tensor in zip(slow.state_dict().values(), fast.state_dict().values(), strict=True):
                if tensor.is_floating_point():
                    slow_tensor.lerp_(tensor, 1.0 - momentum)

    @property
    def _with_identity(self) -> bool:
        return self.config.nce_idt and self.config.lambda_nce > 0
