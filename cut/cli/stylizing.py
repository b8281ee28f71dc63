"""The part of cut-test that runs a method which is not trained, from its YAML."""

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

from cut.cli import write_json_file
from cut.cli.films import is_film
from cut.cli.translation_options import make_request
from cut.errors import UserError, printable
from cut.terminal import say

if TYPE_CHECKING:
    from cut.config import RunConfig, SingleDataConfig
    from cut.inference.translate import Job
    from cut.methods.stylizer import Stylizer

_SECTIONS = ("seed", "method", "data")  # that mean something without a training
_FOREIGN = {
    "num_images": "this method makes pictures from photographs; give --input",
    "mask": "this method translates the whole picture; give it regions (method.regions), if it takes some",
    "frames": "this method takes pictures, not films",
    "tile_px": "this method sees the whole picture at once, at a size of its own",
    "direction": "what --input names takes the style of what --guide names",
    "deterministic": "this method draws nothing that --seed does not decide",
}


def add_stylizer_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that go with --config alone to the parser of cut-test."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="with --config alone: override a setting, e.g. method.vgg=vgg16.pth; repeatable",
    )
    parser.add_argument(
        "--print-config",
        action="store_true",
        help="with --config alone: print the config with what each setting means, and exit",
    )


def stylize_pictures(args: argparse.Namespace) -> None:
    """Makes the pictures that the command line asks for.

    Raises:
        UserError: The YAML is wrong or of a method that is trained, weights or pictures are missing, or an option is
            for other methods.
    """
    from cut.build import read_config

    config = read_config(args.config, args.set)
    _require_stylizer(args.config, config.method.name)
    if args.print_config:
        from cut.config.explain import to_explained_yaml

        print(to_explained_yaml(config, _SECTIONS), end="")
        return
    for name, why in _FOREIGN.items():
        if getattr(args, name) not in (None, False):
            raise UserError(f"--{name.replace('_', '-')}: {why}; leave it out")
    for name in ("input", "guide"):
        if is_film(getattr(args, name)):
            raise UserError(f"--{name} {getattr(args, name)}: this method takes pictures, not films; give frames of it")
    args.input, args.guide = (
        given or _own_picture(config, domain) for given, domain in ((args.input, "a"), (args.guide, "b"))
    )
    args.seed = config.seed if args.seed is None else args.seed
    if args.load_px is None:
        args.load_px = cast("SingleDataConfig", config.data).load_px
    _stylize(args, config)


def _stylize(args: argparse.Namespace, config: "RunConfig") -> None:
    """Plans, makes and writes the pictures."""
    from cut.build import build_fabric, build_stylizer
    from cut.data.images import list_images
    from cut.data.left_out import describe_left_out
    from cut.inference.output_folder import OutputFolder
    from cut.inference.stylize import stylize
    from cut.inference.translate import plan_jobs
    from cut.runtime.memory import keep_freed_memory, peak_memory_mib

    suffix = f".{args.format.lower().lstrip('.')}" if args.format else None
    output = OutputFolder(args.output, args.remove_old)
    plan_jobs(args.input, args.output, suffix)  # a mistake in the paths is told before weights are read
    keep_freed_memory()
    fabric = build_fabric(args.accelerator or config.train.accelerator, args.precision)
    method = build_stylizer(config)
    for line in describe_left_out([path for path in (args.input, args.target, args.guide) if path]):
        say(f"cut-test: note: {line}")
    request = make_request(args, method, config, fabric)
    jobs = plan_jobs(args.input, args.output, suffix, request.outputs)
    if method.regions is not None and len(jobs) > 1:
        raise UserError(f"method.regions: labels one photograph and one painting, not those of {len(jobs)} pictures")
    read = [job.source for job in jobs]
    for given in (args.target, args.guide):
        read += list_images(given) if given and given.is_dir() else [given] if given else []
    read += map(Path, getattr(config.method, "regions", None) or ())
    output.check([job.output for job in jobs], read, args.overwrite)
    if args.load_px is None:
        _say_size(method, jobs[0])
    line, seconds = stylize(method, jobs, fabric, output, args.target, request, method.remark)
    if args.json:
        costs = {"seconds_per_picture": seconds, "peak_mib": peak_memory_mib(fabric.device), "pictures": len(jobs)}
        write_json_file(args.json, {**costs, "remark": method.remark})
    say(line, sys.stdout)


def _require_stylizer(paths: list[Path], name: str) -> None:
    from cut.methods import find_translator
    from cut.methods.stylizer import Stylizer

    if not issubclass(find_translator(name), Stylizer):
        configs = " ".join(f"--config {shlex.quote(str(path))}" for path in paths)
        raise UserError(
            f"{' + '.join(map(str, paths))}: {name} is trained first: cut-train {configs}; then give its run with --run"
        )


def _own_picture(config: "RunConfig", domain: str) -> Path:
    """The picture of the YAML."""
    from cut.data.single import require_picture

    return require_picture(cast("SingleDataConfig", config.data), domain)


def _say_size(method: "Stylizer", job: "Job") -> None:
    """One line where a picture is made at another size than it has."""
    from cut.config.sides import MOST_PX
    from cut.data.images import stored_size_px

    size = stored_size_px(job.source)
    if size is None:  # reported when it is read
        return
    width, height = size
    own = method.working_size(height, width)
    if own != (height, width) and max(own) <= MOST_PX:
        say(
            f"cut-test: note: {printable(job.name)}: {width}x{height} px, made at {own[1]}x{own[0]} px "
            f"({method.size_setting}) and scaled back; --load-px {max(own)} writes it at that size"
        )
