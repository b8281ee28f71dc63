"""The training of WCT2's decoder, whose authors publish weights and no training code (Yoo et al., ICCV 2019,
arXiv:1903.09760).

    L = mean (D(E(x)) - x)^2 + lambda_gram sum_l mean (G_l(D(E(x))) - G_l(x))^2 / mean G_l(x)^2

Symbols: E the encoder, VGG-19 with wavelet pools, which stays as it is; D the decoder; x a picture in [0, 1]; G_l the
Gram matrix of E's features behind level l. The authors have a decoder that restores pictures, from squared errors of
pixels and of Gram matrices; weights and schedule are not published. Each level's term is divided by the size of what it
compares here, so that the weight means the same for any encoder.
"""

from collections.abc import Iterable
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from cut.config.section import PathText
from cut.losses import full_precision
from cut.losses.gram import gram
from cut.methods.base import Batch, Method, Networks, Player, Terms
from cut.methods.stylizer import StylizerConfig
from cut.models.wct2 import STRIDE, WaveletDecoder, WaveletEncoder, load_encoder, new_networks

_ADDRESSES = (
    "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
    "https://bethgelab.org/media/uploads/pytorch_models/vgg_conv.pth",
)
_SHOWN = 8  # pictures on sample sheets


class WCT2DecoderConfig(StylizerConfig):
    """The decoder's."""

    data_names = ("images",)

    name: str = "wct2_decoder"
    """Method: the decoder of WCT2, which learns to restore pictures from VGG's features."""
    vgg: PathText | None = None
    """File of VGG-19's weights, or wave_encoder_*.pth; random: He-uniform ones. null: from torch.hub's folder."""
    unpooling: Literal["cat5", "sum"] = "cat5"
    """How the decoder joins what a pool has divided: concatenated with the map before it, or added."""
    lambda_gram: float = Field(1.0, ge=0)
    """Weight of the Gram matrices' relative differences; 0: none."""

    def check_data(self, data: Any) -> None:
        if data.crop_px % STRIDE or data.crop_px < 2 * STRIDE:
            raise ValueError(f"data.crop_px: must be a multiple of {STRIDE} from {2 * STRIDE} on, got {data.crop_px}")


class WCT2Decoder(Method):
    Config = WCT2DecoderConfig
    output_columns: ClassVar[tuple[str, ...]] = ("reconstruction",)

    shown: Tensor  # pictures of the training set, on sample sheets

    def __init__(self, config: WCT2DecoderConfig, encoder: WaveletEncoder, decoder: WaveletDecoder, image_px: int):
        super().__init__()
        self.config, self.encoder, self.decoder = config, encoder.requires_grad_(False), decoder
        self.register_buffer("shown", torch.zeros(_SHOWN, 3, image_px, image_px))

    @classmethod
    def build(cls, config: WCT2DecoderConfig, networks: Networks) -> "WCT2Decoder":
        if networks.channels["b"] != 3:
            raise ValueError("wct2_decoder sees colours; data.num_channels must be 3")
        encoder, decoder = new_networks(config.unpooling, config.base_channels)
        load_encoder(encoder, networks.weights("vgg", config.vgg, *_ADDRESSES))
        return cls(config, encoder, decoder, networks.image_px)

    def forward(self, image: Tensor) -> Tensor:
        """`(N, 3, H, W)` in [-1, 1] -> what the decoder restores of it; sides are multiples of 8."""
        return self.restore((image + 1.0) / 2.0) * 2.0 - 1.0

    def restore(self, image: Tensor) -> Tensor:
        """D(E(x)), of images in [0, 1]."""
        features, details = self.encoder(image)
        return self.decoder(features[-1], details)

    def inference_networks(self) -> dict[str, nn.Module]:
        return {"encoder": self.encoder, "decoder": self.decoder}

    @property
    def observes_batches(self) -> int:
        return _SHOWN

    def observe(self, batches: Iterable[Batch]) -> None:
        """Keeps the first pictures for sample sheets."""
        images = torch.cat([batch["real"] for batch in batches])[:_SHOWN]
        self.shown.copy_(images.repeat(-(-_SHOWN // len(images)), 1, 1, 1)[:_SHOWN])

    def translate(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The pictures in [0, 1], and what is restored of them."""
        real = (batch["real"] + 1.0) / 2.0
        return real, self.restore(real)

    def players(self) -> tuple[Player, ...]:
        return (Player("decoder", (self.decoder,), self.terms, learns_through_translate=True),)

    def terms(self, translated: tuple[Tensor, Tensor]) -> Terms:
        """L."""
        real, made = translated
        terms = {"pixels": (full_precision(made) - real).square().mean()}
        if self.config.lambda_gram:
            with torch.no_grad():
                targets = [gram(features) for features in self.encoder(real)[0]]
            grams = [gram(features) for features in self.encoder(made)[0]]
            pairs = zip(grams, targets, strict=True)
            relative = [((g - t).square().mean((1, 2)) / t.square().mean((1, 2))).mean() for g, t in pairs]
            terms["gram"] = self.config.lambda_gram * torch.stack(relative).sum()
        return terms

    def visuals(self, batch: Batch) -> dict[str, Tensor]:
        """Of the numbered sample, picture and restored picture."""
        image = self.shown[batch["row"] % _SHOWN]
        return {"input": image, "reconstruction": self(image)}
