"""One step of training: every player is updated once per turn, whether the batch is whole or divided."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import is_dataclass
from typing import Any, NamedTuple

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from cut.errors import UserError
from cut.methods.base import Batch, Method, Player, Terms
from cut.runtime.processes import Processes
from cut.runtime.sharding import Shard, working_on


class Piece(NamedTuple):
    """A micro-batch, and what `translate` made of it at the beginning of the step."""

    batch: Batch
    shard: Shard
    translated: Any


class Updates:
    """Updates players: gradients are means over micro-batches and processes, and so those of the whole batch.

    With several micro-batches, what leads from the generator's weights to its images is computed anew for each of them
    when it is needed, instead of being kept: that takes a further pass and saves the memory.

    Args:
        method: whose players they are.
        optimizers: by the players' names.
        fabric: device and precision.
        processes: that share the run.
        num_micro_batches: that a batch is cut into.
    """

    def __init__(
        self,
        method: Method,
        optimizers: Mapping[str, Optimizer],
        fabric: Fabric,
        processes: Processes,
        num_micro_batches: int = 1,
    ):
        self.method, self.optimizers, self.fabric, self.processes = method, optimizers, fabric, processes
        self.num_micro_batches = num_micro_batches
        self.checks_each_update = fabric.device.type == "cpu"  # a GPU would be waited for, so there the log looks
        self._through_translate: dict[str, bool] = {}  # player -> whether its gradient flows through `translate`

    def step(self, batch: Batch, players: Sequence[Player], lr: float, step: int) -> tuple[list[Terms], list[Piece]]:
        """Updates all players on one batch, in their order.

        Returns:
            Per player its terms, means over the whole batch; and the batch's pieces.

        Raises:
            UserError: a loss is not finite; that player was not updated. (On a CPU; see `check_finite`.)
        """
        begin = self._streams()
        pieces = list(self._pieces(batch))
        logged = []
        for player in players:
            optimizer = self.optimizers[player.name]
            for group in optimizer.param_groups:
                group["lr"] = lr
            optimizer.zero_grad()
            with _only_trainable(self.method, player.networks):
                terms = self._accumulate(player, pieces, begin)
            gradients = [p.grad for network in player.networks for p in network.parameters() if p.grad is not None]
            self.processes.average([*gradients, *terms.values()])
            if self.checks_each_update:
                self.check_finite(player.name, terms, step)
            optimizer.step()
            logged.append(terms)
        return logged, pieces

    def _pieces(self, batch: Batch) -> Iterator[Piece]:
        """The micro-batches, translated: with a graph for the gradient only where there is but one."""
        count, turns = self.num_micro_batches, self.method.batches_per_step
        streams = self._streams()
        for index in range(count):
            piece = {key: _micro_batch(images, index, count, turns) for key, images in batch.items()}
            rows = len(next(iter(piece.values()))) // turns
            shard = Shard(rows, self.processes.rank, self.processes.count, index, count)
            self._rewind(streams)
            with torch.set_grad_enabled(count == 1):
                translated = self._translate(piece, shard)
            yield Piece(piece, shard, translated)

    def _translate(self, batch: Batch, shard: Shard) -> Any:
        with working_on(shard), self.fabric.autocast():
            return self.method.translate(batch)

    def _accumulate(self, player: Player, pieces: Sequence[Piece], begin: list[Tensor]) -> Terms:
        """Sums a player's gradients over all pieces; returns its terms, detached means over the pieces."""
        now = self._streams()
        totals: Terms = {}
        for piece in pieces:
            translated = piece.translated
            if len(pieces) > 1:
                translated = self._with_graph(player, piece, begin)
                self._rewind(now)
            with working_on(piece.shard):
                with self.fabric.autocast():
                    terms = player.terms(translated)
                self.fabric.backward(torch.stack(list(terms.values())).sum() / len(pieces))
            for name, term in terms.items():
                totals[name] = totals.get(name, 0.0) + term.detach() / len(pieces)
        return totals

    def _with_graph(self, player: Player, piece: Piece, begin: list[Tensor]) -> Any:
        """What `translate` makes of a piece, anew if this player's gradient flows through it.

        Its own networks are still those that translated at first, and no other's may have been updated in between.
        """
        if not self._through_translate.get(player.name, True):
            return piece.translated
        self._rewind(begin)
        anew = self._translate(piece.batch, piece.shard)
        self._through_translate[player.name] = any(tensor.requires_grad for tensor in tensors_in(anew))
        if sum(self._through_translate.values()) > 1:
            raise UserError(
                "train.num_micro_batches: several players of this method learn through `translate`, which is computed "
                "anew for each of them; use 1"
            )
        return anew if self._through_translate[player.name] else piece.translated

    def check_finite(self, player: str, terms: Terms, step: int) -> None:
        """Raises a UserError if a term of a player's loss is not finite."""
        if not torch.isfinite(torch.stack(list(terms.values())).sum()):
            bad = [f"{n} {value.item()}" for n, value in terms.items() if not torch.isfinite(value)] or ["the sum"]
            raise self.processes.tell_once(
                UserError(
                    f"step {step}: the loss of the {player} is not finite ({', '.join(bad)}); nothing was saved since "
                    "the last checkpoint; lower optim.lr or train at 32-true precision"
                )
            )

    def _streams(self) -> list[Tensor]:
        """The random streams from which methods draw, where a batch is worked on several times."""
        if self.num_micro_batches == 1:
            return []
        device = self.fabric.device
        return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]

    def _rewind(self, streams: list[Tensor]) -> None:
        """Every piece draws the numbers of the whole batch, and keeps its own."""
        if streams:
            torch.set_rng_state(streams[0])
        if len(streams) > 1:
            torch.cuda.set_rng_state(streams[1], self.fabric.device)


def _micro_batch(images: Tensor, index: int, count: int, turns: int) -> Tensor:
    """`(turns * N, ...)` -> `(turns * N / count, ...)`: of each of the step's batches the part number `index`."""
    if count == 1:
        return images
    return images.unflatten(0, (turns, count, -1))[:, index].flatten(0, 1)


def tensors_in(value: Any) -> Iterator[Tensor]:
    """All tensors in nested containers and dataclasses."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from tensors_in(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from tensors_in(part)
    elif is_dataclass(value):
        yield from tensors_in(vars(value))


@contextmanager
def _only_trainable(method: nn.Module, networks: Sequence[nn.Module]) -> Iterator[None]:
    """Inside, no gradient is computed for parameters outside `networks`."""
    trained = {id(p) for network in networks for p in network.parameters()}
    others = [p for p in method.parameters() if p.requires_grad and id(p) not in trained]
    for parameter in others:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in others:
            parameter.requires_grad_(True)
