"""cut-test: translates pictures with a trained generator."""

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from cut.cli import run

_EXAMPLE = """\
examples:
  cut-test --run runs/quickstart --input datasets/earth2map/testA --output results/quickstart
  cut-test --run runs/facades_pix2pix --input facades/testB --target facades/testA --output results/facades --seed 1
  cut-test --checkpoint runs/quickstart/checkpoints/step_00003000.pt --input photo.jpg --output results

Every picture of the folder, also of folders inside it, is translated at its own size and written under its own name;
16-bit pictures stay 16-bit. The network and its settings come from the run. Beside the output folder a contact sheet
OUTPUT_sheet.png shows some of them.

A method may need noise or the statistics of the picture at test time, as pix2pix does. The same --seed then gives the
same translations of the same pictures, another one others; pictures go through one by one, whatever --batch-size says,
so that none depends on its neighbours. --deterministic switches both off, and is often worse: running averages of
batches of one picture fit no picture well.
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
    parser.add_argument("--format", metavar="NAME", help="write all as png, tiff, ... (default: as the input)")
    parser.add_argument(
        "--batch-size", type=int, default=4, metavar="N", help="pictures at once (default: %(default)s)"
    )
    parser.add_argument(
        "--deterministic", action="store_true", help="no noise, and running instead of batch statistics (pix2pix)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the noise (default: %(default)s)")
    parser.add_argument("--accelerator", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="default: auto")
    parser.add_argument(
        "--precision", choices=("32-true", "bf16-mixed", "16-mixed"), default="32-true", help="default: %(default)s"
    )
    return parser.parse_args(argv)


def _main(args: argparse.Namespace) -> None:
    from cut.build import build_fabric, load_translator  # only now, for they import torch
    from cut.data.pairs import looks_combined
    from cut.engine.allocator import keep_freed_memory
    from cut.engine.checkpoint import INFERENCE_FILE
    from cut.engine.seeding import seed_all
    from cut.engine.translate import plan_jobs, translate
    from cut.errors import UserError

    if args.batch_size < 1:
        raise UserError(f"--batch-size {args.batch_size}: must be at least 1")
    if not 0 <= args.seed < 2**63:
        raise UserError(f"--seed {args.seed}: must be from 0 to 2^63 - 1")
    jobs = plan_jobs(args.input, args.output, f".{args.format.lower().lstrip('.')}" if args.format else None)
    if args.run and not (args.run / INFERENCE_FILE).is_file():
        raise UserError(f"{args.run}: holds no {INFERENCE_FILE}; name the directory of a run that has saved")
    keep_freed_memory()
    fabric = build_fabric(args.accelerator, args.precision)
    method, config = load_translator(
        args.checkpoint or args.run / INFERENCE_FILE, args.allow_import, args.deterministic
    )
    batch_size = 1 if method.mixes_batches else args.batch_size
    seed_all(args.seed)
    if config.data.name == "paired" and looks_combined(jobs[0].source):
        print(
            f"cut-test: warning: {args.input}: the pictures look like pairs A|B, and both halves are translated; "
            f"if they are, split them first: cut-data split {args.input} FOLDER",
            file=sys.stderr,
        )
    channels = config.data.channels["a"]
    output = args.output.resolve()  # "." has no name
    sheet = output.with_name(f"{output.name}_sheet.png")
    print(translate(method, jobs, channels, fabric, batch_size, sheet, args.target))


if __name__ == "__main__":
    main()
