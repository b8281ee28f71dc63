"""What methods share that have one generator and one discriminator for each direction."""

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn

from cut.losses.adversarial import discriminator_loss
from cut.methods.base import Judgement, Method, Networks, Terms, judge_both
from cut.models.image_pool import ImagePool


class TwoWayMethod(Method):
    """Base of methods with G `generator_ab` and F `generator_ba`, and with a discriminator of each domain.

    Their config has `gan_loss`, `lambda_identity` and `pool_size`; their `Translated` has `real_a`, `real_b`, `fake_a`
    and `fake_b`.
    """

    output_columns: ClassVar[tuple[str, ...]] = ("a to b", "b to a")
    source_columns: ClassVar[tuple[str, ...]] = ("b to a", "and back to a")

    generator_ab: nn.Module
    generator_ba: nn.Module | None  # None where a file holds one direction alone

    def __init__(
        self,
        config: Any,
        generator_ab: nn.Module,
        generator_ba: nn.Module,
        discriminator_a: nn.Module,
        discriminator_b: nn.Module,
    ):
        super().__init__()
        self.config = config
        self.generator_ab, self.generator_ba = generator_ab, generator_ba
        self.discriminator_a, self.discriminator_b = discriminator_a, discriminator_b
        self.pool_a, self.pool_b = ImagePool(config.pool_size), ImagePool(config.pool_size)
        if config.lambda_identity and generator_ab.in_channels != generator_ab.out_channels:
            raise ValueError("lambda_identity must be 0 where the domains differ in channels: G(y) does not exist")

    @classmethod
    def build(cls, config: Any, networks: Networks) -> "TwoWayMethod":
        generators = networks.generator("ab"), networks.generator("ba")
        return cls(config, *generators, networks.discriminator("a"), networks.discriminator("b"))

    def forward(self, image: Tensor) -> Tensor:
        return self.generator_ab(image)

    def directions(self) -> dict[str, Callable[..., Tensor]]:
        return {"ab": self.forward} | ({"ba": self.generator_ba} if self.generator_ba else {})

    def inference_networks(self) -> dict[str, nn.Module]:
        return {"generator_ab": self.generator_ab} | ({"generator_ba": self.generator_ba} if self.generator_ba else {})

    def discriminator_terms(self, t: Any) -> Terms:
        """The adversarial losses as the discriminators see them, halved; translations come through the pools."""
        of_a = (self.discriminator_a, t.real_a, t.fake_a, self.pool_a)
        of_b = (self.discriminator_b, t.real_b, t.fake_b, self.pool_b)
        kind, terms = self.config.gan_loss, {}
        for domain, (discriminator, real, fake, pool) in {"a": of_a, "b": of_b}.items():
            real_scores, fake_scores = judge_both(discriminator, real, pool(fake.detach()))
            terms[f"gan_real_{domain}"] = 0.5 * discriminator_loss(real_scores, real=True, kind=kind)
            terms[f"gan_fake_{domain}"] = 0.5 * discriminator_loss(fake_scores, real=False, kind=kind)
        return terms

    def judgements(self, t: Any) -> dict[str, Judgement]:
        kind, a, b = self.config.gan_loss, self.discriminator_a, self.discriminator_b
        return {
            "discriminator_a": Judgement(a(t.real_a), a(t.fake_a), kind),
            "discriminator_b": Judgement(b(t.real_b), b(t.fake_b), kind),
        }
