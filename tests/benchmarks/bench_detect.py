"""How often `kitsolve new` is right, and how long it takes: python tests/benchmarks/bench_detect.py

Every layout of the tests, and layouts drawn by chance, are written, detected and compared with their truth. A layout
counts as right where every fact is, as unsure where each wrong fact was marked (what the files do not tell is marked
too), as silent where a wrong fact was not marked. `marked` is the mean number of facts a person has to look at.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "proposing"))
from judging import OPTIONAL, flatten, judge, misses
from layouts import VARIATIONS, Layout, hexes, write_table
from layouts_blind import BLIND
from layouts_drawn import draw_layout
from layouts_seen import SEEN
from layouts_traps import TRAPS
from lookalikes import LOOKALIKES

from kitsolve.proposing.detect import propose
from kitsolve.workspace import catalogue

CHECKED = ("task", "train.rows", "train.id", "train.target", "train.image", "test.image", "submission.kind", *OPTIONAL)


def read_lookalikes() -> list[Layout]:
    """The twelve, with the facts that the catalogue ships as their truth."""
    found = []
    for slug, write in LOOKALIKES.items():
        shipped = flatten(tomllib.loads((catalogue() / slug / "competition.toml").read_text(encoding="utf-8")))
        found.append(Layout(slug, write, {name: shipped.get(name, OPTIONAL.get(name)) for name in CHECKED}))
    return found


def report(name: str, layouts: Sequence[Layout], *, verbose: bool) -> int:
    """Print a line of the table and the misses; gives the number of silent ones."""
    outcomes: Counter[str] = Counter()
    lines, marked, started = [], 0, time.perf_counter()
    for layout in layouts:
        with tempfile.TemporaryDirectory() as folder:
            proposal, verdicts = judge(layout.write, layout.truth, Path(folder), slug=layout.name, pages=layout.pages)
        names = {f"{fact.table}.{fact.key}".strip(".") for fact in proposal.unsure}
        silent, unsure = misses(verdicts, "silent"), misses(verdicts, "unsure")
        silent += [f"{fact}: not marked" for fact in sorted(layout.undecidable - names)]
        outcomes["silent" if silent else "unsure" if unsure else "right"] += 1
        marked += len(proposal.unsure)
        lines += [f"    SILENT {layout.name}: {miss}" for miss in silent]
        lines += [f"    unsure {layout.name}: {miss}" for miss in unsure] if verbose else []
    seconds = time.perf_counter() - started
    counts = [outcomes[outcome] for outcome in ("right", "unsure", "silent")]
    columns = "  ".join(f"{count:>6}" for count in (len(layouts), *counts))
    print(f"{name:28}  {columns}  {marked / len(layouts):>6.1f}  {seconds / len(layouts):>9.3f}")
    print("\n".join(lines), end="\n" if lines else "")
    return outcomes["silent"]


def measure_speed(files: int) -> float:
    """Seconds for a folder of so many empty images and a table that names them."""
    with tempfile.TemporaryDirectory() as folder:
        raw, ids = Path(folder), hexes(files, 0)
        train, test = ids[: files * 4 // 5], ids[files * 4 // 5 :]
        for split, names in (("train", train), ("test", test)):
            (raw / split).mkdir()
            for name in names:
                (raw / split / f"{name}.jpg").touch()
        columns = {"label": [row % 50 for row in range(len(train))], "age": list(range(len(train)))}
        write_table(raw / "train.csv", {"id": train, **columns})
        write_table(raw / "sample_submission.csv", {"id": test, "label": [0] * len(test)})
        started = time.perf_counter()
        propose(raw, "speed")
        return time.perf_counter() - started


def main() -> int:
    """Print the table; the exit code is 1 where a wrong fact was silent."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drawn", type=int, default=300, help="number of layouts drawn by chance")
    parser.add_argument("--files", type=int, nargs="*", default=[100_000], help="sizes of folders to time")
    parser.add_argument("--verbose", action="store_true", help="also list what was unsure and wrong")
    given = parser.parse_args()
    groups = {"the twelve": read_lookalikes(), "variations": VARIATIONS, "as others have them": SEEN}
    groups |= {"traps": TRAPS, "written unseen": BLIND}
    groups |= {"drawn by chance": [draw_layout(seed) for seed in range(given.drawn)]}
    print(f"{'layouts':28}  {'count':>6}  {'right':>6}  {'unsure':>6}  {'silent':>6}  {'marked':>6}  {'seconds':>9}")
    silent = sum(report(name, layouts, verbose=given.verbose) for name, layouts in groups.items() if layouts)
    for files in given.files:
        print(f"{files:,} files: {measure_speed(files):.1f} s")
    return int(silent > 0)


if __name__ == "__main__":
    sys.exit(main())
