"""BigGAN's generator and discriminator (Brock, Donahue, Simonyan, ICLR 2019, arXiv:1809.11096), and what DeepI2I makes
of them (Wang, Yu, van de Weijer, NeurIPS 2020, arXiv:2011.05867): an encoder, and an adaptor from it to the generator.

Sizes of the authors' code (ajbrock/BigGAN-PyTorch, commit 9845943) at 128 px. Its table of 32 px stays at 8 px, from
where DeepI2I could not start, so 32 and 64 px go down to 4 px here as 128 px does.
"""

from collections.abc import Mapping, Sequence
from typing import TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cut.kernels.synchronised import BatchNorm2d
from cut.models.spectral_norm import SpectralConv2d, SpectralEmbedding, SpectralLinear

Network = TypeVar("Network", bound=nn.Module)
START_PX = 4  # side of the smallest map
# Channels in units of base_channels: of the generator's first map and behind each doubling; of the discriminator behind
# each block, of which the last one halves nothing.
GENERATOR_WIDTHS = {32: (4, 4, 2, 1), 64: (8, 8, 4, 2, 1), 128: (16, 16, 8, 4, 2, 1)}
DISCRIMINATOR_WIDTHS = {32: (1, 2, 4, 4), 64: (1, 2, 4, 8, 8), 128: (1, 2, 4, 8, 16, 16)}


