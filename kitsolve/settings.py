"""Settings from TOML, read strictly: a mistake names its file, its key and the repair."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from kitsolve.errors import KitsolveError, nearest

Settings = TypeVar("Settings", bound="Strict")


class Strict(BaseModel):
    """Frozen, without unknown keys and without silent conversions: "3" is not 3."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def parse_duration(text: str | None) -> float:
    """Seconds of "90m", "2h30m" or "45s"; without one for ever.

    Raises:
        KitsolveError: nothing of the kind.
    """
    if text is None:
        return math.inf
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text.strip())
    if not text.strip() or found is None:
        raise KitsolveError(f"{text!r} is no time.", hint="write it as in 90m, 2h30m or 45s.")
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return float(3600 * hours + 60 * minutes + seconds)


def format_duration(seconds: float) -> str:
    """What `parse_duration` reads: "2h30m"."""
    hours, rest = divmod(round(seconds), 3600)
    parts = ((hours, "h"), (rest // 60, "m"), (rest % 60, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"


def read_toml(path: Path) -> dict[str, Any]:
    """The values of a TOML file.

    Raises:
        KitsolveError: it is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise KitsolveError(f"{path} is not valid TOML: {error}.", hint="correct that line.") from error


def validate(model: type[Settings], values: dict[str, Any], *, source: str) -> Settings:
    """`values` as a `model`.

    Raises:
        KitsolveError: a mistake in them; names `source`, where they come from.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problem, hint = _explain(error, model)
        raise KitsolveError(f"{source}: {problem}", hint=hint) from error


def _explain(error: ValidationError, model: type[BaseModel]) -> tuple[str, str]:
    """The first mistake as a problem and its repair; an unknown key first, since a typo also leaves its key missing."""
    first = min(error.errors(), key=lambda detail: detail["type"] != "extra_forbidden")
    # A value that may be of several types has their names on its way.
    where = [part for part in first["loc"] if isinstance(part, str) and part.isidentifier() and part not in TYPES]
    key = ".".join(where)
    if first["type"] == "extra_forbidden":
        known = _fields_at(model, where[:-1])
        return f"unknown key {key!r}.", f"the nearest known keys are: {nearest(where[-1], known)}."
    if first["type"] == "missing":
        return f"the key {key!r} is missing.", f"add {where[-1]} = …"
    message = first["msg"].removeprefix("Value error, ")
    if isinstance(first["input"], dict):  # several keys together
        return f"{key}: {message}." if key else f"{message}.", "correct these keys."
    return f"{key} = {first['input']!r}: {message}.", f"correct the value of {key}."


TYPES = ("str", "int", "LabelList")


def _fields_at(model: type[BaseModel], where: Sequence[str]) -> Mapping[str, object]:
    """The fields of the table that `where` leads to."""
    for key in where:
        annotation = model.model_fields[key].annotation
        nested = [kind for kind in (annotation, *get_args(annotation)) if _is_model(kind)]
        assert nested, f"{key} holds no table"
        model = nested[0]
    return model.model_fields


def _is_model(kind: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
