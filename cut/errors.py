"""The errors that a user's own mistake raises."""


class UserError(ValueError):
    """A mistake that the user can mend: says what, where, what was given and what is allowed.

    The command line prints its text on one line, without a traceback, and exits with status 2.
    """


class PictureError(UserError):
    """A picture that a training needs cannot be used; the training itself is sound."""
