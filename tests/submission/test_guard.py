import os
import shutil
import subprocess
import sys

import pytest

from kitsolve.submission import guard


@pytest.fixture
def attempt(tmp_path):
    """Run Python code in a guarded process; gives what it wrote to stderr, empty where it went well."""
    site, inputs = tmp_path / "site", tmp_path / "input"
    site.mkdir()
    inputs.mkdir()
    (inputs / "data.csv").write_text("id\n")
    shutil.copyfile(guard.__file__, site / "sitecustomize.py")
    environment = os.environ | {"PYTHONPATH": str(site), "KITSOLVE_READ_ONLY": str(inputs)}

    def run(code):
        command = [sys.executable, "-c", code]
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
        "import os; os.rename('input/data.csv', 'data.csv')",
        "import os; os.rename('site', 'input/site')",
        "import os; os.mkdir('input/folder')",
        "import shutil; shutil.rmtree('input')",
        "import os; os.open('input/data.csv', os.O_RDWR)",
    ],
)
def test_inputs_cannot_be_changed(attempt, code, tmp_path):
    assert "PermissionError: Read-only file system (rehearsal)" in attempt(code)
    assert (tmp_path / "input" / "data.csv").read_text() == "id\n"


def test_reading_inputs_and_writing_elsewhere_is_free(attempt, tmp_path):
    assert attempt("open('out.csv', 'w').write(open('input/data.csv').read())") == ""
    assert (tmp_path / "out.csv").read_text() == "id\n"


def test_a_process_that_is_started_by_a_guarded_one_is_guarded_too(attempt):
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import kitsolve'], check=True)"
    assert "(rehearsal)" in attempt(code)
