"""Translates files: every picture in, one picture out, of the same name and size."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from lightning_fabric import Fabric
from tqdm import tqdm

from cut.data.images import READ_SUFFIXES, WRITTEN_SUFFIXES, list_images, pair_name, read_image, write_image
from cut.data.numbers import COLOURS, Bands, can_hold, number_type, to_stored
from cut.errors import NoRoomError, UserError, about, listed
from cut.inference.background import in_background
from cut.inference.forward import translate_pictures
from cut.inference.masks import keep_outside, weights_for
from cut.inference.output_folder import OutputFolder
from cut.inference.request import ONE_OUTPUT, Given, Request
from cut.inference.sheet import shrink, write_sheet
from cut.methods.base import Method
from cut.storage.files import find_collision, real_path, why_unreadable

SHEET_ROWS = 16
SHEET_PX = 256


@dataclass(frozen=True)
class Job:
    """One output to make of a picture; `name` is the picture's path below the input folder, `mask` says what stays."""

    source: Path
    output: Path
    name: str
    given: Given = ONE_OUTPUT
    mask: Path | None = None


def plan_jobs(
    source: Path,
    output: Path,
    suffix: str | None = None,
    outputs: Sequence[Given] = (ONE_OUTPUT,),
    made: Bands = COLOURS,
) -> list[Job]:
    """One job per picture below the folder `source`, or for the one file, and per output of it.

    Args:
        source: a folder, nested or not, or a file.
        output: the folder for the translations.
        suffix: format to write, such as `.png`; None keeps each picture's own, or takes PNG where it is only read, or
            TIFF where it cannot hold the translation.
        outputs: What each picture becomes.
        made: What the files of the translations hold.

    Raises:
        UserError: nothing to translate, an unknown format, or two translations of one name.
    """
    if suffix is not None and suffix not in WRITTEN_SUFFIXES:
        known = ", ".join(s[1:] for s in WRITTEN_SUFFIXES)
        raise UserError(f"--format {suffix[1:]}: not a known picture format (known: {known})")
    if suffix is not None and not can_hold(suffix, made):
        raise UserError(f"--format {suffix[1:]}: cannot hold {made}; take npy or tif")
    if source.is_dir():
        named = [(path, path.relative_to(source)) for path in list_images(source)]
    elif source.is_file():
        named = [(source, Path(source.name))]
        if suffix is None and source.suffix.lower() not in READ_SUFFIXES:
            raise UserError(f"{source}: its name ends in no format that can be written; choose one with --format png")
    else:
        raise UserError(f"{source}: {'no such file or folder' if not source.exists() else why_unreadable(source)}")
    if source.is_dir() and real_path(output).is_relative_to(real_path(source)):
        raise UserError(
            f"{output}: lies in the input folder, whose pictures it would mix with; choose another --output"
        )
    jobs = [
        Job(path, output / _written_as(name, suffix, given.suffix, made), str(name), given)
        for path, name in named
        for given in outputs
    ]
    if pair := find_collision([job.output.relative_to(output) for job in jobs], output):
        first, second = (jobs[index] for index in pair)
        way_out = "leave --format out, or rename one" if suffix else "rename one"
        raise UserError(f"{first.source} and {second.source} would both become {second.output}; {way_out}")
    return jobs


def _written_as(name: Path, suffix: str | None, end: str, made: Bands) -> Path:
    """The name of a translation: in its picture's own format, or as PNG where that is not written (GIF, AVIF, ...), or
    as TIFF where neither can hold it."""
    own = name.suffix if name.suffix.lower() in WRITTEN_SUFFIXES else ".png"
    own = own if can_hold(own, made) else ".tif"
    return name.with_name(f"{name.stem}{end}{suffix or own}")


