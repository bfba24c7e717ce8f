"""--home, --encoder and --weights may stand before a command, behind it, or behind its group."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gallery.cli.main import enroll_identity_main
from gallery.gallery import Gallery
from tests.cli.conftest import Run, run_main


@pytest.mark.parametrize(
    "arguments",
    [
        ("--home", "HOME", "identities", "list"),
        ("identities", "--home", "HOME", "list"),
        ("identities", "list", "--home", "HOME"),
        ("identities", "list", "--home=HOME", "--json"),
        ("--home", "elsewhere", "identities", "list", "--home", "HOME"),
    ],
)
def test_home_is_taken_from_anywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    home = tmp_path / "other"
    given = [argument.replace("HOME", str(home)) for argument in arguments]
    assert f"there is no gallery in {home};" in run_main(capsys, *given).err
    Gallery.open(home).close()
    assert run_main(capsys, *given).status == 0


def test_mistyped_home_creates_nothing_and_names_the_one_that_was_meant(
    run: Run, tmp_path: Path, hopper: Path
) -> None:
    created = run("enroll-identity", "Grace Hopper", hopper, at=tmp_path / "people")
    assert f"created a gallery in {tmp_path / 'people'}\n" in created.err
    for command in (
        ("query", hopper),
        ("identities", "list"),
        ("export", tmp_path / "faces.csv"),
        ("backup", tmp_path / "a.backup"),
        ("audit",),
        ("keys", "list"),
    ):
        ran = run(*command, at=tmp_path / "peple")
        assert (ran.status, ran.out) == (2, "")
        assert ran.err == (
            f"error: there is no gallery in {tmp_path / 'peple'}; did you mean"
            f" {tmp_path / 'people'}? `gallery enroll-identity` creates one\n"
        )
    assert sorted(file.name for file in tmp_path.iterdir()) == ["people"]
    assert "created" not in run("query", hopper, at=tmp_path / "people").err


def test_home_behind_the_photos_is_not_a_photo(
    run: Run, tmp_path: Path, hopper: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "other"
    enrolled = run_main(capsys, "enroll-identity", "Grace Hopper", hopper, "--home", home, "--json")
    assert enrolled.line["outcome"] == "enrolled"
    assert run_main(capsys, "query", hopper, "--home", home, "--json").line["outcome"] == "match"


def test_enroll_identity_is_a_program_of_its_own(
    run: Run, tmp_path: Path, hopper: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "other"
    monkeypatch.setattr(
        sys, "argv", ["enroll-identity", "--home", str(home), "Grace Hopper", str(hopper)]
    )
    with pytest.raises(SystemExit) as ended:
        enroll_identity_main()
    assert ended.value.code == 0
    assert sys.argv[0] == "enroll-identity"
    assert run("identities", "list", "--json", at=home).line["faces"] == 1


@pytest.mark.parametrize("command", [["query"], ["identities", "list"], ["identities"]])
def test_help_lists_the_options(
    capsys: pytest.CaptureFixture[str], command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    shown = run_main(capsys, *command, "--help").out
    assert all(option in shown for option in ("--home", "--encoder", "--weights"))


def test_encoder_may_stand_behind_a_command(
    tmp_path: Path, hopper: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (
        ("--encoder", "nonsense", "query", hopper),
        ("query", hopper, "--encoder", "nonsense"),
    ):
        refused = run_main(capsys, "--home", tmp_path / "home", *arguments)
        assert (refused.status, "'nonsense' is not known" in refused.err) == (2, True)
    alone = run_main(capsys, "--home", tmp_path / "home", "query", hopper, "--weights", "x.pt")
    assert (alone.status, "--weights needs --encoder" in alone.err) == (2, True)
