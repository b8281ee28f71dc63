"""SinCUT: CUT between one picture and another (Park, Efros, Zhang, Zhu, ECCV 2020, arXiv:2007.15651, 4.4 and C.2).

    L(D)    = [softplus(D(G(x))) + softplus(-D(y))] / 2 + lambda_r1 / 2 E |grad_y D(y)|^2
    L(G, H) = lambda_gan softplus(-D(G(x))) + lambda_nce [PatchNCE(x, G(x)) + PatchNCE(y, G(y))] / 2
              + lambda_identity |G(y) - y|_1

Symbols: G generator, its first half the encoder; D discriminator; H patch head (netF in the authors' code); x a crop of
the source picture (real_a), y of the target picture (real_b); G(x) fake_b, G(y) idt_b. All crops of a batch come from
the same picture, so the negatives of a patch are the other crops' patches too: with one place per crop, only those.
With hDCE or MoNCE (`nce_loss`) they are weighed; SRC (`lambda_src`) relates all patches of the batch (methods/cut.py).

As in the authors' code (taesungp/contrastive-unpaired-translation, commit b3ac297) D is updated first and pays R1 at
every step. What differs from it: the features of x and y come from G's own pass over them, and one pass encodes G(x)
and G(y) (the same numbers); H exists before the first step; D may see tiles of the crops.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from cut.config import MethodConfig
from cut.errors import UserError
from cut.losses import full_precision
from cut.losses.adversarial import discriminator_loss, generator_loss
from cut.losses.contrast import contrast_over_layers
from cut.losses.gradient_penalty import r1_penalty
from cut.losses.relation import relation_over_layers
from cut.methods.base import Batch, Judgement, Method, Networks, Player, Terms
from cut.methods.patch_contrast import AnyPatchLossConfig, CrossEntropyConfig
from cut.models.encoding_generator import EncodingGenerator, as_encoding
from cut.models.patch_head import PatchHead, random_patch_ids
from cut.runtime.sharding import num_processes


class SinCUTConfig(MethodConfig):
    """SinCUT's."""

    default_generator: ClassVar[dict[str, Any]] = {"name": "stylegan2"}
    default_discriminator: ClassVar[dict[str, Any]] = {"name": "stylegan2"}
    data_names: ClassVar[tuple[str, ...]] = ("single",)

    name: str = "sincut"
    """Method: SinCUT, CUT between one picture and another."""
    lambda_gan: float = Field(1.0, gt=0)
    """Weight of the adversarial loss, which is non-saturating."""
    lambda_r1: float = Field(1.0, ge=0)
    """Weight of R1, half the squared slope of D at real crops; 0: none."""
    lambda_nce: float = Field(4.0, gt=0)
    """Weight of PatchNCE."""
    lambda_identity: float = Field(1.0, ge=0)
    """Weight of |G(y) - y|_1; 0: none."""
    lambda_src: float = Field(0.0, ge=0)
    """Weight of SRC, summed over the patches of a batch (with hDCE: 10); 0: none."""
    nce_layers: tuple[Annotated[int, Field(ge=0)], ...] = Field((0, 2, 4), min_length=1)
    """Numbers of the layers of G's encoder whose features PatchNCE compares (l)."""
    num_patches: int = Field(1, ge=1)
    """Number of places per layer and crop (S); negatives come from the whole batch."""
    temperature: float = Field(0.07, gt=0)
    """Divisor of the similarities (tau)."""
    nce_loss: AnyPatchLossConfig = CrossEntropyConfig()
    """Loss of a patch."""
    head_channels: int = Field(256, ge=1)
    """Channels of the learnt projection (H)."""
    discriminator_tile_px: int | None = Field(None, ge=8)
    """Side in pixels of the tiles into which crops are cut for D. null: D sees whole crops."""


@dataclass
class Translated:
    """What both players read; `reals` are x and y in one batch, `outputs` G(x) and G(y), `keys` the encoder's features
    of x and y, detached."""

    reals: Tensor
    outputs: Tensor
    keys: list[Tensor]

    @property
    def real_b(self) -> Tensor:
        return self.reals.chunk(2)[1]

    @property
    def fake_b(self) -> Tensor:
        return self.outputs.chunk(2)[0]

    @property
    def idt_b(self) -> Tensor:
        return self.outputs.chunk(2)[1]


