"""cut-train: trains the method that a YAML describes."""

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from cut.cli import parse, run
from cut.config.section import ExpandedPath
from cut.errors import UserError, printable
from cut.runtime.launch import check_machines, is_first_of_machine, is_worker, launch
from cut.terminal import say

if TYPE_CHECKING:
    from cut.train.trainer import Trainer

_EXAMPLE = """examples:
  cut-train --a photos --b paintings
  cut-train --data mydata --recipe fast --run-dir runs/mine
  cut-train --config horse2zebra_cyclegan --data mydata
  cut-train --start runs/mine --a other_photos --b paintings --set start.freeze_generator_steps=200
  cut-train --config configs/quickstart.yaml --set train.max_steps=200 --run-dir runs/try
  cut-train --config configs/quickstart.yaml --devices 2 --set data.batch_size=2 --run-dir runs/two
  torchrun --nproc-per-node 2 -m cut.cli.train --config configs/quickstart.yaml --set data.batch_size=2

Two folders of pictures are enough: --a and --b, or --data with a folder that holds them. The settings are then a
recipe's: fast (small networks, minutes on a CPU), paper (those of CUT's paper), few-pictures (the same networks for
fewer than a hundred pictures); without --recipe what suits this machine and the number of pictures. They are printed as
a YAML. Where there is no test split, a tenth of the pictures is held back from the training.

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
        action="append",
        default=[],
        metavar="FILE",
        help="the YAML of the run, or its name in the package; repeatable: a later one goes over an earlier one",
    )
    parser.add_argument("--list-configs", action="store_true", help="name the YAMLs of the package, and exit")
    parser.add_argument(
        "--data",
        type=_expanded,
        metavar="DIR",
        help="your pictures: a folder with trainA and trainB, or two folders",
    )
    parser.add_argument("--a", type=_expanded, metavar="DIR", help="your pictures of the one kind, in any folder")
    parser.add_argument("--b", type=_expanded, metavar="DIR", help="your pictures of the other kind, that A becomes")
    parser.add_argument(
        "--recipe", choices=("fast", "paper", "few-pictures"), help="settings for --data, or --a and --b (see below)"
    )
    parser.add_argument(
        "--start",
        type=_expanded,
        metavar="FILE",
        help="fine-tune: start from the weights of a run directory, a checkpoint, .safetensors or a public .pth; "
        "without --config also its networks and method are taken",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a setting, e.g. optim.lr=1e-4; repeatable",
    )
    parser.add_argument(
        "--run-dir", metavar="DIR", type=Path, help="where the run goes (default: runs/<names of the YAMLs or folders>)"
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
    return parse(parser, argv)


def _expanded(text: str) -> Path:
    """A path that becomes a setting, and so means what it means there."""
    return Path(ExpandedPath(text))


def _main(args: argparse.Namespace) -> int:
    if args.list_configs:
        return _list_configs()
    check_machines(args.devices, args.num_nodes, args.node_rank, args.main_address)
    from cut.config.load import load_config
    from cut.methods import method_config

    try:
        _plan(args)
        config = load_config(args.config, args.set, method_config)
        if args.print_config:
            from cut.config.explain import to_explained_yaml

            print(to_explained_yaml(config), end="")
            return 0
        _require_trained(config.method.name, args.config)
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


def _require_trained(name: str, paths: list[str]) -> None:
    """Refuses a method that makes each picture anew."""
    from cut.methods import NOT_TRAINED, find_translator
    from cut.methods.base import Method

    if not issubclass(find_translator(name), Method):
        configs = " ".join(f"--config {shlex.quote(str(path))}" for path in paths)
        raise UserError(f"{' + '.join(paths)}: {name} {NOT_TRAINED}; run: cut-test {configs} --output DIR")


def _list_configs() -> int:
    from cut.config.packaged import list_configs

    names = list_configs()
    width = max(map(len, names))
    for name, text in names.items():
        print(f"{name.ljust(width)}  {text}".rstrip())
    return 0


def _plan(args: argparse.Namespace) -> None:
    """Turns folders of pictures into the settings that suit them, and says which."""
    from cut.api.start import start_settings

    if args.data is None and args.a is None and args.b is None:
        if args.recipe:
            raise UserError(f"--recipe {args.recipe}: goes with --data, or --a and --b: your pictures")
        if not args.config:
            raise UserError(
                "--config: missing; give one (see --list-configs), or your pictures: --data, or --a and --b"
            )
        args.set = [*(start_settings(args.start, networks=False) if args.start else []), *args.set]
        return
    import yaml

    from cut.api.recipe import find_folders, plan
    from cut.config.load import merged_values

    begun = [] if not args.start else start_settings(args.start, networks=not args.config)

    planned = plan(
        find_folders(args.data, args.a, args.b),
        args.recipe,
        args.config,
        args.run_dir,
        _has_gpu(args.set),
        args.data.resolve().name if args.data else None,
        args.set,
    )
    args.config, args.set = list(planned.configs), [*planned.overrides, *begun, *args.set]
    args.run_dir = planned.run_dir
    if is_worker() or args.print_config:  # the process that started this one has said it
        return
    for note in planned.notes:
        say(printable(note))
    say(
        yaml.safe_dump(
            merged_values(args.config, args.set)[1], sort_keys=False, default_flow_style=None, width=120
        ).rstrip()
    )


def _has_gpu(settings: list[str]) -> bool:
    if "train.accelerator=cpu" in settings:
        return False
    import torch  # only here, because it takes seconds

    return torch.cuda.is_available() or torch.backends.mps.is_available()


def _run(trainer: "Trainer", args: argparse.Namespace) -> int:
    from cut.api.training import default_run_dir, run_training, say_left_out, say_memory
    from cut.config.load import changed_keys
    from cut.runtime.signals import Stopped

    processes, status = trainer.processes, 0
    processes.require_same("options", {"--dry-run": args.dry_run}, changed_keys)
    run_dir = args.run_dir or default_run_dir(args.config)
    if args.dry_run:
        from cut.train.dry_run import dry_run

        if processes.is_first:
            say_left_out(trainer)
            say_memory(trainer)
        line = dry_run(trainer)
        if processes.is_first:
            say(line, sys.stdout)
    else:
        try:
            run_training(trainer, run_dir, args.resume)
        except Stopped as stopped:
            if processes.is_first:
                say(f"{run_dir}: {stopped}")
            status = 128 + stopped.signum
    processes.close()
    return status


if __name__ == "__main__":
    main()
