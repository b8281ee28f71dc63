"""STROTSS: style transfer by relaxed optimal transport and self-similarity (Kolkin, Salavon, Shakhnarovich, CVPR 2019,
arXiv:1904.12785).

    L = [ w self(X, Z) + REMD(X, Y) + moment(X, Y) + palette(X, Y) / max(w, 1) ] / (w + 2)

Symbols: X features of the picture at places that are drawn anew in each iteration, Z those of the photograph at the
same places, Y those of the painting at places that are drawn once per scale. A place's features are its colour and what
nine layers of VGG-16 see there, 2179 numbers. w is 16 alpha at the first scale (64 px) and half as much at each further
one.

From the authors' code (nkolkin13/STROTSS, commit 9a1543a): the picture is a Laplacian pyramid, whose levels RMSprop
moves; the last scale starts from the scale before without the photograph's details, and learns half as fast; rows and
columns of the places are shuffled apart, so that a place is a random row with a random column; each scale hands on the
picture of its last evaluation, before the last update. What differs: black pixels, which make the authors' loss NaN,
are kept from dividing by 0.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from cut.losses.optimal_transport import (
    cosine_distances,
    moment_distance,
    moments,
    palette_distance,
    relaxed_emd,
    self_similarity_distance,
)
from cut.methods.base import Networks
from cut.methods.stylizer import Report, Stylizer, StylizerConfig, Watch, watching
from cut.models.vgg import TORCHVISION, VGG, by_layer_name, he_uniform

_LAYERS = ("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv3_3", "conv4_3", "conv5_3")
_ADDRESS = "https://download.pytorch.org/models/vgg16-397923af.pth"
_FIRST_PX = 64  # longer side at the first scale
_FIRST_WEIGHT = 16.0  # of the content there, times alpha
_LEVELS = 5  # of the pyramid, besides its rest
_MOST_PLACES = 128 * 128  # of the grid, about; a larger picture is read in strides
_PLACES = 1024  # of each iteration
_REDRAW_ITERATIONS = 10
_STYLE_DRAWS, _STYLE_PLACES = 5, 1000

Places = tuple[Tensor, Tensor]  # rows and columns, (n,) each


class STROTSSConfig(StylizerConfig):
    """STROTSS's."""

    name: str = "strotss"
    """Method: STROTSS, which moves the picture's features to the painting's."""
    alpha: float = Field(1.0, gt=0)
    """Weight of the content; the authors show 0.25 to 4."""
    scales: int = Field(4, ge=1, le=8)
    """Number of scales; the longer side is 64 px at the first, and twice as long at each further one: 512 px."""
    iterations: int = Field(250, ge=1)
    """Updates per scale."""
    lr: float = Field(2e-3, gt=0)
    """Learning rate of RMSprop; half of it at the last scale."""


@dataclass(frozen=True)
class Painting:
    """What the picture's features should be like at one scale: the painting's, `(m, 2179)`, and their moments."""

    features: Tensor
    moments: tuple[Tensor, Tensor]


