"""Tables and folds of a million images, without opening them: python tests/benchmarks/bench_tables.py

Seconds of each part, and the process's peak memory at its end.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from kitsolve.config import Competition
from kitsolve.data.splits import split_rows
from kitsolve.data.table import make_test_table, make_train_table
from kitsolve.data.targets import encode_targets
from kitsolve.workspace import write_csv


def make_competition(rows: dict[str, object], target: object, task: str, metric: str, kind: str) -> Competition:
    """Facts of a competition whose images are never opened."""
    return Competition.model_validate(
        {
            "slug": "million",
            "title": "A million",
            "task": task,
            "metric": metric,
            "train": {"rows": rows, "id": "image_id", "target": target, "image": "train/{image_id}.jpg"},
            "test": {"image": "test/{image_id}.jpg"},
            "submission": {"kind": kind, "via": "csv"},
        }
    )


def write_csv_layout(raw: Path, count: int) -> Competition:
    """One table with 100 classes."""
    rng = np.random.default_rng(0)
    ids = [f"{number:09d}" for number in range(count)]
    pd.DataFrame({"image_id": ids, "label": rng.integers(0, 100, count)}).to_csv(raw / "train.csv", index=False)
    return make_competition({"csv": "train.csv"}, "label", "multiclass", "accuracy", "label")


def write_coco_layout(raw: Path, count: int) -> Competition:
    """JSON with 15,000 classes of very different size."""
    classes = np.random.default_rng(0).zipf(1.3, count) % 15_000
    annotations = [{"id": n, "image_id": n, "label": int(name)} for n, name in enumerate(classes)]
    images = [{"image_id": n, "file_name": f"{n % 1000:03d}/{n}.jpg"} for n in range(count)]
    (raw / "train.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    rows = {"coco": "train.json", "on": ["image_id", "image_id"]}
    return make_competition(rows, "label", "multiclass", "f1_macro", "label")


def main() -> None:
    """Print one line a part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    given = parser.parse_args()
    print(f"{given.rows:,} rows\n{'layout':8} {'part':16} {'s':>6}  {'peak MiB':>8}")
    for name, write in (("csv", write_csv_layout), ("coco", write_coco_layout)):
        with tempfile.TemporaryDirectory() as folder:
            raw = Path(folder)
            competition = write(raw, given.rows)
            sample = pd.DataFrame({"image_id": [f"t{n:08d}" for n in range(given.rows // 10)], "label": 0})
            sample.to_csv(raw / "sample_submission.csv", index=False)
            measure_layout(name, raw, competition)


def measure_layout(name: str, raw: Path, competition: Competition) -> None:
    """Time what `kitsolve fetch` does after the download, but the opening of images."""

    def measure(part: str, act: Callable[[], object]) -> object:
        started = time.perf_counter()
        result = act()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{name:8} {part:16} {time.perf_counter() - started:>6.1f}  {peak:>8.0f}")
        return result

    started = time.perf_counter()
    train = measure("train rows", lambda: make_train_table(raw, competition))
    test = measure("test rows", lambda: make_test_table(raw, competition))
    targets = measure("targets", lambda: encode_targets(train, competition, raw))
    measure("folds, report", lambda: split_rows(train, targets, competition))
    measure("train.csv", lambda: write_csv(raw / "tables" / "train.csv", train))
    measure("test.csv", lambda: write_csv(raw / "tables" / "test.csv", test))
    print(f"{name:8} {'all':16} {time.perf_counter() - started:>6.1f}")


if __name__ == "__main__":
    main()
