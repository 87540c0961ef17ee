"""Every error a user can meet, with the exit code the command line gives it.

Raise the most specific one with a single line that says what is wrong, where, and what to do.
"""


class StingerError(Exception):
    """Root of all errors this project raises on purpose."""

    exit_code = 1


class CheckFailedError(StingerError):
    """Two things that must agree do not (host and board, model and bundle)."""

    exit_code = 1


class UsageError(StingerError):
    """The options given contradict each other or name something unknown."""

    exit_code = 2


class InputError(StingerError):
    """A file, dataset or model is missing, damaged or not what it was taken for."""

    exit_code = 3


class ToolchainError(InputError):
    """A compiler is missing, or refused the generated source."""


class LinkError(StingerError):
    """A board cannot be reached, or what it says makes no sense."""

    exit_code = 4
