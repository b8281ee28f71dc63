"""Scores a run's generators while it trains, by the same steps as cut-test and cut-eval."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from cut.config import RunConfig
from cut.data.evaluation_set import (
    EvaluationSet,
    empty_folder,
    evaluation_set,
    noise_evaluation_set,
    require_own_pictures,
)
from cut.data.images import evenly_chosen, list_images, pair_name
from cut.data.stream import SampleStream
from cut.errors import UserError, listed
from cut.inference.sample import draw_images
from cut.inference.translate import plan_jobs, run_jobs
from cut.methods.base import Method
from cut.metrics.names import NEEDS_FEATURES, is_higher_better, metric_of
from cut.runtime.seeding import seed_all
from cut.scoring.evaluator import Evaluator
from cut.scoring.scoring_files import ScoringFiles
from cut.storage.files import real_path, write_json

Scores = dict[str, float]
FOLDER = "evaluation"
_SEED = 0  # of methods that draw at test time: that of cut-test, and the same for every evaluation
_SHOWN = 24  # pictures that evaluation.json names
_DECIDE = ("split", "num_images", "features", "inception_weights", "palette", "segmenter")  # what a score means


class Validation:
    """Translates the pictures of `eval` and scores them; `history` is part of the run's state.

    Args:
        config: of the run, with `eval`.
        stream: of the training samples, which a method that draws from noise is compared with.
        fabric: the device; precision 32-true, as cut-test has it by default.
        num_steps: of an interval between two evaluations.
    """

    def __init__(self, config: RunConfig, stream: SampleStream, fabric: Fabric, num_steps: int):
        assert config.eval is not None
        self.config, self.stream, self.fabric, self.every_steps = config.eval, stream, fabric, num_steps
        self.data = config.data
        self.settings = {"decisive": self.config.decisive} | {key: getattr(self.config, key) for key in _DECIDE}
        # {"step": ..., "scores": {generator: {name: value}}, "settings": ...}, oldest first
        self.history: list[dict[str, Any]] = []

    def open(self, run_dir: Path, method: Method) -> Scores:
        """Lays out the pictures in `run_dir/evaluation` and scores the untranslated inputs, which finds every mistake.

        Returns:
            The scores of the inputs; empty where the method draws from noise or they compare with nothing.

        Raises:
            UserError: pictures, a feature network or a palette are missing or do not fit the metrics.
        """
        self.folder = run_dir / FOLDER
        pairwise = [name for name in self.config.metrics if name not in NEEDS_FEATURES]
        if method.samples_from_noise and pairwise:
            raise UserError(f"eval.metrics: {pairwise[0]} compares pairs, and this method draws from noise; use fid")
        for generator in ("last", "ema"):
            require_own_pictures(self.folder / generator)
        self.pictures = self._pictures(method)
        self.evaluator = self._evaluator()
        if self.pictures.inputs is None:
            self.evaluator.score(self.pictures.targets)
            return {}
        return self._score(self.pictures.inputs)

    def score(self, method: Method, generator: str) -> Scores:
        """The scores of the method as it stands, set for inference; the pictures stay in `evaluation/<generator>`."""
        seed_all(_SEED)
        output = self.folder / generator
        empty_folder(output)
        if self.pictures.inputs is None:
            count = len(list_images(self.pictures.targets))
            for _ in draw_images(method, count, _SEED, self.fabric, self.config.batch_size, output):
                pass
            return self._score(output)
        jobs = plan_jobs(self.pictures.inputs, output, ".png")
        failures: list[str] = []
        batch_size = 1 if method.mixes_batches else self.config.batch_size
        for _ in run_jobs(method, jobs, self.data.channels["a"], self.fabric, batch_size, failures):
            pass
        if failures:
            raise UserError(f"{len(failures)} of {len(jobs)} pictures were left out: {listed(failures)}")
        return self._score(output)

    def add(self, step: int, scores: Mapping[str, Scores]) -> bool:
        """Takes an evaluation into the history; says whether it is the best so far."""
        copied = {name: dict(values) for name, values in scores.items()}
        self.history.append({"step": step, "scores": copied, "settings": self.settings})
        return self.best is self.history[-1]

    @property
    def values(self) -> list[float | None]:
        """What decides, of every evaluation: of the generator that inference uses, greater is better.

        None stands where the settings changed, with which scores before it do not compare.
        """
        found: list[float | None] = []
        for index, entry in enumerate(self.history):
            if index and entry["settings"] != self.history[index - 1]["settings"]:
                found.append(None)
            found.append(self._value(entry))
        return found

    @property
    def best(self) -> dict[str, Any] | None:
        """The first of the best evaluations, by the settings of today."""
        entries = self._comparable
        values = [self._value(entry) for entry in entries]
        values = [value if math.isfinite(value) or value > 0 else -math.inf for value in values]
        return entries[values.index(max(values))] if values else None

    @property
    def is_out_of_patience(self) -> bool:
        entries, best = self._comparable, self.best
        if not self.config.patience or best is None:
            return False
        return len(entries) - 1 - entries.index(best) >= self.config.patience

    def decisive(self, entry: Mapping[str, Any]) -> tuple[str, float]:
        """Name and value of the score that compares evaluations; not a number where it was not computed."""
        scores, decisive = entry["scores"].get("ema") or entry["scores"]["last"], entry["settings"]["decisive"]
        found = ((name, value) for name, value in scores.items() if metric_of(name) == decisive)
        return next(found, (decisive, math.nan))

    @property
    def _comparable(self) -> list[dict[str, Any]]:
        """The evaluations since the settings last changed, which `--resume` allows: others are of another kind."""
        first = len(self.history)
        while first and self.history[first - 1]["settings"] == self.settings:
            first -= 1
        return self.history[first:]

    def _value(self, entry: Mapping[str, Any]) -> float:
        name, value = self.decisive(entry)
        return value if is_higher_better(name) else -value

    def summary(self) -> str:
        """One line: the last and the best score."""
        last, best = self.history[-1], self.best
        assert best is not None
        name, value = self.decisive(last)
        return (
            f"{name}: last {value:.4g} (step {last['step']}), best {self.decisive(best)[1]:.4g} "
            f"(step {best['step']}, best.pt)"
        )

    def write_summary(self, run_dir: Path) -> None:
        """Writes evaluation.json: the last scores, the best, and where pictures lie, for who looks at the run."""
        last, best = self.history[-1], self.best
        assert best is not None
        scores = last["scores"]
        generator = "ema" if "ema" in scores else "last"
        name, value = self.decisive(best)
        told = {"step": best["step"], "metric": name, "value": _json_number(value)}
        told["higher_is_better"] = is_higher_better(name)
        content = {"step": last["step"], "generator": generator, "metrics": {}, "best": told}
        content["metrics"] = {name: _json_number(value) for name, value in scores[generator].items()}
        content["pictures"] = self._shown(run_dir, generator)
        write_json(run_dir / "evaluation.json", content, flush_to_disk=True)

    def _shown(self, run_dir: Path, generator: str) -> list[dict[str, str | None]]:
        inputs, targets = self.pictures.inputs, self.pictures.targets
        partners = {pair_name(path.relative_to(targets)): path for path in list_images(targets)} if inputs else {}
        sources = {pair_name(path.relative_to(inputs)): path for path in list_images(inputs)} if inputs else {}
        folder, shown = self.folder / generator, list[dict[str, str | None]]()
        for path in evenly_chosen(list_images(folder), _SHOWN):
            name = pair_name(path.relative_to(folder))
            beside = {"input": sources.get(name), "translation": path, "target": partners.get(name)}
            shown.append({"name": name, **{k: _relative(p, run_dir) for k, p in beside.items()}})
        return shown

    def _score(self, folder: Path) -> Scores:
        return {name: score.value for name, score in self.evaluator.score(folder).scores.items()}

    def _pictures(self, method: Method) -> EvaluationSet:
        if method.samples_from_noise:
            return noise_evaluation_set(self.stream, self.folder, self.config.num_images)
        return evaluation_set(self.data, self.folder, self.config.split, self.config.num_images)

    def _evaluator(self) -> Evaluator:
        config = self.config
        features, weights, segmenter = (
            Path(name) if name else None for name in (config.features, config.inception_weights, config.segmenter)
        )
        files = ScoringFiles(features, weights, config.palette, segmenter).arguments(config.metrics)
        files |= {"batch_size": config.batch_size, "device": str(self.fabric.device), "intervals": False}
        return Evaluator(self.pictures.targets, config.metrics, **files)


def _json_number(value: float) -> float | None:
    """JSON knows no infinity, the psnr of identical pictures."""
    return value if math.isfinite(value) else None


def _relative(path: Path | None, run_dir: Path) -> str | None:
    if path is None:
        return None
    return path.relative_to(run_dir).as_posix() if path.is_relative_to(run_dir) else str(real_path(path))
