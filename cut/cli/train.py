"""cut-train: trains the method that a YAML describes."""

import argparse
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from cut.cli import run
from cut.errors import UserError
from cut.runtime.launch import check_machines, is_first_of_machine, is_worker, launch
from cut.terminal import say

if TYPE_CHECKING:
    from cut.train.trainer import Trainer

_PAGE = "report.html"
_MOST_LOOKED_AT = 256  # pictures of a folder whose files are opened to say what is left out
_EXAMPLE = """example:
  cut-train --config configs/quickstart.yaml --set train.max_steps=200 --run-dir runs/try
  cut-train --config configs/quickstart.yaml --devices 2 --set data.batch_size=2 --run-dir runs/two
  torchrun --nproc-per-node 2 -m cut.cli.train --config configs/quickstart.yaml --set data.batch_size=2

Processes share each batch: data.batch_size counts the images of all of them, so that their number changes nothing but
the speed, and must be a multiple of it. On several machines give the same command on each, with its --node-rank.
Where a batch does not fit into memory, --set train.num_micro_batches=4 works on its quarters in turn.

A run that was stopped or killed goes on when the same command is given again. Ctrl-C and SIGTERM save first; the exit
status is then 130 or 143."""


def main(argv: list[str] | None = None) -> NoReturn:
    """Entry point of the console program `cut-train`."""
    run("cut-train", lambda: _main(_parse(argv)))


def _parse(argv: list[str] | None) -> argparse.Namespace:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("cut-train", description=__doc__, epilog=_EXAMPLE, formatter_class=formatter)
    parser.add_argument(
        "--config",
        required=True,
        action="append",
        metavar="FILE",
        help="the YAML of the run; repeatable: a later one goes over an earlier one, e.g. one of configs/overlays",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a setting, e.g. optim.lr=1e-4; repeatable",
    )
    parser.add_argument(
        "--run-dir", metavar="DIR", type=Path, help="where the run goes (default: runs/<names of the YAMLs>)"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on in the run directory even though the config has changed since"
    )
    parser.add_argument("--devices", type=int, metavar="N", help="GPUs, or processes on a CPU, that share each batch")
    parser.add_argument("--num-nodes", type=int, metavar="M", help="machines, each with --devices of them (default: 1)")
    parser.add_argument("--node-rank", type=int, default=0, metavar="R", help="which machine this is, from 0")
    parser.add_argument("--main-address", default="127.0.0.1", metavar="HOST", help="machine 0, as the others reach it")
    parser.add_argument("--main-port", type=int, metavar="PORT", help="a free port there (default: 29500, alone any)")
    parser.add_argument(
        "--print-config", action="store_true", help="print the complete config with what each setting means, and exit"
    )
    parser.add_argument("--dry-run", action="store_true", help="build everything, do one step, write nothing and exit")
    return parser.parse_args(argv)


def _main(args: argparse.Namespace) -> int:
    check_machines(args.devices, args.num_nodes, args.node_rank, args.main_address)
    from cut.config.load import load_config
    from cut.methods import method_config

    try:
        config = load_config(args.config, args.set, method_config)
        if args.print_config:
            from cut.config.explain import to_explained_yaml

            print(to_explained_yaml(config), end="")
            return 0
        num_processes, num_nodes = args.devices or 1, args.num_nodes or 1
        if num_processes * num_nodes > 1 and not is_worker():
            return launch(num_processes, num_nodes, args.node_rank, args.main_address, args.main_port)
        from cut.build import build_trainer  # only now, for it imports torch
        from cut.runtime.memory import keep_freed_memory

        keep_freed_memory()
        trainer = build_trainer(config)
    except UserError as error:
        error.is_told = not is_first_of_machine()  # all processes of a machine make the same mistake
        raise
    return _run(trainer, args)


def _run(trainer: "Trainer", args: argparse.Namespace) -> int:
    from cut.config.load import changed_keys
    from cut.runtime.run_lock import run_lock

    processes = trainer.processes
    processes.require_same("options", {"--dry-run": args.dry_run}, changed_keys)
    if args.dry_run:
        if processes.is_first:
            _say_left_out(trainer)
            _say_memory(trainer)
        line = trainer.dry_run()
        if processes.is_first:
            say(line, sys.stdout)
        processes.close()
        return 0
    run_dir = args.run_dir or Path("runs") / "_".join(Path(path).stem for path in args.config)
    with ExitStack() as stack:
        processes.on_first(lambda: stack.enter_context(run_lock(run_dir)))
        status = _train(trainer, run_dir, args.resume)
    processes.close()
    return status


