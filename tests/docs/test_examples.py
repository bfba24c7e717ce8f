"""The shell and Python examples of the README and the guide run, on photos that packages carry."""

from __future__ import annotations

import doctest
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from gallery.gallery import Gallery
from gallery.guide.topics import read_topic
from gallery.vision.pipeline import FacePipeline
from tests.api.conftest import Serve
from tests.cli.conftest import Run

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SERVER = "http://127.0.0.1:8000"


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def shell_lines(program: str) -> list[list[str]]:
    lines = (line for block in blocks(README, "sh") for line in block.splitlines())
    words = [shlex.split(line, comments=True) for line in lines]
    return [line[1:] for line in words if line and line[0] == program]


def test_readme_has_commands_of_known_programs_only() -> None:
    lines = (line for block in blocks(README, "sh") for line in block.splitlines())
    assert {line.split()[0] for line in lines} == {"make", ".", "gallery", "curl"}


def test_readme_commands_run(photos: Path, run: Run) -> None:
    commands = shell_lines("gallery")
    assert ["query", "unknown.jpg"] in commands
    for command in commands:
        if command[0] != "serve":  # answers the requests of the next test
            ran = run(*command)
            assert ran.status == 0, (command, ran.out, ran.err)


def test_readme_requests_are_answered(photos: Path, serve: Serve, tmp_path: Path) -> None:
    requests = shell_lines("curl")
    assert len(requests) == 2
    with serve(tmp_path / "home") as client:
        here = str(client.base_url).rstrip("/")
        for words in requests:
            command = ["curl", "--silent", "--fail", *(w.replace(SERVER, here) for w in words)]
            answer = subprocess.run(command, capture_output=True, text=True, check=False)
            assert answer.returncode == 0, (words, answer.stderr)
        assert '"match"' in answer.stdout


def test_readme_python_runs(
    photos: Path,
    serve: Serve,
    tmp_path: Path,
    pipeline: FacePipeline,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Gallery, "pipeline", pipeline)
    monkeypatch.setenv("GALLERY_CACHE", str(cache))
    own, remote = blocks(README, "python")
    exec(own, {})
    assert "enrolled\nGrace Hopper, match, only Grace Hopper matches" in capsys.readouterr().out
    with serve(photos / "my-gallery") as client:
        exec(remote.replace(SERVER, str(client.base_url)), {})
    assert "Grace Hopper" in capsys.readouterr().out


def test_guide_python_runs(
    photos: Path,
    serve: Serve,
    tmp_path: Path,
    pipeline: FacePipeline,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Gallery, "pipeline", pipeline)
    text = read_topic("python").text
    with serve(tmp_path / "served") as client:
        examples = "\n".join(blocks(text, "python")).replace(SERVER, str(client.base_url))
        test = doctest.DocTestParser().get_doctest(examples, {}, "python.md", None, 0)
        output: list[str] = []
        results = doctest.DocTestRunner(verbose=False).run(test, out=output.append)
    assert results.attempted > 20
    assert results.failed == 0, "".join(output)


@pytest.mark.parametrize(
    "entry",
    [
        "Gallery.open",
        "Gallery.enroll",
        "Gallery.query",
        "Gallery.query_all",
        "Gallery.compare",
        "Gallery.identities",
        "Gallery.merge",
        "Gallery.forget",
        "Gallery.dedupe_folder and Gallery.findings",
        "Client.query",
    ],
)
def test_entry_point_has_an_example(entry: str) -> None:
    section = read_topic("python").text.partition(f"## {entry}\n")[2].partition("\n## ")[0]
    assert ">>> " in section
