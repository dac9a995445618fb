"""What Kaggle's notebook image is known to hold, and what that means for a bundle."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kitsolve.errors import KitsolveError, nearest


@dataclass(frozen=True)
class KaggleImage:
    """The image of one day (ISO): versions by module, the architectures that its timm knows, the machine's memory."""

    date: str
    memory_gb: float
    versions: dict[str, str]
    timm_models: frozenset[str]


def read_kaggle_image() -> KaggleImage:
    """What kaggle_image.toml records."""
    values = tomllib.loads((Path(__file__).parent / "kaggle_image.toml").read_text(encoding="utf-8"))
    models = frozenset(values["timm"]["models"].split())
    return KaggleImage(values["date"], values["memory_gb"], values["versions"], models)


def find_differences(versions: Mapping[str, str], image: KaggleImage) -> dict[str, str]:
    """Kaggle's version of every module that another environment has in a different one."""
    return {name: kaggles for name, kaggles in image.versions.items() if versions.get(name, kaggles) != kaggles}


def check_backbones(backbones: Iterable[str], image: KaggleImage, *, slug: str) -> None:
    """Refuse a timm architecture that Kaggle's timm cannot build; weights' names matter only where they are loaded.

    Raises:
        KitsolveError: names the first one, and the nearest that it knows.
    """
    for backbone in backbones:
        library, _, name = backbone.rpartition("/")
        architecture = name.partition(".")[0]
        if library != "torchvision" and architecture not in image.timm_models:
            raise KitsolveError(
                f"Kaggle's timm {image.versions['timm']} (as of {image.date}) has no {architecture}.",
                hint=f"run `kitsolve export {slug} --attach-timm`: the notebook then imports the timm that trained it; "
                f"or train one that it has, such as {nearest(architecture, image.timm_models)}.",
            )
