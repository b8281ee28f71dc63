"""Colour transfer between two domains (Reinhard et al., IEEE CG&A 2001, eq. 10 and 11, here in RGB)."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

_LEAST_DEVIATION = 1e-3  # in [-1, 1]; a channel that is the same everywhere would be divided by 0


class ColourMatch(nn.Module):
    """Gives images of domain a the mean and the deviation, per channel, that all of domain b has together.

        a to b: x' = clip((x - mean_a) deviation_b / deviation_a + mean_b)

    It is not learnt and looks at no image's own statistics, so that equal pixels stay equal, in tiles as well. The
    paper takes the colour space l-alpha-beta, and an image's own statistics.

    Args:
        channels: Number of channels of both domains.
    """

    mean_a: Tensor  # (C,), in [-1, 1], as all here
    deviation_a: Tensor
    mean_b: Tensor
    deviation_b: Tensor

    def __init__(self, channels: int):
        super().__init__()
        for domain in "ab":
            self.register_buffer(f"mean_{domain}", torch.zeros(channels))
            self.register_buffer(f"deviation_{domain}", torch.ones(channels))

    def set_domain(self, domain: str, mean: Sequence[float], deviation: Sequence[float]) -> None:
        """Takes the statistics of a domain, `a` or `b`, one number per channel."""
        own = torch.tensor(deviation, dtype=torch.float64).clamp(min=_LEAST_DEVIATION)
        getattr(self, f"mean_{domain}").copy_(torch.tensor(mean, dtype=torch.float64))
        getattr(self, f"deviation_{domain}").copy_(own)

    def forward(self, image: Tensor) -> Tensor:
        """Images `(N, C, H, W)` in [-1, 1] of domain a, in the colours of domain b."""
        return _moved(image, self.mean_a, self.deviation_a, self.mean_b, self.deviation_b)

    def back(self, image: Tensor) -> Tensor:
        """The inverse of `forward`, but for what that clipped."""
        return _moved(image, self.mean_b, self.deviation_b, self.mean_a, self.deviation_a)

    def around(self, direction: str, translate: Callable[..., Any]) -> Callable[..., Any]:
        """`translate`, which sees domain a in the colours of domain b, as a function of images in their own colours.

        Args:
            direction: Domains that it leads from and to: `ab` or `ba`.
            translate: Function of images and others, which gives images, or several by name.
        """
        is_from_a, is_to_a = direction[0] == "a", direction[1] == "a"

        def translate_own(image: Tensor, **given: Any) -> Any:
            outputs = translate(self(image) if is_from_a else image, **given)
            if not is_to_a:
                return outputs
            return self.back(outputs) if isinstance(outputs, Tensor) else {k: self.back(v) for k, v in outputs.items()}

        return translate_own


def _moved(image: Tensor, mean: Tensor, deviation: Tensor, new_mean: Tensor, new_deviation: Tensor) -> Tensor:
    factor = new_deviation / deviation
    shift = new_mean - mean * factor
    return (image * factor.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)).clamp(-1.0, 1.0)
