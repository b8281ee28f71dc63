"""Translates a film frame by frame; a few frames are in memory at a time, however long it is."""

import math
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from lightning_fabric import Fabric
from tqdm import tqdm

from cut.data.bounds import max_megapixels
from cut.data.images import with_channels
from cut.errors import NoRoomError, UserError
from cut.inference.forward import translate_pictures
from cut.inference.request import Request
from cut.methods.translator import Translator
from cut.storage.files import new_file, why_unreadable
from cut.storage.written import TRANSLATIONS, is_foreign, mark
from cut.terminal import say

# Suffix -> four letters by which OpenCV knows the codec that is written there.
CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "XVID"}
_USUAL_FPS = 25.0
_MOST_FPS = 1000.0


class Film:
    """The frames of a film file, from the first to the last.

    Args:
        path: File.

    Attributes:
        fps: Frames per second; of a film whose rate changes, the mean.
        says_fps: Whether the file says so; else `fps` is 25.
        num_frames: Number of frames as the file says; 0 where it does not.

    Raises:
        UserError: It is missing, or OpenCV cannot decode it, or its frames are too large.
    """

    def __init__(self, path: Path):
        if not path.is_file():
            raise UserError(f"{path}: {why_unreadable(path)}")
        self.path, self._capture = path, _cv2().VideoCapture(os.path.abspath(path), _cv2().CAP_FFMPEG)
        width, height, fps, count = (self._capture.get(getattr(_cv2(), f"CAP_PROP_{name}")) for name in _PROPERTIES)
        if not self._capture.isOpened() or not width * height:
            names = str(path), str(path.with_name(f"{path.stem}_h264.mp4"))
            raise UserError(
                f"{path}: cannot be read as a film (damaged, or of a codec that OpenCV does not decode); try: "
                + shlex.join(["ffmpeg", "-i", names[0], "-c:v", "libx264", names[1]])
            )
        if width * height > max_megapixels() * 1e6:
            raise UserError(f"{path}: refused, frames are larger than {max_megapixels():g} megapixels")
        self.says_fps = math.isfinite(fps) and 0 < fps <= _MOST_FPS
        self.fps, self.num_frames = fps if self.says_fps else _USUAL_FPS, max(0, int(count))

    def frames(self, first: int = 0, last: int | None = None) -> Iterator[np.ndarray]:
        """Frames `first`, counted from 0, to `last` (not included), upright, `(H, W, 3)` uint8 in RGB order."""
        for _ in range(first):  # grabbed, because a jump lands on the right frame in some codecs only
            if not self._capture.grab():
                return
        for _ in range(first, last) if last is not None else iter(int, 1):
            done, frame = self._capture.read()
            if not done:
                return
            yield np.ascontiguousarray(frame[..., ::-1])


_PROPERTIES = ("FRAME_WIDTH", "FRAME_HEIGHT", "FPS", "FRAME_COUNT")


def check_output(film: Path, output: Path) -> None:
    """Refuses what cannot be written, and to write over the film or what this program did not write.

    Raises:
        UserError: So it is.
    """
    mark(output, TRANSLATIONS)
    if output.suffix.lower() not in CODECS:
        raise UserError(f"{output}: no film is written as {output.suffix or 'that'} (written: {', '.join(CODECS)})")
    if output.exists() and output.samefile(film):
        raise UserError(f"{output}: would be overwritten by its own translation; choose another output")
    if is_foreign(output):
        raise UserError(
            f"{output}: is there already, and cut-test did not write it, or it was changed since; choose another "
            "output, or add --overwrite"
        )


def translate_film(
    method: Translator,
    film: Film,
    output: Path,
    channels: int,
    fabric: Fabric,
    batch_size: int,
    request: Request | None = None,
    tile_px: int | None = None,
    frames: tuple[int, int | None] = (0, None),
) -> int:
    """Writes the translation of a film, whole or not at all: of the same rate and size, without sound.

    All frames have one name, the film's, by which noise and styles are drawn: these do not change from frame to frame.

    Args:
        method: Set for inference.
        film: Film to translate.
        output: File to write, of a suffix of `CODECS`.
        channels: Channels of the domain to translate.
        fabric: Device and precision.
        batch_size: Frames that go through together.
        request: Direction, seed, style and scale; by default from the source to the target domain.
        tile_px: Side of the tiles that larger frames are cut into, or None.
        frames: First frame, and the one after the last; None goes to the end.

    Returns:
        Number of frames that were written.

    Raises:
        UserError: Not one frame can be decoded, or the file cannot be written.
    """
    fabric.to_device(method)
    request, name = request or Request(), film.path.name
    (given,), first, last = request.outputs, *frames
    at_once = 1 if method.goes_one_by_one or tile_px else batch_size
    wanted = min(last, film.num_frames or last) if last is not None else film.num_frames
    source, written = film.frames(first, last), 0
    bar = tqdm(total=max(0, wanted - first) or None, unit="frame", dynamic_ncols=True, disable=None)
    with new_file(output) as path, bar:
        with _writer(path, film.fps, output) as write:
            while group := list(islice(source, at_once)):
                pictures = [with_channels(frame, channels) for frame in group]
                pictures = [request.prepare(picture) for picture in pictures] if request.prepare else pictures
                keys = [(name, given)] * len(group)
                for picture in translate_pictures(method, pictures, fabric, request, keys, tile_px, path.parent):
                    write(picture)
                written += len(group)
                bar.update(len(group))
        if not written:
            raise UserError(
                f"{film.path}: no frame can be decoded from frame {first} on (the file says {film.num_frames} frames)"
            )
        _check_whole(path, written, output)
    return written


@contextmanager
def _writer(path: Path, fps: float, shown_as: Path) -> Iterator[Any]:
    """A function that appends a frame `(H, W, 1 or 3)`; the first one decides the size."""
    cv2, writers = _cv2(), list[Any]()

    def write(frame: np.ndarray) -> None:
        height, width = frame.shape[:2]
        if not writers:
            if height % 2 or width % 2:
                say(f"note: {shown_as}: {width}x{height} px without the last row or column: films have even sides")
            codec = cv2.VideoWriter_fourcc(*CODECS[shown_as.suffix.lower()])
            writers.append(cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, fps, (width, height)))
            if not writers[0].isOpened():
                raise UserError(
                    f"{shown_as}: {width}x{height} px at {fps:g} frames a second cannot be written as "
                    f"{shown_as.suffix}; try another of {', '.join(CODECS)}"
                )
        writers[0].write(np.ascontiguousarray(with_channels(frame, 3)[..., ::-1]))

    try:
        yield write
    finally:
        for writer in writers:
            writer.release()


def _check_whole(path: Path, num_frames: int, shown_as: Path) -> None:
    """OpenCV does not say when a disk is full: what was written is opened, and its frames counted."""
    try:
        found = Film(path).num_frames
    except UserError:
        found = 0
    if found < num_frames:
        raise NoRoomError(f"{shown_as}: {found} of {num_frames} frames could be written; is the disk full?")


def _cv2() -> Any:
    """OpenCV, which says nothing on stderr of what it cannot decode."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET
    import cv2  # only here, because it is slow to import

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2
