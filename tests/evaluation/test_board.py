import socket
import urllib.request

import pytest

from kitsolve.errors import KitsolveError
from kitsolve.evaluation.board import start_board


def test_the_board_serves_the_runs_on_loopback_at_a_free_port(trained):
    address = start_board(trained.runs("shades"), host="127.0.0.1", port=0)
    assert address.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(f"{address}data/logdir", timeout=30) as answer:
        assert str(trained.runs("shades")) in answer.read().decode()


def test_without_runs_there_is_nothing_to_serve(tmp_path):
    with pytest.raises(KitsolveError, match="no runs"):
        start_board(tmp_path / "shades", host="127.0.0.1", port=0)


def test_a_port_that_is_taken_is_an_error_with_its_repair(trained):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(KitsolveError, match=str(port)) as caught:
            start_board(trained.runs("shades"), host="127.0.0.1", port=port)
    assert "--port" in caught.value.hint
