"""kitsolve.inference as one file, kitsolve_inference.py, which predicts where kitsolve is not installed."""

from __future__ import annotations

import ast
from pathlib import Path

from kitsolve import inference

MODULES = (
    "bundle",
    "decoders",
    "pixels",
    "images",
    "models",
    "devices",
    "members",
    "combine",
    "deadline",
    "ensemble",
    "loop",
    "encodings",
    "cells",
    "tables",
    "filetree",
    "decode",
    "testset",
    "submission",
    "predict",
)
"""The modules of kitsolve.inference, each after those that it imports."""


def inference_file() -> str:
    """The text of kitsolve_inference.py."""
    return "\n\n".join(inference_parts())


def inference_parts() -> list[str]:
    """The text of each module, word for word but for its imports of the others; one after the other they are the file.

    Imports from __future__ stand in the first part alone, where Python wants them.
    """
    folder = Path(inference.__file__).parent
    parts = [_drop_imports((folder / f"{name}.py").read_text(encoding="utf-8"), "kitsolve") for name in MODULES]
    return [parts[0], *[_drop_imports(part, "__future__") for part in parts[1:]]]


def _drop_imports(text: str, package: str) -> str:
    """The text without the lines that import from a package, and without the gaps that these leave."""
    lines: list[str | None] = list(text.splitlines())
    for node in ast.parse(text).body:
        if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] == package:
            assert node.end_lineno is not None
            after = node.end_lineno + (lines[node.end_lineno] == "" and lines[node.lineno - 2] in ("", None))
            lines[node.lineno - 1 : after] = [None] * (after - node.lineno + 1)
    return "\n".join(line for line in lines if line is not None) + "\n"
