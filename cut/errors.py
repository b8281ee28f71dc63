"""The one error that a user's own mistake raises."""


class UserError(ValueError):
    """A mistake that the user can mend: says what, where, what was given and what is allowed.

    The command line prints its text on one line, without a traceback, and exits with status 2.
    """
