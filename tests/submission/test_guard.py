import os
import shutil
import subprocess
import sys

import pytest

from kitsolve.submission import guard


@pytest.fixture
def attempt(tmp_path):
    """Run Python code in a guarded process; gives what it wrote to stderr, empty where it went well."""
    site, inputs, working = (tmp_path / name for name in ("site", "input", "working"))
    for folder in (site, inputs, working):
        folder.mkdir()
    (inputs / "data.csv").write_text("id\n")
    shutil.copyfile(guard.__file__, site / "sitecustomize.py")
    environment = os.environ | {
        "PYTHONPATH": str(site),
        "KITSOLVE_WRITABLE": f"{working}{os.pathsep}{tmp_path / 'tmp'}",
        "KITSOLVE_VERDICT": str(working / "verdict.txt"),
    }

    def run(code, memory_gb=30):
        command = [sys.executable, "-c", code]
        environment["KITSOLVE_MEMORY_GB"] = str(memory_gb)
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path, timeout=60
        )
        return done.stderr

    return run


@pytest.mark.parametrize("code", ["import kitsolve", "import kitsolve.inference", "from kitsolve import errors"])
def test_kitsolve_cannot_be_imported(attempt, code):
    assert "ModuleNotFoundError: No module named 'kitsolve' (rehearsal)" in attempt(code)


@pytest.mark.parametrize(
    "code",
    [
        "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)",
        "import socket; socket.getaddrinfo('example.org', 80)",
        "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'', ('192.0.2.1', 9))",
        "import urllib.request; urllib.request.urlopen('http://example.org', timeout=1)",
    ],
)
def test_the_network_cannot_be_reached(attempt, code):
    assert "Network is unreachable (rehearsal)" in attempt(code)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loopback_is_free_for_the_notebooks_own_kernel(attempt, host):
    code = (
        "import socket; server = socket.create_server(('127.0.0.1', 0));"
        f"socket.create_connection(('{host}', server.getsockname()[1]))"
    )
    assert attempt(code) == ""


@pytest.mark.parametrize(
    "code",
    [
        "open('input/new.csv', 'w')",
        "open('input/data.csv', 'a')",
        "import os; os.remove('input/data.csv')",
        "import os; os.rename('input/data.csv', 'working/data.csv')",
        "import os; os.rename('site', 'input/site')",
        "import os; os.mkdir('input/folder')",
        "import shutil; shutil.rmtree('input')",
        "import os; os.open('input/data.csv', os.O_RDWR)",
    ],
)
def test_inputs_cannot_be_changed(attempt, code, tmp_path):
    assert "PermissionError: Read-only file system (rehearsal)" in attempt(code)
    assert (tmp_path / "input" / "data.csv").read_text() == "id\n"


@pytest.mark.parametrize("path", ["new.csv", "site/sitecustomize.py", "workingmen.csv", "working/../new.csv"])
def test_nothing_can_be_written_elsewhere(attempt, path):
    assert "PermissionError: Read-only file system (rehearsal)" in attempt(f"open({path!r}, 'a')")


def test_reading_inputs_and_writing_into_the_working_folder_is_free(attempt, tmp_path):
    assert attempt("open('working/out.csv', 'w').write(open('input/data.csv').read())") == ""
    assert (tmp_path / "working" / "out.csv").read_text() == "id\n"


def test_a_process_that_grows_too_large_is_ended_with_its_reason(attempt, tmp_path):
    attempt("import time; large = bytearray(200_000_000); time.sleep(60)", memory_gb=0.1)
    assert "more than the 0.1 GB" in (tmp_path / "working" / "verdict.txt").read_text()


def test_the_most_memory_that_a_process_has_had_is_known(attempt):
    code = "import sitecustomize; large = bytearray(200_000_000); del large; assert 0.2 < sitecustomize.peak_gb() < 0.4"
    assert attempt(code) == ""


def test_a_process_that_is_started_by_a_guarded_one_is_guarded_too(attempt):
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import kitsolve'], check=True)"
    assert "(rehearsal)" in attempt(code)
