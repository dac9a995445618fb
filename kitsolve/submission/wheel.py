"""`kitsolve export --attach-timm`: the installed timm becomes a wheel again, for a notebook without internet."""

from __future__ import annotations

import zipfile
from importlib.metadata import distribution
from pathlib import Path

from kitsolve.errors import KitsolveError

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every file in the wheel: the same timm gives the same bytes."""


def pack_timm(folder: Path, *, trained_with: str) -> Path:
    """Write timm-VERSION-py3-none-any.whl, from which Python imports as from a folder; gives its path.

    Args:
        trained_with: the version that trained the weights.

    Raises:
        KitsolveError: another version is installed, or it is not installed as files that can be packed.
    """
    installed = distribution("timm")
    if installed.version != trained_with:
        raise KitsolveError(
            f"timm {trained_with} trained this run, and timm {installed.version} is installed.",
            hint=f"run `pip install timm=={trained_with}`, then export again.",
        )
    sources = {str(file): file.locate() for file in installed.files or [] if "__pycache__" not in file.parts}
    if "timm/__init__.py" not in sources:
        raise KitsolveError(
            "timm is not installed as a package that could be attached.", hint=f"`pip install timm=={trained_with}`."
        )
    path = folder / f"timm-{trained_with}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, source in sorted(sources.items()):
            if not name.startswith(".."):  # scripts, which lie beside the packages
                wheel.writestr(zipfile.ZipInfo(name, EPOCH), Path(str(source)).read_bytes(), zipfile.ZIP_DEFLATED)
    return path
