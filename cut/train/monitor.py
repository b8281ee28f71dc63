"""Looks at a run while it trains: sample sheets, health, scores. Nothing here changes the run."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from cut.data.transforms import to_picture
from cut.errors import UserError, reason
from cut.inference.sheet import write_sheet
from cut.methods.base import Method
from cut.runtime.seeding import undisturbed
from cut.train.ema import AveragedNetworks
from cut.train.health import discriminator_accuracy, output_figures, signs_of_collapse, worst_figures
from cut.train.log import RunLog
from cut.train.validation import Scores, Validation

# A training of days does not end for a test picture: one that is broken or gone, or too large for the memory.
_PASSED_OVER = (UserError, OSError, torch.OutOfMemoryError)


class Monitor:
    """Draws, judges and scores.

    Args:
        method: that is trained.
        ema: its averaged networks, where the run keeps them.
        samples: what sample sheets show.
        fabric: device and precision of the training.
        validation: what is scored, or None.
    """

    def __init__(
        self,
        method: Method,
        ema: AveragedNetworks | None,
        samples: Sequence[dict[str, Any]],
        fabric: Fabric,
        validation: Validation | None,
    ):
        self.method, self.ema, self.samples, self.fabric = method, ema, samples, fabric
        self.validation = validation

    def open(self, run_dir: Path, log: RunLog, step: int) -> None:
        """Gets ready to look at a run, and scores the untranslated inputs where it begins.

        Raises:
            UserError: what is asked for cannot be scored.
        """
        self.run_dir, self.log = run_dir, log
        with undisturbed():  # networks of the scores are made here, and draw their first weights
            baseline = self.validation.open(run_dir, self.method) if self.validation else {}
        if baseline and step == 0:
            log.scores(0, {"input": baseline})

    def draw_samples(self, step: int) -> None:
        """Draws the step's sample sheet, and warns where its pictures show a collapse."""
        sheet, figures = self.draw_sheet(self.run_dir / "samples" / f"step_{step:08d}.png")
        self.log.image(step, "samples", sheet)
        if figures:
            self.log.record(step, figures)
            for sign in signs_of_collapse(figures):
                self.log.warn(step, f"{sign}; the run may have collapsed: look at its sample sheets")

    def draw_sheet(self, path: Path) -> tuple[np.ndarray, dict[str, float]]:
        """Writes the sample sheet as PNG.

        Returns:
            The sheet, `(H, W, 3)` uint8, and health figures of the pictures on it.
        """
        rows, columns = [], []
        outputs: dict[str, list[np.ndarray]] = {column: [] for column in self.method.output_columns}
        inputs: list[np.ndarray] = []
        with self._inference(averaged=True), self.fabric.autocast():
            for sample in self.samples:
                batch = {k: v[None] for k, v in sample.items() if isinstance(v, Tensor) and k != "target"}
                images = self.method.visuals(self.fabric.to_device(batch))
                drawn = {k: to_picture(v[0]) for k, v in images.items()}
                for column in outputs.keys() & drawn.keys():
                    outputs[column].append(drawn[column])
                pictures: dict[str, np.ndarray | None] = {**drawn}
                inputs += [to_picture(sample[k]) for k in ("real_a",) if k in sample]
                columns = [*pictures, *(["target"] if any("target" in s for s in self.samples) else [])]
                pictures["target"] = to_picture(sample["target"]) if "target" in sample else None
                rows.append([pictures[column] for column in columns])
        sheet = write_sheet(path, columns, rows, [sample["name"] for sample in self.samples])
        return sheet, worst_figures([output_figures(found, inputs) for found in outputs.values() if found])

    def judge(self, translated: Any) -> dict[str, Tensor]:
        """Health figures of a step's images; they stay on the device, so that nothing waits for them."""
        with torch.no_grad(), undisturbed(), _fixed_statistics(self.method), self.fabric.autocast():
            return discriminator_accuracy(self.method.judgements(translated))

    def evaluate(self, step: int) -> bool:
        """Scores the current generator, `last`, and its average, `ema`, where the run keeps one.

        Returns:
            Whether it is the best evaluation so far.
        """
        assert self.validation is not None
        scores: dict[str, Scores] = {}
        try:
            for name in ("last", "ema") if self.ema else ("last",):
                with self._inference(averaged=name == "ema"):
                    scores[name] = self.validation.score(self.method, name)
        except _PASSED_OVER as error:
            self.log.warn(step, f"not evaluated: {reason(error)}")
            return False
        is_best = self.validation.add(step, scores)
        self.log.scores(step, scores)
        try:
            self.validation.write_summary(self.run_dir)
        except _PASSED_OVER as error:
            self.log.warn(step, f"evaluation.json is not written: {error}")
        if self.validation.is_out_of_patience:
            self.log.say(f"step {step}: no better for {self.validation.config.patience} evaluations; the run ends here")
        return is_best

    @contextmanager
    def _inference(self, averaged: bool) -> Iterator[None]:
        """Inside, the method is as `cut-test` would run it."""
        self.method.prepare_inference()
        with ExitStack() as stack:
            stack.callback(self.method.train)
            if averaged and self.ema:
                stack.enter_context(self.ema.applied(self.method))
            stack.enter_context(torch.inference_mode())
            stack.enter_context(undisturbed())
            yield


@contextmanager
def _fixed_statistics(method: nn.Module) -> Iterator[None]:
    """Inside, batch norm in training mode does not follow what it sees in its running averages."""
    norms = [m for m in method.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False  # torch then neither reads nor writes them
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
