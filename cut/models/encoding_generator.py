"""What PatchNCE asks of a generator: numbered layers whose feature maps can be read."""

from collections.abc import Sequence

from torch import Tensor, nn


class EncodingGenerator(nn.Module):
    """Base of the generators whose first half is an encoder."""

    in_channels: int  # of the input image
    out_channels: int  # of the output image

    def forward_with_features(self, image: Tensor, taps: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
        """The output and the feature maps `(N, C, H', W')` at the layers `taps`, from one pass."""
        raise NotImplementedError

    def encode(self, image: Tensor, taps: Sequence[int]) -> list[Tensor]:
        """The feature maps `(N, C, H', W')` at the layers `taps`; nothing behind the last of them is computed."""
        raise NotImplementedError

    def feature_channels(self, taps: Sequence[int]) -> list[int]:
        """The number of channels at each of `taps`.

        Raises:
            ValueError: A layer does not exist.
        """
        raise NotImplementedError


def as_encoding(generator: nn.Module) -> EncodingGenerator:
    """The generator itself.

    Raises:
        ValueError: Its layers cannot be read.
    """
    if not isinstance(generator, EncodingGenerator):
        raise ValueError("PatchNCE reads numbered layers of the generator, which a U-Net has not; use name: resnet")
    return generator


def with_channels(image: Tensor, channels: int) -> Tensor:
    """An image `(N, C, H, W)` with the channels of another domain: gray is repeated, colour averaged."""
    if image.shape[1] == channels:
        return image
    gray = image if image.shape[1] == 1 else image.mean(1, keepdim=True)
    return gray.expand(-1, channels, -1, -1)
