"""cut-eval: scores a folder of translated pictures against a folder of target pictures."""

import argparse
import json
import math
import sys
from pathlib import Path
from typing import NoReturn

from cut.cli import run
from cut.errors import UserError


def main(argv: list[str] | None = None) -> NoReturn:
    """The console entry point."""
    run("cut-eval", lambda: _evaluate(_parse(argv)))


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="cut-eval",
        description="Scores translated pictures against target pictures. ssim, psnr and l1 compare pictures of the "
        "same name; fid compares the two folders as wholes. The table goes to standard output.",
    )
    parser.add_argument("--generated", type=Path, required=True, metavar="DIR", help="the translated pictures")
    parser.add_argument("--target", type=Path, required=True, metavar="DIR", help="what they should look like")
    parser.add_argument(
        "--baseline", type=Path, metavar="DIR", help="also score this folder, e.g. the untranslated inputs"
    )
    parser.add_argument("--metrics", default="ssim,psnr,l1,fid", metavar="LIST", help="default: %(default)s")
    network = parser.add_mutually_exclusive_group()
    network.add_argument(
        "--inception-weights", type=Path, metavar="FILE", help="pytorch-fid's weights (default: downloaded)"
    )
    network.add_argument(
        "--features",
        type=Path,
        metavar="FILE.pt",
        help="TorchScript network in place of Inception; the score is then fd[FILE.pt]",
    )
    parser.add_argument("--json", metavar="FILE", help="also write the scores here; - writes them instead of the table")
    parser.add_argument(
        "--batch-size", type=int, default=32, metavar="N", help="for the network of fid (default: %(default)s)"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s")
    return parser.parse_args(argv)


def _evaluate(args: argparse.Namespace) -> None:
    from cut.engine.evaluate import Evaluator, find_pictures  # here, for torch takes seconds and --help should not

    metrics = tuple(dict.fromkeys(name.strip() for name in args.metrics.split(",") if name.strip()))
    folders = {"generated": args.generated} | ({"baseline": args.baseline} if args.baseline else {})
    for folder in folders.values():  # before the network is loaded, and before anything is scored
        find_pictures(folder, args.target, metrics)
    features = _features(args, metrics)
    evaluator = Evaluator(args.target, metrics, features, args.batch_size, _device(args.device), progress=True)
    results = {role: evaluator.score(folder) for role, folder in folders.items()}
    for role, result in results.items():
        for warning in result.warnings:
            print(f"cut-eval: warning: {role}: {warning}", file=sys.stderr)
    text = json.dumps(_report(args.target, folders, results), indent=2, allow_nan=False)
    if args.json == "-":
        print(text)
        return
    print(_table(results))
    if args.json:
        try:
            Path(args.json).write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise UserError(f"{args.json}: cannot be written ({error.strerror})") from None


def _features(args: argparse.Namespace, metrics: tuple[str, ...]):
    """The network of fid, or None where fid is not asked for."""
    if "fid" not in metrics:
        if args.features or args.inception_weights:
            raise UserError(
                f"--metrics {args.metrics}: only fid reads a feature network; add fid, or leave the network out"
            )
        return None
    from cut.metrics.features import InceptionFeatures, TorchScriptFeatures

    return TorchScriptFeatures(args.features) if args.features else InceptionFeatures(args.inception_weights)


def _device(name: str) -> str:
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: no CUDA device here; allowed: auto, cpu")
    return "cuda" if name == "auto" and torch.cuda.is_available() else name.replace("auto", "cpu")


def _report(target: Path, folders: dict[str, Path], results: dict) -> dict:
    """Plain types for JSON, which knows no infinity: the psnr of identical pictures becomes null."""
    report: dict = {"target": {"folder": str(target), "pictures": results["generated"].num_target}}
    for role, result in results.items():
        scores = {
            name: {"value": score.value if math.isfinite(score.value) else None, "std": score.std, "count": score.count}
            for name, score in result.scores.items()
        }
        report[role] = {"folder": str(folders[role]), "pictures": result.num_generated, "scores": scores}
        report[role]["warnings"] = result.warnings
    return report


def _table(results: dict) -> str:
    """One line per metric, one column per folder: mean and standard deviation over pairs, or the distance."""
    from cut.engine.evaluate import HIGHER_IS_BETTER

    def cell(score) -> str:
        return f"{score.value:.5g}" if score.std is None else f"{score.value:.4f} ± {score.std:.4f}"

    rows = [["metric", "better", *(f"{role} ({result.num_generated} pictures)" for role, result in results.items())]]
    for name in results["generated"].scores:
        better = "higher" if name in HIGHER_IS_BETTER else "lower"
        rows.append([name, better, *(cell(result.scores[name]) for result in results.values())])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


if __name__ == "__main__":
    main()
