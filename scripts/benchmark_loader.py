"""Times the loading of training pictures: how many a second one core brings from the disk into a batch.

    taskset -c 0 python scripts/benchmark_loader.py --against ../contrastive-unpaired-translation
    python scripts/benchmark_loader.py --roots datasets/horse2zebra --markdown loader.md --json loader.json

Three sides of ours: with the pictures in the cache, as from the second epoch on; in the first epoch, which fills it;
and without it. Each is a process of its own that loads without workers; the sides take turns of one epoch. Processor
time decides, for it is steadier than wall time where others use the machine. Figures are medians over the turns, with
the least and the most; `speed-up` is the median over the turns of a side's time divided by that of ours with the cache.

--against is a checkout of the authors' code (taesungp/contrastive-unpaired-translation), whose loader is imported from
there. Without --roots pictures of noise are made that compress as photographs do: JPEG of 256 px (as horse2zebra) and
of 600 px (as maps), and PNG of 256 px.
"""

import argparse
import json
import tempfile
from pathlib import Path
from statistics import median
from typing import Any, NoReturn

import numpy as np
from benchmark import REPOSITORY, Side, _count, _spread
from PIL import Image

from cut.cli import run
from cut.errors import UserError

_MADE = {"jpg, 256 px": (256, "jpg"), "jpg, 600 px": (600, "jpg"), "png, 256 px": (256, "png")}
_CACHE_MIB = 2048


def make_pictures(root: Path, px: int, suffix: str, count: int) -> Path:
    """Writes `count` pictures of 1/f noise, whose spectrum is that of photographs, into `root/trainA` and `trainB`."""
    rng, side = np.random.default_rng(0), 2 * px
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    frequency[0, 0] = np.inf
    waves = [np.fft.ifft2(np.fft.fft2(rng.standard_normal((side, side))) / frequency).real for _ in range(3)]
    red, green, blue = (wave / wave.std() for wave in waves)
    pixels = np.stack([red, 0.8 * red + 0.3 * green, 0.64 * red + 0.24 * green + 0.3 * blue], axis=2)
    pixels = np.clip(128 + 55 * pixels, 0, 255).astype(np.uint8)
    for number in range(2 * count):
        top, left = rng.integers(side - px + 1, size=2)
        path = root / f"train{'AB'[number % 2]}" / f"{number // 2}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[top : top + px, left : left + px]).save(path)
    return root


def measure(name: str, root: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Takes turns and returns the figures of each side, ours with the cache first.

    Raises:
        UserError: a side failed.
    """
    job = {"root": str(root.resolve()), "load_px": args.load_px, "crop_px": args.crop_px, "authors": False}
    job |= {"batch_size": args.batch_size, "cache_mib": _CACHE_MIB, "is_first_epoch": False}
    kinds = [("ours", {}), ("ours, first epoch", {"is_first_epoch": True}), ("ours, no cache", {"cache_mib": 0})]
    kinds += [("authors", {"authors": True})] if args.against else []
    sides: list[Side] = []
    try:
        for kind, extra in kinds:
            path = [args.against, REPOSITORY] if extra.get("authors") else [REPOSITORY]
            sides.append(Side(kind, job | extra, path, "benchmark_loader_side.py"))
        for _ in range(args.turns):
            for side in sides:
                side.take_turn(1)
        return {
            "data": name,
            **{key: job[key] for key in ("load_px", "crop_px", "batch_size")},
            "sides": [_figures(side, sides[0]) for side in sides],
        }
    finally:
        for side in sides:
            side.close()


def _figures(side: Side, ours: Side) -> dict[str, Any]:
    seconds = [turn["seconds_per_picture"] for turn in side.turns]
    own = [turn["seconds_per_picture"] for turn in ours.turns]
    return {
        "side": side.name,
        "milliseconds_per_picture": _spread([1000 * s for s in seconds]),
        "pictures_per_second": _spread([1 / s for s in seconds]),
        "wall_milliseconds_per_picture": median(1000 * turn["wall_seconds_per_picture"] for turn in side.turns),
        "speed_up": _spread([s / o for s, o in zip(seconds, own, strict=True)]),
    }


def to_markdown(results: list[dict[str, Any]]) -> str:
    """One table of all data sets."""
    head = ["pictures", "side", "ms of processor per picture", "pictures/s per core", "speed-up of ours"]
    rows = [head, ["---"] * len(head)]
    for result in results:
        for figures in result["sides"]:
            keys = ("milliseconds_per_picture", "pictures_per_second", "speed_up")
            cells = [f"{m:.3g} ({least:.3g} to {most:.3g})" for m, least, most in (figures[key] for key in keys)]
            rows.append([result["data"], figures["side"], *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("benchmark_loader", description=__doc__, formatter_class=formatter)
    parser.add_argument("--roots", nargs="+", type=Path, metavar="DIR", help="unpaired data sets, instead of noise")
    parser.add_argument("--load-px", type=_count, default=286, metavar="PX", help="default: 286")
    parser.add_argument("--crop-px", type=_count, default=256, metavar="PX", help="default: 256")
    parser.add_argument("--batch-size", type=_count, default=1, metavar="N", help="default: 1")
    parser.add_argument("--against", type=Path, metavar="DIR", help="also time this checkout of the authors' code")
    parser.add_argument("--turns", type=_count, default=7, metavar="N", help="epochs of each side; default: 7")
    parser.add_argument("--count", type=_count, default=100, metavar="N", help="pictures to make; default: 100")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table here")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures here")
    return parser.parse_args(argv)


def _main(args: argparse.Namespace) -> None:
    if args.against and not (args.against / "data/unaligned_dataset.py").is_file():
        raise UserError(f"{args.against}: no such checkout, for it has no data/unaligned_dataset.py")
    with tempfile.TemporaryDirectory() as folder:
        if args.roots:
            roots = {root.name: root for root in args.roots}
        else:
            roots = {name: make_pictures(Path(folder) / name, *kind, args.count) for name, kind in _MADE.items()}
        results = []
        for name, root in roots.items():
            results.append(measure(name, root, args))
            print(to_markdown(results[-1:]) + "\n", flush=True)
            if args.markdown:
                args.markdown.write_text(to_markdown(results) + "\n", encoding="utf-8")
            if args.json:
                args.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def main(argv: list[str] | None = None) -> NoReturn:
    run("benchmark_loader", lambda: _main(_parse(argv)))


if __name__ == "__main__":
    main()
