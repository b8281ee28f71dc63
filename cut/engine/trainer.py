"""The training loop. It knows players and terms, never a method's mathematics."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from cut.config import RunConfig
from cut.data.loader import batches
from cut.data.stream import SampleStream
from cut.engine.checkpoint import BEST_FILE, INFERENCE_FILE, save_checkpoint, save_inference_file, write_checkpoint
from cut.engine.ema import AveragedNetworks
from cut.engine.health import to_numbers
from cut.engine.logs import RunLog, peak_memory_mib
from cut.engine.monitor import Monitor
from cut.engine.plots import plot_losses
from cut.engine.schedules import Schedule
from cut.engine.seeding import random_state, restore_random_state
from cut.engine.signals import Stopped, StopRequest, stop_on_signals
from cut.engine.validation import Validation
from cut.errors import PictureError, UserError
from cut.methods.base import Batch, Method, Player


class Trainer:
    """Runs a method from its current step to the last one.

    Args:
        config: of the run; written into every checkpoint.
        method: on the right device already.
        optimizers: one per player, by name, set up by Fabric.
        schedule: of the learning rate, and the run's length.
        stream: of the training samples.
        samples: what sample sheets show.
        fabric: device and precision.
        validation: what is scored while training, or None.
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
    ):
        self.config, self.method, self.optimizers, self.schedule = config, method, optimizers, schedule
        self.stream, self.fabric, self.validation = stream, fabric, validation
        self.players = method.players()
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
        train = self.config.train
        log = RunLog(run_dir, self.step, self.last_step, train.tensorboard)
        try:
            self.monitor.open(run_dir, log, self.step)
            with stop_on_signals() as stop:
                clock = time.perf_counter()
                for batch in self._batches(self.last_step):
                    self.train_step(batch)
                    log.tick()
                    if self._is_due(train.log_every_steps):
                        seconds = time.perf_counter() - clock
                        log.metrics(self.step, self._read_metrics(seconds))
                    pause = time.perf_counter()
                    if self._is_due(train.sample_every_steps) or self.step in self._landmarks:
                        self.monitor.draw_samples(self.step)
                        plot_losses(run_dir)
                    if self.validation and self._is_due(self.validation.every_steps):
                        self._evaluate(run_dir)
                        if self.step == self.last_step and self._timed_steps:  # the end has come nearer
                            log.metrics(self.step, self._read_metrics(pause - clock))
                    if self._is_due(train.checkpoint_every_steps) or stop.signum:
                        self.save(run_dir)
                    self._stop_if_asked(stop)
                    if self.step >= self.last_step:  # also where it came nearer on the way
                        break
                    # Drawing and saving do not count as training time.
                    clock = time.perf_counter() if self._timed_steps == 0 else clock + time.perf_counter() - pause
        except PictureError:
            self.save(run_dir)  # the picture can be mended, and nothing need be done again
            raise
        finally:
            log.close()

    def train_step(self, batch: Batch) -> None:
        """One update of every player.

        Raises:
            UserError: a loss is not finite; nothing of that player was updated.
        """
        try:
            self._update_players(self.fabric.to_device(batch))
        except (RuntimeError, ValueError) as error:
            if self.step or isinstance(error, UserError):
                raise
            # The very first step: the settings do not fit each other, or the machine.
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"the first step failed ({reason}); the networks may not fit data.crop_px, or the memory the batch: "
                "try another data.crop_px, discriminator.num_layers, data.batch_size or base_channels"
            ) from error
        self._summed_steps += 1
        self._timed_steps += 1
        self.step += 1
        if self.ema:
            self.ema.update(self.method, self.step)

    def _update_players(self, batch: Batch) -> None:
        factor = self._factor(self.step)
        with self.fabric.autocast():
            translated = self.method.translate(batch)
        for player in self.players:
            optimizer = self.optimizers[player.name]
            for group in optimizer.param_groups:
                group["lr"] = self.config.optim.lr * factor
            with _only_trainable(self.method, player.networks):
                with self.fabric.autocast():
                    terms = player.terms(translated)
                loss = torch.stack(list(terms.values())).sum()
                self._check_finite(player, terms, loss)
                optimizer.zero_grad()
                self.fabric.backward(loss)
                optimizer.step()
            for name, term in terms.items():
                key = f"loss/{player.name}/{name}"
                self._sums[key] = self._sums.get(key, 0.0) + term.detach() / self._turns[player.name]
        if (self.step + 1) % self.config.train.log_every_steps == 0 or self.step + 1 == self.last_step:
            self._health = self.monitor.judge(translated)

    def dry_run(self) -> str:
        """One step without a run directory; says what it took."""
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
        """Writes a checkpoint from which the run continues bit for bit, and the inference file."""
        state = self._state()
        inference = self.ema.networks if self.ema else self.method.inference_networks()
        save_inference_file(run_dir / INFERENCE_FILE, inference, state["config"], self.step)
        return save_checkpoint(run_dir / "checkpoints", self.step, state, self.config.train.keep_checkpoints)

    def _state(self) -> dict[str, Any]:
        """Everything that a checkpoint holds."""
        broken = [
            name
            for name, value in self.method.state_dict().items()
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
            reason = str(error).strip().splitlines()[-1].strip()
            raise UserError(
                f"the checkpoint does not fit the config's networks ({reason}); use a new --run-dir"
            ) from None
        if state["precision"]:
            self.fabric.strategy.precision.load_state_dict(state["precision"])
        self.step = state["step"]
        self._sums = {key: self.fabric.to_device(value) for key, value in state["log"]["sums"].items()}
        self._summed_steps = state["log"]["steps"]
        restore_random_state(state["random"])
        if self.validation:
            settings = {"settings": self.validation.settings}  # of checkpoints from before they were kept
            self.validation.history = [settings | entry for entry in state.get("evaluations", [])]
            if self.validation.is_out_of_patience:
                self.last_step = self.step

    def _evaluate(self, run_dir: Path) -> None:
        if self.monitor.evaluate(self.step):
            write_checkpoint(run_dir / BEST_FILE, self.step, self._state())
        if self.validation and self.validation.is_out_of_patience:
            self.last_step = self.step

    def _factor(self, step: int) -> float:
        return self.schedule.factor(step, self.validation.values if self.validation else ())

    def _batches(self, last_step: int) -> Iterator[dict[str, Tensor]]:
        pin = self.fabric.device.type == "cuda"
        size, workers = self.stream.samples_per_step, self.config.data.num_workers
        return batches(self.stream, size, self.step, last_step, workers, pin)

    def _is_due(self, every_steps: int) -> bool:
        return self.step % every_steps == 0 or self.step == self.last_step

    def _stop_if_asked(self, stop: StopRequest) -> None:
        if stop.signum and self.step < self.last_step:
            raise Stopped(stop.signum, f"stopped and saved at step {self.step}; the same command goes on from there")

    def _read_metrics(self, seconds: float) -> dict[str, float]:
        """Means since the last call, as plain numbers."""
        steps = self._timed_steps
        metrics = {key: (value / self._summed_steps).item() for key, value in self._sums.items()}
        metrics["epoch"] = (self.step - 1) // self.schedule.steps_per_epoch
        metrics["lr"] = self.config.optim.lr * self._factor(self.step - 1)
        metrics["time/seconds_per_step"] = seconds / steps
        metrics["time/images_per_second"] = steps * self.stream.samples_per_step / seconds
        metrics["memory/peak_mib"] = peak_memory_mib(self.fabric.device)
        metrics |= to_numbers(self._health)
        self._sums, self._summed_steps, self._timed_steps, self._health = {}, 0, 0, {}
        return metrics

    def _check_finite(self, player: Player, terms: dict[str, Tensor], loss: Tensor) -> None:
        if not torch.isfinite(loss):
            bad = [f"{name} {value.item()}" for name, value in terms.items() if not torch.isfinite(value)] or [
                "the sum"
            ]
            raise UserError(
                f"step {self.step + 1}: the loss of the {player.name} is not finite ({', '.join(bad)}); it was not "
                "updated and nothing was saved since the last checkpoint; lower optim.lr or train at 32-true precision"
            )


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
