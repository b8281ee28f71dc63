"""What translates: all that the commands after a training know of a method."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from cut.config import MethodConfig
from cut.models.colour_match import ColourMatch


class Translator(nn.Module):
    """What translates: all that cut-test, tiles, averages, sample sheets and scores know of a method.

    Domains are called `a`, the source, and `b`, the target. Nothing here knows devices, files or steps.
    """

    Config: ClassVar[type[MethodConfig]] = MethodConfig
    generator: nn.Module  # where there is one of this name, the methods below need not be written

    inputs: ClassVar[frozenset[str]] = frozenset({"image"})
    """What `forward` takes: `image` or, where there is none, `latent`; besides it `style`, `guide` (a picture of the
    other domain, whose style `guide_style` reads) and `label` (a class)."""
    label_names: Sequence[str] = ()
    """Names of the classes, in the order of their numbers, where `inputs` has `label`."""
    needs_grad: ClassVar[bool] = False
    """Whether `forward` optimises, and so must run with gradients enabled."""
    source_columns: ClassVar[tuple[str, ...]] = ()
    """Keys of `visuals` whose images are translations to domain a."""

    @property
    def colours(self) -> ColourMatch | None:
        """What gives domain a the colours of domain b before the method sees it, where a run does so."""
        return cast(ColourMatch | None, self._modules.get("colour_match"))

    def match_colours(self, channels: int) -> None:
        """From now on the method sees domain a, of so many channels, in the colours of domain b."""
        self.colour_match = ColourMatch(channels)

    def forward(self, *image: Any, **given: Any) -> Any:
        """Translates from domain a to domain b.

        Args:
            image: Images `(N, C, H, W)` in [-1, 1] of domain a; latents where `inputs` names those instead.
            **given: Further `inputs` by name, such as `style` `(N, ...)`. Without a style the mean one is used, so that
                `forward(image)` alone is deterministic wherever the method is.

        Returns:
            Images `(N, C, H, W)` in [-1, 1] of domain b, or several such by name, of which the first is scored.
        """
        return self.generator(*image)

    def directions(self) -> dict[str, Callable[..., Any]]:
        """Functions like `forward` by the domains that they lead from and to: `ab` always, `ba` in two-way methods."""
        return {"ab": self.forward}

    def translations(self) -> dict[str, Callable[..., Any]]:
        """`directions` of images in the colours that they have on disk."""
        found, colours = self.directions(), self.colours
        return found if colours is None else {name: colours.around(name, function) for name, function in found.items()}

    def latents(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws what `forward` takes as latent, or as style, on the CPU.

        Args:
            count: Number of latents.
            generator: Random stream. Callers give each image a stream of its own, so that latent i of a seed depends
                on nothing else.

        Returns:
            Latents `(count, ...)`.
        """
        raise NotImplementedError

    def guide_style(self, image: Tensor, direction: str = "ab") -> Tensor:
        """Styles `(N, ...)` of images `(N, C, H, W)` of the domain that `direction` leads to."""
        raise NotImplementedError

    def inference_networks(self) -> dict[str, nn.Module]:
        """Modules that inference needs, by attribute name; they alone go into the inference file.

        A file may lack some of them, such as one direction of two: that attribute is then None, and must not be listed.
        """
        return {"generator": self.generator}

    def inference_modules(self) -> dict[str, nn.Module]:
        """`inference_networks`, and the colours where they are matched: what an inference file holds."""
        return self.inference_networks() | ({"colour_match": self.colours} if self.colours is not None else {})

    def prepare_inference(self, deterministic: bool = False) -> "Translator":
        """Sets the networks to what the method's paper does at test time.

        Args:
            deterministic: Whether to switch off all randomness, whatever the paper does.
        """
        return self.eval()

    @property
    def most_passes(self) -> int:
        """Largest number of passes through the generator; where it is above 1, `forward` takes `num_passes`."""
        return 1

    @property
    def num_passes(self) -> int:
        """Number of passes where none is asked for."""
        return 1

    def leave_noise_out(self) -> bool:
        """Switches off what `forward` draws besides dropout, because no two programs draw alike; whether it drew."""
        return False

    @property
    def goes_one_by_one(self) -> bool:
        """Whether, set for inference, images must go through one at a time: an image's translation would depend on the
        others of its batch, or it draws from the global random streams, which are seeded for each picture."""
        return False


def keep_networks(translator: Translator, names: Collection[str]) -> None:
    """Drops the inference networks that are not in `names`, because a file holds only one direction of two.

    Raises:
        ValueError: The method cannot translate without them.
    """
    for name in translator.inference_networks().keys() - names:
        setattr(translator, name, None)
        if name in translator.inference_networks():
            raise ValueError(f"weights of {name} are missing")


def first_output(outputs: Tensor | Mapping[str, Tensor]) -> Tensor:
    """The output that is scored, of a translation that may have several."""
    return outputs if isinstance(outputs, Tensor) else next(iter(outputs.values()))