def translate(
    method: Method,
    jobs: Sequence[Job],
    channels: int | Bands,
    fabric: Fabric,
    batch_size: int,
    output: OutputFolder,
    target: Path | None,
    request: Request | None = None,
    tile_px: int | None = None,
) -> str:
    """Runs all jobs and draws a contact sheet of some of them.

    Args:
        method: set for inference; only its `directions` are used.
        jobs: from `plan_jobs`.
        channels: What the files of the domain to translate hold.
        fabric: device and precision.
        batch_size: pictures of equal size that go through together, when they follow each other.
        output: Where the jobs write; a sheet beside it shows inputs and translations side by side.
        target: a folder whose pictures of the same name are shown beside them, or None.
        request: Direction, seed, and whatever else is asked for; by default from the source to the target domain.
        tile_px: side of the tiles that larger pictures are cut into, or None; the result is the same.

    Returns:
        One line that says what was done.

    Raises:
        UserError: `target` holds no pictures, some pictures could not be read (the others are translated), or one
            could not be written, or does not fit into memory.
    """
    partners = {pair_name(path.relative_to(target)): path for path in list_images(target)} if target else {}
    shown = set(np.linspace(0, len(jobs) - 1, min(SHEET_ROWS, len(jobs))).round().astype(int).tolist())
    rows: list[tuple[str, list[np.ndarray | None]]] = []
    failures: list[str] = []
    with tqdm(total=len(jobs), unit="picture", dynamic_ncols=True, disable=None) as bar:
        done = run_jobs(method, jobs, channels, fabric, batch_size, failures, request, tile_px)
        for index, picture, translated in done:
            output.written.add(jobs[index].output)
            if index in shown:
                name = jobs[index].name
                made = request.made if request else COLOURS
                partner = small_partner(partners.get(pair_name(Path(name))), made)
                small = [shrink(image, SHEET_PX, made.shown) for image in (picture, translated)]
                rows.append((name + jobs[index].given.suffix, [*small, partner]))
            bar.update()
    if rows and output.sheet:
        columns = ["input", "translation", *(["target"] if target else [])]
        pictures = [row[: len(columns)] for _, row in rows]
        write_sheet(output.sheet, columns, pictures, [name for name, _ in rows])
    summary = output.summary(f"{len(output.written)} pictures translated")
    if failures:
        raise UserError(f"{len(failures)} of {len(jobs)} pictures were left out: {listed(failures)}; {summary}")
    return summary


def run_jobs(
    method: Method,
    jobs: Sequence[Job],
    channels: int | Bands,
    fabric: Fabric,
    batch_size: int,
    failures: list[str],
    request: Request | None = None,
    tile_px: int | None = None,
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Translates and writes, as `translate`; gives each job's number, its picture and the translation, once written.

    What could not be read or written goes into `failures`, a line each. The next pictures are read and the last ones
    written meanwhile, as many as are computed at once.
    """
    fabric.to_device(method)
    request = request or Request()
    if method.goes_one_by_one:
        batch_size = 1
    depth = batch_size if tile_px is None else 1  # large ones, of which each takes much memory

    def write(translated: tuple[int, np.ndarray, np.ndarray]) -> tuple[int, np.ndarray, np.ndarray]:
        index, picture, array = translated
        if mask := jobs[index].mask:
            array = keep_outside(picture, array, mask, request.prepare)
        shown = array
        if request.made.limits is not None:
            array = to_stored(array, request.made, number_type(jobs[index].source))
        write_image(jobs[index].output, array, checked=True)
        return index, picture, shown

    def translations() -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        for group in _groups(jobs, channels, batch_size, failures, depth, request.prepare or (lambda picture: picture)):
            pictures = [picture for _, picture in group]
            own = [jobs[index] for index, _ in group]
            keys = [(job.name, job.given) for job in own]
            outputs = translate_pictures(method, pictures, fabric, request, keys, tile_px, own[0].output.parent)
            for (index, picture), output in zip(group, outputs, strict=True):
                yield index, picture, output

    for written in in_background(write, translations(), depth):
        try:
            done = written.result()
        except NoRoomError:  # which all others would meet too
            raise
        except UserError as error:
            failures.append(str(error))
            continue
        yield done


def _groups(
    jobs: Sequence[Job],
    channels: int | Bands,
    batch_size: int,
    failures: list[str],
    depth: int,
    prepare: Callable[[np.ndarray], np.ndarray],
) -> Iterator[list[tuple[int, np.ndarray]]]:
    """Decoded pictures with their job's number, in runs of equal size; what cannot be read, and a picture whose mask
    does not fit, go into `failures`.
    """

    def load(job: Job) -> np.ndarray:
        picture = read_image(job.source, channels)
        with about(job.source):
            picture = prepare(picture)
        if job.mask:
            weights_for(picture, job.mask, prepare)  # a mask that does not fit is found before the work
        return picture

    group: list[tuple[int, np.ndarray]] = []
    for index, read in enumerate(in_background(load, jobs, depth)):
        try:
            picture = read.result()
        except UserError as error:
            failures.append(str(error))
            continue
        if group and (len(group) == batch_size or group[0][1].shape != picture.shape):
            yield group
            group = []
        group.append((index, picture))
    if group:
        yield group


def small_partner(path: Path | None, bands: Bands = COLOURS) -> np.ndarray | None:
    """The target picture in 8 bits; None leaves its place on the sheet empty."""
    bands = COLOURS if bands.are_plain else bands
    try:
        return shrink(read_image(path, bands), SHEET_PX, bands.shown) if path else None
    except UserError:  # it is there to look at only, and must not keep the others from being translated
        return None
