"""Time and peak memory of the fold schemes beside scikit-learn's splitters: python tests/benchmarks/bench_folds.py

Each is a process of its own and both see the same rows; time counts from after the imports and the making of the rows,
memory is the peak above what was there after them. "gap" is the largest difference between a label's share of a fold
and of all rows, in percent (of values: between means, in standard deviations). scikit-learn has no splitter of many
labels a row.
"""

from __future__ import annotations

import json
import subprocess
import sys

ROWS = """
import numpy as np
from scipy import sparse

ROWS, COUNT, SEED = 1_000_000, 5, 0
rng = np.random.default_rng(SEED)

def classes(number=50):
    odds = 1 / np.arange(1, number + 1)
    return rng.choice(number, ROWS, p=odds / odds.sum())

def groups(number=100_000):
    return rng.integers(0, number, ROWS)

def label_sets(rows=142_119, labels=3474):
    odds = 1 / np.arange(1, labels + 1)
    row = np.repeat(np.arange(rows), rng.poisson(2, rows) + 1)
    sets = sparse.csr_array((np.ones(len(row), np.uint8), (row, rng.choice(labels, len(row), p=odds / odds.sum()))))
    sets.data[:] = 1
    return sets
"""
OURS = """
from kitsolve.data.folds import make_folds

def act(scheme, targets, groups):
    return make_folds(targets, scheme=scheme, count=COUNT, seed=SEED, groups=groups)
"""
THEIRS = """
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold
from sklearn.preprocessing import KBinsDiscretizer

SPLITTERS = {"plain": KFold, "group": GroupKFold, "stratified_group": StratifiedGroupKFold}

def act(scheme, targets, groups):
    if scheme == "binned_stratified":
        binner = KBinsDiscretizer(20, encode="ordinal", quantile_method="averaged_inverted_cdf", subsample=None)
        targets = binner.fit_transform(targets[:, None])[:, 0]
    splitter = SPLITTERS.get(scheme, StratifiedKFold)(COUNT, shuffle=True, random_state=SEED)
    folds = np.empty(len(targets), dtype=np.int64)
    for fold, (_, rows) in enumerate(splitter.split(np.zeros(len(targets)), targets, groups)):
        folds[rows] = fold
    return folds
"""
REPORT = """
import json, re, sys, time

def memory(name):
    return int(re.search(name + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024

exec(sys.argv[1])
exec(sys.argv[2])
scheme, targets, groups = sys.argv[3], eval(sys.argv[4]), eval(sys.argv[5])
open("/proc/self/clear_refs", "w").write("5")  # the peak counts from here
before, started = memory("VmRSS"), time.perf_counter()
folds = act(scheme, targets, groups)
seconds, peak = time.perf_counter() - started, memory("VmHWM") - before

from kitsolve.data.folds import describe_folds
labels = [] if targets.dtype.kind == "f" else range(targets.shape[1] if targets.ndim == 2 else int(targets.max()) + 1)
report = describe_folds(folds, targets=targets, label_names=[str(label) for label in labels], groups=groups)
assert report.leaks == 0
print(json.dumps([seconds, peak, 100 * report.largest_gap]))
"""
CASES = [
    ("plain", "classes()", "None"),
    ("stratified", "classes()", "None"),
    ("group", "classes()", "groups()"),
    ("stratified_group", "classes()", "groups()"),
    ("stratified_group", "classes()", "groups(20_000_000)"),
    ("binned_stratified", "rng.normal(size=ROWS)", "None"),
    ("stratified", "classes(15_501)", "None"),
    ("multilabel_stratified", "label_sets()", "None"),
]


def measure(code: str, case: tuple[str, str, str]) -> list[float]:
    """Seconds, MiB and gap of a fresh process."""
    command = [sys.executable, "-W", "ignore", "-c", REPORT, ROWS, code, *case]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def main() -> None:
    """Print one line a scheme."""
    print(f"{'scheme':<21}  {'targets':<21}  {'groups':<18}  {'s':>6}  {'+MiB':>5}  {'gap %':>7}", end="  ")
    print(f"{'sklearn s':>9}  {'+MiB':>5}  {'gap %':>7}  {'ratio':>6}")
    for case in CASES:
        seconds, peak, gap = measure(OURS, case)
        print(f"{case[0]:<21}  {case[1]:<21}  {case[2]:<18}  {seconds:>6.2f}  {peak:>5.0f}  {gap:>7.4f}", end="  ")
        if case[0] == "multilabel_stratified":
            print(f"{'–':>9}", flush=True)
            continue
        theirs = measure(THEIRS, case)
        print(f"{theirs[0]:>9.2f}  {theirs[1]:>5.0f}  {theirs[2]:>7.4f}  {seconds / theirs[0]:>6.3f}", flush=True)


if __name__ == "__main__":
    main()
