"""`backup` and `restore`: the whole gallery in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gallery.admin.backup import BackupInfo, restore, verify
from gallery.cli.app import JsonOption, app
from gallery.cli.opening import open_existing
from gallery.cli.output import count, emit, progress, say
from gallery.config import load_settings
from gallery.errors import SettingInvalid

BackupFile = Annotated[Path, typer.Argument(metavar="FILE", show_default=False)]


@app.command()
def backup(context: typer.Context, file: BackupFile, as_json: JsonOption = False) -> None:
    """Write the whole gallery to one file. The gallery can stay in use meanwhile.

    The file contains everything: names, encodings, hashes of API keys, the audit trail. People who
    are erased later are still in it; the receipt of an erasure lists these backups.

    Example: `gallery backup gallery-2026-11-24.backup`
    """
    if not file.parent.is_dir():
        raise SettingInvalid(f"{file.parent} is not a folder; create it first")
    with open_existing(context) as gallery, progress("backup") as advance:
        info = gallery.back_up(file, advance)
    _show(file, info, as_json)


@app.command("restore")
def restore_backup(
    context: typer.Context,
    file: BackupFile,
    only_verify: Annotated[
        bool, typer.Option("--verify", help="Only check every byte of the file.")
    ] = False,
    forget: Annotated[
        list[int] | None,
        typer.Option(
            help="Erase this identity, by id, as part of restoring. The receipt of an erasure shows"
            " the id. Repeat it for several.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Restore a backup into --home, which must be empty or missing.

    Every byte is checked before anything is written to --home. People erased since the backup was
    made come back, unless you name them with --forget.

    Example: `gallery restore gallery-2026-11-24.backup --home restored`
    """
    settings = load_settings(home=context.obj.home)
    with progress("restoring") as advance:
        if only_verify:
            info = verify(file, advance)
        else:
            info = restore(file, settings, forget or (), advance)
    _show(file, info, as_json)


def _show(file: Path, info: BackupInfo, as_json: bool) -> None:
    if as_json:
        emit(
            {
                "file": str(file),
                "id": info.id,
                "made_at": info.made_at.isoformat(),
                "program": info.program,
                "schema": info.schema,
                "encoder": info.encoder,
                "identities": info.identities,
                "faces": info.faces,
                "own_head": info.own_head,
            }
        )
        return
    people = count(info.identities, "identity", "identities")
    made = f"{info.made_at:%Y-%m-%d %H:%M}"
    say(f"{file}: backup {info.id} of {made} UTC, {people}, {count(info.faces, 'face')}, intact")
