"""What cut-test does with a film: it is translated frame by frame into another film."""

import argparse
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from cut.cli import write_json_file
from cut.cli.translation_options import make_request
from cut.errors import UserError
from cut.terminal import say

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from cut.config import RunConfig
    from cut.methods.base import Method


_MOST_DIGITS = 18  # Python converts no number of thousands


def add_film_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options to the parser of cut-test."""
    parser.add_argument("--frames", metavar="FIRST:END", help="of a film: these frames alone, from 0, without END")


def is_film(path: Path | None) -> bool:
    """Whether a path is named like a film; no folder is."""
    from cut.data.formats import FILM_SUFFIXES

    return path is not None and path.suffix.lower() in FILM_SUFFIXES and not path.is_dir()


def translate_films(args: argparse.Namespace, method: "Method", config: "RunConfig", fabric: "Fabric") -> None:
    """Translates the film that is named with --input.

    Raises:
        UserError: It cannot be read or written, or an option is for pictures alone.
    """
    from cut.inference.film import Film, translate_film
    from cut.runtime.memory import peak_memory_mib

    for option in ("target", "format", "remove_old", "mask"):
        if getattr(args, option):
            raise UserError(f"--{option.replace('_', '-')}: is for pictures, and --input is a film; leave it out")
    frames, film, output = _frames(args.frames), Film(args.input), _output(args.input, args.output)
    _check_output(args.input, output, args.output, args.overwrite)
    request = make_request(args, method, config, fabric)
    if len(request.outputs) > 1:
        raise UserError(
            "--input: a film has one translation; leave --num-outputs out, and give one --guide and --label"
        )
    if not all(bands.are_plain for bands in config.data.bands.values()):
        raise UserError("--input: a film has 3 channels of 8 bits, but this model's domains have others; give pictures")
    domains, start = config.data.channels, time.perf_counter()
    channels = domains.get(request.direction[0], domains["b"])
    done = translate_film(method, film, output, channels, fabric, args.batch_size, request, args.tile_px, frames)
    if args.json:
        seconds = (time.perf_counter() - start) / done
        costs = {"seconds_per_picture": seconds, "peak_mib": peak_memory_mib(fabric.device), "pictures": done}
        write_json_file(args.json, costs)
    wanted = (min(frames[1], film.num_frames) if frames[1] is not None else film.num_frames) - frames[0]
    lost = f" (the file says {wanted}: it ends early, or is damaged)" if done < wanted else ""
    rate = f"{film.fps:g} frames a second" + ("" if film.says_fps else ", because the file does not say how many")
    names = [shlex.quote(str(path)) for path in (output, args.input, output.with_stem(f"{output.stem}_sound"))]
    sound = (
        "without sound"
        if frames != (0, None)
        else "without sound; with it: ffmpeg -i {} -i {} -map 0:v -map 1:a -c copy {}"
    )
    say(f"{done} frames translated{lost} into {output}, {rate}, {sound.format(*names)}", sys.stdout)


def _frames(text: str | None) -> tuple[int, int | None]:
    """`10:50`, `10:` or `:50` as numbers."""
    first, colon, end = (text or ":").partition(":")
    numbers = (first or "0", end or "0")
    if not colon or not all(number.isdecimal() and len(number) <= _MOST_DIGITS for number in numbers):
        raise UserError(f"--frames {text}: must be FIRST:END, two numbers from 0, of which each may be left out")
    found = int(numbers[0]), int(end) if end else None
    if found[1] is not None and found[1] <= found[0]:
        raise UserError(f"--frames {text}: END must be above FIRST")
    return found


def _output(film: Path, given: Path) -> Path:
    """The film to write: `given` itself, or the film's name in the folder `given`."""
    from cut.data.formats import FILM_SUFFIXES, READ_SUFFIXES
    from cut.inference.film import CODECS

    suffix = given.suffix.lower()
    if suffix in CODECS and not given.is_dir():
        return given
    if suffix in (*FILM_SUFFIXES, *READ_SUFFIXES) and not given.is_dir():  # no folder is meant, such as x.gif
        raise UserError(f"--output {given}: no film is written as {suffix} (written: {', '.join(CODECS)})")
    return given / (film.name if film.suffix.lower() in CODECS else f"{film.stem}.mp4")


def _check_output(film: Path, output: Path, given: Path, overwrite: bool) -> None:
    """Refuses to write over what this program did not write, unless that is asked for, and over the film itself."""
    from cut.inference.film import check_output
    from cut.storage.written import TRANSLATIONS, adopt, list_beside

    if output != given:
        list_beside(given, kind=TRANSLATIONS)
    if overwrite and output.is_file() and not output.samefile(film):
        adopt([output])
    check_output(film, output)
