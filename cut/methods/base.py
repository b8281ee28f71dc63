"""The contract between a method and everything else: the method owns the mathematics, the trainer owns the rest."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from cut.losses.adversarial import decision_threshold
from cut.methods.translator import Translator, first_output
from cut.models.batch_norm import has_batch_norm
from cut.models.spectral_norm import has_spectral_norm

Batch = Mapping[str, Any]  # what the data give: "real_a", "real_b" (N, C, H, W) in [-1, 1], or others
Terms = dict[str, Tensor]  # already weighted scalars whose sum is the loss


@dataclass(frozen=True)
class Player:
    """One of the opponents: networks that are updated together, and the loss that they minimise.

    A player may stand several times in a step, also with different networks: it has one optimizer over all of them, and
    an update passes over parameters without a gradient.

    Args:
        name: Name in logged keys (`loss/<name>/<term>`), in checkpoints and in `optim.per_player`.
        networks: Modules that this update changes, and no others.
        terms: Function of what `translate` returned that gives the weighted loss terms; their sum is differentiated.
        learns_through_translate: Whether gradients flow into `networks` through what `translate` computed. `translate`
            is then run again for this player where a batch is worked on in micro-batches; only one may say so.
        lr_factor: Factor of the learning rate, such as 0.4 of DRIT's content discriminator.
        clip_norm: Largest norm of the gradient of all `networks` together; None does not clip.
        lr_factors: Factors of the learning rate of single networks, by their attribute names in the method.
        parts: Networks among `networks` by the names under which `optim.per_player` may set them apart.
        joins: First step, counted from 0, at which a network is updated too, by the network's attribute name in the
            method; the others are updated from the beginning.
    """

    name: str
    networks: tuple[nn.Module, ...]
    terms: Callable[[Any], Terms]
    learns_through_translate: bool = False
    lr_factor: float = 1.0
    clip_norm: float | None = None
    lr_factors: Mapping[str, float] = field(default_factory=dict)
    parts: Mapping[str, tuple[nn.Module, ...]] = field(default_factory=dict)
    joins: Mapping[str, int] = field(default_factory=dict)


class Judgement(NamedTuple):
    """A discriminator's scores of real and of generated images, and the adversarial loss that gives them a meaning."""

    real: Tensor
    fake: Tensor
    kind: str

    def accuracy(self) -> dict[str, Tensor]:
        """Shares of scores on the right side; none for a critic, because its single scores mean nothing."""
        threshold = decision_threshold(self.kind)
        if threshold is None:
            return {}
        return {
            "accuracy_real": (self.real > threshold).float().mean(),
            "accuracy_fake": (self.fake < threshold).float().mean(),
        }


class Networks(Protocol):
    """Builds the networks that the config describes, initialised; each call makes a new one.

    Domains are called `a`, the source, and `b`, the target, whatever the folders on disk are called.
    """

    channels: Mapping[str, int]  # of each domain
    image_px: int  # shorter side of the training images

    @property
    def class_names(self) -> Sequence[str]:
        """Names of the classes, in the order of their numbers.

        Raises:
            ValueError: The data have none.
        """

    def generator(self, domains: str = "ab") -> nn.Module:
        """From the first domain to the second: `ab` or `ba`."""

    def discriminator(self, domains: str = "b", image_px: int | None = None) -> nn.Module:
        """Judges images of one domain, `a` or `b`, or with `ab` pairs of both, channels in that order.

        `image_px` is their side where it is not that of the training images; few networks need to know it.
        """

    def initialise(self, network: nn.Module) -> nn.Module:
        """Initialises a network of the method's own as the generator is."""

    def weights(self, key: str, given: str | None, *addresses: str) -> dict[str, Tensor] | None:
        """Weights by key, of a file that others publish or a run has saved; None for new ones.

        Args:
            key: Setting of the method that names the file, for errors.
            given: File, run directory, or `random` for new ones; None looks in torch.hub's folder.
            addresses: Where the public files are, under whose names torch.hub keeps them; the first that is there.

        Raises:
            UserError: There is no such file, or it is none of weights; the line has the addresses.
        """


