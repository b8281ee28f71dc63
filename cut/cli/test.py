"""cut-test: translates pictures with a trained generator, or draws new ones."""

import argparse
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from cut.cli import add_max_megapixels, check_json_file, parse, run, set_max_megapixels, write_json_file
from cut.cli.films import add_film_options, is_film, translate_films
from cut.cli.stylizing import add_stylizer_options, stylize_pictures
from cut.cli.test_help import EXAMPLES
from cut.cli.translation_options import add_translation_options, asked_labels, make_request, say_scale
from cut.errors import UserError
from cut.terminal import say

if TYPE_CHECKING:
    from cut.config import RunConfig
    from cut.methods.base import Method


def main(argv: list[str] | None = None) -> NoReturn:
    """Entry point of the console program `cut-test`."""
    run("cut-test", lambda: _main(_parse(argv)))


def _parse(argv: list[str] | None) -> argparse.Namespace:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("cut-test", description=__doc__, epilog=EXAMPLES, formatter_class=formatter)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--run", type=Path, metavar="DIR", help="a run directory; its newest generator is used")
    which.add_argument("--checkpoint", type=Path, metavar="FILE", help="a checkpoint (.pt) or generator.safetensors")
    which.add_argument(
        "--import",
        type=Path,
        metavar="FILE",
        dest="weights",
        help="a generator that the programs of the authors of CUT, CycleGAN, pix2pix, MUNIT, DRIT and BigGAN save",
    )
    parser.add_argument(
        "--config",
        type=Path,
        action="append",
        metavar="FILE",
        help="alone: the YAML of a method that is not trained (Gatys, STROTSS, WCT2), repeatable as in cut-train; with "
        "--import: the YAML that the generator must fit (default: worked out from the weights)",
    )
    add_stylizer_options(parser)
    parser.add_argument("--input", type=Path, metavar="PATH", help="a folder of pictures, one picture, or a film")
    parser.add_argument(
        "--num-images", type=int, metavar="N", help="from noise: images to draw, of each class (default: 64)"
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder for the results; of a film also a file")
    parser.add_argument("--json", metavar="FILE", help="also write here what it took: seconds per picture, peak memory")
    parser.add_argument(
        "--target", type=Path, metavar="DIR", help="show pictures of the same name from here on the sheet"
    )
    parser.add_argument(
        "--mask",
        type=Path,
        metavar="PATH",
        help="masks of the same names, or one for all: black places stay as they are",
    )
    add_translation_options(parser)
    add_film_options(parser)
    parser.add_argument(
        "--format", metavar="NAME", help="write all as png, tiff, ... (default: as the input; from noise png)"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="also files in --output that cut-test did not write (never inputs)"
    )
    parser.add_argument(
        "--remove-old", action="store_true", help="remove pictures that an earlier cut-test left in --output"
    )
    parser.add_argument(
        "--batch-size", type=int, default=4, metavar="N", help="pictures at once (default: %(default)s)"
    )
    parser.add_argument(
        "--tile-px", type=int, metavar="N", help="cut larger pictures into tiles of N px (default: never; see below)"
    )
    add_max_megapixels(parser)
    parser.add_argument(
        "--deterministic",
        action="store_true",
        help="no noise (pix2pix, UNSB), and running instead of batch statistics (pix2pix)",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="of the noise (default: 0, or the YAML's)")
    parser.add_argument(
        "--allow-import", action="store_true", help="the file may name code outside this package, which is imported"
    )
    parser.add_argument("--accelerator", choices=("auto", "cpu", "cuda", "mps"), help="default: auto")
    parser.add_argument(
        "--precision", choices=("32-true", "bf16-mixed", "16-mixed"), default="32-true", help="default: %(default)s"
    )
    return parse(parser, argv)


def _main(args: argparse.Namespace) -> None:
    from cut.build import build_fabric  # only now, for they import torch
    from cut.data.images import list_images
    from cut.data.left_out import describe_left_out
    from cut.inference.masks import with_masks
    from cut.inference.output_folder import OutputFolder
    from cut.inference.sample import plan_draws, sample
    from cut.inference.translate import plan_jobs, translate
    from cut.runtime.memory import keep_freed_memory, peak_memory_mib
    from cut.storage.written import note_features

    if args.batch_size < 1:
        raise UserError(f"--batch-size {args.batch_size}: must be at least 1")
    if args.tile_px is not None and args.tile_px < 32:
        raise UserError(f"--tile-px {args.tile_px}: must be at least 32; 1024 is a good size")
    set_max_megapixels(args.max_megapixels)
    if args.seed is not None and not 0 <= args.seed < 2**63:
        raise UserError(f"--seed {args.seed}: must be from 0 to 2^63 - 1")
    has_run = bool(args.run or args.checkpoint or args.weights)
    _check_given(args, has_run)
    if not has_run:
        stylize_pictures(args)
        return
    args.seed = args.seed or 0
    suffix = f".{args.format.lower().lstrip('.')}" if args.format else None
    has_film = is_film(args.input)
    if not has_film:
        output = OutputFolder(args.output, args.remove_old)
    jobs = plan_jobs(args.input, args.output, suffix) if args.input and not has_film else []
    if args.run:
        _require_run(args.run)
    keep_freed_memory()
    fabric = build_fabric(args.accelerator or "auto", args.precision)
    method, config = _load(args)
    from_noise = "image" not in method.inputs
    _check_kind(args, from_noise)
    if from_noise:
        count = 64 if args.num_images is None else args.num_images
        draws = plan_draws(args.output, count, suffix or ".png", asked_labels(args, method, config.method.name))
        output.check([draw.path for draw in draws], overwrite=args.overwrite)
        start = time.perf_counter()
        line = sample(method, draws, args.seed, fabric, args.batch_size, output)
        _write_costs(args.json, start, len(draws), peak_memory_mib(fabric.device))
        say(line, sys.stdout)
        return
    if has_film:
        translate_films(args, method, config, fabric)
        return
    if args.frames:
        raise UserError(f"--frames {args.frames}: is for a film, and --input is none; leave it out")
    _warn_of_pairs(args, config, jobs[0].source)
    sources = [path for path in (args.input, args.target, args.guide) if path]
    are_plain = all(bands.are_plain for bands in config.data.bands.values())
    for line in describe_left_out(sources, whole=() if are_plain else sources):
        say(f"cut-test: note: {line}")
    say_scale(args, config, [job.source for job in jobs])
    request = make_request(args, method, config, fabric)
    jobs = plan_jobs(args.input, args.output, suffix, request.outputs, request.made)
    domains = config.data.bands  # one alone of a folder of pictures
    bands = domains.get(request.direction[0], domains["b"])
    jobs = with_masks(jobs, args.mask, bands, request.made) if args.mask else jobs
    read = [job.source for job in jobs]
    for given in (args.target, args.guide, args.mask):
        read += list_images(given) if given and given.is_dir() else [given] if given else []
    output.check([job.output for job in jobs], read, args.overwrite)
    start = time.perf_counter()
    line = translate(method, jobs, bands, fabric, args.batch_size, output, args.target, request, args.tile_px)
    if features := getattr(config.discriminator, "seen_features", None):
        note_features(args.output, features)
    _write_costs(args.json, start, len(jobs), peak_memory_mib(fabric.device))
    say(line, sys.stdout)


def _write_costs(path: str | None, start: float, count: int, peak_mib: float) -> None:
    if path:
        seconds = (time.perf_counter() - start) / count
        write_json_file(path, {"seconds_per_picture": seconds, "peak_mib": peak_mib, "pictures": count})


def _check_given(args: argparse.Namespace, has_run: bool) -> None:
    """Refuses a command line that names nothing to translate with, or too much."""
    if not has_run and not args.config:
        raise UserError(
            "--run: missing; name a run directory, or give --checkpoint or --import, or --config FILE of a method that "
            "is not trained"
        )
    if has_run and args.config and (not args.weights or len(args.config) > 1):
        why = "goes with --import once" if args.weights else "goes with --import, or alone; a run brings its own"
        raise UserError(f"--config {args.config[-1]}: {why}")
    if has_run and (args.set or args.print_config):
        raise UserError(f"{'--set' if args.set else '--print-config'}: goes with --config alone; leave it out")
    if args.output is None and not args.print_config:
        raise UserError("--output: missing; name a folder for the results")
    if args.json:
        check_json_file(args.json)


def _require_run(run_dir: Path) -> None:
    """Refuses what is no run directory with a generator, and says how to name what it is."""
    from cut.storage.checkpoint import INFERENCE_FILE, list_checkpoints

    if run_dir.is_file():
        option = "--import" if run_dir.suffix == ".pth" else "--checkpoint"
        raise UserError(f"{run_dir}: is a file; give it with {option}")
    if not run_dir.is_dir():
        raise UserError(f"{run_dir}: no such run directory")
    if not (run_dir / INFERENCE_FILE).is_file():
        saved = list_checkpoints(run_dir / "checkpoints")
        how = f"give --checkpoint {saved[-1]}" if saved else "name the directory of a run that has saved"
        raise UserError(f"{run_dir}: holds no {INFERENCE_FILE}; {how}")


def _check_kind(args: argparse.Namespace, from_noise: bool) -> None:
    """Refuses options of the other kind of method."""
    foreign = (
        ("input", "target", "direction", "num_outputs", "num_passes", "guide", "tile_px", "load_px", "mask", "frames")
        if from_noise
        else ("num_images",)
    )
    given = next((f"--{name.replace('_', '-')}" for name in foreign if getattr(args, name) is not None), None)
    if given and from_noise:
        raise UserError(f"{given}: this method makes images from noise; leave it out and give --num-images, --seed")
    if given:
        raise UserError(f"{given}: this method translates pictures; leave it out and give --input")
    if not from_noise and args.input is None:
        raise UserError("--input: missing; this method translates pictures, so name a folder of them, or one picture")
    if args.num_images is not None and args.num_images < 1:
        raise UserError(f"--num-images {args.num_images}: must be at least 1")


def _warn_of_pairs(args: argparse.Namespace, config: "RunConfig", picture: Path) -> None:
    from cut.data.pair_files import looks_combined

    folder = args.input if args.input.is_dir() else args.input.parent
    if config.data.kind == "paired" and looks_combined(picture):
        say(
            f"cut-test: warning: {args.input}: the pictures look like pairs A|B, and both halves are translated; "
            f"if they are, split them first: cut-data split {shlex.quote(str(folder))} FOLDER"
        )


def _load(args: argparse.Namespace) -> tuple["Method", "RunConfig"]:
    """The method, ready for inference, and its config."""
    from cut.build import load_translator
    from cut.import_weights import import_generator
    from cut.storage.checkpoint import INFERENCE_FILE

    if not args.weights:
        file = args.checkpoint or args.run / INFERENCE_FILE
        return load_translator(file, args.allow_import, args.deterministic)
    method, config, line = import_generator(args.weights, args.config[0] if args.config else None)
    say(line, sys.stdout)
    method.prepare_inference(args.deterministic)
    return method, config


if __name__ == "__main__":
    main()