class STROTSS(Stylizer):
    Config = STROTSSConfig
    size_setting = "method.scales"

    vgg: VGG

    def __init__(self, config: STROTSSConfig, vgg: VGG):
        super().__init__()
        self.config, self.vgg = config, vgg.requires_grad_(False)

    @classmethod
    def build(cls, config: STROTSSConfig, networks: Networks) -> "STROTSS":
        vgg = he_uniform(VGG(16, _LAYERS, base_channels=config.base_channels))
        if tensors := networks.weights("vgg", config.vgg, _ADDRESS):
            vgg.load(by_layer_name(tensors, 16)[0])
        return cls(config, vgg)

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        return longer_side(height, width, _FIRST_PX * 2 ** (self.config.scales - 1))

    def stylize(self, photo: Tensor, painting: Tensor, generator: torch.Generator, report: Report) -> Tensor:
        last, picture, draws = self.config.scales - 1, None, Draws(generator)
        for scale in range(self.config.scales):
            size_px, weight = _FIRST_PX * 2**scale, _FIRST_WEIGHT * self.config.alpha / 2**scale
            content, style = (_resize(image, _size(image, size_px)) for image in (photo, painting))
            details = content - _resize(_halved(content), content.shape[2:])
            if picture is None:
                start = style.mean(dim=(2, 3), keepdim=True) + details
            else:
                enlarged = _resize(picture, content.shape[2:])
                start = enlarged if scale == last else enlarged + details
            lr = self.config.lr / 2 if scale == last and scale else self.config.lr
            done, total = (scales * self.config.iterations for scales in (scale, self.config.scales))
            watch = watching(report, done, total, lambda image: image.clamp(0.0, 1.0))
            picture = self.optimise(start, content, self.read(style, draws), weight, lr, draws, watch)
        assert picture is not None, "there is a scale"
        return picture.clamp(0.0, 1.0)

    def read(self, style: Tensor, draws: "Draws") -> Painting:
        """Features of the painting at random places."""
        with torch.no_grad():
            maps = self.maps(style)
            height, width = style.shape[2:]
            drawn = [read_truncated(maps, *draws.style(height, width)) for _ in range(_STYLE_DRAWS)]
            features = torch.cat(drawn[::-1])  # the authors put the newest first
        return Painting(features, moments(features))

    def maps(self, picture: Tensor) -> list[Tensor]:
        """The picture itself and VGG's features of it, `(1, C, h, w)` each."""
        return [picture, *self.vgg(TORCHVISION.prepare(picture))]

    def optimise(
        self,
        start: Tensor,
        content: Tensor,
        painting: Painting,
        weight: float,
        lr: float,
        draws: "Draws",
        watch: Watch,
    ) -> Tensor:
        """One scale: the picture of the last evaluation.

        Args:
            start: `(1, 3, H, W)`, where the optimisation begins.
            content: The photograph, of the same size.
            painting: What to resemble.
            weight: Weight w of the content.
            lr: Learning rate.
            draws: Places of each iteration.
            watch: Called after each evaluation.
        """
        levels = [level.requires_grad_() for level in pyramid(start)]
        optimizer = torch.optim.RMSprop(levels, lr)
        with torch.no_grad():
            content_maps = self.maps(content)
        picture = start
        for iteration in range(self.config.iterations):
            optimizer.zero_grad()
            picture = from_pyramid(levels)
            places = draws.content(picture.shape[2], picture.shape[3], iteration)
            terms = self.terms(self.maps(picture), content_maps, painting, weight, places)
            torch.stack(list(terms.values())).sum().backward()
            optimizer.step()
            watch(iteration + 1, terms, picture)
        return picture.detach()

    def terms(
        self, maps: Sequence[Tensor], content_maps: Sequence[Tensor], painting: Painting, weight: float, places: Places
    ) -> dict[str, Tensor]:
        """The terms of L, weighted, of the maps of the picture and of the photograph."""
        x, z = (read_bilinear(m, *places) for m in (maps, content_maps))
        y = painting.features
        terms = {
            "self": weight * self_similarity_distance(x, z),
            "remd": relaxed_emd(cosine_distances(x, y)),
            "moment": moment_distance(moments(x), painting.moments),
            "palette": palette_distance(x[:, :3], y[:, :3]) / max(weight, 1.0),
        }
        return {name: term / (weight + 2.0) for name, term in terms.items()}


