"""Scores a run's generators while it trains, by the same steps as cut-test and cut-eval."""

import os
from collections.abc import Sequence
from pathlib import Path

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
from cut.data.numbers import Bands, suffix_for
from cut.data.stream import SampleStream
from cut.errors import UserError, listed
from cut.inference.request import Request, several
from cut.inference.sample import draw_images, plan_draws
from cut.inference.translate import plan_jobs, run_jobs
from cut.methods.base import Method
from cut.metrics.names import (
    NEEDS_COLOURS,
    NEEDS_FEATURES,
    NEEDS_OUTPUTS,
    NEEDS_PAIRS,
    NUM_OUTPUTS,
    READS_FEATURES,
)
from cut.scoring.evaluator import Evaluator
from cut.scoring.find_pictures import find_pictures
from cut.scoring.scoring_files import ScoringFiles
from cut.scoring.seen_features import require_unseen
from cut.storage.files import write_json
from cut.train.evaluations import Evaluations, Scores

FOLDER = "evaluation"
_SEED = 0  # of methods that draw at test time: that of cut-test, and the same for every evaluation
_SEVERAL = "_outputs"  # ends the name of the folder that has several outputs of each picture
_NOTE = "each picture was translated with one random style, the same at every evaluation"
_SHOWN = 24  # pictures that evaluation.json names


