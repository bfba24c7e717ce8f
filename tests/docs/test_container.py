"""Dockerfile and compose.yaml, as far as they can be checked without Docker."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from gallery.config import Settings
from tests.api.conftest import Serve
from tests.cli.conftest import Run

ROOT = Path(__file__).resolve().parents[2]
COMPOSE_TEXT = (ROOT / "compose.yaml").read_text(encoding="utf-8")
Instruction = tuple[str, str]


def read_stages() -> list[list[Instruction]]:
    """The Dockerfile's instructions with their arguments, a list for each FROM."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    stages: list[list[Instruction]] = []
    for line in filter(None, lines):
        word, _, rest = line.partition(" ")
        stages += [[]] if word == "FROM" else []
        stages[-1].append((word, rest.strip()))
    return stages


BUILD, IMAGE = read_stages()
SERVICE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)["services"]["gallery"]


def arguments(stage: list[Instruction], word: str) -> list[str]:
    return [rest for name, rest in stage if name == word]


def environment() -> dict[str, str]:
    return dict(w.split("=", 1) for rest in arguments(IMAGE, "ENV") for w in shlex.split(rest))


def test_both_stages_have_one_base_with_a_version() -> None:
    bases = {arguments(stage, "FROM")[0].split()[0] for stage in (BUILD, IMAGE)}
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", bases.pop())


def test_copied_files_exist_and_are_sent_to_the_builder() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    sources = [s for rest in arguments(BUILD, "COPY") for s in shlex.split(rest)[:-1]]
    assert sources
    for source in sources:
        assert (ROOT / source).exists()
        assert f"!{source}" in ignored


def test_image_takes_only_the_environment_from_the_build_stage() -> None:
    assert arguments(IMAGE, "COPY") == ["--from=build /opt/gallery /opt/gallery"]


def test_user_is_a_fixed_one_without_privileges() -> None:
    user, group = arguments(IMAGE, "USER")[-1].split(":")
    assert int(user) > 0 and int(group) > 0
    assert f"--uid {user} --gid {group}" in " ".join(arguments(IMAGE, "RUN"))
    after = [name for name, _ in IMAGE[IMAGE.index(("USER", f"{user}:{group}")) :]]
    assert "RUN" not in after and "COPY" not in after


def test_environment_has_settings_only_and_no_secret() -> None:
    names = {name.removeprefix("GALLERY_").lower() for name in environment() if "GALLERY_" in name}
    assert names <= set(Settings.model_fields) - {"key_file"}
    words = " ".join([*environment(), *arguments(BUILD, "ARG")]).lower()
    assert not re.search(r"secret|token|password|api_key", words)


def test_home_is_inside_a_volume_so_that_it_can_be_restored() -> None:
    mounts = {mount.split(":")[1] for mount in SERVICE["volumes"]}
    assert set(json.loads(arguments(IMAGE, "VOLUME")[0])) == mounts
    values = environment()
    assert str(Path(values["GALLERY_HOME"]).parent) in mounts
    assert f"{values['GALLERY_CACHE']}/encodings" in mounts


def test_health_check_asks_a_route_that_answers_without_a_key(
    serve: Serve, run: Run, tmp_path: Path
) -> None:
    check = json.loads(arguments(IMAGE, "HEALTHCHECK")[0].partition("CMD ")[2])
    url = urlsplit(re.findall(r"http://[^']+", check[-1])[0])
    assert str(url.port) == arguments(IMAGE, "EXPOSE")[0] == str(Settings().port)
    assert run("keys", "create", "desk").status == 0
    with serve(tmp_path / "home") as client:
        here = str(client.base_url).rstrip("/")
        exec(check[-1].replace(f"http://{url.netloc}", here), {})
        with pytest.raises(OSError, match="401"):
            exec(check[-1].replace(f"http://{url.netloc}{url.path}", f"{here}/v1/identities"), {})


def test_commands_are_those_of_the_program(run: Run) -> None:
    assert json.loads(arguments(IMAGE, "ENTRYPOINT")[0]) == ["gallery"]
    commands = [json.loads(arguments(IMAGE, "CMD")[0])]
    built = re.findall(r"(?<= )gallery (encoders [^&]*)", " ".join(arguments(BUILD, "RUN")))
    named = re.findall(r"run --rm gallery (.*)", COMPOSE_TEXT)
    assert built and named
    commands += [shlex.split(command) for command in (*built, *named)]
    for command in commands:
        ran = run(*command, "--help")
        assert ran.status == 0, (command, ran.err)
    assert run(*shlex.split(named[0])).status == 0


def test_compose_takes_rights_away() -> None:
    assert SERVICE["read_only"] is True
    assert SERVICE["cap_drop"] == ["ALL"]
    assert SERVICE["security_opt"] == ["no-new-privileges:true"]
    assert [mount.split(":")[0] for mount in SERVICE["tmpfs"]] == ["/tmp"]
    assert all(port.startswith("127.0.0.1:") for port in SERVICE["ports"])
    assert not {"privileged", "cap_add", "network_mode", "user", "environment"} & set(SERVICE)
