"""A training while it goes on, read from its run directory."""

import re
from pathlib import Path
from typing import Any

from fastapi.responses import HTMLResponse

from cut.errors import shown
from cut.report.charts import HEIGHT, WIDTH, draw_charts
from cut.report.page import render, templates
from cut.report.read_run import Run, read_runs
from cut.report.tables import score_table, summary
from cut.serve.folders import Place
from cut.serve.models import UnknownNameError

_FOLDER = Path(__file__).parent


def live_part(place: Place) -> dict[str, Any]:
    """What a page shows of a training and renews, as `html`.

    Raises:
        UnknownNameError: It is no run.
    """
    run = _read(place)
    text = (
        templates(_FOLDER)
        .get_template("live.html")
        .render(
            runs=[run],
            run=run,
            is_training=place.is_training,
            facts=summary(run),
            sections=draw_charts([run]),
            scores=score_table([run]),
            step=run.sheets[-1][0] if run.sheets else None,
            width=WIDTH,
            height=HEIGHT,
        )
    )
    return {"html": text}


def sheet_file(place: Place, step: int) -> Path:
    """The sample sheet of a step.

    Raises:
        UnknownNameError: There is none.
    """
    found = dict(_read(place).sheets)
    if step not in found or not found[step].is_file():
        raise UnknownNameError(f"{shown(place.name, quoted=False)}: has no sample sheet of step {step}")
    return found[step]


def report_page(place: Place) -> HTMLResponse:
    """The page of cut-report, with the policy that it brings along."""
    text = render([_read(place)])
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy
    headers = {"content-security-policy": policy[1].replace("&#39;", "'")}
    return HTMLResponse(text.encode("utf-8", errors="replace"), headers=headers)


def _read(place: Place) -> Run:
    if not place.is_run:
        raise UnknownNameError(f"{shown(place.name, quoted=False)}: is no run that can be watched")
    return read_runs([place.path])[0]