class SelfAttention(nn.Module):
    """Every place looks at all others, in maps of half the size (Zhang et al., ICML 2019, as BigGAN has it).

    Args:
        channels: Channels of the map.
    """

    def __init__(self, channels: int):
        super().__init__()
        narrow = max(1, channels // 8)
        self.theta = SpectralConv2d(channels, narrow, 1, bias=False)
        self.phi = SpectralConv2d(channels, narrow, 1, bias=False)
        self.g = SpectralConv2d(channels, channels // 2, 1, bias=False)
        self.o = SpectralConv2d(channels // 2, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.tensor(0.0))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` -> the same shape."""
        query = self.theta(x).flatten(2)  # (N, C / 8, HW)
        key = F.max_pool2d(self.phi(x), 2).flatten(2)  # (N, C / 8, HW / 4)
        value = F.max_pool2d(self.g(x), 2).flatten(2)  # (N, C / 2, HW / 4)
        weight = torch.softmax(query.transpose(1, 2) @ key, dim=-1)  # (N, HW, HW / 4)
        seen = (value @ weight.transpose(1, 2)).unflatten(2, x.shape[2:])
        return x + self.gamma * self.o(seen)


class ConditionalBatchNorm(nn.Module):
    """Batch norm whose scale and bias follow from a condition, such as the embedding of a class.

    Args:
        channels: Channels of the map.
        condition_dim: Numbers per condition.
    """

    def __init__(self, channels: int, condition_dim: int):
        super().__init__()
        self.norm = BatchNorm2d(channels, affine=False)
        self.gain = SpectralLinear(condition_dim, channels, bias=False)
        self.bias = SpectralLinear(condition_dim, channels, bias=False)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """`(N, C, H, W)` and `(N, condition_dim)` -> `(N, C, H, W)`."""
        gain, bias = (part(condition)[:, :, None, None] for part in (self.gain, self.bias))
        return self.norm(x) * (1.0 + gain) + bias


class GeneratorBlock(nn.Module):
    """A residual block that doubles the size, its norms conditional."""

    def __init__(self, in_channels: int, out_channels: int, condition_dim: int):
        super().__init__()
        self.bn1 = ConditionalBatchNorm(in_channels, condition_dim)
        self.conv1 = SpectralConv2d(in_channels, out_channels, 3, padding=1)
        self.bn2 = ConditionalBatchNorm(out_channels, condition_dim)
        self.conv2 = SpectralConv2d(out_channels, out_channels, 3, padding=1)
        self.conv_sc = SpectralConv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """`(N, C, H, W)` -> `(N, C', 2H, 2W)`."""
        h = _doubled(F.relu(self.bn1(x, condition)))
        h = F.relu(self.bn2(self.conv1(h), condition))
        return self.conv2(h) + self.conv_sc(_doubled(x))


class DiscriminatorBlock(nn.Module):
    """A residual block that may halve the size.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        is_first: Whether it reads an image: it begins without a ReLU, and halves its shortcut before the convolution.
        halves: Whether it halves the size.
    """

    def __init__(self, in_channels: int, out_channels: int, is_first: bool = False, halves: bool = False):
        super().__init__()
        self.is_first, self.halves = is_first, halves
        self.conv1 = SpectralConv2d(in_channels, out_channels, 3, padding=1)
        self.conv2 = SpectralConv2d(out_channels, out_channels, 3, padding=1)
        self.conv_sc = SpectralConv2d(in_channels, out_channels, 1) if halves or in_channels != out_channels else None

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` -> `(N, C', H, W)`, or half the size."""
        h = self._pooled(self.conv2(F.relu(self.conv1(x if self.is_first else F.relu(x)))))
        if self.conv_sc is None:
            return h + x
        return h + (self.conv_sc(self._pooled(x)) if self.is_first else self._pooled(self.conv_sc(x)))

    def _pooled(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2) if self.halves else x


class BigGANGenerator(nn.Module):
    """A latent and a class -> an image. Every level sees the class and a part of the latent of its own.

    Args:
        out_channels: Channels of the image.
        num_classes: Number of classes.
        widths: Channels of the first map, and behind each doubling.
        latent_part: Numbers of the latent that a level sees (20 at 128 px).
        shared_dim: Numbers of a class's embedding, which all levels share.
        attention_px: Side of the map that gets self-attention; None has none.
    """

    def __init__(
        self,
        out_channels: int,
        num_classes: int,
        widths: Sequence[int],
        latent_part: int = 20,
        shared_dim: int = 128,
        attention_px: int | None = None,
    ):
        super().__init__()
        self.image_px, self.latent_part = START_PX * 2 ** (len(widths) - 1), latent_part
        self.latent_size = latent_part * len(widths)
        self.widths = {START_PX * 2**level: width for level, width in enumerate(widths)}  # by the map's side
        self.shared = nn.Embedding(num_classes, shared_dim)
        self.linear = SpectralLinear(latent_part, widths[0] * START_PX**2)
        blocks = []
        for (_, before), (px, width) in zip(self.widths.items(), list(self.widths.items())[1:], strict=False):
            block = GeneratorBlock(before, width, shared_dim + latent_part)
            blocks.append(nn.Sequential(block, *_attention(px, width, attention_px)))
        self.blocks = nn.ModuleList(blocks)
        last = SpectralConv2d(widths[-1], out_channels, 3, padding=1)
        self.output_layer = nn.Sequential(BatchNorm2d(widths[-1]), nn.ReLU(), last)

    def forward(self, latent: Tensor, label: Tensor, features: Mapping[int, Tensor] | None = None) -> Tensor:
        """Images in [-1, 1].

        Args:
            latent: `(N, latent_size)`.
            label: Classes `(N,)`.
            features: What is added to maps `(N, width, px, px)`, by their side (DeepI2I).

        Returns:
            `(N, out_channels, image_px, image_px)`.
        """
        features = features or {}
        embedded = self.shared(label)
        first, *parts = latent.split(self.latent_part, dim=1)
        x = self.linear(first).view(len(latent), -1, START_PX, START_PX)
        x = x + features[START_PX] if START_PX in features else x
        for layers, part in zip(self.blocks, parts, strict=True):
            block, *attention = cast(nn.Sequential, layers)
            x = nn.Sequential(*attention)(block(x, torch.cat([embedded, part], dim=1)))
            px = x.shape[3]
            x = x + features[px] if px in features else x
        return torch.tanh(self.output_layer(x))


class BigGANEncoder(nn.Module):
    """The discriminator's blocks: an image -> maps of several sizes, which are DeepI2I's features.

    Args:
        in_channels: Channels of the image.
        widths: Channels behind each block.
        num_halvings: Number of blocks, from the first, that halve the size; None: all but the last.
        attention_px: Side of the map that gets self-attention; None has none.
    """

    def __init__(
        self,
        in_channels: int,
        widths: Sequence[int],
        num_halvings: int | None = None,
        attention_px: int | None = None,
    ):
        super().__init__()
        num_halvings = len(widths) - 1 if num_halvings is None else num_halvings
        px = image_px = START_PX * 2**num_halvings
        self.widths: dict[int, int] = {}  # by the map's side, of those that `features` returns
        blocks = []
        for level, (before, width) in enumerate(zip((in_channels, *widths), widths, strict=False)):
            halves = level < num_halvings
            px = px // 2 if halves else px
            if px <= image_px // 4:
                self.widths[px] = width
            block = DiscriminatorBlock(before, width, level == 0, halves)
            blocks.append(nn.Sequential(block, *_attention(px, width, attention_px)))
        self.blocks = nn.ModuleList(blocks)

    def features(self, image: Tensor) -> dict[int, Tensor]:
        """Maps of a quarter of the image's side and below, by their side; of several of one size the last.

        That of the last block is the only one behind a ReLU: the authors' ReLU before the score works in place.
        """
        x, found = image, {}
        for block in self.blocks:
            x = block(x)
            found[x.shape[3]] = x
        found[x.shape[3]] = F.relu(x)
        return {px: found[px] for px in found if px <= image.shape[3] // 4}

    def forward(self, image: Tensor) -> dict[int, Tensor]:
        """`features`."""
        return self.features(image)


class BigGANDiscriminator(BigGANEncoder):
    """A projection discriminator (Miyato & Koyama, ICLR 2018, equation 3): w v + b + <embedding of the class, v>.

    Args:
        in_channels: Channels of the image.
        num_classes: Number of classes.
        widths: Channels behind each block.
        num_halvings: Number of blocks, from the first, that halve the size; None: all but the last.
        attention_px: Side of the map that gets self-attention; None has none.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        widths: Sequence[int],
        num_halvings: int | None = None,
        attention_px: int | None = None,
    ):
        super().__init__(in_channels, widths, num_halvings, attention_px)
        self.linear = SpectralLinear(widths[-1], 1)
        self.embed = SpectralEmbedding(num_classes, widths[-1])

    def forward(self, image: Tensor, label: Tensor) -> Tensor:  # type: ignore[override]
        """Raw scores `(N, 1)` of images of these classes `(N,)`."""
        return self.judge(image, label)[0]

    def judge(self, image: Tensor, label: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """Raw scores `(N, 1)`, and `features`."""
        features = self.features(image)
        summed = features[min(features)].sum((2, 3))  # (N, C)
        return self.linear(summed) + (self.embed(label) * summed).sum(1, keepdim=True), features


class Adaptor(nn.Module):
    """DeepI2I's: at each size one block, from the encoder's channels to the generator's.

    Args:
        encoder_widths: Channels of the encoder's maps by their side.
        generator_widths: Channels of the generator's maps by their side.

    Raises:
        ValueError: The generator has no map of that size.
    """

    def __init__(self, encoder_widths: Mapping[int, int], generator_widths: Mapping[int, int]):
        super().__init__()
        if missing := [px for px in encoder_widths if px not in generator_widths]:
            raise ValueError(f"the generator has no map of {missing[0]} px, which the encoder gives")
        self.sizes_px = sorted(encoder_widths, reverse=True)
        self.blocks = nn.ModuleList(
            nn.Sequential(DiscriminatorBlock(encoder_widths[px], generator_widths[px])) for px in self.sizes_px
        )

    def forward(self, features: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """Maps `(N, C, px, px)` by their side -> the same with the generator's channels."""
        return {px: block(features[px]) for px, block in zip(self.sizes_px, self.blocks, strict=True)}


def draw_orthogonal(network: Network) -> Network:
    """Draws all weights orthogonal (Saxe et al., ICLR 2014), embeddings included; biases stay as they are."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.Embedding):
            nn.init.orthogonal_(module.weight)
    return network


def _attention(px: int, channels: int, attention_px: int | None) -> list[nn.Module]:
    return [SelfAttention(channels)] if px == attention_px else []


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2)  # nearest
