"""WCT2: photorealistic style transfer by wavelets (Yoo, Uh, Chun, Kang, Ha, ICCV 2019, arXiv:1903.09760).

    t = alpha [ Cov_s^(1/2) Cov_c^(-1/2) (c - mu_c) + mu_s ] + (1 - alpha) c

Symbols: c features of the photograph, s of the painting, mu their means and Cov their covariances plus the identity.
Features move so behind each of the encoder's four levels (`encoder`), in the details LH, HL, HH that the wavelet pools
keep for the decoder (`skip`), and before the decoder's levels 3 to 1 (`decoder`; before 4 too where `encoder` is off,
because else they have moved just there). One pass, nothing is optimised.

With `regions` each region of the photograph takes the statistics of the painting's region of the same label.
As in the authors' code (clovaai/WCT2, commit 05d17c0) the result is clamped to the range of c, and with `cat5` the map
before each pool stays the photograph's. What differs: sides are scaled to multiples of 16, not cropped to them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from cut.config.section import RANDOM_WEIGHTS, PathText
from cut.losses.whitening import transfer
from cut.methods.base import Networks
from cut.methods.stylizer import Progress, Report, Stylizer, StylizerConfig, scaled, shorter_side
from cut.models.wct2 import (
    NUM_LEVELS,
    Details,
    WaveletDecoder,
    WaveletEncoder,
    load_convolutions,
    load_encoder,
    new_networks,
)

_ADDRESS = "https://github.com/clovaai/WCT2/raw/master/model_checkpoints/wave_{part}_{unpooling}_l4.pth"
_MULTIPLE_PX = 16

Place = Literal["encoder", "skip", "decoder"]


class WCT2Config(StylizerConfig):
    """WCT2's."""

    name: str = "wct2"
    """Method: WCT2, whitening and colouring between wavelet pools, in one pass."""
    vgg: PathText | None = None
    """File of the encoder (wave_encoder_*.pth, or VGG-19's); random: none. null: from torch.hub's folder."""
    decoder: PathText | None = None
    """File of the decoder, or a run of wct2_decoder, which brings its encoder too. null: as vgg."""
    unpooling: Literal["cat5", "sum"] = "cat5"
    """How the decoder joins what a pool has divided: concatenated with the map before it, or added."""
    transfer_at: tuple[Place, ...] = Field(("encoder", "skip", "decoder"), min_length=1)
    """Where features move: encoder, skip, decoder; encoder alone moves the low frequencies only."""
    alpha: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of the moved features; the rest is the photograph's."""
    regions: tuple[PathText, PathText] | None = None
    """Pictures that label regions of the photograph and of the painting by nine colours; null: one region."""
    image_px: int = Field(512, ge=16, le=8192)
    """Shorter side in pixels at which pictures are made."""

    @property
    def may_be_narrow(self) -> bool:
        return self.vgg == RANDOM_WEIGHTS or self.decoder is not None

    @property
    def remark(self) -> str | None:
        is_random = self.decoder == RANDOM_WEIGHTS or (self.vgg == RANDOM_WEIGHTS and self.decoder is None)
        return "random decoder" if is_random else None


@dataclass
class StyleFeatures:
    """What the painting's features are: behind the encoder's levels, in the pools, and before the decoder's levels."""

    encoder: list[Tensor]
    details: dict[int, Details]
    decoder: dict[int, Tensor] = field(default_factory=dict)


