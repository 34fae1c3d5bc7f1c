"""Errors that are meant for a person: one clear line, no traceback."""

from __future__ import annotations


class UserError(Exception):
    """Something the user can put right.

    The message says what is wrong, where, and what to do next; the command line
    prints it as ``mnist-sweep: error: <message>`` and exits with code 2.
    """


class DataError(UserError):
    """A data set is missing, damaged or not what it says it is."""


class SpecError(UserError):
    """A sweep spec is wrong. Holds every problem found, not only the first."""

    def __init__(self, problems: list[str]) -> None:
        """``problems`` are ready-to-print lines, such as ``"sweep.yaml:12: lr: ..."``."""
        super().__init__("\n".join(problems))
        self.problems = problems


class ResultsError(UserError):
    """A results file cannot be read, continued or written."""


class DeviceError(UserError):
    """The asked-for device cannot train here, or there is no compiler for it."""