class Validation:
    """Translates the pictures of `eval` and scores them.

    Args:
        config: Configuration of the run, with `eval`.
        stream: Training samples, which a method that draws from noise is compared with.
        fabric: Device; precision 32-true, as cut-test has it by default.
        run_dir: Run directory; pictures go into its folder `evaluation`.
        method: Method that is trained.

    Raises:
        UserError: Pictures, a feature network or a palette are missing or do not fit the metrics.
    """

    def __init__(self, config: RunConfig, stream: SampleStream, fabric: Fabric, run_dir: Path, method: Method):
        assert config.eval is not None
        self.config, self.data, self.stream, self.fabric = config.eval, config.data, stream, fabric
        self.run_dir, self.folder = run_dir, run_dir / FOLDER
        self.seen_features = getattr(config.discriminator, "seen_features", None)
        self.note = _NOTE if "style" in method.inputs else None
        if not self.note and (needy := self._metrics(of_several=True)):
            raise UserError(
                f"eval.metrics: {needy[0]} compares several outputs of a picture, and {config.method.name} gives one; "
                "leave it out, or take a method with styles (munit, drit)"
            )
        pairwise = [name for name in self.config.metrics if name not in NEEDS_FEATURES]
        if "image" not in method.inputs and pairwise:
            raise UserError(f"eval.metrics: {pairwise[0]} compares pairs, and this method draws from noise; use fid")
        made = config.data.bands["b"].count
        if made not in (1, 3) and (needy := [name for name in self.config.metrics if name in NEEDS_COLOURS]):
            raise UserError(
                f"eval.metrics: {needy[0]} needs 1 or 3 channels, and the target domain has {made}; leave it out"
            )
        for generator in ("last", "ema", f"last{_SEVERAL}", f"ema{_SEVERAL}"):
            require_own_pictures(self.folder / generator)
        self.pictures = self._pictures(method)
        if self.pictures.inputs and (of_pairs := [name for name in self.config.metrics if name in NEEDS_PAIRS]):
            self._require_pairs(self.pictures.inputs, of_pairs)
        self.evaluator = self._evaluator()

    def _require_pairs(self, inputs: Path, metrics: Sequence[str]) -> None:
        try:
            find_pictures(inputs, self.pictures.targets, metrics)
        except UserError as error:
            raise UserError(
                f"eval.metrics: {error}: --set 'eval.metrics=[fid]' does, and --set eval=null scores nothing"
            ) from None

    def baseline(self) -> Scores:
        """Scores of the untranslated inputs, which finds every mistake; none where the method draws from noise, or the
        domains hold other things, such as other numbers of bands."""
        if self.pictures.inputs is None or not _are_alike(*self.data.bands.values()):
            self.evaluator.score(self.pictures.targets)
            return {}
        return self._score(self.pictures.inputs)

    def score(self, method: Method, generator: str) -> Scores:
        """The scores of the method as it stands, set for inference; the pictures stay in `evaluation/<generator>`."""
        output = self.folder / generator
        if self.pictures.inputs is None:
            empty_folder(output)
            draws = plan_draws(output, len(list_images(self.pictures.targets)), ".png")
            for _ in draw_images(method, draws, _SEED, self.fabric, self.config.batch_size):
                pass
            return self._score(output)
        made = self.data.bands["b"]
        self._translate(method, self.pictures.inputs, output, Request(seed=_SEED, made=made))
        scores = self._score(output)
        if self._metrics(of_several=True):
            outputs = self.folder / f"{generator}{_SEVERAL}"
            request = Request(seed=_SEED, outputs=several(NUM_OUTPUTS), made=made)
            self._translate(method, self.pictures.inputs, outputs, request)
            scores |= self._score(outputs, of_several=True)
        return scores

    def _translate(self, method: Method, inputs: Path, output: Path, request: Request) -> None:
        empty_folder(output)
        jobs = plan_jobs(inputs, output, suffix_for(request.made), request.outputs, request.made)
        failures: list[str] = []
        bands, batch_size = self.data.bands["a"], self.config.batch_size
        for _ in run_jobs(method, jobs, bands, self.fabric, batch_size, failures, request):
            pass
        if failures:
            raise UserError(f"{len(failures)} of {len(jobs)} pictures were left out: {listed(failures)}")

    def write_summary(self, evaluations: Evaluations) -> None:
        """Writes evaluation.json: the last scores, the best, and where pictures lie, for whoever looks at the run."""
        content = evaluations.content()
        content["pictures"] = self._shown(content["generator"])
        content |= {"note": self.note} if self.note else {}
        write_json(self.run_dir / "evaluation.json", content, flush_to_disk=True)

    def _shown(self, generator: str) -> list[dict[str, str | None]]:
        inputs, targets = self.pictures.inputs, self.pictures.targets
        partners = {pair_name(path.relative_to(targets)): path for path in list_images(targets)} if inputs else {}
        sources = {pair_name(path.relative_to(inputs)): path for path in list_images(inputs)} if inputs else {}
        folder, shown = self.folder / generator, list[dict[str, str | None]]()
        for path in evenly_chosen(list_images(folder), _SHOWN):
            name = pair_name(path.relative_to(folder))
            beside = {"input": sources.get(name), "translation": path, "target": partners.get(name)}
            shown.append({"name": name, **{k: _relative(p, self.run_dir) for k, p in beside.items()}})
        return shown

    def _score(self, folder: Path, of_several: bool = False) -> Scores:
        metrics = self._metrics(of_several)
        if not metrics:
            return {}
        return {name: score.value for name, score in self.evaluator.score(folder, metrics).scores.items()}

    def _metrics(self, of_several: bool) -> list[str]:
        """Those of several outputs of each picture, or the others."""
        return [name for name in self.config.metrics if (name in NEEDS_OUTPUTS) == of_several]

    def _pictures(self, method: Method) -> EvaluationSet:
        if "image" not in method.inputs:
            return noise_evaluation_set(self.stream, self.folder, self.config.num_images)
        return evaluation_set(self.data, self.folder, self.config.split, self.config.num_images)

    def _evaluator(self) -> Evaluator:
        config = self.config
        features, weights, segmenter = (
            Path(name) if name else None for name in (config.features, config.inception_weights, config.segmenter)
        )
        if set(config.metrics) & set(READS_FEATURES):
            require_unseen("eval.features", features, self.seen_features)
        files = ScoringFiles(features, weights, config.palette, segmenter).arguments(config.metrics)
        files |= {"batch_size": config.batch_size, "device": str(self.fabric.device), "intervals": False}
        files |= {"limits": self.data.bands["b"].limits}
        return Evaluator(self.pictures.targets, config.metrics, **files)


def _are_alike(source: Bands, target: Bands) -> bool:
    """Whether pictures of two domains can be compared."""
    are_colours = source.are_of_pictures and target.are_of_pictures
    return source.limits == target.limits and (are_colours or source.count == target.count)


def _relative(path: Path | None, run_dir: Path) -> str | None:
    if path is None:
        return None
    return path.relative_to(run_dir).as_posix() if path.is_relative_to(run_dir) else os.path.abspath(path)