class WCT2(Stylizer):
    Config = WCT2Config
    needs_grad = False
    size_setting = "method.image_px"

    def __init__(
        self, config: WCT2Config, encoder: WaveletEncoder, decoder: WaveletDecoder, has_random_vgg: bool = False
    ):
        super().__init__()
        self.config, self.encoder, self.decoder = config, encoder, decoder
        self.requires_grad_(False)
        self.has_random_vgg = has_random_vgg

    @classmethod
    def build(cls, config: WCT2Config, networks: Networks) -> "WCT2":
        encoder, decoder = new_networks(config.unpooling, config.base_channels)
        random = encoder.state_dict()[
            "conv1_1.weight"
        ].clone()  # always the same, and so known again in the files of a run
        addresses = {part: _ADDRESS.format(part=part, unpooling=config.unpooling) for part in ("encoder", "decoder")}
        own = RANDOM_WEIGHTS if config.decoder is None and config.vgg == RANDOM_WEIGHTS else config.decoder
        weights = networks.weights("decoder", own, addresses["decoder"])
        if weights and any(key.startswith("decoder.") for key in weights):  # a run of ours
            if config.vgg is not None:
                raise ValueError(f"vgg: a run of wct2_decoder brings its own encoder; leave vgg out, got {config.vgg}")
            load_convolutions(encoder, _part(weights, "encoder"), "decoder's encoder")
            load_convolutions(decoder, _part(weights, "decoder"), "decoder")
            return cls(config, encoder, decoder, torch.equal(encoder.state_dict()["conv1_1.weight"], random))
        if weights:
            load_convolutions(decoder, weights, "decoder")
        load_encoder(encoder, networks.weights("vgg", config.vgg, addresses["encoder"]))
        return cls(config, encoder, decoder, torch.equal(encoder.state_dict()["conv1_1.weight"], random))

    def inference_networks(self) -> dict[str, nn.Module]:
        return {"encoder": self.encoder, "decoder": self.decoder}

    @property
    def remark(self) -> str | None:
        random = (["random VGG"] if self.has_random_vgg else []) + [self.config.remark or ""]
        return ", ".join(filter(None, random)) or None

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        sides = shorter_side(height, width, self.config.image_px)
        height, width = (max(1, round(side / _MULTIPLE_PX)) * _MULTIPLE_PX for side in sides)
        return height, width

    def stylize(self, photo: Tensor, painting: Tensor, generator: torch.Generator, report: Report) -> Tensor:
        photo, painting = (scaled(picture, self.working_size(*picture.shape[2:])) for picture in (photo, painting))
        made = self.transfer(photo, painting).clamp(0.0, 1.0)
        report(Progress(1, 1, {}, lambda: made))
        return made

    def transfer(self, photo: Tensor, painting: Tensor) -> Tensor:
        """The picture, not clipped; sides are multiples of 8."""
        style, places = self.style_features(painting), self.config.transfer_at
        details: dict[int, Details] = {}
        x = photo
        for level in range(1, NUM_LEVELS + 1):
            x = self.encoder.encode(x, level, details)
            if "encoder" in places:
                x = self._move(x, style.encoder[level - 1])
        if "skip" in places:
            details = {pool: self._move_details(own, style.details[pool]) for pool, own in details.items()}
        for level in range(NUM_LEVELS, 0, -1):
            if "decoder" in places and level in style.decoder:
                x = self._move(x, style.decoder[level])
            x = self.decoder.decode(x, level, details)
        return x

    def style_features(self, painting: Tensor) -> StyleFeatures:
        """Features of the painting wherever the photograph's are to move."""
        style = StyleFeatures(*self.encoder(painting))
        x = style.encoder[-1]
        if "encoder" not in self.config.transfer_at:
            style.decoder[NUM_LEVELS] = x
        for level in range(NUM_LEVELS, 1, -1):
            x = self.decoder.decode(x, level, style.details)
            style.decoder[level - 1] = x
        return style

    def _move_details(self, own: Details, style: Details) -> Details:
        parts = zip(own.parts, style.parts, strict=True)
        return Details(tuple(self._move(c, s) for c, s in parts), own.before)

    def _move(self, content: Tensor, style: Tensor) -> Tensor:
        return transfer(content, style, self.config.alpha, self.regions)


def _part(weights: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}."): value for key, value in weights.items() if key.startswith(f"{name}.")}
