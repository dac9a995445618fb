"""The one exception that users are meant to see."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


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
