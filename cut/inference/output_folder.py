"""Where cut-test writes: nothing of the user's is overwritten, and what earlier pictures are there is reported."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from cut.data.images import list_images
from cut.errors import UserError, listed, reason
from cut.storage.written import TRANSLATIONS, adopt, is_foreign, list_beside

_MOST_NAME_BYTES = 255


class OutputFolder:
    """The folder that is named with --output, and the contact sheet beside it.

    Args:
        path: Folder to write into; it need not exist.
        remove_old: Whether pictures that an earlier cut-test wrote there, and this one does not, are deleted.

    Attributes:
        sheet: PNG of the contact sheet; None where the folder has no name of its own, because beside `.` the sheet
            would lie in a folder that nobody named.
        written: Pictures that are written by now.
    """

    def __init__(self, path: Path, remove_old: bool = False):
        self.path, self.remove_old = path, remove_old
        self.sheet = path.with_name(_sheet_name(path.name)) if path.name not in ("", "..") else None
        self.written: set[Path] = set()
        list_beside(path, self.sheet, TRANSLATIONS)

    def check(self, outputs: Sequence[Path], kept: Iterable[Path] = (), overwrite: bool = False) -> None:
        """Refuses to write over what this program did not write.

        Args:
            outputs: Pictures that will be written.
            kept: Pictures that are read, and never overwritten.
            overwrite: Whether other foreign files may be overwritten.

        Raises:
            UserError: a file would be overwritten.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UserError(
                f"{self.path}: is {'a' if self.path.is_file() else 'no regular'} file; --output must name a folder"
            )
        everything = [*outputs, *([self.sheet] if self.sheet else [])]
        there = [path for path in everything if os.path.lexists(path)]
        read = {_identity(path) for path in kept} - {None} if there else set()
        if lost := [str(path) for path in there if _identity(path) in read]:
            raise UserError(
                f"{listed(lost)}: would be overwritten by a translation, but is one of the pictures that are read; "
                "choose another --output"
            )
        foreign = [path for path in there if is_foreign(path)]
        if overwrite:
            adopt(foreign)
        elif foreign:
            raise UserError(
                f"{listed(map(str, foreign))}: is there already, and cut-test did not write it, or it was changed "
                "since; choose another --output, or add --overwrite"
            )

    def summary(self, done: str) -> str:
        """One line: what was done, where to look at it, and what else is in the folder.

        Raises:
            UserError: a picture that is to be removed cannot be.
        """
        look = f"to look at: {self.sheet}" if self.sheet and self.written else ""
        return "; ".join(filter(None, [f"{done} into {self.path}", look, self._others()]))

    def _others(self) -> str:
        """What is to be said of other pictures in the folder; deletes those that are ours, where that was asked for."""
        try:
            others = [path for path in list_images(self.path) if path not in self.written]
        except UserError:  # not one picture could be read
            return ""
        own = [path for path in others if not is_foreign(path)]
        if self.remove_old:
            for path in own:
                try:
                    path.unlink()
                except OSError as error:
                    raise UserError(f"{path}: cannot be deleted ({reason(error)})") from None
            others = [path for path in others if path not in own]
        if not others:
            return ""
        names = listed((path.relative_to(self.path).as_posix() for path in others), 3)
        way_out = "choose another --output" + (", or add --remove-old" if own and not self.remove_old else "")
        return (
            f"{self.path} also holds {len(others)} other picture{'s' * (len(others) > 1)} ({names}), left from before, "
            f"with which scores would mix these: {way_out}"
        )


def _sheet_name(folder: str) -> str:
    end = "_sheet.png"
    while len(os.fsencode(folder + end)) > _MOST_NAME_BYTES:
        folder = folder[:-1]
    return folder + end


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file this is, under whatever name and through whatever link; None for none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
