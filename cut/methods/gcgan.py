"""GcGAN: unpaired translation with geometry consistency (Fu et al., CVPR 2019, arXiv:1809.05852).

A fixed change f of an image's geometry, a quarter turn or a flip, must commute with the translation. One direction is
learnt, without a cycle.

    L(G)     = lambda_gan [(D(G(x)) - 1)^2 + (D~(G~(f(x))) - 1)^2]
             + lambda_gc |G(x) - f^-1(G~(f(x)))|_1
             + lambda_identity [|G(y) - y|_1 + |G~(f(y)) - f(y)|_1]
    L(D, D~) = 1/2 [(D(y) - 1)^2 + D(G(x))^2 + (D~(f(y)) - 1)^2 + D~(G~(f(x)))^2]

Symbols: x an image of the source domain (real_a), y of the target domain (real_b); f the change of geometry; G
generator, G~ the generator of changed images, G itself where `generators` is shared (the authors' default), else
generator_gc, which only training uses; D discriminator_b, D~ discriminator_gc_b, which judges changed images; G(x)
fake_b, G~(f(x)) fake_gc_b, G(y) idt_b, G~(f(y)) idt_gc_b. |.|_1 is the mean absolute difference.

As in the authors' code (hufu6371/GcGAN, commit 74ccc2fd) G is updated first, and the discriminators see translations
from before that update, each through a pool of 50 earlier ones. Their log's gc is twice ours: they write the distance
once in either frame, |G(x) - f^-1(G~(f(x)))| + |G~(f(x)) - f(G(x))|, and let each half change one of the translations
only. f moves pixels, so that both halves are equal, and their gradient is that of the one term here, with both
translations free; the sum of both as they stand would have twice that gradient. What differs: a generator's passes are
one pass over all images (the same numbers, unless it has batch norm or dropout), and initial biases are 0.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from cut.config import MethodConfig
from cut.losses.adversarial import discriminator_loss, generator_loss
from cut.methods.base import Batch, Judgement, Method, Networks, Player, Terms, judge_both
from cut.models.image_pool import ImagePool


def rotate(image: Tensor) -> Tensor:
    """A quarter turn clockwise: `(N, C, H, W)` -> `(N, C, W, H)`."""
    return image.rot90(-1, (2, 3))


def rotate_back(image: Tensor) -> Tensor:
    """A quarter turn counterclockwise: `(N, C, H, W)` -> `(N, C, W, H)`."""
    return image.rot90(1, (2, 3))


def flip_vertically(image: Tensor) -> Tensor:
    """Upside down: `(N, C, H, W)` with its rows in reverse order."""
    return image.flip(2)


# Each change of geometry, and its inverse.
GEOMETRIES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "rotation": (rotate, rotate_back),
    "vertical_flip": (flip_vertically, flip_vertically),
}


class GcGANConfig(MethodConfig):
    """GcGAN's."""

    default_generator: ClassVar[dict[str, Any]] = {"name": "resnet", "antialias_down": False, "antialias_up": False}
    default_discriminator: ClassVar[dict[str, Any]] = {"name": "patch", "antialias": False}

    name: str = "gcgan"
    """Method: GcGAN."""
    geometry: Literal["rotation", "vertical_flip"] = "rotation"
    """Change f of the geometry: a quarter turn clockwise, or upside down."""
    generators: Literal["shared", "separate"] = "shared"
    """One generator for x and f(x), or one for each, of which only the first translates after training."""
    gan_loss: Literal["lsgan", "vanilla", "nonsaturating", "hinge", "hinge_clamped"] = "lsgan"
    """Kind of the adversarial loss."""
    lambda_gan: float = Field(1.0, ge=0)
    """Weight of each of the two adversarial losses."""
    lambda_gc: float = Field(20.0, ge=0)
    """Weight of |G(x) - f^-1(G~(f(x)))|_1, the geometry consistency."""
    lambda_identity: float = Field(5.0, ge=0)
    """Weight of the identity terms |G(y) - y|_1 and |G~(f(y)) - f(y)|_1; 0: none."""
    pool_size: int = Field(50, ge=0)
    """Number of earlier translations kept for each discriminator; 0: none."""

    def check_data(self, data: Any) -> None:
        preprocess = getattr(data, "preprocess", "crop")
        if self.geometry == "rotation" and "crop" not in preprocess:
            raise ValueError(
                f"data.preprocess: {preprocess} leaves pictures that are not square, which method.geometry=rotation "
                "needs; make crops, e.g. resize_and_crop, or take method.geometry=vertical_flip"
            )


@dataclass
class Translated:
    """What both players read; `gc` marks what has gone through the change of geometry."""

    real_b: Tensor
    real_gc_b: Tensor
    fake_b: Tensor
    fake_gc_b: Tensor
    idt_b: Tensor | None
    idt_gc_b: Tensor | None


