"""The page itself: one HTML file that needs nothing besides."""

import base64
import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cut.errors import UserError, printable, reason
from cut.report.charts import HEIGHT, WIDTH, draw_charts
from cut.report.comparison import Comparison, read_folders
from cut.report.pictures import comparison_viewer, newest_rows, sheet_viewer, side_by_side
from cut.report.read_run import Run
from cut.report.tables import score_table, settings_table, summary
from cut.storage.files import write_whole
from cut.storage.written import is_foreign

if TYPE_CHECKING:
    from jinja2 import Environment

_FOLDER = Path(__file__).parent


def write_report(run_dirs: Sequence[Path], output: Path) -> Path:
    """Writes a page that shows one run, or compares several.

    Args:
        run_dirs: What cut-train wrote, or one folder that cut-compare wrote, finished or not; missing and damaged parts
            are reported on the page.
        output: the HTML file; the folders above it are made.

    Returns:
        `output`.

    Raises:
        UserError: a directory is not a run, or the file cannot be written.
    """
    return write_page(render(*read_folders(run_dirs)), output)


def check_output(output: Path) -> None:
    """Refuses a place for the page that cannot be meant.

    Raises:
        UserError: a folder, a file whose name is not one of a page, or one that this program did not write.
    """
    if output.is_dir():
        raise UserError(f"{output}: is a folder; --output must name the page, such as {output / 'report.html'}")
    if output.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"{output}: the page is HTML, so its name must end in .html, such as {output}.html")
    if is_foreign(output):
        raise UserError(
            f"{output}: is there already, and cut-report did not write it, or it was changed since; choose another name"
        )


def write_page(text: str, output: Path) -> Path:
    """Writes the page whole or not at all.

    Raises:
        UserError: the file cannot be written.
    """
    output = Path(output)
    check_output(output)
    try:
        write_whole(output, text.encode("utf-8", errors="replace"))  # file names need not be valid Unicode
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({reason(error)})") from None
    return output


def render(runs: Sequence[Run], comparison: Comparison | None = None) -> str:
    """The page as text; adds what could not be read to the runs' notes, and to those of the comparison they are of."""
    style, script = ((_FOLDER / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    return (
        templates()
        .get_template("page.html")
        .render(
            runs=runs,
            comparison=comparison,
            all_methods=side_by_side(comparison.whole, comparison.sheet) if comparison else None,
            style=style,
            script=script,
            policy=f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
            "base-uri 'none'; form-action 'none'",
            summaries=[summary(run) for run in runs],
            scores=score_table(runs),
            newest=[newest_rows(run) for run in runs],
            sections=draw_charts(runs),
            has_best=any(isinstance(run.evaluation.get("best"), dict) for run in runs),
            last_step=max(1, *(run.last_step for run in runs)),
            width=WIDTH,
            height=HEIGHT,
            sheets=sheet_viewer(runs),
            comparisons=comparison_viewer(runs),
            config=settings_table([run.config for run in runs]),
            environment=settings_table([run.environment for run in runs]),
        )
    )


@functools.cache
def templates(*folders: Path) -> "Environment":
    """The templates of this folder and of others, for pages of other people's text.

    All of it is escaped, and shown on one line in which nothing steers anything.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader([_FOLDER, *folders]),
        autoescape=True,
        finalize=lambda value: printable(value) if type(value) is str else value,  # what is safe is of another type
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _hash(text: str) -> str:
    """As a Content-Security-Policy names a style or a script that it allows."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
