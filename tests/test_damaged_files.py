"""Every file of ours, damaged in every way: what uses it gives the same result, or says what to repair."""

import random
import shutil

import pytest

from kitsolve.errors import KitsolveError
from kitsolve.evaluation.runs import find_run
from kitsolve.evaluation.score import score_run
from kitsolve.submission.bundle import export_bundle, find_bundle
from kitsolve.submission.predict import keep_or_predict
from kitsolve.workspace import Workspace

RUN, TABLES = "workspace/runs/shades/first", "workspace/tables/shades"
FILES = [
    f"{TABLES}/train.csv", f"{TABLES}/test.csv", f"{TABLES}/folds.csv", f"{TABLES}/tables.json", f"{TABLES}/folds.json",
    f"{RUN}/run.json", f"{RUN}/folds.csv", f"{RUN}/plan.json", f"{RUN}/score.json", f"{RUN}/oof.csv",
    *(f"{RUN}/fold_0/{name}" for name in ("fold.json", "oof.csv", "best.safetensors", "history.csv")),
    "workspace/bundles/shades/first/bundle.json", "workspace/submissions/shades/first/submission.csv",
    "workspace/submissions/shades/first/submission.csv.made.json",
]  # fmt: skip


def cut(content, rng):
    return content[: rng.randrange(len(content))]


def flip(content, rng):
    place = rng.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]


def empty(content, rng):
    return b""


def remove(content, rng):
    return None


def drop_line(content, rng):
    lines = content.splitlines(keepends=True)
    lines.pop(rng.randrange(len(lines)))
    return b"".join(lines)


def double_line(content, rng):
    lines = content.splitlines(keepends=True)
    place = rng.randrange(len(lines))
    return b"".join([*lines[: place + 1], *lines[place:]])


def blank_cell(content, rng):
    lines = content.splitlines(keepends=True)
    place = rng.randrange(len(lines))
    cells = lines[place].rstrip(b"\n").split(b",")
    cells[rng.randrange(len(cells))] = rng.choice([b"nan", b"", b"-1", b"inf"])
    lines[place] = b",".join(cells) + b"\n"
    return b"".join(lines)


DAMAGES = [cut, flip, empty, remove, drop_line, double_line, blank_cell]


def use(workspace):
    """What score, export and a submission make of the workspace."""
    cv = score_run(workspace, find_run(workspace, "shades", "first"))
    bundle = export_bundle(workspace, "shades", ["first"])
    submission = keep_or_predict(workspace, find_bundle(workspace, "shades", bundle.name)).read_text()
    return cv, bundle.card["cv"], [spec.sha256 for spec in bundle.models], submission


@pytest.fixture(scope="module")
def finished(exported, tmp_path_factory):
    """A workspace in which everything is made, and what using it gives."""
    workspace = Workspace(tmp_path_factory.mktemp("finished") / "root")
    shutil.copytree(exported.root, workspace.root)
    return workspace, use(workspace)


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_gives_the_same_result_or_a_sentence_with_its_repair(finished, name):
    workspace, result = finished
    keep = {path: path.read_bytes() for path in workspace.root.rglob("*") if path.is_file() and path.suffix != ".png"}
    marks = name.endswith("fold.json")  # a fold without it is one that is not trained yet
    for damage in (damage for damage in DAMAGES if not (marks and damage is remove)):
        path = workspace.root / name
        changed = damage(keep[path], random.Random(f"{damage.__name__} of {name}"))
        path.unlink()  # a bundle's weights are one file with the run's
        if changed is not None:
            path.write_bytes(changed)
        try:
            assert use(workspace) == result, damage.__name__
        except KitsolveError:
            continue
        finally:
            restore(workspace, keep)


def restore(workspace, keep):
    """Let all files be as they were."""
    for place, content in keep.items():
        if not place.is_file() or place.read_bytes() != content:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)
            place.write_bytes(content)
