"""The routes: the page, `POST /translate`, and what the page asks for besides."""

import asyncio
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, File, Form, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from cut.errors import UserError, did_you_mean, printable, reason, shown
from cut.report.page import templates
from cut.serve.guard import Guard
from cut.serve.line import CancelledError, Job, Line
from cut.serve.models import Models, UnknownNameError, Wish, safe_name
from cut.serve.training import live_part, report_page, sheet_file

_FOLDER = Path(__file__).parent
_REPORT = _FOLDER.parent / "report"
_GONE = 499  # as nginx calls it: the client has closed the request
_SECONDS = 0.5  # between two looks whether it has
_FIELDS = ("picture", "model", "direction", "label", "seed", "num_passes", "guide", "load_px", "tile_px", "ticket")
_TAGS = {"programs": "For programs", "page": "What the page asks for"}


class Mistake(BaseModel):
    """What every refusal is answered with: `error` says on one line what was wrong and what to do."""

    error: str


class Described(BaseModel):
    """What can be asked of a model."""

    name: str
    method: str
    takes: str
    """`picture`, or `nothing` where it draws from noise."""
    directions: list[str]
    """What it has learnt, its own direction first."""
    labels: list[str]
    takes_guide: bool
    takes_seed: bool
    num_passes: int
    """Number of passes through the generator where none is asked for; `most_passes` is the largest."""
    most_passes: int
    trained_at_px: int | None


_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": Mistake, "description": text}
    for status, text in (
        (403, "another site asks"),
        (404, "no such model"),
        (413, "too large"),
        (422, "the picture or an option is refused"),
        (503, "too many are waiting"),
    )
}


