"""Peak memory and time of a download and its unpacking beside a bare one: python tests/benchmarks/bench_fetch.py

A server of this machine holds an archive of stored members, as images are. Bare is requests and zipfile alone. Both
are processes of their own; time counts from after the imports, memory is the peak above what was there after them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from fake_kaggle import TOKEN, FakeKaggle, start

BARE = """
import shutil, zipfile
import requests

def act():
    answer = requests.get("http://localhost/storage/archive.zip", stream=True, timeout=60)
    with open("a.zip", "wb") as file:
        for part in answer.iter_content(1 << 20):
            file.write(part)
    with zipfile.ZipFile("a.zip") as archive:
        archive.extractall("bare")
"""
OURS = """
from pathlib import Path
from kitsolve.data.fetch import _download
from kitsolve.kaggle import connect
connect()

def act():
    _download("shades", Path("place"), Path("ours"))
"""
REPORT = """
import json, re, sys, time

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024

exec(sys.argv[1])
before, started = peak(), time.perf_counter()
act()
print(json.dumps([time.perf_counter() - started, peak() - before]))
"""


class OnDisk:
    """The bytes of a file, read where they are asked for."""

    def __init__(self, path: Path) -> None:
        self.path, self.size = path, path.stat().st_size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, part: slice) -> memoryview:
        import mmap

        with self.path.open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))[part]


def measure(code: str, folder: Path, port: int) -> tuple[float, float]:
    """Seconds and MiB of a fresh process."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / ".kaggle").mkdir(parents=True)
    environment = {name: value for name, value in os.environ.items() if name.lower() != "no_proxy"}
    environment |= {"HOME": str(folder), "KAGGLE_API_TOKEN": TOKEN, "KAGGLE_API_ENVIRONMENT": "LOCALHOST"}
    environment |= {"http_proxy": f"http://127.0.0.1:{port}"}
    done = subprocess.run(
        [sys.executable, "-c", REPORT, code], cwd=folder, env=environment, check=True, stdout=subprocess.PIPE
    )
    os.sync()
    return tuple(json.loads(done.stdout))


def main() -> None:
    """Print one line a size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, nargs="+", default=[0.2, 2.0])
    given = parser.parse_args()
    print(f"{'GB':>5}  {'bare s':>7}  {'fetch s':>7}  {'ratio':>6}  {'bare +MiB':>9}  {'fetch +MiB':>10}")
    for gigabytes in given.gigabytes:
        with tempfile.TemporaryDirectory() as name:
            archive, part = Path(name, "archive.zip"), os.urandom(10**6)
            with zipfile.ZipFile(archive, "w") as packed:
                for number in range(int(gigabytes * 1000)):
                    packed.writestr(f"train/{number}.jpg", part)
            fake = FakeKaggle()
            fake.archive, fake.files["shades"] = OnDisk(archive), [("train", int(gigabytes * 1e9))]
            server = start(fake)
            bare, bare_memory = measure(BARE, Path(name, "work"), server.server_port)
            ours, memory = measure(OURS, Path(name, "work"), server.server_port)
            server.shutdown()
        print(f"{gigabytes:>5}  {bare:>7.1f}  {ours:>7.1f}  {ours / bare:>6.2f}  {bare_memory:>9.1f}  {memory:>10.1f}")


if __name__ == "__main__":
    main()