class SinCUT(Method):
    Config = SinCUTConfig

    generator: EncodingGenerator

    def __init__(self, config: SinCUTConfig, generator: EncodingGenerator, discriminator: nn.Module):
        super().__init__()
        self.config = config
        self.generator = generator
        self.discriminator = discriminator
        self.patch_head = PatchHead(generator.feature_channels(config.nce_layers), config.head_channels)

    @classmethod
    def build(cls, config: SinCUTConfig, networks: Networks) -> "SinCUT":
        tile_px = config.discriminator_tile_px
        if tile_px and networks.image_px % tile_px:
            raise ValueError(
                f"discriminator_tile_px {tile_px} does not divide data.crop_px {networks.image_px}; take a divisor"
            )
        if networks.channels["a"] != networks.channels["b"]:
            raise ValueError(
                "sincut has one generator for both pictures; data.channels_a and data.channels_b must be equal"
            )
        method = cls(config, as_encoding(networks.generator()), networks.discriminator(image_px=tile_px))
        networks.initialise(method.patch_head)
        return method

    def translate(self, batch: Batch) -> Translated:
        real_a, real_b = batch["real_a"], batch["real_b"]
        if len(real_a) * num_processes() * self.config.num_patches < 2:
            raise UserError(
                "data.batch_size 1 with method.num_patches 1: a patch has nothing to be told from; raise either"
            )
        reals = torch.cat([real_a, real_b])  # (2N, C, H, W)
        outputs, keys = self.generator.forward_with_features(reals, self.config.nce_layers)
        return Translated(reals, outputs, [key.detach() for key in keys])

    @property
    def needs_whole_batch(self) -> str | None:
        return "negatives come from all crops of the batch"

    def players(self) -> tuple[Player, ...]:
        networks = (self.generator, self.patch_head)
        return (
            Player("discriminator", (self.discriminator,), self.discriminator_terms),
            Player("generator", networks, self.generator_terms, learns_through_translate=True),
        )

    def discriminator_terms(self, t: Translated) -> Terms:
        """L(D); real crops are judged once, for the adversarial term and R1."""
        scores = self._judge(t.fake_b.detach())
        terms = {"gan_fake": 0.5 * discriminator_loss(scores, real=False, kind="nonsaturating")}
        if self.config.lambda_r1:
            scores, penalty = r1_penalty(self._judge, t.real_b)
            terms["r1"] = 0.5 * self.config.lambda_r1 * penalty
        else:
            scores = self._judge(t.real_b)
        return terms | {"gan_real": 0.5 * discriminator_loss(scores, real=True, kind="nonsaturating")}

    def generator_terms(self, t: Translated) -> Terms:
        """L(G, H)."""
        config = self.config
        queries = self.generator.encode(t.outputs, config.nce_layers)
        (queries_a, queries_b), (keys_a, keys_b) = (
            zip(*(f.chunk(2) for f in fs), strict=True) for fs in (queries, t.keys)
        )
        patches_a, patches_b = self._embed(queries_a, keys_a), self._embed(queries_b, keys_b)
        terms = {
            "gan": config.lambda_gan * generator_loss(self._judge(t.fake_b), "nonsaturating"),
            "nce": 0.5 * config.lambda_nce * self._contrast(*patches_a),
            "nce_idt": 0.5 * config.lambda_nce * self._contrast(*patches_b),
        }
        if config.lambda_src:
            terms["src"] = config.lambda_src * relation_over_layers(*patches_a, scope="minibatch")
        if config.lambda_identity:
            terms["identity"] = config.lambda_identity * F.l1_loss(full_precision(t.idt_b), full_precision(t.real_b))
        return terms

    def judgements(self, t: Translated) -> dict[str, Judgement]:
        return {"discriminator": Judgement(self._judge(t.real_b), self._judge(t.fake_b), "nonsaturating")}

    def visuals(self, batch: Batch) -> dict[str, Tensor]:
        style = {"style": batch["real_b"]} if "real_b" in batch else {}
        return super().visuals(batch) | style

    def _judge(self, image: Tensor) -> Tensor:
        """D's scores of images or, with `discriminator_tile_px`, of each image's tiles."""
        tile_px = self.config.discriminator_tile_px
        return self.discriminator(cut_into_tiles(image, tile_px) if tile_px else image)

    def _embed(self, queries: Sequence[Tensor], keys: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """H's unit vectors `(N, S, C)` per layer, of features of G's output and of its input at the same places."""
        patch_ids = random_patch_ids(keys, self.config.num_patches)
        with torch.no_grad():
            keys = self.patch_head(keys, patch_ids)
        return self.patch_head(queries, patch_ids), list(keys)

    def _contrast(self, queries: Sequence[Tensor], keys: Sequence[Tensor]) -> Tensor:
        """Mean over layers, places and images of the loss of a patch with the negatives of the whole batch."""
        loss = self.config.nce_loss.loss(self.config.temperature, self.progress)
        return contrast_over_layers(queries, keys, loss, "minibatch")


def cut_into_tiles(image: Tensor, tile_px: int) -> Tensor:
    """`(N, C, H, W)` -> `(N * H / P * W / P, C, P, P)`, P = `tile_px`, the tiles of an image one after the other."""
    n, channels, height, width = image.shape
    tiles = image.reshape(n, channels, height // tile_px, tile_px, width // tile_px, tile_px)
    return tiles.permute(0, 2, 4, 1, 3, 5).reshape(-1, channels, tile_px, tile_px)  # (N, rows, columns, C, P, P)
