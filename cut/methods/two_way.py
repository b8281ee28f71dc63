"""What methods share that have one generator for each direction, of which a file may hold one alone."""

from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn

from cut.methods.base import Method


class TwoWayMethod(Method):
    """Base of methods with `generator_ab` and `generator_ba`."""

    output_columns: ClassVar[tuple[str, ...]] = ("a to b", "b to a")

    generator_ab: nn.Module
    generator_ba: nn.Module | None  # None where a file holds one direction alone

    def forward(self, image: Tensor) -> Tensor:
        return self.generator_ab(image)

    def directions(self) -> dict[str, Callable[..., Tensor]]:
        return {"ab": self.forward} | ({"ba": self.generator_ba} if self.generator_ba else {})

    def inference_networks(self) -> dict[str, nn.Module]:
        return {"generator_ab": self.generator_ab} | ({"generator_ba": self.generator_ba} if self.generator_ba else {})
