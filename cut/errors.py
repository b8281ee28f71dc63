"""The errors that a user's own mistake raises, and what was given, in words short enough for their one line."""

import reprlib

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


class UserError(ValueError):
    """A mistake that the user can mend: says what, where, what was given and what is allowed.

    The command line prints its text on one line, without a traceback, and exits with `status`.
    """

    status = 2
    is_told = False  # another process of this run has the same error, and prints it


class PictureError(UserError):
    """A picture that a training needs cannot be used; the training itself is sound."""


class LostProcessError(UserError):
    """The exchange with the other processes of a run failed: one of them has ended, and its own words say why."""

    status = 3
