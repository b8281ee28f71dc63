"""cut-test: translates pictures with a trained generator."""

import argparse
from pathlib import Path
from typing import NoReturn

from cut.cli import run

_EXAMPLE = """\
examples:
  cut-test --run runs/quickstart --input datasets/earth2map/testA --output results/quickstart
  cut-test --checkpoint runs/quickstart/checkpoints/step_00003000.pt --input photo.jpg --output results
  cut-test --import horse2zebra_pretrained/latest_net_G.pth --input horses --output results/zebras

Every picture of the folder, also of folders inside it, is translated at its own size and written under its own name;
16-bit pictures stay 16-bit. The network and its settings come from the run. Beside the output folder a contact sheet
OUTPUT_sheet.png shows some of them.
"""


def main(argv: list[str] | None = None) -> NoReturn:
    """Entry point of the console program `cut-test`."""
    run("cut-test", lambda: _main(_parse(argv)))


def _parse(argv: list[str] | None) -> argparse.Namespace:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("cut-test", description=__doc__, epilog=_EXAMPLE, formatter_class=formatter)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--run", type=Path, metavar="DIR", help="a run directory; its newest generator is used")
    which.add_argument("--checkpoint", type=Path, metavar="FILE", help="a checkpoint (.pt) or generator.safetensors")
    which.add_argument(
        "--import",
        type=Path,
        metavar="FILE",
        dest="weights",
        help="a generator that the authors of CUT, CycleGAN or pix2pix publish (latest_net_G.pth)",
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="with --import: the YAML that the generator must fit (default: worked out from the weights)",
    )
    parser.add_argument(
        "--input", type=Path, required=True, metavar="PATH", help="a folder of pictures, or one picture"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the translations")
    parser.add_argument(
        "--allow-import", action="store_true", help="the file may name a method outside this package, which is imported"
    )
    parser.add_argument(
        "--target", type=Path, metavar="DIR", help="show pictures of the same name from here on the sheet"
    )
    parser.add_argument(
        "--direction",
        choices=("AtoB", "BtoA"),
        help="of a run that has learnt both, such as CycleGAN's (default: data.direction of the run)",
    )
    parser.add_argument("--format", metavar="NAME", help="write all as png, tiff, ... (default: as the input)")
    parser.add_argument(
        "--batch-size", type=int, default=4, metavar="N", help="pictures at once (default: %(default)s)"
    )
    parser.add_argument("--accelerator", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="default: auto")
    parser.add_argument(
        "--precision", choices=("32-true", "bf16-mixed", "16-mixed"), default="32-true", help="default: %(default)s"
    )
    return parser.parse_args(argv)


def _main(args: argparse.Namespace) -> None:
    from cut.build import build_fabric  # only now, for they import torch
    from cut.engine.allocator import keep_freed_memory
    from cut.engine.checkpoint import INFERENCE_FILE
    from cut.engine.translate import plan_jobs, translate
    from cut.errors import UserError

    if args.batch_size < 1:
        raise UserError(f"--batch-size {args.batch_size}: must be at least 1")
    jobs = plan_jobs(args.input, args.output, f".{args.format.lower().lstrip('.')}" if args.format else None)
    if args.config and not args.weights:
        raise UserError(f"--config {args.config}: goes with --import alone; a run brings its own")
    if args.run and not (args.run / INFERENCE_FILE).is_file():
        raise UserError(f"{args.run}: holds no {INFERENCE_FILE}; name the directory of a run that has saved")
    keep_freed_memory()
    fabric = build_fabric(args.accelerator, args.precision)
    method, config = _load(args)
    inverse = args.direction not in (None, config.data.direction)
    if inverse and not method.has_inverse:
        raise UserError(
            f"--direction {args.direction}: this {config.method.name} generator has learnt "
            f"{config.data.direction} only; take another, or train one with --set data.direction={args.direction}"
        )
    channels = config.data.channels["b" if inverse else "a"]
    output = args.output.resolve()  # "." has no name
    sheet = output.with_name(f"{output.name}_sheet.png")
    print(translate(method, jobs, channels, fabric, args.batch_size, sheet, args.target, inverse))


def _load(args: argparse.Namespace):
    """The method, ready for inference, and its config."""
    from cut.build import load_translator
    from cut.engine.checkpoint import INFERENCE_FILE
    from cut.import_weights import import_generator

    if not args.weights:
        return load_translator(args.checkpoint or args.run / INFERENCE_FILE, args.allow_import)
    method, config, line = import_generator(args.weights, args.config)
    print(line)
    return method.prepare_inference(), config


if __name__ == "__main__":
    main()
