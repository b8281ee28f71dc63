"""The training loop. It knows players and terms, never a method's mathematics."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.optim import Optimizer

from cut.config import RunConfig
from cut.data.loader import SampleNumbers, batches
from cut.data.stream import SampleStream
from cut.errors import PictureError, UserError, reason
from cut.methods.base import Batch, Method
from cut.runtime.memory import peak_memory_mib
from cut.runtime.processes import Processes
from cut.runtime.seeding import random_state, restore_random_state
from cut.runtime.sharding import working_on
from cut.runtime.signals import Stopped, stop_on_signals
from cut.storage.checkpoint import BEST_FILE, INFERENCE_FILE, save_checkpoint, save_inference_file, write_checkpoint
from cut.train.ema import AveragedNetworks
from cut.train.health import to_numbers
from cut.train.log import RunLog
from cut.train.monitor import Monitor
from cut.train.plots import plot_losses
from cut.train.schedules import Schedule
from cut.train.step import Piece, Updates, tensors_in
from cut.train.validation import Validation


class Trainer:
    """Runs a method from its current step to the last one.

    Args:
        config: of the run; written into every checkpoint.
        method: on the right device already.
        optimizers: one per player, by name, set up by Fabric.
        schedule: of the learning rate, and the run's length.
        stream: of the training samples.
        samples: what sample sheets show.
        fabric: device and precision, and the processes that share the run.
        validation: what is scored while training, or None.
        processes: that share the run; None for those of the fabric, which all of them must ask for at once.
    """

    def __init__(
        self,
        config: RunConfig,
        method: Method,
        optimizers: dict[str, Optimizer],
        schedule: Schedule,
        stream: SampleStream,
        samples: Sequence[dict[str, Any]],
        fabric: Fabric,
        validation: Validation | None = None,
        processes: Processes | None = None,
    ):
        self.config, self.method, self.optimizers, self.schedule = config, method, optimizers, schedule
        self.stream, self.fabric, self.validation = stream, fabric, validation
        self.processes = processes or Processes(fabric)
        self.players = method.players()
        self.updates = Updates(method, optimizers, fabric, self.processes, config.train.num_micro_batches)
        self._turns = Counter(player.name for player in self.players)
        decay = config.train.ema_decay
        self.ema = AveragedNetworks(method, decay) if decay else None
        self.monitor = Monitor(method, self.ema, samples, fabric, validation)
        self.step = 0  # generator updates done
        limit = config.train.max_steps
        self.last_step = min(schedule.total_steps, limit) if limit else schedule.total_steps
        # The end of the first epoch and the middle of the run are worth a look, whatever the interval.
        self._landmarks = (schedule.steps_per_epoch, self.last_step // 2)
        self._sums: dict[str, Tensor] = {}  # of the logged terms since the last log, on the device
        self._summed_steps = 0
        self._timed_steps = 0  # of those, the ones that this process did
        self._health: dict[str, Tensor] = {}  # of the last logged step, on the device

    def fit(self, run_dir: Path) -> None:
        """Trains to the last step, logging, drawing samples and saving on the way.

        Raises:
            UserError: a loss is not finite, a picture cannot be used, or a file cannot be written.
            Stopped: by SIGINT or SIGTERM, after saving.
        """
        train, processes = self.config.train, self.processes
        self._require_equal()
        log = RunLog(run_dir if processes.is_first else None, self.step, self.last_step, train.tensorboard)
        try:
            processes.on_first(lambda: self.monitor.open(run_dir, log, self.step))
            with stop_on_signals() as stop:
                clock = time.perf_counter()
                for batch in self._batches(self.last_step):
                    self.train_step(batch)
                    log.tick()
                    if self._is_due(train.log_every_steps):
                        log.metrics(self.step, self._read_metrics(time.perf_counter() - clock))
                    pause = time.perf_counter()
                    if self._is_due(train.sample_every_steps) or self.step in self._landmarks:
                        processes.on_first(lambda: self._draw(run_dir))
                    if self.validation and self._is_due(self.validation.every_steps):
                        self._evaluate(run_dir)
                        if self.step == self.last_step and self._timed_steps:  # the end has come nearer
                            log.metrics(self.step, self._read_metrics(pause - clock))
                    signum = int(processes.largest(stop.signum or 0))  # whichever process was asked to stop
                    if self._is_due(train.checkpoint_every_steps) or signum:
                        self.save(run_dir)
                    if signum and self.step < self.last_step:
                        at = f"stopped and saved at step {self.step}; the same command goes on from there"
                        raise Stopped(signum, at)
                    if self.step >= self.last_step:  # also where it came nearer on the way
                        break
                    # Drawing and saving do not count as training time.
                    clock = time.perf_counter() if self._timed_steps == 0 else clock + time.perf_counter() - pause
        except PictureError as error:
            try:
                self.save(run_dir)  # the picture can be mended, and nothing need be done again
            except UserError as unsaved:
                raise processes.tell_once(PictureError(f"{error}; the run could not be saved: {unsaved}")) from None
            raise
        finally:
            log.close()

    def train_step(self, batch: Batch) -> None:
        """One update of every player.

        Args:
            batch: this process's share of it.

        Raises:
            UserError: a loss is not finite; nothing of that player was updated.
        """
        try:
            self._update_players(self.fabric.to_device(batch))
        except (RuntimeError, ValueError) as error:
            if self.step or isinstance(error, UserError):
                raise
            # The very first step: the settings do not fit each other, or the machine.
            raise UserError(
                f"the first step failed ({reason(error)}); the networks may not fit data.crop_px, or the memory the "
                "batch: try another data.crop_px, discriminator.num_layers, data.batch_size or base_channels"
            ) from error
        self._summed_steps += 1
        self._timed_steps += 1
        self.step += 1
        if self.ema:
            self.ema.update(self.method, self.step)

    def _update_players(self, batch: Batch) -> None:
        lr = self.config.optim.lr * self._factor(self.step)
        logged, pieces = self.updates.step(batch, self.players, lr, self.step + 1)
        for player, terms in zip(self.players, logged, strict=True):
            for name, term in terms.items():
                key = f"loss/{player.name}/{name}"
                self._sums[key] = self._sums.get(key, 0.0) + term / self._turns[player.name]
        if (self.step + 1) % self.config.train.log_every_steps == 0 or self.step + 1 == self.last_step:
            self._health = self._judge(pieces)

    def _judge(self, pieces: Sequence[Piece]) -> dict[str, Tensor]:
        """Health figures of the whole batch."""
        means: dict[str, Tensor] = {}
        for piece in pieces:
            with working_on(piece.shard):
                for name, figure in self.monitor.judge(piece.translated).items():
                    means[name] = means.get(name, 0.0) + figure / len(pieces)
        self.processes.average(list(means.values()))
        return means

    def dry_run(self) -> str:
        """One step that writes nothing; says what it took."""
        if self.stream.cache:
            self.stream.cache.is_written = False
        start = time.perf_counter()
        for batch in self._batches(self.step + 1):
            self.train_step(batch)
        figures = self._read_metrics(time.perf_counter() - start)
        terms = ", ".join(f"{k.removeprefix('loss/')} {v:.4g}" for k, v in figures.items() if k.startswith("loss/"))
        parameters = sum(p.numel() for p in self.method.parameters())
        return (
            f"one step works: {terms}; {figures['time/seconds_per_step']:.2f} s, peak "
            f"{figures['memory/peak_mib'] / 1024:.2f} GiB, {parameters / 1e6:.2f} M parameters, "
            f"{self.last_step} steps of {self.stream.samples_per_step} planned"
        )

    def save(self, run_dir: Path) -> Path:
        """Writes a checkpoint from which the run continues bit for bit, and the inference file.

        Raises:
            UserError: a weight is not finite, the processes do not hold the same weights, or a file cannot be written.
        """
        self._require_equal()
        return self.processes.on_first(lambda: self._write(run_dir))

    def _write(self, run_dir: Path) -> Path:
        state = self._state()
        inference = self.ema.networks if self.ema else self.method.inference_networks()
        save_inference_file(run_dir / INFERENCE_FILE, inference, state["config"], self.step)
        return save_checkpoint(run_dir / "checkpoints", self.step, state, self.config.train.keep_checkpoints)

    def _state(self) -> dict[str, Any]:
        """Everything that a checkpoint holds."""
        broken = [
            name
            for name, value in [*self.method.state_dict().items(), *self._sums.items()]
            if isinstance(value, Tensor) and not torch.isfinite(value).all()
        ]
        if broken:
            raise UserError(f"step {self.step}: {broken[0]} is not finite, nothing was saved; lower optim.lr")
        return {
            "config": self.config.to_dict(),
            "method": self.method.state_dict(),
            "ema": self.ema.state_dict() if self.ema else None,
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "precision": self.fabric.strategy.precision.state_dict(),
            "random": random_state(),
            "num_processes": self.processes.count,
            "log": {"sums": dict(self._sums), "steps": self._summed_steps},
            "evaluations": self.validation.history if self.validation else [],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Takes up a checkpoint's state.

        Raises:
            UserError: it belongs to other networks.
        """
        try:
            self.method.load_state_dict(state["method"])
            if self.ema:
                self.ema.load_state_dict(state["ema"] or state["method"])
            for name, optimizer in self.optimizers.items():
                groups = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
                optimizer.load_state_dict(state["optimizers"][name])
                for group, configured in zip(optimizer.param_groups, groups, strict=True):
                    group.update(configured)  # the config's settings, which `--resume` may have changed
        except (RuntimeError, KeyError, ValueError) as error:
            last = str(error).strip().splitlines()[-1].strip()
            raise UserError(
                f"the checkpoint does not fit the config's networks ({last}); use a new --run-dir"
            ) from None
        if state["precision"]:
            self.fabric.strategy.precision.load_state_dict(state["precision"])
        self.step = state["step"]
        self._sums = {key: self.fabric.to_device(value) for key, value in state["log"]["sums"].items()}
        self._summed_steps = state["log"]["steps"]
        cuda = state["random"]["cuda"][:1] * len(state["random"]["cuda"])  # all devices draw what the first one does
        restore_random_state(state["random"] | {"cuda": cuda})
        if self.validation:
            settings = {"settings": self.validation.settings}  # of checkpoints from before they were kept
            self.validation.history = [settings | entry for entry in state.get("evaluations", [])]
            if self.validation.is_out_of_patience:
                self.last_step = self.step

    def _evaluate(self, run_dir: Path) -> None:
        """Scores the generators in the first process; all need the scores, for the rate and the end may follow them."""
        assert self.validation is not None
        validation = self.validation

        def score() -> list[dict[str, Any]]:
            if self.monitor.evaluate(self.step):
                write_checkpoint(run_dir / BEST_FILE, self.step, self._state())
            return validation.history

        validation.history = self.processes.on_first(score)
        if validation.is_out_of_patience:
            self.last_step = self.step

    def _draw(self, run_dir: Path) -> None:
        self.monitor.draw_samples(self.step)
        plot_losses(run_dir)

    def _require_equal(self) -> None:
        state = [torch.get_rng_state(), *tensors_in(self.method.state_dict())]
        self.processes.require_equal("weights or random streams", state)

    def _factor(self, step: int) -> float:
        return self.schedule.factor(step, self.validation.values if self.validation else ())

    def _batches(self, last_step: int) -> Iterator[dict[str, Tensor]]:
        """This process's shares of the batches, up to the step before `last_step`."""
        data, train, processes = self.config.data, self.config.train, self.processes
        turns = self.method.batches_per_step
        numbers = SampleNumbers(
            range(self.step * turns, last_step * turns),
            data.batch_size,
            train.num_micro_batches,
            processes.rank,
            processes.count,
        )
        size = self.stream.samples_per_step // processes.count
        loaded = batches(self.stream, size, numbers, data.num_workers, self.fabric.device.type == "cuda")
        while (batch := processes.together(lambda: next(loaded, None))) is not None:
            yield batch

    def _is_due(self, every_steps: int) -> bool:
        return self.step % every_steps == 0 or self.step == self.last_step

    def _read_metrics(self, seconds: float) -> dict[str, float]:
        """Means since the last call, as plain numbers.

        Raises:
            UserError: a loss was not finite meanwhile.
        """
        steps = self._timed_steps
        for player in dict.fromkeys(player.name for player in self.players):
            start = f"loss/{player}/"
            sums = {key.removeprefix(start): value for key, value in self._sums.items() if key.startswith(start)}
            self.updates.check_finite(player, sums, self.step)
        metrics = {key: (value / self._summed_steps).item() for key, value in self._sums.items()}
        metrics["epoch"] = (self.step - 1) // self.schedule.steps_per_epoch
        metrics["lr"] = self.config.optim.lr * self._factor(self.step - 1)
        metrics["time/seconds_per_step"] = seconds / steps
        metrics["time/images_per_second"] = steps * self.stream.samples_per_step / seconds
        metrics["memory/peak_mib"] = self.processes.largest(peak_memory_mib(self.fabric.device))
        metrics |= to_numbers(self._health)
        self._sums, self._summed_steps, self._timed_steps, self._health = {}, 0, 0, {}
        return metrics
