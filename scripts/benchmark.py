"""Times training steps: seconds, images per second, peak memory, and how near the machine's convolutions they come.

    python scripts/benchmark.py --configs configs/horse2zebra_cut.yaml --precisions 32-true bf16-mixed
    python scripts/benchmark.py --against ../contrastive-unpaired-translation --markdown speed.md --json speed.json

Every side of a comparison is a process of its own; after a warm-up they take turns, so that what else the machine does
meets all alike. Figures are medians over the turns, with the least and the most; `speed-up` is the median over the
turns of a side's time divided by ours. Pictures are random and in memory already: reading them is not timed. `seconds
per step` and `memory` are the columns of CUT's table 1 ("sec/iter", "Mem(GB)"): of the device on CUDA, else what the
process took beyond Python and its libraries. `GFLOP/s` counts convolutions and matrix products as torch does, two per
multiply-add; `ceiling` is its share of what a 3x3 convolution of 256 channels reached in the same turns.

--against is a checkout of the authors' code (taesungp/contrastive-unpaired-translation), which is imported from there
and always runs in float32. --baseline is another checkout of this project.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, NoReturn

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))  # works without an installation too

from cut.cli import run  # noqa: E402
from cut.errors import UserError  # noqa: E402

_METHODS = ("horse2zebra_cut", "horse2zebra_fastcut", "horse2zebra_cyclegan", "facades_pix2pix", "monet_etretat_sincut")
_CONFIGS = [str(REPOSITORY / "configs" / f"{name}.yaml") for name in (*_METHODS, "mnist_dcgan")]
_COLUMNS = {
    "side": "side",
    "seconds_per_step": "seconds per step",
    "speed_up": "speed-up of ours",
    "images_per_second": "images/s",
    "peak_mib": "memory, MiB",
    "gflop_per_step": "GFLOP per step",
    "gflop_per_second": "GFLOP/s",
    "share_of_ceiling": "ceiling",
}


class Side:
    """A process that does steps of one training when asked (benchmark_side.py).

    Args:
        name: in the table.
        job: what it trains, see `benchmark_side`.
        path: where Python looks for `cut`, and the authors' packages, first.
    """

    def __init__(self, name: str, job: dict[str, Any], path: list[Path]):
        self.name, self.turns = name, []
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed in `close`
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(str(p.resolve()) for p in path)}
        command = [sys.executable, str(Path(__file__).with_name("benchmark_side.py"))]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=self._errors, text=True, env=environment
        )
        try:
            self.facts = self.ask(job)
        except BaseException:
            self.close()
            raise

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """One line to the process and its answer.

        Raises:
            UserError: the process failed.
        """
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline() or "{}")
        except (BrokenPipeError, ValueError):
            answer = {}
        if not answer:
            self._errors.seek(0)
            answer = {"error": (self._errors.read().strip().splitlines() or ["the process ended"])[-1]}
        if "error" in answer:
            raise UserError(f"{self.name}: {answer['error']}")
        return answer

    def take_turn(self, steps: int) -> None:
        self.turns.append(self.ask({"steps": steps}))

    def close(self) -> None:
        self._process.communicate()  # it ends with its input
        self._errors.close()

    def figures(self, ours: "Side") -> dict[str, Any]:
        """The table's figures; those of several turns as [median, least, most]."""
        seconds = [median(turn["seconds"]) for turn in self.turns]
        work = self.facts["gflop_per_step"]
        speeds = [work / s for s in seconds]
        ceilings = [turn["convolution_gflop_per_second"] for turn in self.turns]
        own = [median(turn["seconds"]) for turn in ours.turns]
        return {
            "side": self.name,
            "seconds_per_step": _spread(seconds),
            "speed_up": _spread([s / o for s, o in zip(seconds, own, strict=True)]),
            "images_per_second": _spread([self.facts["images_per_step"] / s for s in seconds]),
            "peak_mib": self.turns[-1]["peak_mib"],
            "gflop_per_step": work,
            "gflop_per_second": _spread(speeds),
            "share_of_ceiling": _spread([speed / c for speed, c in zip(speeds, ceilings, strict=True)]),
            "convolution_gflop_per_second": _spread(ceilings),
        }


