"""Trains, translates and scores one run after the other, each by the program that a user would call."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cut.compare.contenders import Contender
from cut.compare.pace import with_equal_time
from cut.compare.programs import call, wait_for_others
from cut.compare.results import (
    BEST,
    costs_of,
    costs_of_test,
    outputs_json,
    remarks_of,
    require_best,
    require_same_runs,
    scores_of,
    test_json,
    training_list,
    transferred,
)
from cut.config import RunConfig
from cut.config.own_code import own_code
from cut.data.colour_transfer import training_colours, transfer_colours
from cut.data.evaluation_set import EvaluationSet, empty_folder
from cut.data.images import list_images
from cut.data.picture_list import changes_of_pictures
from cut.errors import UserError
from cut.metrics.names import NEEDS_OUTPUTS, NEEDS_PAIRS, NEEDS_PALETTE, NUM_OUTPUTS, READS_FEATURES, WHEREVER
from cut.storage.checkpoint import BEST_FILE
from cut.storage.files import read_json, write_json
from cut.storage.written import TRANSLATIONS, is_foreign
from cut.terminal import say

_READERS = {  # which metrics read an option of cut-eval
    "--features": frozenset(READS_FEATURES),
    "--inception-weights": frozenset(READS_FEATURES),
    "--palette": frozenset(NEEDS_PALETTE),
    "--segmenter": frozenset(NEEDS_PALETTE),
}


@dataclass(frozen=True)
class Outcome:
    """What one run came to: `scores` as cut-eval's JSON has them, and what it cost. `error` is all of a failed one,
    `remark` what a reader must know of the method."""

    name: str
    seed: int
    scores: dict[str, dict[str, Any]]
    costs: dict[str, float]
    error: str | None = None
    remark: str | None = None


@dataclass
class Runner:
    """Does the runs of a comparison, or takes up what is there of them.

    Args:
        output: folder of the comparison.
        pictures: what is translated and what it should look like.
        source: what the pictures are, as plain values: a result of other ones counts for nothing.
        metrics: names of the metrics.
        options: options of cut-eval with the files and palettes that metrics read.
    """

    output: Path
    pictures: EvaluationSet
    source: dict[str, Any]
    metrics: Sequence[str]
    options: Mapping[str, str]

    @property
    def _known(self) -> dict[str, Any]:
        """What any score depends on."""
        scoring = ["--no-intervals", "--metrics", ",".join(self.metrics), *_words(self.options)]
        return {"pictures": self.source, "scoring": scoring}

    def require_same_runs(self, contenders: Sequence[Contender], num_seeds: int) -> None:
        """Refuses to go on with runs that were begun with other settings; see `cut.compare.results`."""
        trained = [(c, seed) for seed in range(num_seeds) for c in contenders if c.is_trained]
        require_same_runs((self._run_dir(c, seed), c.config.model_copy(update={"seed": seed})) for c, seed in trained)

    def run(self, contender: Contender, seed: int) -> Outcome:
        """One contender with one seed.

        Raises:
            Stopped: by a signal; the same comparison goes on from there.
        """
        run_dir, config = self._run_dir(contender, seed), contender.config.model_copy(update={"seed": seed})
        result, settings = run_dir.with_name(f"{run_dir.name}.json"), contender.settings(f"seed={seed}")
        known = {"config": config.to_dict(), **self._known}
        if not contender.is_trained:  # so that other pictures make another result
            known["made_of"] = training_list(config)
        try:
            is_done = scores_of(result, known) is not None and (run_dir.is_dir() or not contender.is_trained)
            if not is_done and contender.is_trained:
                wait_for_others(run_dir)
                self._call("train", run_dir, *settings, "--run-dir", run_dir)
                known_now = {**known, "trained_on": training_list(config)}
                self._translate_and_score(run_dir, contender, known_now, "--run", run_dir)
            elif not is_done:
                self._translate_and_score(run_dir, contender, known, *settings)
            elif contender.is_trained and (
                changes := changes_of_pictures(read_json(result).get("trained_on"), training_list(config))
            ):
                say(f"  warning: {', '.join(changes)} since {run_dir} was trained; delete that to train it again")
            for remark in remarks_of(run_dir):
                say(f"  warning: {run_dir}: {remark}")
            costs = costs_of_test(run_dir) | (costs_of(run_dir) if contender.is_trained else {})
            note = read_json(test_json(run_dir)).get("remark") or config.method.remark
            return Outcome(contender.name, seed, scores_of(result, known) or {}, costs, remark=note)
        except UserError as error:
            return Outcome(contender.name, seed, {}, {}, str(error))

    def run_best(self, contender: Contender, seed: int) -> Outcome:
        """What best.pt of a finished run makes of the pictures, under a name of its own.

        Raises:
            Stopped: By a signal.
        """
        run_dir = self._run_dir(contender, seed)
        place, name = run_dir.with_name(f"{run_dir.name}{BEST}"), contender.best_title
        try:
            found = read_json(run_dir / "evaluation.json").get("best")
            step = found.get("step") if isinstance(found, dict) else None
            if not isinstance(step, int) or not (run_dir / BEST_FILE).is_file():
                raise UserError(f"{run_dir}: has no {BEST_FILE}; delete the folder to train again")
            config = contender.config.model_copy(update={"seed": seed})
            known = {"config": config.to_dict(), **self._known, "best": found}
            result = place.with_name(f"{place.name}.json")
            if scores_of(result, known) is None:
                require_best(run_dir, step, config.seed)
                self._translate_and_score(place, contender, known, "--checkpoint", run_dir / BEST_FILE)
            costs: dict[str, float] = {"steps": step}
            return Outcome(name, seed, scores_of(result, known) or {}, costs, remark=config.method.remark)
        except UserError as error:
            return Outcome(name, seed, {}, {}, str(error))

    def with_equal_time(self, contenders: Sequence[Contender], minutes: float) -> list[Contender]:
        """The contenders, each with the number of steps that takes `minutes` on this machine.

        Raises:
            UserError: One of them cannot be trained.
            Stopped: By a signal.
        """

        def train(contender: Contender, run_dir: Path) -> None:
            self._call("train", self.output / "pace", *contender.settings(), "--run-dir", run_dir)

        return with_equal_time(contenders, minutes, self.output, train)

    def baseline(self) -> dict[str, dict[str, Any]]:
        """The scores of the untranslated inputs; nothing where images are drawn from noise.

        Raises:
            UserError: they cannot be scored, and so no translation could, which has its input's name and size; better
                told now than after the first training.
            Stopped: by a signal.
        """
        result = self.output / "input.json"
        from_noise = self.pictures.inputs is None
        if scores_of(result, self._known) is None:
            folder = self.pictures.inputs or self.pictures.targets
            self._score(folder, result, self.output / "input", self._known)
        return {} if from_noise else scores_of(result, self._known) or {}

    def colour_transfer(self, config: RunConfig) -> dict[str, dict[str, Any]]:
        """The scores of the inputs after a colour transfer, which learns from a run's training pictures without
        training; nothing where there are no two domains, or they can no longer be read.

        Raises:
            Stopped: By a signal.
        """
        result, folder = transferred(self.output).with_suffix(".json"), transferred(self.output)
        known = {**self._known, "trained_on": training_list(config)}
        try:
            if self.pictures.inputs and scores_of(result, known) is None and (found := training_colours(config.data)):
                empty_folder(folder, TRANSLATIONS)
                transfer_colours(self.pictures.inputs, folder, *found)
                self._score(folder, result, folder, known)
        except UserError as error:
            say(f"  warning: no colour transfer: {error}")
        return scores_of(result, known) or {}

    def _run_dir(self, contender: Contender, seed: int) -> Path:
        return self.output / contender.name / f"seed_{seed}"

    def _translate_and_score(
        self, run_dir: Path, contender: Contender, known: dict[str, Any], *translator: Any
    ) -> None:
        """Translates with the run or the YAML that `translator`, arguments of cut-test, names, and scores: the results
        lie beside `run_dir`, under its name."""
        result = run_dir.with_name(f"{run_dir.name}.json")
        translated, several = run_dir.with_name(f"{run_dir.name}_pictures"), outputs_json(result)
        empty_folder(translated, TRANSLATIONS)  # of other pictures, which would be scored with these
        if self.pictures.inputs is None:
            what = ["--num-images", len(list_images(self.pictures.targets)), "--seed", 0]
        else:
            what = ["--input", self.pictures.inputs, "--target", self.pictures.targets, "--format", "png"]
        device = ["--accelerator", contender.config.train.accelerator]
        trusted = ["--allow-import"] if own_code(contender.config.to_dict()) else []  # it was imported to train
        translate = [*translator, *what, *device, *trusted, "--output"]
        further = {}
        if contender.takes_styles and (metrics := self._metrics(of_several=True)):
            empty_folder(several.with_suffix(""), TRANSLATIONS)
            self._call("test", run_dir, *translate, several.with_suffix(""), "--num-outputs", NUM_OUTPUTS)
            outputs = several.with_suffix("")
            further = self._evaluate(outputs, self.pictures.targets, several, run_dir, metrics)["generated"]["scores"]
        self._call("test", run_dir, *translate, translated, "--json", test_json(run_dir))
        self._score(translated, result, run_dir, known, further)

    def _score(
        self, folder: Path, result: Path, log: Path, known: dict[str, Any], further: Mapping[str, Any] | None = None
    ) -> None:
        """Writes cut-eval's JSON, with further scores, and with it what it is the result of."""
        content: dict[str, Any] = {}
        scores: dict[str, Any] = {}
        for title, target, metrics in self._references():
            content = self._evaluate(folder, target, result, log, metrics)
            scores |= {f"{name}{title}": score for name, score in content["generated"]["scores"].items()}
        content["generated"]["scores"] = {**scores, **(further or {})}
        write_json(result, {**content, **known})

    def _references(self) -> list[tuple[str, Path, list[str]]]:
        """What translations are compared with: the end of a score's name, a folder, and metrics.

        Where targets only have the style, content is compared with the input, and the style with the target.
        """
        metrics = self._metrics(of_several=False)
        if not self.pictures.has_style:
            return [("", self.pictures.targets, metrics)]
        assert self.pictures.inputs is not None, "what has a style has an input"
        of_style = [name for name in metrics if name not in NEEDS_PAIRS or name in WHEREVER]
        of_content = [name for name in metrics if name not in of_style]
        parts = (("[input]", self.pictures.inputs, of_content), ("[style]", self.pictures.targets, of_style))
        return [part for part in parts if part[2]]

    def _evaluate(self, folder: Path, target: Path, result: Path, log: Path, metrics: Sequence[str]) -> dict[str, Any]:
        """What cut-eval writes into `result`."""
        folders = ["--generated", folder, "--target", target]
        if not is_foreign(result):
            result.unlink(missing_ok=True)
        others = set(self.metrics) - set(metrics)  # what only they read is left out, what none reads is refused
        options = {o: v for o, v in self.options.items() if _READERS[o] & set(metrics) or not _READERS[o] & others}
        # The spread over seeds is what the table shows; intervals of single runs would take longer than their scores.
        scoring = ["--metrics", ",".join(metrics), *map("=".join, options.items()), "--no-intervals"]
        self._call("eval", log, *folders, "--json", result, *scoring)
        return read_json(result)

    def _metrics(self, of_several: bool) -> list[str]:
        """Those of several outputs of each picture, or the others."""
        return [name for name in self.metrics if (name in NEEDS_OUTPUTS) == of_several]

    def _call(self, program: str, run_dir: Path, *arguments: Any) -> None:
        """Runs a program in a process of its own; what it says goes into `<run>.log`.

        Raises:
            UserError: it failed, with its last line.
        """
        call(program, run_dir.with_name(f"{run_dir.name}.log"), arguments)


def _words(options: Mapping[str, str]) -> list[str]:
    return [word for option in options.items() for word in option]
