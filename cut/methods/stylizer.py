"""The second kind of method: a picture from a photograph and a painting, each time anew; nothing is trained."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from cut.config import MethodConfig
from cut.config.section import RANDOM_WEIGHTS, PathText
from cut.methods.base import Networks
from cut.methods.translator import Translator


class StylizerConfig(MethodConfig):
    """What the configs of all stylizers have."""

    default_generator = None
    default_discriminator = None
    data_names = ("single",)

    vgg: PathText | None = None
    """File of VGG's weights; random: He-uniform ones, to try the program. null: from torch.hub's folder."""
    base_channels: int = Field(64, ge=1)
    """Channels of VGG's first block: 64, except with vgg: random."""

    @model_validator(mode="after")
    def _has_vggs_width(self) -> "StylizerConfig":
        if self.base_channels != 64 and not self.may_be_narrow:
            raise ValueError(f"base_channels: must be 64, as VGG's weights have it, got {self.base_channels}")
        return self

    @property
    def may_be_narrow(self) -> bool:
        """Whether the weights are no public ones, and so need not have VGG's width."""
        return self.vgg == RANDOM_WEIGHTS

    def check_data(self, data: Any) -> None:
        for domain, channels in data.channels.items():
            if channels != 3:
                raise ValueError(f"data.channels_{domain}: must be 3, because VGG sees colours; got {channels}")

    @property
    def remark(self) -> str | None:
        return "random VGG" if self.vgg == RANDOM_WEIGHTS else None


@dataclass(frozen=True)
class Progress:
    """Where the making of a picture is.

    Args:
        step: Number of evaluations of the objective done.
        total: Number that there will be, about.
        terms: Terms of the objective, weighted.
        picture: Returns the picture as it is now, `(1, 3, H, W)` in [0, 1].
    """

    step: int
    total: int
    terms: Mapping[str, float]
    picture: Callable[[], Tensor]


Report = Callable[[Progress], None]
Watch = Callable[[int, Mapping[str, Tensor], Tensor], None]


def watching(report: Report, before: int, total: int, restore: Callable[[Tensor], Tensor]) -> Watch:
    """What an optimisation calls after each evaluation, with its number, the terms and the picture.

    Args:
        report: Called with it.
        before: Evaluations that were done before.
        total: Evaluations that there will be, about.
        restore: Brings the picture to [0, 1].
    """

    def watch(number: int, terms: Mapping[str, Tensor], picture: Tensor) -> None:
        values = {name: term.item() for name, term in terms.items()}
        report(Progress(before + number, total, values, lambda: restore(picture.detach())))

    return watch


def no_report(progress: Progress) -> None:
    """Where nobody watches."""


class Stylizer(Translator):
    """Base of the methods that make each picture from a photograph and a painting.

    `stylize` is all that one has to write, besides `build`, and `needs_grad` where it optimises nothing.
    """

    Config: ClassVar[type[MethodConfig]] = StylizerConfig
    inputs: ClassVar[frozenset[str]] = frozenset({"image", "guide"})
    needs_grad: ClassVar[bool] = True

    size_setting: ClassVar[str] = "the method's settings"
    """What decides at which size pictures are made, for a note."""

    regions: tuple[Tensor, Tensor] | None = None
    """Labels of the pixels of photograph and painting, `(H, W)` and `(h, w)`, where the config names such pictures."""
    config: Any  # one of the class's own `Config`
    vgg: nn.Module

    @classmethod
    def build(cls, config: Any, networks: Networks) -> "Stylizer":
        """Makes the method with its networks, whose weights are frozen; `config` is one of the class's own `Config`."""
        raise NotImplementedError

    @property
    def remark(self) -> str | None:
        """See `cut.config.MethodConfig`; here the weights are known too."""
        return self.config.remark

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width at which the picture of a photograph of this size is made; the photograph's own."""
        return height, width

    def stylize(self, photo: Tensor, painting: Tensor, generator: torch.Generator, report: Report) -> Tensor:
        """Makes the picture, of the size at which the method works.

        Args:
            photo: `(1, 3, H, W)` in [0, 1], what is to be seen.
            painting: `(1, 3, h, w)` in [0, 1], how it is to look.
            generator: Random stream on the CPU; nothing is drawn elsewhere.
            report: Called once per evaluation of the objective.

        Returns:
            `(1, 3, H', W')` in [0, 1], of the `working_size`.
        """
        raise NotImplementedError

    def forward(
        self, image: Tensor, style: Tensor, generator: torch.Generator | None = None, report: Report = no_report
    ) -> Tensor:
        """`stylize` with images in [-1, 1], scaled back to the size of the photograph.

        Args:
            image: `(1, 3, H, W)`, the photograph.
            style: `(1, 3, h, w)`, the painting.
            generator: Random stream on the CPU; None takes that of seed 0.
            report: See `stylize`.
        """
        stream = generator or torch.Generator().manual_seed(0)
        photo, painting = (picture.detach().clone().add(1.0).div(2.0) for picture in (image, style))
        picture = self.stylize(photo, painting, stream, report).detach()
        if picture.shape[2:] != image.shape[2:]:
            picture = F.interpolate(picture, image.shape[2:], mode="bicubic", antialias=True).clamp(0.0, 1.0)
        return picture.mul(2.0).sub(1.0)

    def guide_style(self, image: Tensor, direction: str = "ab") -> Tensor:
        """The painting itself: what is read off it depends on the photograph's size."""
        return image

    def inference_networks(self) -> dict[str, nn.Module]:
        return {"vgg": self.vgg}


def shorter_side(height: int, width: int, size_px: int) -> tuple[int, int]:
    """Height and width scaled to a shorter side of `size_px`, cut to whole numbers."""
    factor = size_px / min(height, width)
    return max(size_px, int(height * factor)), max(size_px, int(width * factor))


def scaled(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """Scaled bilinearly, with an anti-aliasing filter: `(N, C, H, W)` -> `(N, C, *size)`."""
    if tuple(picture.shape[2:]) == tuple(size):
        return picture
    return F.interpolate(picture, size, mode="bilinear", antialias=True)
