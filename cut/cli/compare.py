"""cut-compare: trains, runs and scores several configs under one budget, and prints a table."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, cast

from cut.cli import parse, run
from cut.errors import UserError
from cut.terminal import say

if TYPE_CHECKING:
    from cut.compare.contenders import Contender
    from cut.config import SingleDataConfig
    from cut.data.evaluation_set import EvaluationSet

_MOST_MINUTES = 1_000_000  # two years
_METRICS, _METRICS_OF_SINGLE = "fid,kid,ssim", "ssim,swd"
_EXAMPLE = """\
examples:
  cut-compare --configs configs/methods/*.yaml --config configs/overlays/earth2map_64_cpu.yaml --output results/methods
  cut-compare --configs configs/quickstart.yaml configs/earth2map_cyclegan_cpu.yaml --steps 500 --output results/short
  cut-compare --configs configs/quickstart.yaml configs/earth2map_cyclegan_cpu.yaml --minutes 3 --output results/equal

Each run is trained by cut-train, translates the test pictures of its data with cut-test and is scored by cut-eval, all
in processes of their own, one after the other: all configs with the first seed, then with the next. After every run
there is a table in OUTPUT/table.md and, run by run, in OUTPUT/table.csv; OUTPUT/sheet.png shows pictures of all side by
side. The same command goes on where it was stopped, and scores again what is asked for with other metrics. A run that
fails is counted in the table; the others go on.

The YAML of a method that is not trained (Gatys, STROTSS, WCT2) is a row too: cut-test alone makes its pictures. Of two
single pictures (data.name: single) picture a is translated. What shows content (ssim) is then compared with the input,
and what shows style (swd, fid) with picture b: ssim[input], swd[style].

All configs are scored on the test pictures of the first one's data. Methods with styles (MUNIT, DRIT) translate each
with one random style, the same for every run, and with five for the metric diversity. s/iter is the median over the
logged steps, and memory the peak of the training process, or of the device on CUDA; they compare only if nothing else
ran beside them.

--minutes gives all the same time instead of the same number of steps: all take turns at 30 steps, twice, before the
first training; what was found is kept in OUTPUT/pace.json, so that the same command trains the same number of steps.
"""


def main(argv: list[str] | None = None) -> NoReturn:
    """Entry point of the console program `cut-compare`."""
    run("cut-compare", lambda: _main(_parse(argv)))


def _parse(argv: list[str] | None) -> argparse.Namespace:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("cut-compare", description=__doc__, epilog=_EXAMPLE, formatter_class=formatter)
    parser.add_argument("--configs", required=True, nargs="+", type=Path, metavar="FILE", help="the YAMLs, a row each")
    parser.add_argument(
        "--config",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="a YAML that goes over each of --configs; repeatable, a later one goes over an earlier one",
    )
    parser.add_argument(
        "--seeds", type=int, default=3, metavar="N", help="seeds 0 to N-1 of each (default: %(default)s)"
    )
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="where runs, pictures and tables go")
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--steps", type=int, metavar="N", help="generator updates of every run (default: its own length)"
    )
    length.add_argument(
        "--minutes",
        type=float,
        metavar="M",
        help="time of every training: each config is timed here first, and then has as many steps as fit into it",
    )
    parser.add_argument(
        "--best",
        action="store_true",
        help="score best.pt of each run too, in a row of its own; the configs need eval, honestly with split: val",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting of all; repeatable"
    )
    parser.add_argument(
        "--split", choices=("test", "val"), default="test", help="what is scored (default: %(default)s)"
    )
    parser.add_argument(
        "--metrics",
        metavar="LIST",
        help=f"of cut-eval (default: {_METRICS}; of two single pictures {_METRICS_OF_SINGLE})",
    )
    for name, what in (
        ("--features", "as of cut-eval: TorchScript network, or a name, in place of Inception"),
        ("--inception-weights", "as of cut-eval"),
        ("--palette", "as of cut-eval: the colours of the classes of label metrics"),
        ("--segmenter", "as of cut-eval: TorchScript network that labels photographs"),
    ):
        parser.add_argument(name, metavar="FILE", help=what)
    return parse(parser, argv)


def _main(args: argparse.Namespace) -> int:
    from cut.metrics.names import NEEDS_OUTPUTS, check_metrics

    for name, value in (("--seeds", args.seeds), ("--steps", args.steps)):
        if value is not None and value < 1:
            raise UserError(f"{name} {value}: must be at least 1")
    metrics = _names(args.metrics or _METRICS)
    check_metrics(metrics)
    if set(metrics) <= set(NEEDS_OUTPUTS):
        raise UserError(f"--metrics {args.metrics}: most methods have one output per picture; add another metric")
    if args.minutes is not None and not 0 < args.minutes <= _MOST_MINUTES:
        raise UserError(f"--minutes {args.minutes:g}: must be above 0, and at most {_MOST_MINUTES}")
    _require_effect(args)
    from cut.compare.contenders import plan_contenders

    contenders = plan_contenders(args.configs, args.set, args.steps, args.config)
    for contender in contenders:
        if not all(bands.are_plain for bands in contender.config.data.bands.values()):
            raise UserError(
                f"{contender.name}: cut-compare knows gray and colour pictures, not data.range_a and other numbers of "
                "channels; use cut-train, cut-test and cut-eval"
            )
        if args.best and contender.is_trained and contender.config.eval is None:
            data = contender.config.data
            if data.kind == "single" or data.name == "huggingface":
                raise UserError(f"{contender.name}: its data have no test split, and so no best.pt; leave out --best")
            raise UserError(
                f"{contender.name}: has no eval, and so no best.pt for --best; give one, e.g. "
                '--set "eval={every_steps: 500, metrics: [ssim], split: val}"'
            )
    _require_apart(args.output, contenders, args.split)
    if args.metrics is None and contenders[0].config.data.kind == "single":
        metrics = _names(_METRICS_OF_SINGLE)
    from cut.runtime.run_lock import run_lock

    with run_lock(args.output, "comparing", "--output", written=(".",)):
        return _compare(contenders, metrics, args)


def _require_effect(args: argparse.Namespace) -> None:
    """Refuses settings that the comparison makes itself for every run."""
    has_length = args.steps is not None or args.minutes is not None
    for override in args.set:
        key = override.partition("=")[0].strip()
        if key == "seed":
            raise UserError(f"--set {override}: the runs of a config have seeds of their own; --seeds N says how many")
        if key == "train.max_steps" and has_length:
            raise UserError(f"--set {override}: --steps and --minutes decide that; leave one of them out")


def _require_apart(output: Path, contenders: Sequence["Contender"], split: str) -> None:
    """Refuses to write among pictures that are trained on or scored, before a training finds them mixed."""
    from cut.config import FolderConfig
    from cut.storage.files import real_path

    folders: list[Path] = []
    for data in (contender.config.data for contender in contenders):
        if isinstance(data, FolderConfig) and data.name != "huggingface":
            for part in ("train", split):
                folders += [*data.folders(part), *([Path(data.root) / part] if data.root else [])]
    if around := next((folder for folder in folders if real_path(output).is_relative_to(real_path(folder))), None):
        raise UserError(
            f"--output {output}: lies in {around}, with whose pictures those of the comparison would mix; name another"
        )


def _names(metrics: str) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in metrics.split(",")))


def _compare(contenders: Sequence["Contender"], metrics: Sequence[str], args: argparse.Namespace) -> int:
    """Does all runs, writes the tables after each, and returns the exit status."""
    from cut.compare.own_files import require_own_files  # only now, because these import torch
    from cut.compare.runs import Outcome, Runner
    from cut.compare.sheet import write_comparison
    from cut.compare.table import csv_table, markdown_table, note_on_styles
    from cut.data.images import list_images
    from cut.data.picture_list import entry_of_files
    from cut.runtime.signals import Stopped
    from cut.storage.files import write_whole

    _warn_of_other_data(contenders)
    _require_unseen_features(contenders, args.features)
    pictures = _pictures(contenders[0], args)
    folders = [folder for folder in (pictures.inputs, pictures.targets) if folder]
    source = {"split": args.split, "data": contenders[0].config.data.model_dump(mode="json")}
    source["list"] = [entry_of_files(list_images(folder), folder) for folder in folders]
    runner = Runner(args.output, pictures, source, metrics, _scoring(args))
    outcomes: list[Outcome] = []
    names = [contender.name for contender in contenders]
    places = {name: 2 * place for place, name in enumerate(names)}
    places |= {c.best_title: places[c.name] + 1 for c in contenders if args.best and c.is_trained}
    require_own_files(args.output, names, args.seeds)
    try:
        baselines = {"input, untranslated": runner.baseline()}
        baselines["input, colour transfer"] = runner.colour_transfer(contenders[0].config)
        baselines = {title: scores for title, scores in baselines.items() if scores}
        if args.minutes:
            contenders = runner.with_equal_time(contenders, args.minutes)
        runner.require_same_runs(contenders, args.seeds)
        for seed in range(args.seeds):
            for place, contender in enumerate(contenders, start=1):
                say(f"[{seed * len(contenders) + place}/{args.seeds * len(contenders)}] {contender.name}, seed {seed}")
                outcomes.append(runner.run(contender, seed))
                if args.best and contender.is_trained and not outcomes[-1].error:
                    outcomes.append(runner.run_best(contender, seed))
                if outcomes[-1].error:
                    say(f"  failed: {outcomes[-1].error}")
                ordered = sorted(outcomes, key=lambda outcome: (places[outcome.name], outcome.seed))
                table = markdown_table(ordered, baselines) + note_on_styles(contenders, metrics)
                write_whole(args.output / "table.md", table)
                write_whole(args.output / "table.csv", csv_table(ordered, baselines))
                write_comparison(args.output / "sheet.png", pictures, [run for run in ordered if run.name in names])
    except Stopped as stopped:
        say(f"cut-compare: {stopped}")
        return 128 + stopped.signum
    say(table.rstrip("\n"), sys.stdout)
    lengths = {run.name: int(run.costs["steps"]) for run in outcomes if run.name in names and "steps" in run.costs}
    if len(set(lengths.values())) > 1 and not args.minutes:
        say("cut-compare: warning: the runs differ in length; --steps N or --minutes M gives all the same")
    return 1 if any(outcome.error for outcome in outcomes) else 0


def _warn_of_other_data(contenders: Sequence["Contender"]) -> None:
    """Tells which configs learn from other pictures than those that all are scored on."""
    first = contenders[0].config.data
    keys = ("name", "root", "a", "b", "direction", "channels_a", "channels_b")
    for contender in contenders[1:]:
        pairs = {key: [getattr(data, key, None) for data in (first, contender.config.data)] for key in keys}
        told = [f"data.{key} is {own}, not {theirs}" for key, (theirs, own) in pairs.items() if own != theirs]
        if told:
            say(
                f"cut-compare: warning: {contender.name}: {', '.join(told)}; it is scored on the pictures of "
                f"{contenders[0].name}"
            )


def _require_unseen_features(contenders: Sequence["Contender"], features: str | None) -> None:
    """Refuses scores by a network whose features a contender's discriminator sees, before anything is trained."""
    from cut.scoring.seen_features import require_unseen

    for contender in contenders:
        try:
            require_unseen("--features", features, getattr(contender.config.discriminator, "seen_features", None))
        except UserError as error:
            raise UserError(f"{contender.name}: {error}") from None


def _pictures(contender: "Contender", args: argparse.Namespace) -> "EvaluationSet":
    """What is translated and compared: a split of the first config's data."""
    from cut.build import build_stream
    from cut.data.evaluation_set import evaluation_set, noise_evaluation_set, single_evaluation_set
    from cut.methods import find_translator

    folder = args.output / "pictures"
    if contender.config.data.kind == "single":
        return single_evaluation_set(cast("SingleDataConfig", contender.config.data), folder)
    if "image" not in find_translator(contender.config.method.name).inputs:
        return noise_evaluation_set(build_stream(contender.config), folder, None)
    return evaluation_set(contender.config.data, folder, args.split)


def _scoring(args: argparse.Namespace) -> dict[str, str]:
    """Options that go on to cut-eval."""
    names = ("features", "inception_weights", "palette", "segmenter")
    return {f"--{name.replace('_', '-')}": value for name in names if (value := getattr(args, name))}


if __name__ == "__main__":
    main()