def _train(trainer: "Trainer", run_dir: Path, resume: bool) -> int:
    """Goes on to the end of the run, and says what came of it."""
    from cut.runtime.signals import Stopped
    from cut.train.run_dir import open_run

    is_first = trainer.processes.is_first
    start = open_run(trainer, run_dir, resume)
    if is_first:
        say(start)
    if trainer.step >= trainer.last_step:
        if is_first:
            say(f"{run_dir}: finished already", sys.stdout)
            if _is_page_missing(run_dir):
                _report(run_dir)
        return 0
    if is_first:
        _say_left_out(trainer)
        _say_memory(trainer)
    try:
        trainer.fit(run_dir)
    except Stopped as stopped:
        if is_first:
            say(f"{run_dir}: {stopped}")
        return 128 + stopped.signum
    if is_first:
        _say_end(trainer, run_dir)
    return 0


def _say_left_out(trainer: "Trainer") -> None:
    """What the training does not use of the user's pictures."""
    from cut.data.images import evenly_chosen, list_images
    from cut.data.left_out import describe_left_out
    from cut.data.scale import describe_scale

    splits = ["train", *([trainer.config.eval.split] if trainer.config.eval else [])]
    sources = [source for split in splits for source in trainer.stream.sources(split)]
    for line in describe_left_out(sources, _MOST_LOOKED_AT):
        say(f"cut-train: note: {line}")
    if trainer.config.eval and trainer.config.data.kind == "unpaired":
        inputs = trainer.stream.sources(trainer.config.eval.split)[0]
        found = describe_scale(evenly_chosen(list_images(inputs), _MOST_LOOKED_AT), trainer.config.data)
        if found:
            say(f"cut-train: note: eval: {inputs}: {found}; they are translated and scored at their own size")


def _say_memory(trainer: "Trainer") -> None:
    """What the training will need; a warning if there is less."""
    from cut.build import estimate_memory
    from cut.runtime.memory import available_bytes

    needed = estimate_memory(trainer.config, trainer.processes.count)
    free = available_bytes(trainer.fabric.device)
    if free is not None and trainer.fabric.device.type == "cpu":
        free //= int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # processes of this machine
    if needed is None or free is None:
        return
    sizes = f"about {needed / 2**30:.1f} GiB of memory, {free / 2**30:.1f} GiB are free"
    each = " each" if trainer.processes.count > 1 else ""
    if needed <= free:
        say(f"will need {sizes}{each}")
        return
    say(
        f"cut-train: warning: may need {sizes}{each}; if it ends, lower data.batch_size or data.crop_px, or set "
        "train.checkpoint_activations=true, train.precision=bf16-mixed or train.num_micro_batches"
    )


def _say_end(trainer: "Trainer", run_dir: Path) -> None:
    if trainer.evaluations and trainer.evaluations.best:
        say(f"{run_dir}: {trainer.evaluations.summary()}", sys.stdout)
    _report(run_dir)
    from_noise = "image" not in trainer.method.inputs
    use = "draw images with" if from_noise else "translate pictures with"
    what = "--num-images 64" if from_noise else "--input FOLDER"
    say(f"{run_dir}: finished; {use}: cut-test --run {run_dir} {what} --output FOLDER", sys.stdout)


def _is_page_missing(run_dir: Path) -> bool:
    """Whether a finished run was killed before it wrote its page, or has an earlier page only."""
    page, log = run_dir / _PAGE, run_dir / "metrics.jsonl"
    return not page.exists() or (log.exists() and page.stat().st_mtime_ns < log.stat().st_mtime_ns)


def _report(run_dir: Path) -> None:
    """Writes the page that shows the run; whatever goes wrong, the training is done and its files are whole."""
    page = run_dir / _PAGE
    try:
        from cut.report import write_report

        write_report([run_dir], page)
    except Exception as error:  # noqa: BLE001  of whatever kind it is
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        say(f"cut-train: warning: no report: {reason}; to try again: cut-report {run_dir} --output {page}")
        return
    say(f"{run_dir}: to look at: {page}", sys.stdout)


if __name__ == "__main__":
    main()
