"""`kitsolve doctor`: what this machine has, and whether Kaggle knows its user."""

from __future__ import annotations

import platform
import shutil
from dataclasses import dataclass
from importlib.metadata import version

from kitsolve.errors import KitsolveError
from kitsolve.inference.devices import choose_device, choose_dtype, has_bfloat16, usable_cores
from kitsolve.kaggle import connect
from kitsolve.remote import Account
from kitsolve.workspace import Workspace

PACKAGES = ("kitsolve", "torch", "torchvision", "timm", "albumentations", "kaggle")


@dataclass(frozen=True)
class Diagnosis:
    """Versions, the device and its precision, free disk, and the account or what is wrong with it."""

    python: str
    versions: dict[str, str]
    device: str
    precision: str
    cores: int
    folder: str
    free_gb: float
    account: Account | None
    problem: str | None
    hint: str | None


def diagnose(workspace: Workspace) -> Diagnosis:
    """Look at all of it; asks Kaggle twice."""
    device = choose_device()
    account, error = _find_account()
    return Diagnosis(
        python=platform.python_version(),
        versions={package: version(package) for package in PACKAGES},
        device=str(device),
        precision=str(choose_dtype("auto", device.type, has_bfloat16=has_bfloat16(device))).removeprefix("torch."),
        cores=usable_cores(),
        folder=str(workspace.root),
        free_gb=round(shutil.disk_usage(workspace.root).free / 1e9, 1),
        account=account,
        problem=error.problem if error else None,
        hint=error.hint if error else None,
    )


def _find_account() -> tuple[Account | None, KitsolveError | None]:
    try:
        kaggle = connect()
        kaggle.verify()
    except KitsolveError as error:
        return None, error
    return kaggle.account, None
