"""cut-report: one page that shows what a run did, or compares several."""

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from cut.cli import parse, run
from cut.errors import printable
from cut.terminal import say

_EXAMPLE = """examples:
  cut-report runs/quickstart --output report.html
  cut-report runs/quickstart runs/slow --output compared.html
  cut-report results/methods --output methods.html    all rows of a cut-compare

The page is one file that loads nothing: scores, curves, sample sheets, test pictures before and after, the
configuration and the environment, with what differs between the runs. A run need not be finished."""


def main(argv: list[str] | None = None) -> NoReturn:
    """Entry point of the console program `cut-report`."""
    run("cut-report", lambda: _main(_parse(argv)))


def _parse(argv: list[str] | None) -> argparse.Namespace:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("cut-report", description=__doc__, epilog=_EXAMPLE, formatter_class=formatter)
    runs = "a run directory, as cut-train writes it, or one folder of a comparison, as cut-compare writes it"
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help=runs)
    parser.add_argument(
        "--output", type=Path, default=Path("report.html"), metavar="FILE", help="the page (default: %(default)s)"
    )
    return parse(parser, argv)


def _main(args: argparse.Namespace) -> None:
    from cut.report.comparison import read_folders
    from cut.report.page import check_output, render, write_page  # only now, for they import NumPy and Pillow

    check_output(args.output)
    runs, comparison = read_folders(args.runs)
    write_page(render(runs, comparison), args.output)
    for shown in [comparison.whole, *runs] if comparison else runs:
        for note in shown.notes:
            say(printable(f"cut-report: note: {shown.label}: {note}"))
    say(f"{args.output}: {args.output.stat().st_size / 1e6:.1f} MB; open it in a browser", sys.stdout)


if __name__ == "__main__":
    main()