class GcGAN(Method):
    Config = GcGANConfig
    output_columns = ("translation", "changed back")

    def __init__(
        self,
        config: GcGANConfig,
        generator: nn.Module,
        generator_gc: nn.Module | None,
        discriminator_b: nn.Module,
        discriminator_gc_b: nn.Module,
    ):
        super().__init__()
        self.config = config
        self.generator, self.generator_gc = generator, generator_gc
        self.discriminator_b, self.discriminator_gc_b = discriminator_b, discriminator_gc_b
        self.pool_b, self.pool_gc_b = ImagePool(config.pool_size), ImagePool(config.pool_size)
        self.change, self.change_back = GEOMETRIES[config.geometry]
        if config.lambda_identity and generator.in_channels != generator.out_channels:
            raise ValueError("lambda_identity must be 0 where the domains differ in channels: G(y) does not exist")

    @classmethod
    def build(cls, config: GcGANConfig, networks: Networks) -> "GcGAN":
        generator = networks.generator()
        generator_gc = networks.generator() if config.generators == "separate" else None
        return cls(config, generator, generator_gc, networks.discriminator(), networks.discriminator())

    def translate(self, batch: Batch) -> Translated:
        real_a, real_b = batch["real_a"], batch["real_b"]
        images = [real_a, real_b] if self.config.lambda_identity else [real_a]
        changed = [self.change(image) for image in images]
        if self.generator_gc is None:
            found = _run(self.generator, [*images, *changed])
        else:
            found = [*_run(self.generator, images), *_run(self.generator_gc, changed)]
        fakes, idt = found[:: len(images)], found[1::2] if self.config.lambda_identity else [None, None]
        return Translated(real_b, self.change(real_b), *fakes, *idt)

    def players(self) -> tuple[Player, ...]:
        generators = (self.generator,) if self.generator_gc is None else (self.generator, self.generator_gc)
        discriminators = (self.discriminator_b, self.discriminator_gc_b)
        return (
            Player("generator", generators, self.generator_terms, learns_through_translate=True),
            Player("discriminator", discriminators, self.discriminator_terms),
        )

    def generator_terms(self, t: Translated) -> Terms:
        """L(G)."""
        config = self.config
        terms = {
            "gan": config.lambda_gan * generator_loss(self.discriminator_b(t.fake_b), config.gan_loss),
            "gan_gc": config.lambda_gan * generator_loss(self.discriminator_gc_b(t.fake_gc_b), config.gan_loss),
            "gc": config.lambda_gc * F.l1_loss(self.change_back(t.fake_gc_b), t.fake_b),
        }
        if t.idt_b is not None and t.idt_gc_b is not None:
            terms["idt"] = config.lambda_identity * F.l1_loss(t.idt_b, t.real_b)
            terms["idt_gc"] = config.lambda_identity * F.l1_loss(t.idt_gc_b, t.real_gc_b)
        return terms

    def discriminator_terms(self, t: Translated) -> Terms:
        """L(D, D~)."""
        return self._judge("gan", self.discriminator_b, t.real_b, self.pool_b(t.fake_b)) | self._judge(
            "gan_gc", self.discriminator_gc_b, t.real_gc_b, self.pool_gc_b(t.fake_gc_b)
        )

    def judgements(self, t: Translated) -> dict[str, Judgement]:
        kind, plain, changed = self.config.gan_loss, self.discriminator_b, self.discriminator_gc_b
        return {
            "discriminator_b": Judgement(plain(t.real_b), plain(t.fake_b), kind),
            "discriminator_gc_b": Judgement(changed(t.real_gc_b), changed(t.fake_gc_b), kind),
        }

    def visuals(self, batch: Batch) -> dict[str, Tensor]:
        """The second output is what geometry consistency draws towards the first."""
        image, generator = batch["real_a"], self.generator_gc or self.generator
        column = self.output_columns[1]
        changed = self.change_back(generator(self.change(image)))
        return {"input": image, "translation": self(image), column: changed}

    def _judge(self, name: str, discriminator: nn.Module, real: Tensor, fake: Tensor) -> Terms:
        kind, (real_scores, fake_scores) = self.config.gan_loss, judge_both(discriminator, real, fake)
        return {
            f"{name}_real": 0.5 * discriminator_loss(real_scores, real=True, kind=kind),
            f"{name}_fake": 0.5 * discriminator_loss(fake_scores, real=False, kind=kind),
        }


def _run(generator: nn.Module, images: Sequence[Tensor]) -> list[Tensor]:
    """The translation of each `(N, C, H, W)`, in one pass where their shapes agree."""
    if any(image.shape != images[0].shape for image in images):
        return [generator(image) for image in images]
    return list(generator(torch.cat(list(images))).chunk(len(images)))
