"""UNSB: unpaired neural Schroedinger bridge, translation in several passes (Kim, Kwon, Kim, Ye, ICLR 2024,
arXiv:2305.15086).

A picture x of the source domain becomes one of the target domain in N steps, at times t_0 = 0 < t_1 < ... < t_N = 1.
At each of them G guesses the end from where the bridge stands, and the bridge moves a part of the way, with noise:

    X_0 = x;   X_k = (1 - s_k) X_k-1 + s_k G(X_k-1, t_k-1, z) + sqrt(d_k (1 - s_k) tau) e
    d_k = t_k - t_k-1,   s_k = d_k / (1 - t_k-1);   z and e from N(0, I);   the translation is G(X_M-1, t_M-1, z)

with M passes, at most N; t_k = 1/2 + 1/2 h_k-1 / h_N-1 with h_k = 1 + 1/2 + ... + 1/k. A training step draws one n
below N, simulates X_n of x, of another x' and of y without gradients, and learns from what G makes of these: u = (X_n,
G(X_n)), u' = (X'_n, G(X'_n)), idt = G(Y_n).

    L(G, H) = lambda_gan L_GAN(G, D) + lambda_nce 1/2 [PatchNCE(x, G(X_n)) + PatchNCE(y, idt)] + lambda_sb L_SB
    L_SB    = tau mean (X_n - G(X_n))^2 - tau (N - n) / N [mean E(u, u) - L],   L = log sum exp E(u, u')
    L(E)    = -mean E(u, u) + L + L^2
    L(D)    = 1/2 [D's losses of y and of G(X_n)]

Symbols: G generator; H patch head; D discriminator; E critic, whose difference of means estimates the entropy of the
coupling; all but H know n. x is real_a, y real_b, G(X_n) fake_b. PatchNCE is CUT's, at step 0, with noise that queries
and keys share. The sum of L is over all places of an image's map.

As in the authors' code (cyclomon/UNSB, commit d1f644f) D is updated first, then E, then G with H. What differs: by
default the networks do what the paper says, and `networks: released` what that code computes, where the generator
ignores the time (models/unsb.py); the last pass of a simulation, whose result that code throws away, is left out;
lambda_nce counts once (theirs is squared, and 1); L is a mean over the images of a batch. Neither the paper nor that
code has lambda_identity |idt - y|_1, which L(G, H) may have besides.
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from cut.config import MethodConfig, ResnetLayersConfig, Section
from cut.losses import full_precision
from cut.losses.adversarial import discriminator_loss, generator_loss
from cut.losses.contrast import contrast_over_layers
from cut.losses.patchnce import patchnce_loss
from cut.methods.base import Batch, Judgement, Method, Networks, Player, Terms
from cut.models.initialisation import scale_last_convolution
from cut.models.patch_head import PatchHead, random_patch_ids
from cut.models.unsb import BridgeDiscriminator, BridgeGenerator, bridge_moves, initialise_bridge
from cut.runtime.sharding import draw_rows


class UNSBGeneratorConfig(ResnetLayersConfig):
    """Generator, whose noise z has four times base_channels numbers."""

    norm: Literal["instance", "blocks"] = "instance"
    """Instance norm behind each convolution; blocks: inside the residual blocks alone."""
    noise_layers: int = Field(3, ge=0, le=100)
    """Number of layers behind the first of the network that embeds the noise (n_mlp)."""


class UNSBDiscriminatorConfig(Section):
    """Discriminator and critic."""

    base_channels: int = Field(64, ge=1)
    """Channels of the first layer (ndf)."""
    num_layers: int = Field(3, ge=1, le=7)
    """Number of downsampling layers."""


class UNSBConfig(MethodConfig):
    """UNSB's."""

    default_generator = None  # the networks stand in this section
    default_discriminator = None

    name: str = "unsb"
    """Method: UNSB."""
    gan_loss: Literal["lsgan", "vanilla", "nonsaturating", "hinge", "hinge_clamped"] = "lsgan"
    """Kind of the adversarial loss."""
    lambda_gan: float = Field(1.0, gt=0)
    """Weight of the adversarial loss."""
    lambda_sb: float = Field(1.0, ge=0)
    """Weight of the bridge: the way that pictures go, and the critic's entropy."""
    lambda_nce: float = Field(1.0, ge=0)
    """Weight of PatchNCE, half of it for the identity term."""
    lambda_identity: float = Field(0.0, ge=0)
    """Weight of |idt - y|_1, the identity in pixels, which is not in the paper."""
    tau: float = Field(0.01, gt=0)
    """Variance of the noise that the bridge adds from its beginning to its end."""
    num_timesteps: int = Field(5, ge=2, le=100)
    """Number of steps of the bridge (N)."""
    num_passes: Annotated[int, Field(ge=1)] | None = None
    """Number of passes at test time (cut-test --num-passes for one use). null: num_timesteps."""
    nce_layers: tuple[Annotated[int, Field(ge=0)], ...] = Field((0, 4, 8, 12, 16), min_length=1)
    """Numbers of the layers of G whose features PatchNCE compares."""
    num_patches: int = Field(256, ge=2)
    """Number of places per layer."""
    temperature: float = Field(0.07, gt=0)
    """Divisor of the similarities."""
    head_channels: int = Field(256, ge=1)
    """Channels of the patch head (H)."""
    networks: Literal["conditioned", "released"] = "conditioned"
    """conditioned: G, D and E know the step; released: as the authors' code computes them, where G ignores it."""
    generator: UNSBGeneratorConfig = UNSBGeneratorConfig()
    """Generator."""
    discriminator: UNSBDiscriminatorConfig = UNSBDiscriminatorConfig()
    """Discriminator and critic."""

    def check_data(self, data: Any) -> None:
        preprocess = getattr(data, "preprocess", "crop")
        if "crop" not in preprocess:
            raise ValueError(
                f"data.preprocess: {preprocess} leaves pictures of several sizes, and unsb works on three at once; "
                "make crops, e.g. resize_and_crop"
            )

    @model_validator(mode="after")
    def _passes_fit(self) -> "UNSBConfig":
        if self.num_passes and self.num_passes > self.num_timesteps:
            raise ValueError(
                f"num_passes: must be at most num_timesteps ({self.num_timesteps}), but is {self.num_passes}"
            )
        return self


