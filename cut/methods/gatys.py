"""Neural style transfer: pixels are optimised (Gatys, Ecker, Bethge, CVPR 2016), coarse to fine (CVPR 2017).

    L(x) = sum_l lambda_style / C_l^2 mean (G_l(x) - G_l(y))^2 + lambda_content mean (F_4_2(x) - F_4_2(p))^2

Symbols: x the picture, p the photograph, y the painting; F_l features of VGG-19 behind the ReLU of layer l, C_l their
channels, G_l = F_l F_l^T / places; l one of conv1_1, 2_1, 3_1, 4_1, 5_1. The means and weights are those of the
authors' notebook (leongatys/PytorchNeuralStyleTransfer, commit be6c8e2); the paper's terms are sums, and its weights
mean something else. As in the notebook x starts from p, and L-BFGS runs on, a step of up to 20 evaluations at a time,
until there have been as many as were asked for; then the result is enlarged and optimised again.

The weights are Caffe's (`vgg_conv.pth`). torchvision's network, of another training, is brought to the same scale,
because the style term grows with the fourth power of the features and the content term with the second.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from cut.losses.gram import content_loss, gram, style_loss
from cut.methods.base import Networks
from cut.methods.stylizer import Report, Stylizer, StylizerConfig, Watch, scaled, shorter_side, watching
from cut.models.vgg import CAFFE, VGG, Preparation, at_caffes_scale, he_uniform

_STYLE_LAYERS = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
_CONTENT_LAYER = "conv4_2"
_ADDRESSES = (
    "https://bethgelab.org/media/uploads/pytorch_models/vgg_conv.pth",
    "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
)
_MOST_PX = 8192

Stage = tuple[Annotated[int, Field(ge=16, le=_MOST_PX)], Annotated[int, Field(ge=1)]]


class GatysConfig(StylizerConfig):
    """Gatys et al.'s."""

    name: str = "gatys"
    """Method: neural style transfer of Gatys et al., which optimises the pixels."""
    stages: tuple[Stage, ...] = Field(((512, 500), (800, 200)), min_length=1)
    """Shorter side in pixels and least number of evaluations of each stage, one after the other."""
    lambda_style: float = Field(1000.0, ge=0)
    """Weight of each layer's style term, which is divided by the square of the layer's channels."""
    lambda_content: float = Field(1.0, ge=0)
    """Weight of the content term."""
    pooling: Literal["max", "average"] = "max"
    """Pooling of VGG: max as in the authors' notebook, average as in the paper."""
    start: Literal["photo", "noise"] = "photo"
    """What is optimised at first: the photograph, or noise as in the paper."""


@dataclass(frozen=True)
class Targets:
    """Gram matrices of the painting, per style layer, and the content layer's features of the photograph."""

    grams: list[Tensor]
    content: Tensor


class Gatys(Stylizer):
    Config = GatysConfig
    size_setting = "method.stages"

    vgg: VGG

    def __init__(self, config: GatysConfig, vgg: VGG, preparation: Preparation = CAFFE):
        super().__init__()
        self.config, self.vgg = config, vgg.requires_grad_(False)
        self.preparation = preparation

    @classmethod
    def build(cls, config: GatysConfig, networks: Networks) -> "Gatys":
        vgg = he_uniform(VGG(19, (*_STYLE_LAYERS, _CONTENT_LAYER), config.pooling, config.base_channels))
        tensors = networks.weights("vgg", config.vgg, *_ADDRESSES)
        if tensors is None:
            return cls(config, vgg)
        named, preparation = at_caffes_scale(tensors)
        vgg.load(named)
        return cls(config, vgg, preparation)

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        return shorter_side(height, width, self.config.stages[-1][0])

    def stylize(self, photo: Tensor, painting: Tensor, generator: torch.Generator, report: Report) -> Tensor:
        total = sum(evaluations for _, evaluations in self.config.stages)
        seen, done = None, 0
        for size_px, evaluations in self.config.stages:
            content, style = (self._seen(picture, size_px) for picture in (photo, painting))
            if seen is not None:
                start = self._seen(self.preparation.restore(seen), size_px)
            elif self.config.start == "noise":
                start = torch.randn(content.shape, generator=generator).to(content)
            else:
                start = content
            watch = watching(report, done, total, self.preparation.restore)
            seen = self.optimise(start, self.targets(content, style), evaluations, watch)
            done += evaluations
        assert seen is not None, "there is a stage"
        return self.preparation.restore(seen)

    def _seen(self, picture: Tensor, size_px: int) -> Tensor:
        """What VGG sees of a picture with a shorter side of `size_px`."""
        height, width = picture.shape[2:]
        return self.preparation.prepare(scaled(picture, shorter_side(height, width, size_px)))

    def targets(self, content: Tensor, style: Tensor) -> Targets:
        """What the features of the picture should be like; both pictures as VGG sees them."""
        with torch.no_grad():
            *layers, _ = self.vgg(style)
            return Targets([gram(layer) for layer in layers], self.vgg(content)[-1])

    def terms(self, seen: Tensor, targets: Targets) -> dict[str, Tensor]:
        """The terms of L, of a picture as VGG sees it."""
        *layers, content = self.vgg(seen)
        terms = {}
        for name, layer, target in zip(_STYLE_LAYERS, layers, targets.grams, strict=True):
            terms[f"style_{name[4:]}"] = self.config.lambda_style / layer.shape[1] ** 2 * style_loss(layer, target)
        return terms | {"content": self.config.lambda_content * content_loss(content, targets.content)}

    def optimise(self, start: Tensor, targets: Targets, evaluations: int, watch: Watch) -> Tensor:
        """L-BFGS from `start`, until L has been evaluated at least so often; pictures as VGG sees them."""
        seen = start.clone().requires_grad_()
        optimizer = torch.optim.LBFGS([seen])
        done = 0

        def closure() -> Tensor:
            nonlocal done
            optimizer.zero_grad()
            terms = self.terms(seen, targets)
            loss = torch.stack(list(terms.values())).sum()
            loss.backward()
            done += 1
            watch(done, terms, seen)
            return loss

        while done < evaluations:
            optimizer.step(closure)
        return seen.detach()
