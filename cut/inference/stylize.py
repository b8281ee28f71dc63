"""Makes pictures with a stylizer: one after the other, each from a photograph and a painting."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor
from tqdm import tqdm

from cut.data.images import list_images, pair_name, read_image, write_image
from cut.data.transforms import resized, to_picture, to_tensor, to_written_picture
from cut.errors import NoRoomError, UserError, about, listed, printable
from cut.inference.output_folder import OutputFolder
from cut.inference.request import Request, stream_seed
from cut.inference.sheet import shrink, write_sheet
from cut.inference.translate import SHEET_PX, SHEET_ROWS, Job, small_partner
from cut.methods.stylizer import Progress, Stylizer

_MOST_PIXELS = 2**26  # of a picture as it is made; a long and narrow one would grow without a bound
_STAGES = 4  # intermediate pictures of each on the sheet


@dataclass
class _Row:
    """A picture on the sheet, as far as it is made."""

    name: str
    ends: list[np.ndarray | None]
    stages: list[np.ndarray] = field(default_factory=list)
    made: np.ndarray | None = None


@dataclass
class _Sheet:
    """The contact sheet, which is written again with each intermediate picture, so that it can be watched."""

    path: Path | None
    remark: str | None
    has_targets: bool
    rows: list[_Row] = field(default_factory=list)

    def write(self) -> None:
        if not self.path or not self.rows:
            return
        stages = max(len(row.stages) for row in self.rows)
        shares = [f"{100 * stage // (_STAGES + 1)} %" for stage in range(1, stages + 1)]
        made = f"translation ({self.remark})" if self.remark else "translation"
        columns = ["input", "style", *shares, made, *(["target"] if self.has_targets else [])]
        cells = []
        for row in self.rows:
            empty: list[np.ndarray | None] = [None] * (stages - len(row.stages))
            cells.append([*row.ends[:2], *row.stages, *empty, row.made, *row.ends[2 : 2 + self.has_targets]])
        write_sheet(self.path, columns, cells, [row.name for row in self.rows])


def stylize(
    method: Stylizer,
    jobs: Sequence[Job],
    fabric: Fabric,
    output: OutputFolder,
    target: Path | None,
    request: Request,
    remark: str | None = None,
) -> tuple[str, float]:
    """Makes and writes all pictures, and a contact sheet of some of them with what they were on the way.

    What is drawn for a picture depends on the seed and on the photograph's name alone.

    Args:
        method: Method that makes them, on the CPU.
        jobs: From `plan_jobs`, each with a painting as its style.
        fabric: Device and precision.
        output: Where the jobs write.
        target: Folder whose pictures of the same name are shown beside them, or None.
        request: Seed, and what is done to photographs first.
        remark: What the sheet and the summary must say of the method.

    Returns:
        One line that says what was done, and the seconds that a picture took on average.

    Raises:
        UserError: Some photographs could not be read, made or written (the others are done).
    """
    fabric.to_device(method)
    partners = {pair_name(path.relative_to(target)): path for path in list_images(target)} if target else {}
    shown = set(np.linspace(0, len(jobs) - 1, min(SHEET_ROWS, len(jobs))).round().astype(int).tolist())
    sheet, failures = _Sheet(output.sheet, remark, target is not None), []
    start = time.perf_counter()
    for number, job in enumerate(jobs):
        try:
            photo = read_image(job.source, 3)
            with about(job.source):
                photo = request.prepare(photo) if request.prepare else photo
        except UserError as error:
            failures.append(str(error))
            continue
        row = _Row(job.name + job.given.suffix, _ends(job, photo, partners))
        if number in shown:
            sheet.rows.append(row)
        try:
            made = _make(method, job, photo, fabric, request.seed, row, sheet)
            write_image(job.output, made, checked=True)
        except NoRoomError:  # which all others would meet too
            raise
        except UserError as error:
            failures.append(str(error))
            continue
        output.written.add(job.output)
        row.made = shrink(made, SHEET_PX)
        sheet.write()
    count = len(output.written)
    seconds = (time.perf_counter() - start) / max(count, 1)
    done = f"{count} picture{'s' * (count != 1)} made" + (f" with {remark}" if remark else "")
    summary = output.summary(f"{done}, {seconds:.1f} s each,")
    if failures:
        raise UserError(f"{len(failures)} of {len(jobs)} pictures were left out: {listed(failures)}; {summary}")
    return summary, seconds


def _as_large(picture: Tensor, photo: np.ndarray | None) -> np.ndarray:
    """An intermediate picture `(1, 3, H, W)` in [0, 1], at the size of the small photograph."""
    assert photo is not None, "there is a photograph"
    small = to_picture(picture[0].mul(2.0).sub(1.0))
    return resized(small, (photo.shape[0], photo.shape[1])).permute(1, 2, 0).numpy()


def _ends(job: Job, photo: np.ndarray, partners: dict[str, Path]) -> list[np.ndarray | None]:
    """The photograph, the painting and the target, small."""
    assert job.given.style is not None, "every job has a painting"
    painting = shrink(to_picture(job.given.style[0]), SHEET_PX)
    return [shrink(photo, SHEET_PX), painting, small_partner(partners.get(pair_name(Path(job.name))))]


def _make(
    method: Stylizer, job: Job, photo: np.ndarray, fabric: Fabric, seed: int, row: _Row, sheet: _Sheet
) -> np.ndarray:
    """One picture, of the size and depth of its photograph; its progress goes to the terminal and onto the sheet."""
    assert job.given.style is not None, "every job has a painting"
    height, width = method.working_size(*photo.shape[:2])
    if height * width > _MOST_PIXELS:
        raise UserError(
            f"{job.name}: would be made at {width}x{height} px; lower {method.size_setting}, or cut a part out of it"
        )
    stream = torch.Generator().manual_seed(stream_seed(seed, job.name, job.given.number))
    with tqdm(desc=printable(row.name), unit="evaluation", dynamic_ncols=True, disable=None) as bar:

        def report(progress: Progress) -> None:
            if not np.isfinite(list(progress.terms.values())).all():
                terms = ", ".join(f"{name} {value:g}" for name, value in progress.terms.items())
                raise UserError(f"{job.name}: the objective is not finite at evaluation {progress.step} ({terms})")
            bar.total = max(progress.total, progress.step)
            bar.set_postfix({name: f"{value:.3g}" for name, value in progress.terms.items()}, refresh=False)
            bar.update(progress.step - bar.n)
            stage = len(row.stages) + 1
            is_on_the_way = stage <= _STAGES and progress.step < progress.total
            if is_on_the_way and progress.step * (_STAGES + 1) >= progress.total * stage:
                row.stages.append(_as_large(progress.picture(), row.ends[0]))
                sheet.write()

        image, style = fabric.to_device((to_tensor(photo)[None], job.given.style))
        with torch.set_grad_enabled(method.needs_grad), fabric.autocast():
            made = method(image, style=style, generator=stream, report=report)
    return to_written_picture(made[0], photo.dtype.type, job.name)