@dataclass
class Translated:
    """What the players read."""

    step: int  # n
    real_a: Tensor
    real_b: Tensor
    start: Tensor  # X_n
    other_start: Tensor  # X'_n
    fake_b: Tensor
    other_fake: Tensor
    idt_b: Tensor


class UNSB(Method):
    Config = UNSBConfig

    output_columns = ("one pass", "translation")

    generator: BridgeGenerator

    def __init__(self, config: UNSBConfig, generator: BridgeGenerator, discriminator: nn.Module, critic: nn.Module):
        super().__init__()
        self.config = config
        self.generator, self.discriminator, self.critic = generator, discriminator, critic
        self.patch_head = PatchHead(generator.feature_channels(config.nce_layers), config.head_channels)
        self.moves = bridge_moves(config.num_timesteps, config.tau)
        self._is_deterministic = False

    @classmethod
    def build(cls, config: UNSBConfig, networks: Networks) -> "UNSB":
        channels = networks.channels["a"]
        if channels != networks.channels["b"]:
            raise ValueError(
                "unsb mixes pictures with their translations; data.channels_a and data.channels_b must be equal"
            )
        g, d, released = config.generator, config.discriminator, config.networks == "released"
        layers = g.model_dump(exclude={"init", "init_gain", "init_last"})
        generator = BridgeGenerator(channels, is_released=released, **layers)
        judges = (BridgeDiscriminator(n * channels, d.base_channels, d.num_layers, released) for n in (1, 4))
        method = cls(config, generator, *judges)
        initialise_bridge(method.generator, g.init, g.init_gain)
        scale_last_convolution(method.generator, g.init_last)
        for network in (method.discriminator, method.critic):
            initialise_bridge(network)
        networks.initialise(method.patch_head)
        return method

    def forward(self, image: Tensor, num_passes: int | None = None) -> Tensor:
        last = (num_passes or self.num_passes) - 1
        return self._guess(self._simulate(image, last), last)

    @property
    def most_passes(self) -> int:
        return self.config.num_timesteps

    @property
    def num_passes(self) -> int:
        return self.config.num_passes or self.config.num_timesteps

    def prepare_inference(self, deterministic: bool = False) -> "UNSB":
        self._is_deterministic = deterministic
        return self.eval()

    def leave_noise_out(self) -> bool:
        self._is_deterministic, had_noise = True, not self._is_deterministic
        return had_noise

    @property
    def goes_one_by_one(self) -> bool:
        return not self._is_deterministic

    @property
    def batches_per_step(self) -> int:
        return 2  # the second for x'

    def translate(self, batch: Batch) -> Translated:
        reals, count = batch["real_a"], len(batch["real_a"]) // 2  # x and x', one behind the other
        real_b = batch["real_b"][:count]
        step = int(torch.randint(self.config.num_timesteps, ()))  # of all images, and in all processes
        with torch.no_grad():
            starts = self._simulate(torch.cat([reals, real_b]), step)  # (3N, C, H, W)
        fake_b, other_fake, idt_b = self._guess(starts, step).chunk(3)
        start, other_start, _ = starts.chunk(3)
        return Translated(step, reals[:count], real_b, start, other_start, fake_b, other_fake, idt_b)

    def players(self) -> tuple[Player, ...]:
        networks = (self.generator, self.patch_head)
        return (
            Player("discriminator", (self.discriminator,), self.discriminator_terms),
            Player("critic", (self.critic,), self.critic_terms),
            Player("generator", networks, self.generator_terms, learns_through_translate=True),
        )

    def discriminator_terms(self, t: Translated) -> Terms:
        """L(D)."""
        kind = self.config.gan_loss
        real, fake = self.discriminator(torch.cat([t.real_b, t.fake_b.detach()]), t.step).chunk(2)
        return {
            "gan_real": 0.5 * discriminator_loss(real, real=True, kind=kind),
            "gan_fake": 0.5 * discriminator_loss(fake, real=False, kind=kind),
        }

    def critic_terms(self, t: Translated) -> Terms:
        """L(E)."""
        mean, normaliser = self._criticise(t, t.fake_b.detach(), t.other_fake.detach())
        return {"energy": -mean, "normaliser": normaliser.mean(), "square": normaliser.square().mean()}

    def generator_terms(self, t: Translated) -> Terms:
        """L(G, H)."""
        config = self.config
        terms = {"gan": config.lambda_gan * generator_loss(self.discriminator(t.fake_b, t.step), config.gan_loss)}
        if config.lambda_sb:
            weight, left = config.lambda_sb * config.tau, 1.0 - t.step / config.num_timesteps
            mean, normaliser = self._criticise(t, t.fake_b, t.other_fake)
            terms["way"] = weight * (full_precision(t.start) - full_precision(t.fake_b)).square().mean()
            terms["entropy"] = -weight * left * (mean - normaliser.mean())
        if config.lambda_nce:
            terms["nce"], terms["nce_idt"] = (0.5 * config.lambda_nce * nce for nce in self._contrast(t))
        if config.lambda_identity:
            terms["identity"] = config.lambda_identity * F.l1_loss(t.idt_b, t.real_b)
        return terms

    def judgements(self, t: Translated) -> dict[str, Judgement]:
        real, fake = self.discriminator(t.real_b, t.step), self.discriminator(t.fake_b, t.step)
        return {"discriminator": Judgement(real, fake, self.config.gan_loss)}

    def visuals(self, batch: Batch) -> dict[str, Tensor]:
        image = batch["real_a"]
        return {"input": image, "one pass": self(image, num_passes=1), "translation": self(image)}

    def _simulate(self, images: Tensor, num_steps: int) -> Tensor:
        """X_k of images of domain a after so many steps."""
        for step, (share, deviation) in enumerate(self.moves[:num_steps]):
            images = (1.0 - share) * images + share * self._guess(images, step)
            if not self._is_deterministic:
                images = images + deviation * self._draw(images, *images.shape[1:])
        return images

    def _guess(self, images: Tensor, step: int) -> Tensor:
        """G's guess of the bridge's end, from where it stands at a step."""
        return self.generator(images, step, self._draw(images, self.generator.noise_channels))

    def _draw(self, images: Tensor, *shape: int) -> Tensor:
        """Standard normal numbers `(N, *shape)` for N images, or zeros; drawn on the CPU, the same for every device."""
        if self._is_deterministic:
            return torch.zeros(images.shape[0], *shape, device=images.device, dtype=images.dtype)
        return draw_rows(lambda rows: torch.randn(rows, *shape), len(images)).to(images)

    def _criticise(self, t: Translated, fake: Tensor, other_fake: Tensor) -> tuple[Tensor, Tensor]:
        """Mean of E(u, u) over places and images, and L of each image `(N,)`."""
        pair = torch.cat([t.start, fake], dim=1)  # (N, 2C, H, W)
        other = torch.cat([t.other_start, other_fake], dim=1)
        scores = self.critic(torch.cat([torch.cat([pair, pair], dim=1), torch.cat([pair, other], dim=1)]), t.step)
        same, crossed = full_precision(scores).chunk(2)
        return same.mean(), crossed.flatten(1).logsumexp(1)

    def _contrast(self, t: Translated) -> list[Tensor]:
        """PatchNCE of x with G(X_n), and of y with idt."""
        config, taps, loss = (
            self.config,
            self.config.nce_layers,
            partial(patchnce_loss, temperature=self.config.temperature),
        )
        reals, fakes = torch.cat([t.real_a, t.real_b]), torch.cat([t.fake_b, t.idt_b])
        noise = self._draw(reals, self.generator.noise_channels)
        with torch.no_grad():
            keys = [key.chunk(2) for key in self.generator.encode(reals, taps, 0, noise)]
        queries = [query.chunk(2) for query in self.generator.encode(fakes, taps, 0, noise)]
        losses = []
        for own_queries, own_keys in zip(zip(*queries, strict=True), zip(*keys, strict=True), strict=True):
            places = random_patch_ids(own_keys, config.num_patches)
            with torch.no_grad():
                embedded = self.patch_head(own_keys, places)
            losses.append(contrast_over_layers(self.patch_head(own_queries, places), embedded, loss))
        return losses
