"""`serve` and `keys` at the command line."""

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
def taken_port() -> int:
    """A port on which another program listens."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def test_taken_port_is_refused(run: Run, taken_port: int) -> None:
    ran = run("serve", "--port", taken_port)
    assert ran.status == 2 and "listening on" not in ran.out
    assert f"port {taken_port}" in ran.err and "--port" in ran.err


def test_server_answers_and_stops_on_sigterm_despite_open_connections(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [GALLERY, "--home", home, "serve", "--port", str(port), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert ready == {"url": f"http://127.0.0.1:{port}", "keys": False}
        assert httpx.get(f"{ready['url']}/readyz").json() == {"status": "ready"}
        with socket.create_connection(("127.0.0.1", port)) as unfinished:
            unfinished.sendall(
                b"POST /v1/query HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 9\r\n\r\n"
            )
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0


def test_keys_reset_needs_confirmation(run: Run) -> None:
    key = run("keys", "create", "desk", "--scope", "metrics", "--json").line
    assert run("keys", "revoke", key["id"]).status == 0
    assert "rejects every request" in run("keys", "list").out
    assert run("keys", "reset").status != 0  # no confirmation
    assert len(run("keys", "list", "--json").lines) == 1
    assert run("keys", "reset", "--yes", "--json").line == {"dropped": 1}
    assert run("keys", "list", "--json").lines == []
