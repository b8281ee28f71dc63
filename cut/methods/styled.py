"""What MUNIT and DRIT share: both domains' images are a content and a style, and the style may be drawn or read off."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from pydantic import Field
from torch import Tensor

from cut.config import Section
from cut.losses.adversarial import discriminator_loss
from cut.methods.base import Batch, Judgement, Method
from cut.models.multiscale_discriminator import MultiscaleDiscriminator
from cut.runtime.sharding import draw_rows

DIRECTIONS = (("b", "a"), ("a", "b"))  # source and target; the targets in the order in which numbers are drawn
_SHEET_STYLES = 3  # random ones on a sample sheet


class MultiscaleDiscriminatorConfig(Section):
    """A discriminator of several sizes of an image."""

    base_channels: int = Field(64, ge=1)
    """Channels of the first layer, twice as many in each further one."""
    num_layers: int = Field(4, ge=1, le=8)
    """Number of strided convolutions per scale."""
    num_scales: int = Field(3, ge=1, le=8)
    """Number of sizes that are judged, each half of the one before."""


class StyledMethod(Method):
    """A two-way method that translates by decoding an image's content with a style of the other domain.

    Args:
        style_dim: Numbers per style; styles are drawn from N(0, I).
    """

    inputs = frozenset({"image", "style", "guide"})
    source_columns = ("reconstruction",)
    output_columns = ("reconstruction", *(f"style {number + 1}" for number in range(_SHEET_STYLES)), "guided")

    sheet_seed: Tensor  # all sample sheets of a run show the styles of this seed

    def __init__(self, style_dim: int):
        super().__init__()
        self.style_dim = style_dim
        self.register_buffer("sheet_seed", torch.randint(2**31, (1,)))

    def encode_content(self, image: Tensor, domain: str) -> Tensor:
        """Content `(N, C, H', W')` of images `(N, C, H, W)` in [-1, 1] of one domain, without any randomness."""
        raise NotImplementedError

    def encode_style(self, image: Tensor, domain: str) -> Tensor:
        """Styles `(N, style_dim)` of images of one domain, without any randomness."""
        raise NotImplementedError

    def decode(self, content: Tensor, style: Tensor, domain: str) -> Tensor:
        """Images `(N, C, H, W)` in [-1, 1] of one domain."""
        raise NotImplementedError

    def forward(self, image: Tensor, style: Tensor | None = None) -> Tensor:
        """From domain a to domain b; without a style `(N, style_dim)` with the mean of all, zero."""
        return self.change_domain(image, style, source="a", target="b")

    def directions(self) -> dict[str, Callable[..., Tensor]]:
        return {"ab": self.forward, "ba": partial(self.change_domain, source="b", target="a")}

    def change_domain(self, image: Tensor, style: Tensor | None = None, *, source: str, target: str) -> Tensor:
        """Images of one domain translated to another."""
        if style is None:
            style = torch.zeros(image.shape[0], self.style_dim, device=image.device, dtype=image.dtype)
        return self.decode(self.encode_content(image, source), style, target)

    def latents(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randn((count, self.style_dim), generator=generator)

    def guide_style(self, image: Tensor, direction: str = "ab") -> Tensor:
        return self.encode_style(image, direction[-1])

    def visuals(self, batch: Batch) -> dict[str, Tensor]:
        image = batch["real_a"]
        own = self.decode(self.encode_content(image, "a"), self.encode_style(image, "a"), "a")
        images = {"input": image, "reconstruction": own}
        styles = self.latents(_SHEET_STYLES, torch.Generator().manual_seed(int(self.sheet_seed)))
        for number, style in enumerate(styles.to(image)):
            images[f"style {number + 1}"] = self(image, style.expand(len(image), -1))
        if "real_b" in batch:
            images |= {"guide": batch["real_b"], "guided": self(image, self.guide_style(batch["real_b"]))}
        return images


def check_size(image_px: int, smallest_px: Mapping[str, int]) -> None:
    """Refuses training images that are too small for a network.

    Args:
        image_px: Side of the images.
        smallest_px: By the field that lowers it, the side that a network needs.

    Raises:
        ValueError: The line names the field.
    """
    for field, needed in smallest_px.items():
        if image_px < needed:
            raise ValueError(f"{field}: needs images of at least {needed} px, but data.crop_px is {image_px}; lower it")


def multiscale_discriminator(
    channels: int, section: MultiscaleDiscriminatorConfig, negative_slope: float
) -> MultiscaleDiscriminator:
    """The discriminator of images of so many channels, with torch's own initialisation."""
    sizes = section.base_channels, section.num_layers, section.num_scales
    return MultiscaleDiscriminator(channels, *sizes, negative_slope)


def draw_normal(shape: Sequence[int], like: Tensor) -> Tensor:
    """Standard normal numbers `(N, *shape)` for N images `like`; drawn on the CPU, the same for every device."""
    return draw_rows(lambda rows: torch.randn(rows, *shape), len(like)).to(like)


def judge(scores: Sequence[Tensor], real: bool, kind: str) -> Tensor:
    """The adversarial loss of a discriminator's scores, summed over its scales."""
    return torch.stack([discriminator_loss(score, real, kind) for score in scores]).sum()


def judgement(real: Sequence[Tensor], fake: Sequence[Tensor], kind: str) -> Judgement:
    """Scores of all scales together."""
    together = [torch.cat([score.flatten() for score in scores]) for scores in (real, fake)]
    return Judgement(together[0], together[1], kind)
