"""Looks at a run while it trains: sample sheets and scores. Nothing here changes the run."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from cut.data.transforms import to_picture
from cut.errors import UserError, reason
from cut.inference.sheet import as_colours, write_sheet
from cut.methods.base import Method
from cut.runtime.seeding import undisturbed
from cut.storage.written import list_beside
from cut.train.ema import AveragedNetworks
from cut.train.evaluations import Evaluations, Scores
from cut.train.health import output_figures, signs_of_collapse, worst_figures
from cut.train.log import RunLog
from cut.train.run_files import SHEETS
from cut.train.validation import Validation

# A training of days does not end because of a test picture: one that is broken or gone, or too large for the memory.
_PASSED_OVER = (UserError, OSError, torch.OutOfMemoryError)


class Monitor:
    """Draws and scores.

    Args:
        method: Method that is trained.
        ema: Its averaged networks, where the run keeps them.
        samples: Fixed samples that sample sheets show.
        fabric: Device and precision of the training.
        run_dir: Run directory.
        log: Log of the run.
        evaluations: Record of the scores, or None.
        validation: What scores, or None.
        shown: Numbers of the bands, from 1, that sheets show of more than three.
    """

    def __init__(
        self,
        method: Method,
        ema: AveragedNetworks | None,
        samples: Sequence[dict[str, Any]],
        fabric: Fabric,
        run_dir: Path,
        log: RunLog,
        evaluations: Evaluations | None,
        validation: Validation | None,
        shown: Sequence[int] | None = None,
    ):
        self.method, self.ema, self.samples, self.fabric = method, ema, samples, fabric
        self.run_dir, self.log, self.evaluations, self.validation = run_dir, log, evaluations, validation
        self.shown = shown
        list_beside(run_dir / SHEETS)

    def draw_samples(self, step: int) -> None:
        """Draws the step's sample sheet, and warns where its pictures show a collapse."""
        path = self.run_dir / SHEETS / f"step_{step:08d}.png"
        sheet, figures = draw_sheet(self.method, self.ema, self.samples, self.fabric, path, self.shown)
        self.log.image(step, "samples", sheet)
        if figures:
            self.log.record(step, figures)
            for sign in signs_of_collapse(figures):
                self.log.warn(step, f"{sign}; the run may have collapsed: look at its sample sheets")

    def evaluate(self, step: int) -> bool:
        """Scores the current generator, `last`, and its average, `ema`, where the run keeps one.

        Returns:
            Whether it is the best evaluation so far.
        """
        assert self.evaluations is not None and self.validation is not None
        scores: dict[str, Scores] = {}
        try:
            for name in ("last", "ema") if self.ema else ("last",):
                with as_at_inference(self.method, self.ema if name == "ema" else None):
                    scores[name] = self.validation.score(self.method, name)
        except _PASSED_OVER as error:
            self.log.warn(step, f"not evaluated: {reason(error)}")
            return False
        is_best = self.evaluations.add(step, scores)
        self.log.scores(step, scores)
        try:
            self.validation.write_summary(self.evaluations)
        except _PASSED_OVER as error:
            self.log.warn(step, f"evaluation.json is not written: {error}")
        if self.evaluations.is_out_of_patience:
            self.log.say(
                f"step {step}: no better for {self.evaluations.config.patience} evaluations; the run ends here"
            )
        return is_best


def draw_sheet(
    method: Method,
    ema: AveragedNetworks | None,
    samples: Sequence[dict[str, Any]],
    fabric: Fabric,
    path: Path,
    shown: Sequence[int] | None = None,
) -> tuple[np.ndarray, dict[str, float]]:
    """Writes the sample sheet as PNG.

    Returns:
        The sheet, `(H, W, 3)` uint8, and health figures of the pictures on it.
    """
    rows: list[tuple[str, dict[str, np.ndarray]]] = []
    with as_at_inference(method, ema), fabric.autocast():
        for sample in samples:
            batch = {k: v[None] for k, v in sample.items() if isinstance(v, Tensor) and k != "target"}
            rows.append((sample["name"], _as_pictures(method.visuals_on_disk(fabric.to_device(batch)))))
        rows += [(name, _as_pictures(images)) for name, images in method.further_visuals().items()]
    outputs = [[pictures[column] for _, pictures in rows if column in pictures] for column in method.output_columns]
    inputs = [to_picture(sample["real_a"]) for sample in samples if "real_a" in sample]
    for (_, pictures), sample in zip(rows, samples, strict=False):
        pictures |= {"target": to_picture(sample["target"])} if "target" in sample else {}
    columns = list(dict.fromkeys(column for _, pictures in rows for column in pictures))
    looks = [{column: as_colours(picture, shown) for column, picture in p.items()} for _, p in rows]
    sheet = write_sheet(path, columns, [[look.get(c) for c in columns] for look in looks], [n for n, _ in rows])
    return sheet, worst_figures([output_figures(found, inputs) for found in outputs if found])


def _as_pictures(images: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return {label: to_picture(image[0]) for label, image in images.items()}


@contextmanager
def as_at_inference(method: Method, ema: AveragedNetworks | None) -> Iterator[None]:
    """Inside, the method is as `cut-test` would run it, with averaged networks where there are any."""
    method.prepare_inference()
    try:
        with ema.applied(method) if ema else nullcontext(), torch.set_grad_enabled(method.needs_grad):
            with torch.inference_mode(not method.needs_grad), undisturbed():
                yield
    finally:
        method.train()
