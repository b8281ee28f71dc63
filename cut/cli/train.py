"""cut-train: trains the method that a YAML describes."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from cut.cli import run
from cut.errors import UserError

if TYPE_CHECKING:
    from cut.engine.trainer import Trainer

_EXAMPLE = """example:
  cut-train --config configs/quickstart.yaml --set train.max_steps=200 --run-dir runs/try

A run that was stopped or killed goes on when the same command is given again. Ctrl-C and SIGTERM save first; the exit
status is then 130 or 143."""


def main(argv: list[str] | None = None) -> NoReturn:
    """Entry point of the console program `cut-train`."""
    run("cut-train", lambda: _main(_parse(argv)))


def _parse(argv: list[str] | None) -> argparse.Namespace:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("cut-train", description=__doc__, epilog=_EXAMPLE, formatter_class=formatter)
    parser.add_argument("--config", required=True, metavar="FILE", help="the YAML of the run")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a setting, e.g. optim.lr=1e-4; repeatable",
    )
    parser.add_argument(
        "--run-dir", metavar="DIR", type=Path, help="where the run goes (default: runs/<name of the YAML>)"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on in the run directory even though the config has changed since"
    )
    parser.add_argument("--print-config", action="store_true", help="print the complete config and exit")
    parser.add_argument("--dry-run", action="store_true", help="build everything, do one step, write nothing and exit")
    return parser.parse_args(argv)


def _main(args: argparse.Namespace) -> int:
    from cut.config_file import load_config
    from cut.methods import method_config

    config = load_config(args.config, args.set, method_config)
    if args.print_config:
        print(config.to_yaml(), end="")
        return 0
    from cut.build import build_trainer  # only now, for it imports torch
    from cut.engine.allocator import keep_freed_memory
    from cut.engine.run_lock import run_lock

    keep_freed_memory()
    trainer = build_trainer(config)
    if args.dry_run:
        print(trainer.dry_run())
        return 0
    run_dir = args.run_dir or Path("runs") / Path(args.config).stem
    with run_lock(run_dir):
        return _train(trainer, run_dir, args.resume)


def _train(trainer: "Trainer", run_dir: Path, resume: bool) -> int:
    """Goes on to the end of the run, and says what came of it."""
    from cut.build import open_run
    from cut.engine.signals import Stopped

    print(open_run(trainer, run_dir, resume), file=sys.stderr)
    if trainer.step >= trainer.last_step:
        print(f"{run_dir}: finished already")
        return 0
    try:
        trainer.fit(run_dir)
    except Stopped as stopped:
        print(f"{run_dir}: {stopped}", file=sys.stderr)
        return 128 + stopped.signum
    if trainer.validation and trainer.validation.best:
        print(f"{run_dir}: {trainer.validation.summary()}")
    _report(run_dir)
    use = "draw images with" if trainer.method.samples_from_noise else "translate pictures with"
    what = "--num-images 64" if trainer.method.samples_from_noise else "--input FOLDER"
    print(f"{run_dir}: finished; {use}: cut-test --run {run_dir} {what} --output FOLDER")
    return 0


def _report(run_dir: Path) -> None:
    """Writes the page that shows the run; a training that is done does not fail for it."""
    from cut.report import write_report

    try:
        print(f"{run_dir}: to look at: {write_report([run_dir], run_dir / 'report.html')}")
    except (UserError, OSError) as error:
        print(f"cut-train: warning: no report: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
