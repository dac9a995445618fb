"""How long `kitsolve --help` takes beside the --help of an empty Typer app: python tests/benchmarks/bench_help.py"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

EMPTY = "import typer; app = typer.Typer(); app.command()(lambda: None); app()"
KITSOLVE = "from kitsolve.cli import main; main()"


def seconds(code: str) -> float:
    """Of one fresh process."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Both take turns; print medians and the median of the ratios."""
    pairs = [(seconds(EMPTY), seconds(KITSOLVE)) for _ in range(21)][1:]
    empty, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(mine / other for other, mine in pairs)
    print(f"{'empty app':>10}  {'kitsolve':>10}  {'ratio':>6}")
    print(f"{empty * 1e3:>8.0f}ms  {ours * 1e3:>8.0f}ms  {ratio:>6.2f}")


if __name__ == "__main__":
    main()
