"""The one exception that users are meant to see."""

from __future__ import annotations

import difflib
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path


class KitsolveError(Exception):
    """A mistake that the user can repair.

    Args:
        problem: one line: what is wrong, with the number and the first example.
        hint: one line: the command or edit that repairs it.
    """

    def __init__(self, problem: str, hint: str) -> None:
        super().__init__(problem, hint)  # both, so that the error survives the way from another process
        self.problem = problem
        self.hint = hint

    def __str__(self) -> str:
        """The problem."""
        return self.problem


def nearest(name: str, known: Iterable[str], count: int = 3) -> str:
    """Up to `count` known names that look like `name`, nearest first, or all of them where few; comma-separated."""
    names = sorted(set(known))
    close = difflib.get_close_matches(name, names, n=count, cutoff=0.5)
    return ", ".join(close or (names if len(names) <= 12 else names[:count] + ["…"]))


@contextmanager
def translated(hint: str) -> Iterator[None]:
    """Turn the ValueErrors of `kitsolve.inference`, which runs without kitsolve, into KitsolveErrors with this hint."""
    try:
        yield
    except ValueError as error:
        raise KitsolveError(str(error), hint) from error


@contextmanager
def own_code(path: Path, what: str = "", *, given: str = "") -> Iterator[None]:
    """Turn whatever a user's own code raises into a KitsolveError with its line; what it prints goes to stderr.

    Args:
        what: the function of that file; "" where the file itself is run.
        given: what the function was given, as in "given 3 rows".
    """
    try:
        with redirect_stdout(sys.stderr):
            yield
    except KitsolveError:
        raise
    except (Exception, SystemExit) as error:
        said = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(": ")
        line = _line_in(path, error)
        where = f"{what} in {path}{line}" if what else f"{path}{line}"
        raise KitsolveError(
            f"{where} raised {said}{f', {given}' if given else ''}.",
            f"correct {what or path.name}; --debug shows more.",
        ) from error


def _line_in(path: Path, error: BaseException) -> str:
    """The last line of the file that led to an error, in words."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    if isinstance(error, SyntaxError) and error.filename == str(path):
        lines.append(error.lineno)
    return f", line {lines[-1]}," if lines else ""