class Draws:
    """The random places of a run.

    Args:
        generator: Random stream on the CPU.
    """

    def __init__(self, generator: torch.Generator):
        self.generator = generator
        self._grid: Places = (torch.empty(0), torch.empty(0))

    def style(self, height: int, width: int) -> Places:
        """Up to 1000 pixels, none twice."""
        chosen = torch.randperm(height * width, generator=self.generator)[:_STYLE_PLACES]
        return chosen // width, chosen % width

    def content(self, height: int, width: int, iteration: int) -> Places:
        """Places of an iteration; the grid that they are of is laid again every ten iterations."""
        if iteration % _REDRAW_ITERATIONS == 0:
            self._grid = self._lay_grid(height, width)
        rows, columns = (c[torch.randperm(len(c), generator=self.generator)[:_PLACES]] for c in self._grid)
        return rows, columns

    def _lay_grid(self, height: int, width: int) -> Places:
        """All pixels, or of larger pictures those of a grid with a random offset."""
        stride = math.sqrt(height * width // _MOST_PLACES)
        strides = max(math.floor(stride), 1), max(math.ceil(stride), 1)
        offsets = [int(torch.randint(step, (), generator=self.generator)) for step in strides]
        sides = [torch.arange(o, s, step) for o, s, step in zip(offsets, (height, width), strides, strict=True)]
        rows, columns = torch.meshgrid(*sides, indexing="ij")
        return rows.flatten(), columns.flatten()


def read_bilinear(maps: Sequence[Tensor], rows: Tensor, columns: Tensor) -> Tensor:
    """Features at places of the first map, interpolated in smaller ones: `(n, sum of C)`."""
    found = []
    for features, r, c in _places_in(maps, rows.cpu().double(), columns.cpu().double()):
        height, width = features.shape[1:]
        top, left = r.floor().long(), c.floor().long()
        down, right = (r - top).to(features), (c - left).to(features)
        neighbours = (
            (top, left, (1 - down) * (1 - right)),
            (top, left + 1, (1 - down) * right),
            (top + 1, left, down * (1 - right)),
            (top + 1, left + 1, down * right),
        )
        found.append(
            torch.stack(
                [
                    features[:, i.clamp(0, height - 1), j.clamp(0, width - 1)] * share.to(features)
                    for i, j, share in neighbours
                ]
            ).sum(0)
        )
    return torch.cat(found).T


def read_truncated(maps: Sequence[Tensor], rows: Tensor, columns: Tensor) -> Tensor:
    """Features at places of the first map, of the pixel above and left in smaller ones: `(n, sum of C)`."""
    found = []
    r, c = rows, columns
    for place, features in enumerate(maps):
        height, width = features.shape[2:]
        if place and height < maps[place - 1].shape[2]:
            r, c = (r // 2).clamp(0, height - 1), (c // 2).clamp(0, width - 1)
        found.append(features[0, :, r, c])
    return torch.cat(found).T


def _places_in(maps: Sequence[Tensor], rows: Tensor, columns: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Each map `(C, h, w)` with the places in it: half as far wherever a map is smaller than the one before."""
    height = maps[0].shape[2]
    for features in maps:
        if features.shape[2] < height:
            rows, columns, height = rows / 2, columns / 2, features.shape[2]
        yield features[0], rows, columns


def pyramid(image: Tensor) -> list[Tensor]:
    """Laplacian pyramid: what each halving takes away, finest first, and what is left."""
    levels = []
    for _ in range(_LEVELS):
        smaller = _halved(image, align_corners=True)
        levels.append(image - _resize(smaller, image.shape[2:], align_corners=True))
        image = smaller
    return [*levels, image]


def from_pyramid(levels: Sequence[Tensor]) -> Tensor:
    """The inverse of `pyramid`."""
    image = levels[-1]
    for level in levels[-2::-1]:
        image = level + _resize(image, level.shape[2:], align_corners=True)
    return image


def longer_side(height: int, width: int, size_px: int) -> tuple[int, int]:
    """Height and width with a longer side of `size_px`, cut to whole numbers."""
    factor = size_px / max(height, width)
    return max(1, int(height * factor)), max(1, int(width * factor))


def _size(image: Tensor, size_px: int) -> tuple[int, int]:
    return longer_side(image.shape[2], image.shape[3], size_px)


def _halved(image: Tensor, align_corners: bool = False) -> Tensor:
    height, width = (max(side // 2, 1) for side in image.shape[2:])
    return _resize(image, (height, width), align_corners)


def _resize(image: Tensor, size: Sequence[int], align_corners: bool = False) -> Tensor:
    """Bilinearly and, as in the authors' code, without an anti-aliasing filter."""
    return F.interpolate(image, tuple(size), mode="bilinear", align_corners=align_corners)
