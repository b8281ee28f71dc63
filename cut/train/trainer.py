"""The training loop. It knows players and terms, never a method's mathematics."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.optim import Optimizer

from cut.config import RunConfig
from cut.data.loader import SampleNumbers, batches
from cut.data.picture_list import PictureList
from cut.data.stream import SampleStream
from cut.errors import PictureError, UserError, reason
from cut.methods.base import Batch, Method, Player
from cut.runtime.fabric import build_fabric
from cut.runtime.memory import peak_memory_mib
from cut.runtime.processes import Processes
from cut.runtime.seeding import undisturbed
from cut.runtime.signals import Stopped, stop_on_signals
from cut.storage.checkpoint import BEST_FILE, INFERENCE_FILE, save_checkpoint, save_inference_file, write_checkpoint
from cut.train.ema import AveragedNetworks
from cut.train.evaluations import Evaluations
from cut.train.health import judge, to_numbers
from cut.train.log import RunLog
from cut.train.monitor import Monitor
from cut.train.observation import observe
from cut.train.plots import plot_losses
from cut.train.schedules import Schedule
from cut.train.state import RunningMeans, state_of
from cut.train.step import TrainingStep, tensors_in
from cut.train.stopwatch import Stopwatch
from cut.train.validation import Validation


class Trainer:
    """Runs a method from its current step to the last one.

    Args:
        config: Configuration of the run; written into every checkpoint.
        method: Method, on the right device already.
        optimizers: Optimizers by the players' names, set up by Fabric.
        schedule: Schedule of the learning rate, and the run's length.
        stream: Training samples.
        samples: Fixed samples that sample sheets show.
        fabric: Device and precision.
        processes: Processes that share the run.
        evaluations: Record of the scores while training, or None where nothing is scored.
    """

    def __init__(
        self,
        config: RunConfig,
        method: Method,
        optimizers: Mapping[str, Optimizer],
        schedule: Schedule,
        stream: SampleStream,
        samples: Sequence[dict[str, Any]],
        fabric: Fabric,
        processes: Processes,
        evaluations: Evaluations | None = None,
    ):
        self.config, self.method, self.optimizers, self.schedule = config, method, optimizers, schedule
        self.stream, self.samples, self.fabric, self.processes = stream, samples, fabric, processes
        rates = {n: config.optim.of(p.name).of(n).lr for p in method.players() for n in (p.name, *p.parts)}
        frozen = config.start.freeze_generator_steps if config.start else 0
        micro = config.train.num_micro_batches
        self.update_players = TrainingStep(method, optimizers, rates, fabric, processes, micro, frozen)
        self.evaluations = evaluations
        self.pictures: dict[str, PictureList] = {"train": {}, "eval": {}}  # what the run learns from and is scored on
        self.remarks: list[str] = []  # on how the run was resumed, for its log
        self.ema = AveragedNetworks(method, config.train.ema_decay) if config.train.ema_decay else None
        self.step = 0  # generator updates done
        limit = config.train.max_steps
        self.last_step = min(schedule.total_steps, limit) if limit else schedule.total_steps
        # The end of the first epoch and the middle of the run are worth a look, whatever the interval.
        self._landmarks = (schedule.steps_per_epoch, self.last_step // 2)
        self.losses = RunningMeans()  # of the terms since the last log, on the device
        self._health: dict[str, Tensor] = {}  # of the last logged step, on the device
        self.stopwatch = Stopwatch()
        self._timed_steps = 0  # steps that this process did since the last log
        self.monitor: Monitor | None = None

    @property
    def players(self) -> tuple[Player, ...]:
        """The method's players in the order of their updates."""
        return self.update_players.players

    def fit(self, run_dir: Path) -> None:
        """Trains to the last step; logs, draws samples, scores and saves on the way.

        Raises:
            UserError: A loss is not finite, a picture cannot be used, or a file cannot be written.
            Stopped: SIGINT or SIGTERM came; the run is saved.
        """
        train, processes = self.config.train, self.processes
        self._require_equal()
        loggers = train.loggers or []
        is_wanted = train.tensorboard or "tensorboard" in loggers
        own = run_dir if processes.is_first else None
        log = RunLog(own, self.step, self.last_step, is_wanted, loggers, self.config.to_dict())
        for remark in self.remarks:
            log.note(self.step, remark)
        try:
            processes.on_first(lambda: self._watch(run_dir, log))
            with stop_on_signals() as stop:
                self.stopwatch.lap()
                for batch in self.batches(self.last_step):
                    self.train_step(batch)
                    log.tick()
                    self._look(run_dir, log)
                    signum = int(processes.largest(stop.signum or 0))  # whichever process was asked to stop
                    with self.stopwatch.paused():
                        if self._is_due(train.checkpoint_every_steps) or signum:
                            self.save(run_dir)
                    if signum and self.step < self.last_step:
                        at = f"stopped and saved at step {self.step}; the same command resumes from there"
                        raise Stopped(signum, at)
                    if self.step >= self.last_step:  # also where it came nearer on the way
                        break
        except PictureError as error:
            try:
                self.save(run_dir)  # the picture can be mended, and nothing need be done again
            except UserError as unsaved:
                raise processes.tell_once(PictureError(f"{error}; the run could not be saved: {unsaved}")) from None
            raise
        finally:
            log.close()

    def train_step(self, batch: Batch) -> None:
        """Updates every player once per turn.

        Args:
            batch: This process's share of the batch.

        Raises:
            UserError: A loss is not finite; nothing of that player was updated.
        """
        self.method.progress = self.step / self.schedule.total_steps
        try:
            terms, pieces = self.update_players(self.seen(batch), self.step, self._lr_factor(self.step))
        except (RuntimeError, ValueError) as error:
            if self.step or isinstance(error, UserError):
                raise
            # The very first step: the settings do not fit each other, or the machine.
            raise UserError(
                f"the first step failed ({reason(error)}); the networks may not fit data.crop_px, or the memory the "
                "batch: try another data.crop_px, discriminator.num_layers, data.batch_size or base_channels"
            ) from error
        self.losses.add_step(
            (f"loss/{player.name}/{name}", term)
            for player, own in zip(self.players, terms, strict=True)
            for name, term in own.items()
        )
        self._timed_steps += 1
        self.step += 1
        if self._is_due(self.config.train.log_every_steps):
            self._health = judge(self.method, pieces, self.fabric, self.processes)
        if self.ema:
            self.ema.update(self.method, self.step)

    def batches(self, last_step: int) -> Iterator[dict[str, Tensor]]:
        """This process's shares of the batches, up to the step before `last_step`.

        Before the first batch of a new run the method observes the training data, where it wants to, after their
        colours are measured, where they are to be matched.
        """
        if self.step == 0:
            observe(self)
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

        def load() -> dict[str, Tensor] | None:
            with self.stopwatch.waiting():
                return next(loaded, None)

        while (batch := processes.together(load)) is not None:
            yield batch

    def save(self, run_dir: Path) -> Path:
        """Writes a checkpoint from which the run continues bit for bit, and the inference file.

        Raises:
            UserError: A weight is not finite, the processes do not hold the same weights, or a file cannot be written.
        """
        self._require_equal()
        return self.processes.on_first(lambda: self._write(run_dir))

    def _write(self, run_dir: Path) -> Path:
        state = state_of(self)
        inference = self.method.inference_modules() | (self.ema.networks if self.ema else {})
        save_inference_file(run_dir / INFERENCE_FILE, inference, state["config"], self.step)
        return save_checkpoint(run_dir / "checkpoints", self.step, state, self.config.train.keep_checkpoints)

    def seen(self, batch: Batch) -> Batch:
        """A batch on the device, as the method sees it."""
        return self.method.matched(self.fabric.to_device(batch))

    def _watch(self, run_dir: Path, log: RunLog) -> None:
        """Gets ready to look at the run; in the first process, because elsewhere the device would be another's."""
        validation = None
        if self.evaluations:
            with undisturbed():  # networks of the scores are made here, and draw their first weights
                fabric = build_fabric(self.fabric.device.type, "32-true")
                validation = Validation(self.config, self.stream, fabric, run_dir, self.method)
                baseline = validation.baseline()
            if baseline and self.step == 0:
                log.scores(0, {"input": baseline})
        self.monitor = Monitor(
            self.method,
            self.ema,
            self.samples,
            self.fabric,
            run_dir,
            log,
            self.evaluations,
            validation,
            getattr(self.config.data, "show_bands", None),
        )

    def _look(self, run_dir: Path, log: RunLog) -> None:
        """Logs, draws and scores what is due; time for the latter two does not count as training."""
        train = self.config.train
        if self._is_due(train.log_every_steps):
            log.metrics(self.step, self.read_metrics())
        with self.stopwatch.paused():
            if self._is_due(train.sample_every_steps) or self.step in self._landmarks:
                self.processes.on_first(lambda: self._draw(run_dir))
            if self.evaluations and self._is_due(self.evaluations.every_steps):
                self._evaluate(self.evaluations, run_dir)
        if self.step == self.last_step and self._timed_steps:  # the scores have brought the end nearer
            log.metrics(self.step, self.read_metrics())

    def _draw(self, run_dir: Path) -> None:
        assert self.monitor is not None
        self.monitor.draw_samples(self.step)
        plot_losses(run_dir)

    def _evaluate(self, evaluations: Evaluations, run_dir: Path) -> None:
        """Scores the generators in the first process; all need the scores, because the rate and the end may follow
        them."""

        def score() -> list[dict[str, Any]]:
            assert self.monitor is not None
            if self.monitor.evaluate(self.step):
                write_checkpoint(run_dir / BEST_FILE, self.step, state_of(self))
            return evaluations.history

        evaluations.history = self.processes.on_first(score)
        if evaluations.is_out_of_patience:
            self.last_step = self.step

    def _require_equal(self) -> None:
        state = [torch.get_rng_state(), *tensors_in(self.method.state_dict())]
        self.processes.require_equal("weights or random streams", state)

    def _lr_factor(self, step: int) -> float:
        return self.schedule.factor(step, self.evaluations.values if self.evaluations else ())

    def _is_due(self, every_steps: int) -> bool:
        return self.step % every_steps == 0 or self.step == self.last_step

    def read_metrics(self) -> dict[str, float]:
        """Means since the last call, as plain numbers.

        Raises:
            UserError: A loss was not finite meanwhile.
        """
        for player in dict.fromkeys(player.name for player in self.players):
            start = f"loss/{player}/"
            own = {k.removeprefix(start): value for k, value in self.losses.sums.items() if k.startswith(start)}
            self.update_players.check_finite(player, own, self.step)
        metrics = {key: value.item() for key, value in self.losses.means().items()}
        steps, (seconds, loading) = self._timed_steps, self.stopwatch.lap()
        metrics["epoch"] = (self.step - 1) // self.schedule.steps_per_epoch
        metrics["lr"] = self.config.optim.lr * self._lr_factor(self.step - 1)
        metrics["time/seconds_per_step"] = seconds / steps
        metrics["time/images_per_second"] = steps * self.stream.samples_per_step / seconds
        metrics["time/loading_share"] = loading / seconds
        metrics["memory/peak_mib"] = self.processes.largest(peak_memory_mib(self.fabric.device))
        metrics |= to_numbers(self._health)
        self.losses.reset()
        self._timed_steps, self._health = 0, {}
        return metrics