def make_app(
    models: Models, host: str = "127.0.0.1", most_bytes: int = 64_000_000, most_waiting: int = 8, tile_px: int = 1024
) -> FastAPI:
    """The application, for an ASGI server.

    Args:
        models: Models and runs to show.
        host: Address that will be listened on.
        most_bytes: Largest request.
        most_waiting: Number of translations that may wait while one is computed.
        tile_px: Side of the tiles that larger pictures are cut into; 0 for none.
    """
    app = FastAPI(
        title="cut-serve",
        version=version("cut"),
        summary="Translates pictures with trained models.",
        docs_url=None,  # FastAPI's page loads its script from another site
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    line = app.state.line = Line()
    _add_page(app)
    _add_translation(app, models, line, tile_px)
    _add_models(app, models, line, most_bytes)
    _add_trainings(app, models)
    app.add_exception_handler(UserError, _answer)
    app.add_exception_handler(OSError, _answer)  # no room for the upload, a file that is just deleted, ...
    app.add_exception_handler(RequestValidationError, _answer)
    app.add_exception_handler(HTTPException, _answer)
    app.add_middleware(Guard, host=host, most_bytes=most_bytes, most_waiting=most_waiting)
    return app


def _answer(request: Request, error: Exception) -> JSONResponse:
    """One line for every mistake."""
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or "request"
        status, text = 422, f"{where}: {first['msg'][:1].lower()}{first['msg'][1:]}"
        if "Expected UploadFile" in text:
            text = f"{where}: is text, not a file; with curl write -F {where}=@FILE"
    elif isinstance(error, HTTPException):
        status, text = error.status_code, str(error.detail)
    elif isinstance(error, OSError):
        status, text = 500, f"{error.filename or 'input/output'}: {reason(error)}"
    else:
        status = 404 if isinstance(error, UnknownNameError) else _GONE if isinstance(error, CancelledError) else 422
        text = str(error)
    return JSONResponse({"error": printable("; ".join(text.splitlines()))}, status, getattr(error, "headers", None))


def _add_page(app: FastAPI) -> None:
    """The page itself, and the page that explains the rest to programs."""

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(_FOLDER / "page.html")

    @app.get("/page.css", include_in_schema=False)
    def style() -> Response:
        sheets = (_REPORT / "page.css", _FOLDER / "page.css")
        return Response("".join(sheet.read_text(encoding="utf-8") for sheet in sheets), media_type="text/css")

    @app.get("/page.js", include_in_schema=False)
    def script() -> FileResponse:
        return FileResponse(_FOLDER / "page.js", media_type="text/javascript")

    @app.get("/docs", include_in_schema=False)
    def docs(request: Request) -> HTMLResponse:
        text = templates(_FOLDER).get_template("docs.html").render(schema=app.openapi(), address=request.base_url)
        return HTMLResponse(text)


def _add_models(app: FastAPI, models: Models, line: Line, most_bytes: int) -> None:
    @app.get("/models", tags=["programs"])
    def list_models() -> dict[str, Any]:
        """Names of all models and runs, and the largest request in bytes.

        `is_model` says whether there are weights to translate with, `is_run` whether there is a log to watch, and
        `is_training` whether it grows.
        """
        places = models.places().values()
        found = [
            {"name": p.name, "is_model": p.weights is not None, "is_run": p.is_run, "is_training": p.is_training}
            for p in places
        ]
        return {"models": found, "most_bytes": most_bytes}

    @app.get("/model", tags=["programs"], responses=_ERRORS)
    async def describe_model(name: str) -> Described:
        """What can be asked of a model; it is loaded for that."""
        return Described(**await line.run(Job(), partial(models.describe, name)))


def _add_translation(app: FastAPI, models: Models, line: Line, tile_px: int) -> None:
    @app.post(
        "/translate",
        tags=["programs"],
        response_class=Response,
        responses=_ERRORS
        | {200: {"content": {"image/png": {}}, "description": "The translation, of the picture's size"}},
    )
    async def translate(
        request: Request,
        picture: Annotated[UploadFile | None, File(description="Picture to translate; none to draw from noise")] = None,
        model: Annotated[str, Form(description="Name of the model, see /models; the first one by default")] = "",
        direction: Annotated[str | None, Form(description="AtoB or BtoA, where the model has learnt both")] = None,
        label: Annotated[str | None, Form(description="Class to translate to, where the model knows classes")] = None,
        seed: Annotated[int, Form(ge=0, lt=2**63, description="Seed of styles and noise")] = 0,
        num_passes: Annotated[int | None, Form(description="Passes through the generator (UNSB)")] = None,
        guide: Annotated[UploadFile | None, File(description="Picture whose style is taken (MUNIT, DRIT)")] = None,
        load_px: Annotated[int | None, Form(description="Scales the picture as data.load_px did in training")] = None,
        tile_px: Annotated[int, Form(ge=0, description="Side of tiles, at least 32; 0: none")] = tile_px,
        ticket: Annotated[str, Form(max_length=64, description="Name of your own for /progress")] = "",
    ) -> Response:
        """Translates one picture with one model, as cut-test does. One is computed at a time; the others wait."""
        job = Job(ticket)
        await _require_known(request)
        with tempfile.TemporaryDirectory(prefix="cut-serve-") as folder:
            wish = Wish(
                await _stored(picture, Path(folder, "picture")),
                await _stored(guide, Path(folder, "guide")),
                direction or None,
                label or None,
                seed,
                num_passes,
                load_px,
                tile_px,
            )
            name = model or next((n for n, place in models.places().items() if place.weights), "")
            work = partial(models.translate, name, wish, job.progress)
            try:
                content = await _while_connected(request, job, line, work)
            except UserError as error:
                told = str(error).replace(f"{folder}/picture/", "").replace(f"{folder}/guide/", "guide ")
                error.args = (told,)
                raise
        return Response(content, media_type="image/png")

    @app.get("/progress", tags=["programs"])
    async def progress(ticket: str) -> dict[str, Any]:
        """How far a translation is: `waiting` behind `ahead` others, or `running`, and how many tiles are done."""
        return line.state(ticket)


async def _require_known(request: Request) -> None:
    """Refuses what would be passed over in silence: a mistyped field would mean another translation."""
    given = [name for name, _ in (await request.form()).multi_items()]
    for name in request.query_params:
        where = shown(name, quoted=False)
        raise UserError(f"{where}: stands in the address; it goes into the form, as with curl -F NAME=VALUE")
    for name in given:
        if name not in _FIELDS:
            meant, known = did_you_mean(name, _FIELDS), ", ".join(_FIELDS)
            raise UserError(f"{shown(name, quoted=False)}: no such field{meant} (known: {known})")
        if given.count(name) > 1:
            raise UserError(f"{name}: is given {given.count(name)} times; translate one picture at a time")


async def _stored(upload: UploadFile | None, folder: Path) -> Path | None:
    """An upload under its own name, by which random styles are drawn."""
    if upload is None or not (upload.filename or upload.size):
        return None
    folder.mkdir()
    path = folder / safe_name(upload.filename)
    path.write_bytes(await upload.read())
    return path


async def _while_connected(request: Request, job: Job, line: Line, work: Callable[[], bytes]) -> bytes:
    """What the work gives; cancelled, as far as possible, when nobody waits for it any longer."""
    task = asyncio.ensure_future(line.run(job, work))
    while not (await asyncio.wait({task}, timeout=_SECONDS))[0]:
        job.is_cancelled = job.is_cancelled or await request.is_disconnected()
    return task.result()


def _add_trainings(app: FastAPI, models: Models) -> None:
    @app.get("/live", tags=["page"])
    def live(name: str) -> dict[str, Any]:
        """The newest curves of a training, as HTML, and its newest sample sheet."""
        return live_part(models.place(name))

    @app.get("/sheet", tags=["page"], response_class=FileResponse)
    def sheet(name: str, step: int) -> FileResponse:
        """The sample sheet of a step."""
        return FileResponse(sheet_file(models.place(name), step))

    @app.get("/report", tags=["page"], response_class=HTMLResponse)
    def report(name: str) -> HTMLResponse:
        """The page of cut-report about a run."""
        return report_page(models.place(name))
