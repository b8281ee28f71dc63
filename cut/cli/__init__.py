"""The console programs: each one parses its arguments, builds what it needs, and calls it."""

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from cut.errors import UserError, printable, reason
from cut.runtime.children import listen_to_parent
from cut.storage.files import at_home
from cut.terminal import discard, prepare_streams, say

_NEGATIVE_NUMBER = re.compile(r"-(?:\d[\d_]*\.?\d*|\.\d+)(?:e[+-]?\d+)?$|-(?:inf|infinity|nan)$", re.IGNORECASE)


def run(program: str, main: Callable[[], int | None]) -> NoReturn:
    """Runs `main` as a console program and exits with its status (None counts as 0).

    A `UserError`, a refusal of the system and a lack of memory become one line on stderr and status 2 (or the error's
    own), Ctrl-C one line and status 130; none shows a traceback.
    A reader that closes our output early (`| head`) is no error worth a word: status 141, as other programs have it.

    Args:
        program: the name to put before messages, such as 'cut-data'.
        main: does the work and returns the exit status.
    """
    prepare_streams()
    listen_to_parent()
    try:
        status = _status(main)
        sys.stdout.flush()
    except UserError as error:
        status = error.status
        if not error.is_told:
            _tell(program, str(error))
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _stdout_is_closed():
            status = 141
        elif error.filename is None and error.strerror is None:  # not from the system: a fault of ours, to be seen
            raise
        else:
            status = _tell(program, f"{error.filename or 'input/output'}: {reason(error)}")
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not _is_lack_of_memory(error):
            raise
        status = _tell(program, f"not enough memory ({reason(error)}); take smaller pictures, batches or networks")
    except KeyboardInterrupt:
        say(f"\n{program}: interrupted")
        status = 130
    try:
        sys.stdout.flush()
    except OSError:  # reported above, and again at exit with a status of its own, were it not for this
        discard(sys.stdout)
    _exit(status)


def _exit(status: int) -> NoReturn:
    """Ends the program; one that has not taken leave of the other processes of its run, at once.

    Python's shutdown would tear down gloo's threads by and by, and they abort where another process ends meanwhile, so
    that a status of 2 became SIGABRT.
    """
    distributed = sys.modules.get("torch.distributed")
    if distributed and distributed.is_available() and distributed.is_initialized():
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _status(main: Callable[[], int | None]) -> int:
    """What `main` returns, or what argparse exits with: its help may not be printed whole either."""
    try:
        return main() or 0
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else 1


def parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """The parsed arguments of a console program, of which none is empty; a leading `~` is the home folder.

    An empty path would be the current folder: what `--output "$OUT"` says where OUT is not set.

    Raises:
        UserError: An argument is empty, or holds nothing but spaces.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    for number, (before, word) in enumerate(zip(["", *words], words, strict=False), 1):
        option, equals, value = word.partition("=") if word.startswith("--") else (before, "=", word)
        if equals and not value.strip():
            what = option if option.startswith("--") else f"argument {number}"
            raise UserError(f"{what}: is empty (is it a variable that is not set?); give a value, or leave it out")
    # To argparse, before Python 3.14, `-1e4` is an option that nobody knows, and no value of `--range -1e4 1e4`.
    parser._negative_number_matcher = _NEGATIVE_NUMBER
    return parser.parse_args([_at_home(word) for word in words])


def _at_home(word: str) -> str:
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return f"{option}{equals}{at_home(value)}"


def add_max_megapixels(parser: argparse.ArgumentParser) -> None:
    """Adds the bound on pictures that every command which reads them has."""
    parser.add_argument(
        "--max-megapixels",
        type=float,
        metavar="N",
        help="refuse larger pictures, which a small file can claim to be (default: 179)",
    )


def set_max_megapixels(megapixels: float | None) -> None:
    """Puts the bound into force, where one was given.

    Raises:
        UserError: it is no positive number.
    """
    if megapixels is None:
        return
    if not 0 < megapixels <= 1e6:
        raise UserError(f"--max-megapixels {megapixels:g}: must be above 0, and at most a million")
    from cut.data import bounds  # only now, for it imports Pillow

    bounds.set_max_megapixels(megapixels)


def check_json_file(path: str) -> None:
    """Refuses, before any work is done, what `--json FILE` must not overwrite.

    Raises:
        UserError: there is a file that this program did not write, no such folder, or a picture or a film is named.
    """
    from cut.data.formats import FILM_SUFFIXES, READ_SUFFIXES
    from cut.storage.written import SCORES, mark, require_own  # only now, because --help needs none of it

    if path == "-":
        raise UserError("--json -: only cut-eval writes it to standard output; name a file, such as scores.json")
    if Path(path).suffix.lower() in (*READ_SUFFIXES, *FILM_SUFFIXES):  # which it would replace, once that is made
        raise UserError(f"--json {path}: is the name of a picture or a film; name a file, such as scores.json")
    try:
        Path(path).parent.stat()  # a mistyped folder is not made
        mark(Path(path), SCORES)
        if not _is_stream(path):
            require_own(Path(path))
    except OSError as error:
        raise UserError(f"--json {path}: cannot be written ({reason(error)}); choose another file") from None


def write_json_file(path: str, value: object) -> None:
    """Writes what `--json FILE` asks for, whole or not at all, unless it is a pipe or a device.

    Raises:
        UserError: the file cannot be written.
    """
    from cut.storage.files import write_json

    try:
        if _is_stream(path):
            handle = os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0))  # a pipe that nobody reads is an error
            with open(handle, "w", encoding="utf-8") as stream:
                os.set_blocking(handle, True)
                stream.write(json.dumps(value, indent=2) + "\n")
        else:
            write_json(Path(path), value, indent=2)
    except OSError as error:
        raise UserError(f"--json {path}: cannot be written ({reason(error)}); choose another file") from None


def _is_stream(path: str) -> bool:
    return Path(path).exists() and not Path(path).is_file() and not Path(path).is_dir()


def _tell(program: str, text: str) -> int:
    """Prints a mistake on one line, in which nothing steers the terminal, and returns the exit status."""
    line = printable("; ".join(text.splitlines()))
    say(f"{program}: error: {line}")
    return 2


def _is_lack_of_memory(error: RuntimeError) -> bool:
    """Whether torch's allocator failed: on a GPU with a class of its own, else with a text."""
    return type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)


def _stdout_is_closed() -> bool:
    try:
        print(flush=True)
    except BrokenPipeError:
        return True
    return False
