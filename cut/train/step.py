"""One step of training: the batch is translated once, then every player is updated, in the players' order.

    translated = method.translate(batch)
    for player in players:
        with only_trainable(player.networks):
            backward(sum(player.terms(translated)))
        average gradients over processes; clip them where the player asks for it; optimizer.step()

Around these lines stands what a divided batch needs: micro-batches that are worked on one after the other (gradient
accumulation), and processes that share each of them. Gradients and terms are then means over all parts, and so those of
the whole batch.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import is_dataclass, replace
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


class TrainingStep:
    """Updates the players of a method on one batch after the other.

    With several micro-batches, what leads from the generator's weights to its images is not kept for the backward pass
    but computed a second time, for each micro-batch when it is needed: that takes a further pass and saves the memory.

    Args:
        method: Method whose players are updated.
        optimizers: Optimizers by the players' names, set up by Fabric.
        rates: Full learning rates by the players' names.
        fabric: Device and precision.
        processes: Processes that share the run.
        num_micro_batches: Number of micro-batches that a batch is cut into.
        freeze_generator_steps: First steps in which the networks that translate stay as they are.

    Raises:
        UserError: Several players learn through `translate`, which micro-batches do not allow.
    """

    def __init__(
        self,
        method: Method,
        optimizers: Mapping[str, Optimizer],
        rates: Mapping[str, float],
        fabric: Fabric,
        processes: Processes,
        num_micro_batches: int = 1,
        freeze_generator_steps: int = 0,
    ):
        self.method, self.optimizers, self.rates, self.fabric = method, optimizers, rates, fabric
        self.processes, self.num_micro_batches = processes, num_micro_batches
        self.players = tuple(_frozen_at_first(p, method, freeze_generator_steps) for p in method.players())
        self.checks_each_update = fabric.device.type == "cpu"  # a GPU would be waited for, so there the log looks
        if num_micro_batches > 1 and sum(player.learns_through_translate for player in self.players) > 1:
            raise UserError(
                "train.num_micro_batches: several players of this method learn through `translate`, which is computed "
                "again for each of them; use 1"
            )

    def __call__(self, batch: Batch, step: int, lr_factor: float = 1.0) -> tuple[list[Terms], list[Piece]]:
        """Updates all players on one batch.

        Args:
            batch: This process's share of the step's batches, on the device.
            step: Number of steps done before.
            lr_factor: Factor of all learning rates, as the schedule has it.

        Returns:
            Terms of each player, means over the whole batch; and the batch's pieces.

        Raises:
            UserError: A loss is not finite; that player was not updated. (On a CPU; see `check_finite`.)
        """
        begin = self._streams()
        pieces = list(self._translate_pieces(batch))
        logged = []
        for player in self.players:
            optimizer, networks = self.optimizers[player.name], self._trained_networks(player, step)
            optimizer.zero_grad()
            if not networks:  # all of them wait
                logged.append(self._terms_alone(player, pieces))
                continue
            with only_trainable(self.method, networks):
                terms = self._backward(player, pieces, begin)
            gradients = [p.grad for network in networks for p in network.parameters() if p.grad is not None]
            self.processes.average([*gradients, *terms.values()])
            if self.checks_each_update:
                self.check_finite(player.name, terms, step + 1)
            if player.clip_norm is not None:
                self.fabric.clip_gradients(self.method, optimizer, max_norm=player.clip_norm)
            for group in optimizer.param_groups:
                group["lr"] = self.rates[player.name] * lr_factor * player.lr_factor * group.get("lr_factor", 1.0)
            optimizer.step()
            logged.append(terms)
        return logged, pieces

    def _trained_networks(self, player: Player, step: int) -> list[nn.Module]:
        """The player's networks besides those that join later."""
        waiting = [getattr(self.method, name) for name, first_step in player.joins.items() if step < first_step]
        return [network for network in player.networks if not any(network is other for other in waiting)]

    @torch.no_grad()
    def _terms_alone(self, player: Player, pieces: Sequence[Piece]) -> Terms:
        """The terms of a player that is not updated in this step, for the log: means over the pieces."""
        totals, now = Terms(), self._streams()
        for piece in pieces:
            self._rewind(now)
            with working_on(piece.shard), self.fabric.autocast():
                for name, term in player.terms(piece.translated).items():
                    totals[name] = totals.get(name, 0.0) + term / len(pieces)
        self.processes.average(list(totals.values()))
        return totals

    def _translate_pieces(self, batch: Batch) -> Iterator[Piece]:
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

    def _backward(self, player: Player, pieces: Sequence[Piece], begin: list[Tensor]) -> Terms:
        """Sums a player's gradients over all pieces; returns its terms, detached means over the pieces."""
        now = self._streams()
        totals: Terms = {}
        for piece in pieces:
            translated = piece.translated
            if len(pieces) > 1 and player.learns_through_translate:
                # Its own networks are still those that translated before, and no other's were updated meanwhile.
                self._rewind(begin)
                translated = self._translate(piece.batch, piece.shard)
            self._rewind(now)
            with working_on(piece.shard):
                with self.fabric.autocast():
                    terms = player.terms(translated)
                self.fabric.backward(torch.stack(list(terms.values())).sum() / len(pieces))
            for name, term in terms.items():
                totals[name] = totals.get(name, 0.0) + term.detach() / len(pieces)
        return totals

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


def _frozen_at_first(player: Player, method: Method, num_steps: int) -> Player:
    """The player, whose networks that translate join after so many steps."""
    if not num_steps:
        return player
    own = {
        name: max(num_steps, player.joins.get(name, 0))
        for name, network in method.inference_networks().items()
        if any(network is trained for trained in player.networks)
    }
    return replace(player, joins={**player.joins, **own})


def _micro_batch(images: Tensor, index: int, count: int, turns: int) -> Tensor:
    """Part `index` of each of a step's batches: `(turns * N, ...)` -> `(turns * N / count, ...)`."""
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
def only_trainable(method: nn.Module, networks: Sequence[nn.Module]) -> Iterator[None]:
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
