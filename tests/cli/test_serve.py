"""`serve` and `keys` as a user runs them."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.cli.conftest import Run

GALLERY = Path(sys.executable).with_name("gallery")


@pytest.fixture
def taken() -> int:
    """A port that something listens on."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def test_a_port_that_is_taken_is_said_and_nothing_is_claimed(run: Run, taken: int) -> None:
    ran = run("serve", "--port", taken)
    assert ran.status == 2 and "listening on" not in ran.out
    assert f"port {taken}" in ran.err and "--port" in ran.err


def test_it_answers_and_ends_when_told_whoever_is_connected(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [GALLERY, "--home", home, "serve", "--port", str(port), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        assert told == {"url": f"http://127.0.0.1:{port}", "keys": False}
        assert httpx.get(f"{told['url']}/readyz").json() == {"status": "ready"}
        with socket.create_connection(("127.0.0.1", port)) as half:
            half.sendall(b"POST /v1/query HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 9\r\n\r\n")
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0


def test_keys_are_reset_when_asked_twice(run: Run) -> None:
    made = run("keys", "create", "desk", "--scope", "metrics", "--json").line
    assert run("keys", "revoke", made["id"]).status == 0
    assert "rejects every request" in run("keys", "list").out
    assert run("keys", "reset").status != 0  # nobody says yes
    assert len(run("keys", "list", "--json").lines) == 1
    assert run("keys", "reset", "--yes", "--json").line == {"dropped": 1}
    assert run("keys", "list", "--json").lines == []