@dataclass(frozen=True)
class Case:
    """One training to be timed on all sides."""

    config: str
    size_px: int | None
    precision: str

    def measure(self, args: argparse.Namespace) -> dict[str, Any]:
        """Takes turns and returns what is known of each side.

        Raises:
            UserError: a side failed, or the sides do not train the same networks.
        """
        sides: list[Side] = []
        try:
            for name, extra, path in self._sides(args):
                job = {"config": self.config, "overrides": [f"train.precision={self.precision}", *args.set]}
                job |= {"size_px": self.size_px, "clock": args.clock, "authors": False, "keep_freed_memory": True}
                sides.append(Side(name, job | extra, path))
            ours, *others = sides
            for other in others:
                if other.facts["parameters"] != ours.facts["parameters"]:
                    raise UserError(
                        f"{self.config}: {other.name} has {other.facts['parameters']} parameters, ours "
                        f"{ours.facts['parameters']}: not the same networks, so not to be compared"
                    )
            for _ in range(args.warm_up - 1):  # each side has done a first step already
                for side in sides:
                    side.ask({"steps": 1})
            for _ in range(args.turns):
                for side in sides:
                    side.take_turn(args.steps)
            facts = {k: v for k, v in ours.facts.items() if k != "gflop_per_step"}
            return {
                "config": self.config,
                "precision": self.precision,
                **facts,
                "sides": [s.figures(ours) for s in sides],
            }
        finally:
            for side in sides:
                side.close()

    def _sides(self, args: argparse.Namespace) -> list[tuple[str, dict[str, Any], list[Path]]]:
        """Name, what is special, and path of each; ours first."""
        sides: list[tuple[str, dict[str, Any], list[Path]]] = [("ours", {}, [REPOSITORY])]
        if args.default_allocator:
            sides.append(("ours, default allocator", {"keep_freed_memory": False}, [REPOSITORY]))
        if args.baseline:
            sides.append((f"baseline {args.baseline.name}", {}, [args.baseline]))
        if args.against:
            extra = {"authors": True, "keep_freed_memory": False}
            sides.append(("authors, 32-true", extra, [args.against, REPOSITORY]))
        return sides


def to_markdown(result: dict[str, Any]) -> str:
    """A heading and a table of one case."""
    head = (
        f"**{Path(result['config']).stem}**, {result['image_px']} px, {result['images_per_step']} per step, "
        f"{result['precision']}, {result['device']}, {result['threads']} threads, torch {result['torch']}"
    )
    rows = [" | ".join(_COLUMNS.values()), " | ".join("---" for _ in _COLUMNS)]
    rows += [" | ".join(_cell(key, figures[key]) for key in _COLUMNS) for figures in result["sides"]]
    return "\n".join([head, "", *(f"| {row} |" for row in rows)])


def _spread(values: list[float]) -> list[float]:
    return [median(values), min(values), max(values)]


def _cell(key: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if key == "share_of_ceiling":
        return f"{value[0]:.0%}"
    return f"{value[0]:.3g} ({value[1]:.3g} to {value[2]:.3g})" if isinstance(value, list) else f"{value:.4g}"


def _parse(argv: list[str] | None) -> argparse.Namespace:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("benchmark", description=__doc__, formatter_class=formatter)
    parser.add_argument("--configs", nargs="+", metavar="FILE", default=_CONFIGS, help="default: one per method")
    parser.add_argument("--sizes", nargs="+", type=int, metavar="PX", default=[None], help="instead of data.crop_px")
    precisions = ["32-true", "bf16-mixed", "16-mixed"]
    parser.add_argument("--precisions", nargs="+", choices=precisions, default=["32-true"])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as in cut-train; repeatable")
    parser.add_argument("--against", type=Path, metavar="DIR", help="also time this checkout of the authors' code")
    parser.add_argument("--baseline", type=Path, metavar="DIR", help="also time this checkout of our project")
    parser.add_argument("--default-allocator", action="store_true", help="also time ours without cut-train's allocator")
    parser.add_argument("--warm-up", type=_count, default=2, metavar="N", help="steps before anything is timed")
    parser.add_argument("--turns", type=_count, default=5, metavar="N", help="of each side")
    parser.add_argument("--steps", type=_count, default=1, metavar="N", help="per turn")
    clock = "wall, or the processor time of the process: steadier where others use the machine; of one thread only"
    parser.add_argument("--clock", choices=["wall", "process"], default="wall", help=clock)
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables here")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures here")
    return parser.parse_args(argv)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1, not {text}")
    return int(text)


def _main(args: argparse.Namespace) -> None:
    for path, inside in ((args.against, "models/cut_model.py"), (args.baseline, "cut/build.py")):
        if path and not (path / inside).is_file():
            raise UserError(f"{path}: no such checkout, for it has no {inside}")
    if args.clock == "process" and os.environ.get("OMP_NUM_THREADS") != "1":
        raise UserError("--clock process counts all threads together; set OMP_NUM_THREADS=1 in the environment")
    cases = [Case(c, px, precision) for c in args.configs for px in args.sizes for precision in args.precisions]
    results = []
    for case in cases:
        results.append(case.measure(args))
        print(to_markdown(results[-1]) + "\n", flush=True)
        if args.markdown:
            args.markdown.write_text("\n\n".join(map(to_markdown, results)) + "\n", encoding="utf-8")
        if args.json:
            args.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def main(argv: list[str] | None = None) -> NoReturn:
    run("benchmark", lambda: _main(_parse(argv)))


if __name__ == "__main__":
    main()
