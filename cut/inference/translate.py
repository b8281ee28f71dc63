"""Translates files: every picture in, one picture out, of the same name and size."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor
from tqdm import tqdm

from cut.data.images import READ_SUFFIXES, SUFFIXES, list_images, pair_name, read_image, write_image
from cut.data.transforms import to_tensor, to_written_picture
from cut.errors import NoRoomError, UserError, listed
from cut.inference.background import in_background
from cut.inference.output_folder import OutputFolder
from cut.inference.request import ONE_OUTPUT, Given, Request, stream_seed
from cut.inference.sheet import shrink, write_sheet
from cut.inference.tiling.memory_check import check_memory
from cut.inference.tiling.tiled import translate_in_tiles
from cut.methods.base import Method, first_output
from cut.runtime.seeding import seed_all
from cut.storage.files import find_collision, real_path, why_unreadable

SHEET_ROWS = 16
SHEET_PX = 256


@dataclass(frozen=True)
class Job:
    """One output to make of a picture; `name` is the picture's path below the input folder."""

    source: Path
    output: Path
    name: str
    given: Given = ONE_OUTPUT


def plan_jobs(
    source: Path, output: Path, suffix: str | None = None, outputs: Sequence[Given] = (ONE_OUTPUT,)
) -> list[Job]:
    """One job per picture below the folder `source`, or for the one file, and per output of it.

    Args:
        source: a folder, nested or not, or a file.
        output: the folder for the translations.
        suffix: the format to write, such as `.png`; None keeps each picture's own, or takes PNG where it is only read.
        outputs: What each picture becomes.

    Raises:
        UserError: nothing to translate, an unknown format, or two translations of one name.
    """
    if suffix is not None and suffix not in SUFFIXES:
        raise UserError(
            f"--format {suffix[1:]}: not a known picture format (known: {', '.join(s[1:] for s in SUFFIXES)})"
        )
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
        Job(path, output / _written_as(name, suffix, given.suffix), str(name), given)
        for path, name in named
        for given in outputs
    ]
    if pair := find_collision([job.output.relative_to(output) for job in jobs], output):
        first, second = (jobs[index] for index in pair)
        raise UserError(
            f"{first.source} and {second.source} would both become {second.output}; leave --format out, or rename one"
        )
    return jobs


def _written_as(name: Path, suffix: str | None, end: str) -> Path:
    """The name of a translation: in its picture's own format, or as PNG where that is not written (GIF, AVIF, ...)."""
    own = name.suffix if name.suffix.lower() in SUFFIXES else ".png"
    return name.with_name(f"{name.stem}{end}{suffix or own}")


def translate(
    method: Method,
    jobs: Sequence[Job],
    channels: int,
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
        channels: of the domain to translate.
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
                partner = _small_partner(partners.get(pair_name(Path(name))))
                small = [shrink(picture, SHEET_PX), shrink(translated, SHEET_PX), partner]
                rows.append((name + jobs[index].given.suffix, small))
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
    channels: int,
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
        write_image(jobs[translated[0]].output, translated[2], checked=True)
        return translated

    def translations() -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        for group in _groups(jobs, channels, batch_size, failures, depth, request.prepare or (lambda picture: picture)):
            pictures = [picture for _, picture in group]
            outputs = _translate_group(method, pictures, fabric, request, tile_px, [jobs[index] for index, _ in group])
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
    channels: int,
    batch_size: int,
    failures: list[str],
    depth: int,
    prepare: Callable[[np.ndarray], np.ndarray],
) -> Iterator[list[tuple[int, np.ndarray]]]:
    """Decoded pictures with their job's number, in runs of equal size; unreadable ones go into `failures`."""
    group: list[tuple[int, np.ndarray]] = []
    for index, read in enumerate(in_background(lambda job: prepare(read_image(job.source, channels)), jobs, depth)):
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


def _translate_group(
    method: Method,
    pictures: Sequence[np.ndarray],
    fabric: Fabric,
    request: Request,
    tile_px: int | None,
    jobs: Sequence[Job],
) -> list[np.ndarray]:
    """Translations of pictures of one size: of that size, each with its picture's bit depth."""
    if method.goes_one_by_one:
        seed_all(stream_seed(request.seed, jobs[0].name, jobs[0].given.number))
    height, width = pictures[0].shape[:2]
    networks = method.inference_networks().values()
    multiple = max(getattr(network, "stride", 1) for network in networks)
    smallest = max(getattr(network, "min_size_px", 1) for network in networks)
    (top, bottom), (left, right) = _padding(height, multiple, smallest), _padding(width, multiple, smallest)
    padded = [np.pad(p, ((top, bottom), (left, right), (0, 0)), mode="symmetric") for p in pictures]
    given = request.tensors(method, [job.name for job in jobs], [job.given for job in jobs])
    translated = method.directions()[request.direction]
    forward = partial(_scored, translated, fabric.to_device(given))
    with torch.inference_mode(not method.needs_grad), fabric.autocast():
        if tile_px is not None and max(padded[0].shape[:2]) > tile_px:
            arrays = []
            for picture, job in zip(padded, jobs, strict=True):
                own = fabric.to_device(request.tensors(method, [job.name], [job.given]))
                one, folder = partial(_scored, translated, own), job.output.parent
                arrays.append(translate_in_tiles(one, picture, tile_px, fabric.device, folder, job.name))
            return [array[top : top + height, left : left + width] for array in arrays]
        check_memory(forward, padded[0], len(padded), fabric.device, jobs[0].name)
        images = fabric.to_device(torch.stack([to_tensor(p) for p in padded]))
        outputs = forward(images)[:, :, top : top + height, left : left + width]
    return [
        to_written_picture(output, picture.dtype.type, job.name)
        for output, picture, job in zip(outputs, pictures, jobs, strict=True)
    ]


def _scored(forward: Callable[..., Any], given: dict[str, Tensor], images: Tensor) -> Tensor:
    """The output that is written, of several the first."""
    return first_output(forward(images, **given))


def _padding(side: int, multiple: int, smallest: int) -> tuple[int, int]:
    """Pixels to add before and after, so that the side is a multiple and at least `smallest`."""
    missing = max(-(-side // multiple) * multiple, -(-smallest // multiple) * multiple) - side
    return missing // 2, missing - missing // 2


def _small_partner(path: Path | None) -> np.ndarray | None:
    """The target picture in 8 bits; None leaves its place on the sheet empty."""
    try:
        return shrink(read_image(path, 3), SHEET_PX) if path else None
    except UserError:  # it is there to look at only, and must not keep the others from being translated
        return None
