"""The errors that are told in one line; everything else is a bug and keeps its traceback."""

import unicodedata


def one_line(text: str) -> str:
    """A message as one line, in which a name cannot steer the terminal: control codes escaped."""
    return "".join(
        repr(char)[1:-1] if unicodedata.category(char) == "Cc" else char
        for char in " ".join(text.splitlines())
    )


class UserError(ValueError):
    """A mistake in the input: field, value and remedy in one line (exit code 2)."""

    is_told = False
    """Whether another of several processes tells it."""


class BadSampleError(UserError):
    """A sample that cannot be decoded; names the sample and the reason."""


class MachineError(RuntimeError):
    """The machine failed, not the input: a full disk, a worker that was killed (exit code 1)."""

    is_told = False
    """See `UserError`."""
