"""The errors that a user's own mistake raises."""


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