class Method(Translator):
    """Base of all methods: what the trainer knows. Every parameter exists when `build` returns.

    What a run must remember besides parameters (image pools, queues, statistics) is a buffer or extra state of a
    module, so that checkpoints hold it.
    """

    output_columns: ClassVar[tuple[str, ...]] = ("translation",)
    """Keys of `visuals` whose images a generator made."""
    progress: float = 0.0
    """Share of the run done, in [0, 1), set by the trainer before each step from the step's number alone."""

    @classmethod
    def build(cls, config: Any, networks: Networks) -> "Method":
        """Makes the method with its networks; `config` is one of the class's own `Config`."""
        return cls(config, networks.generator(), networks.discriminator())

    def translate(self, batch: Batch) -> Any:
        """Computes what several players need, once per step."""
        raise NotImplementedError

    def players(self) -> tuple[Player, ...]:
        """The players in the order of their updates; one that is updated several times a step stands there as often."""
        raise NotImplementedError

    @property
    def batches_per_step(self) -> int:
        """Number of batches that a step draws; `translate` gets them as one."""
        return 1

    @property
    def needs_whole_batch(self) -> str | None:
        """The reason why a batch cannot be worked on in micro-batches, one after the other; None where it can.

        Whatever `translate` and `terms` draw for each image must then come from `cut.sharding.draw_rows`, as it must
        where processes share a batch, and `translate` must change nothing.
        """
        if has_batch_norm(self):
            return "batch norm takes its statistics over all images of the batch; use norm: instance or none"
        if has_spectral_norm(self):
            return "spectral norm moves on at every pass; use discriminator.spectral_norm: false"
        return None

    @property
    def observes_batches(self) -> int:
        """Largest number of batches that `observe` wants to see; 0 where it does nothing."""
        return 0

    def observe(self, batches: Iterable[Batch]) -> None:
        """Measures the training data once, before step 0 of a new run; what it finds is kept in buffers.

        Args:
            batches: Up to `observes_batches` whole batches as training draws them, from a random stream of their own,
                so that the training itself stays as it is. All processes see the same.
        """

    def start_from(self, tensors: Mapping[str, Tensor]) -> list[str]:
        """Takes over weights of an earlier run or a public file, at the start of a new run.

        Args:
            tensors: Weights by key.

        Returns:
            Keys of this method that were set. By default those of equal name and shape.
        """
        own = self.state_dict()
        taken = {key: tensor for key, tensor in tensors.items() if key in own and own[key].shape == tensor.shape}
        self.load_state_dict(taken, strict=False)
        return [key for key in own if key in taken]

    def judgements(self, translated: Any) -> dict[str, Judgement]:
        """What each discriminator makes of this step's images, for health figures; called now and then, without
        gradients, and changes nothing."""
        return {}

    def further_visuals(self) -> dict[str, dict[str, Tensor]]:
        """Rows of the sample sheet below those of the data's fixed samples: by the row's name what `visuals` gives."""
        return {}

    def visuals(self, batch: Batch) -> dict[str, Tensor]:
        """Columns of the sample sheet: images `(N, C, H, W)` in [-1, 1] by label.

        Args:
            batch: What the data's fixed samples hold.
        """
        return {"input": batch["real_a"], "translation": first_output(self(batch["real_a"]))}

    def matched(self, batch: Batch) -> Batch:
        """A batch as the method sees it, of one with the colours on disk."""
        if self.colours is None:
            return batch
        return {**batch, **{key: self.colours(batch[key]) for key in ("real_a", "partner_a") if key in batch}}

    def visuals_on_disk(self, batch: Batch) -> dict[str, Tensor]:
        """`visuals` of a batch with the colours on disk, in such colours."""
        if self.colours is None:
            return self.visuals(batch)
        seen = self.matched(batch)
        images = self.visuals(seen)
        images |= {name: self.colours.back(images[name]) for name in self.source_columns if name in images}
        return {name: batch["real_a"] if image is seen["real_a"] else image for name, image in images.items()}


def judge_both(discriminator: nn.Module, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """D's scores of real and of generated images, from one pass over both unless batch norm would mix them."""
    if has_batch_norm(discriminator) or real.shape != fake.shape:
        return discriminator(real), discriminator(fake)
    scores = discriminator(torch.cat([real, fake]))
    return scores[: len(real)], scores[len(real) :]
