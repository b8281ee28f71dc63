"""cut-export: writes a trained generator as ONNX, torch.export or TorchScript, for programs without this package."""

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from cut.cli import parse, run
from cut.errors import UserError
from cut.terminal import say

_EXAMPLE = """examples:
  cut-export runs/quickstart quickstart.onnx
  cut-export runs/horse2zebra_cyclegan horses.pt2 --direction BtoA
  cut-export horse2zebra_pretrained/latest_net_G.pth zebras.ts

The ending chooses the format: .onnx (ONNX; pip install 'cut[export]'), .pt2 (torch.export), .ts (TorchScript, traced).
The graph takes float32 images (N, C, H, W) in [-1, 1] of any size and returns images of the same size: it pads what the
networks cannot take and cuts it off again, and its norms take the statistics that the method's paper takes at test
time. MUNIT and DRIT take a style (N, D) as a second input. Dropout, which pix2pix keeps as noise, and UNSB's noise are
left out.

FILE.json says beside it what a program must know: names, shapes, range and order of channels of inputs and output, the
scale of the training's pictures, and by how much translations differ from those of cut-test, tried at two sizes (ONNX:
in onnxruntime, if it is installed). A file that would differ by more than 0.001 is not written."""


def main(argv: list[str] | None = None) -> NoReturn:
    """Entry point of the console program `cut-export`."""
    run("cut-export", lambda: _main(_parse(argv)))


def _parse(argv: list[str] | None) -> argparse.Namespace:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("cut-export", description=__doc__, epilog=_EXAMPLE, formatter_class=formatter)
    parser.add_argument(
        "run",
        type=Path,
        metavar="RUN",
        help="a run directory, a checkpoint (.pt), generator.safetensors, or a public generator (.pth)",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the file to write: .onnx, .pt2 or .ts")
    parser.add_argument(
        "--direction",
        choices=("AtoB", "BtoA"),
        help="of a run that has learnt both, such as CycleGAN's (default: data.direction of the run)",
    )
    parser.add_argument(
        "--deterministic", action="store_true", help="running instead of batch statistics at test time (pix2pix)"
    )
    parser.add_argument(
        "--max-megapixels",
        type=float,
        default=4.2,
        metavar="N",
        help="largest picture, where the graph must know it: for the noise of stylegan2 (default: %(default)s)",
    )
    parser.add_argument(
        "--num-passes", type=int, metavar="N", help="passes through the generator (UNSB; default: the run's, 5)"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="of a .pth: the YAML that it must fit")
    parser.add_argument(
        "--allow-import", action="store_true", help="RUN may name code outside this package, which is imported"
    )
    return parse(parser, argv)


def _main(args: argparse.Namespace) -> None:
    if not 0.01 <= args.max_megapixels <= 1000:
        raise UserError(f"--max-megapixels {args.max_megapixels:g}: must be from 0.01 to 1000")
    from cut.api.export import export_model  # only now, for they import torch
    from cut.api.loading import open_model

    method, config, line = open_model(args.run, args.config, args.deterministic, args.allow_import)
    if line:
        say(line, sys.stdout)
    options = {"direction": args.direction, "max_megapixels": args.max_megapixels, "num_passes": args.num_passes}
    described = export_model(method, config, args.file, **options)
    if described["noise"]:
        say(f"cut-export: note: noise is {described['noise']}")
    found = described["difference"]
    checked = (
        f"differs from cut-test by up to {found['largest']:.1e} of values in [-1, 1], in {found['program']}"
        if found
        else "not tried: no onnxruntime here (pip install onnxruntime)"
    )
    say(f"{args.file}: {args.file.stat().st_size / 1e6:.1f} MB, {checked}; how to use it: {args.file}.json", sys.stdout)


if __name__ == "__main__":
    main()
