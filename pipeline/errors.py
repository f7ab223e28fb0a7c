"""The errors that a user can mend; everything else is a bug and keeps its traceback."""


class UserError(ValueError):
    """A mistake in the input: field, value and remedy in one line (exit code 2, no traceback)."""


class BadSampleError(UserError):
    """A sample that cannot be decoded; names the sample and the reason."""
