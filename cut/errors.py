"""The errors that a user's own mistake raises, and what was given, in words short enough for their one line."""

import contextlib
import difflib
import reprlib
from collections.abc import Iterable, Iterator

_SHORT = reprlib.Repr()
_SHORT.maxstring, _SHORT.maxother, _SHORT.maxlist, _SHORT.maxtuple, _SHORT.maxdict, _SHORT.maxlevel = 80, 80, 8, 8, 4, 3


def shown(value: object, quoted: bool = True) -> str:
    """A value as Python writes it, shortened; a text without quotes where `quoted` is false."""
    if isinstance(value, str) and not quoted:
        return shortened(value)
    try:
        return _SHORT.repr(value)
    except ValueError:  # Python writes out no integer of more than 4300 digits
        return "a number of thousands of digits"


def shortened(text: str, most: int = 160) -> str:
    """The text, with dots in the middle if it is longer than `most` characters."""
    return text if len(text) <= most else f"{text[: most // 2]}...{text[-most // 2 :]}"


def printable(text: str) -> str:
    """The text on one line, in which nothing steers a terminal or breaks a table: such characters become escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def listed(items: Iterable[object], most: int = 10) -> str:
    """The first of the items, separated by semicolons, and how many more there are."""
    texts = [str(item) for item in items]
    more = [f"and {len(texts) - most} more"] if len(texts) > most else []
    return "; ".join([*texts[:most], *more])


def reason(error: BaseException) -> str:
    """Why something failed, on one line: what the system says, or the first line of the error's text, or its class."""
    text = str(getattr(error, "strerror", None) or error).strip()
    if isinstance(error, MemoryError) and not text:
        return "the system gives no more memory"
    return text.splitlines()[0] if text else type(error).__name__


@contextlib.contextmanager
def about(path: object) -> Iterator[None]:
    """Puts the name of a file before the line of a `UserError`."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that a mistyped one is most like; None if it is like none."""
    matches = difflib.get_close_matches(word, list(known), cutoff=0.5)
    alike = [match for match in matches if match.split("_")[0] == word.split("_")[0]]  # load_size: load_px
    return next(iter(alike or matches), None)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the nearest known word, or nothing."""
    match = nearest(word, known)
    return f"; did you mean '{match}'?" if match else ""


class UserError(ValueError):
    """A mistake that the user can mend: says what, where, what was given and what is allowed.

    The command line prints its text on one line, without a traceback, and exits with `status`.
    """

    status = 2
    is_told = False  # another process of this run has the same error, and prints it


class PictureError(UserError):
    """A picture that a training needs cannot be used; the training itself is sound."""


class TilingError(UserError):
    """A generator cannot be cut into tiles; it translates whole pictures alone."""


class NoRoomError(UserError):
    """Nothing more can be written there: the disk is full, or may only be read."""


class LostProcessError(UserError):
    """The exchange with the other processes of a run failed: one of them has ended, and its own words say why."""

    status = 3
