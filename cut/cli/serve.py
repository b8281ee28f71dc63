"""cut-serve: a page on this machine to try models on and to watch trainings, and the same for programs."""

import argparse
import contextlib
import errno
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from cut.cli import add_max_megapixels, parse, run, set_max_megapixels
from cut.errors import UserError, reason
from cut.terminal import say

if TYPE_CHECKING:
    from cut.serve.models import Models

_EXAMPLE = """examples:
  cut-serve runs/quickstart
  cut-serve runs/horse2zebra_cut runs/horse2zebra_cyclegan --port 8000
  cut-serve runs/

The page: drop, paste or choose a picture, see what one model or several make of it beside each other, with a slider
between before and after, and download it; directions, classes, styles and guide pictures as the models have them. Of
runs it shows curves and the newest sample sheet, renewed while a training goes on. Of a folder of runs all are listed,
and models are loaded when they are chosen. The page loads nothing from the internet.

Programs: POST a picture to /translate and get a PNG; /docs explains it, /openapi.json describes it.
  curl -F picture=@photo.jpg -F seed=3 http://127.0.0.1:7860/translate -o translation.png

Only this machine reaches the page, unless --host says otherwise; there is no password, so on other addresses everybody
who reaches the machine can use it. Ctrl-C ends it. Needs: pip install 'cut[serve]'."""


def main(argv: list[str] | None = None) -> NoReturn:
    """Entry point of the console program `cut-serve`."""
    run("cut-serve", lambda: _main(_parse(argv)))


def _parse(argv: list[str] | None) -> argparse.Namespace:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("cut-serve", description=__doc__, epilog=_EXAMPLE, formatter_class=formatter)
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="a run directory, a folder of runs, a checkpoint (.pt), generator.safetensors, or a public .pth",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen on (default: %(default)s)"
    )
    parser.add_argument(
        "--port", type=int, default=7860, metavar="N", help="port; 0: a free one (default: %(default)s)"
    )
    parser.add_argument(
        "--max-upload-mb",
        type=float,
        default=64.0,
        metavar="N",
        help="refuse larger requests, in megabytes (default: %(default)s)",
    )
    add_max_megapixels(parser)
    parser.set_defaults(max_megapixels=50.0)
    parser.add_argument(
        "--max-waiting",
        type=int,
        default=8,
        metavar="N",
        help="translations that may wait while one is computed (default: %(default)s)",
    )
    parser.add_argument(
        "--tile-px",
        type=int,
        default=1024,
        metavar="N",
        help="cut larger pictures into tiles of N px, for less memory and to show progress; the result is the same; "
        "0: never (default: %(default)s)",
    )
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="default: %(default)s")
    parser.add_argument(
        "--precision",
        default="32-true",
        choices=("32-true", "bf16-mixed", "16-mixed"),
        help="number format (default: %(default)s)",
    )
    parser.add_argument(
        "--deterministic",
        action="store_true",
        help="no noise at test time (pix2pix, UNSB), and mean styles (MUNIT, DRIT)",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="of a .pth: the YAML that it must fit")
    parser.add_argument(
        "--allow-import", action="store_true", help="files may name code outside this package, which is imported"
    )
    return parse(parser, argv)


def _main(args: argparse.Namespace) -> None:
    _check(args)
    set_max_megapixels(args.max_megapixels)
    try:
        import uvicorn

        from cut.serve.app import make_app  # only now, for it imports torch
    except ModuleNotFoundError as error:
        if error.name not in ("fastapi", "uvicorn", "starlette"):
            raise
        raise UserError(f"the page needs {error.name}, which is not installed: pip install 'cut[serve]'") from None
    from cut.serve.models import Models

    options = (args.device, args.precision, args.deterministic, args.allow_import, args.config)
    models = Models(args.runs, *options)
    with _listen(args.host, args.port) as listener:
        _load(models, args.runs)
        app = make_app(models, args.host, int(args.max_upload_mb * 1e6), args.max_waiting, args.tile_px)

        class Server(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                _greet(args.host, listener.getsockname()[1])

        logging.getLogger("python_multipart").setLevel(logging.ERROR)  # what is no form is answered
        settings = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=2)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # a server ends alike, whoever asks
        with contextlib.suppress(KeyboardInterrupt):  # its usual end, which uvicorn hands on
            Server(settings).run(sockets=[listener])
    say("cut-serve: ended", sys.stdout)
    if app.state.line.jobs:  # a translation in a thread, which Python would wait for
        sys.stdout.flush()
        os._exit(0)


def _check(args: argparse.Namespace) -> None:
    if not 0 <= args.port <= 65535:
        raise UserError(f"--port {args.port}: must be from 0 to 65535")
    if not 0.001 <= args.max_upload_mb <= 100_000:
        raise UserError(f"--max-upload-mb {args.max_upload_mb:g}: must be from 0.001 to 100000")
    if args.max_waiting < 0:
        raise UserError(f"--max-waiting {args.max_waiting}: must be at least 0")
    if args.tile_px and args.tile_px < 32:
        raise UserError(f"--tile-px {args.tile_px}: must be at least 32, or 0 for none")


def _listen(host: str, port: int) -> socket.socket:
    """Opens the port before models are loaded, which takes longer."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        why = reason(error).partition(" (while")[0]
        where = f"--port {port}" if error.errno in (errno.EADDRINUSE, errno.EACCES) else f"--host {host}"
        raise UserError(f"{where}: cannot listen there ({why}); choose another") from None


def _load(models: "Models", runs: list[Path]) -> None:
    """Loads what was named itself, so that a mistake is reported at once."""
    for place in models.places().values():
        if place.path in runs and place.weights:
            models.model(place.name)


def _greet(host: str, port: int) -> None:
    from cut.serve.guard import is_loopback

    if not is_loopback(host):
        say(f"cut-serve: note: everybody who reaches {host} can use this page; there is no password")
    say(f"http://{f'[{host}]' if ':' in host else host}:{port} (Ctrl-C ends it)", sys.stdout)


if __name__ == "__main__":
    main()
